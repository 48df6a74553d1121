"""``azreach lab ...``: raise labs, look at them, work in their VMs, take them down.

Thin: everything is done elsewhere and imported when it is needed, since ``azreach --help`` loads
this module. Errors are raised; the main command prints them.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lab.client import Lab

_FAULT_COMMANDS = {
    "faults": "The faults that can be injected.",
    "break": "Inject a fault into a running lab.",
    "mend": "Undo the faults of a lab.",
}


class _LabGroup(click.Group):
    """Loads the commands about faults when one of them is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_FAULT_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _FAULT_COMMANDS:
            from lab import fault_commands

            return next(
                (
                    value
                    for value in vars(fault_commands).values()
                    if isinstance(value, click.Command) and value.name == cmd_name
                ),
                None,
            )
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            command = super().get_command(ctx, name)
            rows.append(
                (name, _FAULT_COMMANDS.get(name) or (command.get_short_help_str(limit=90) if command else ""))
            )
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=_LabGroup)
def lab() -> None:
    """A small Azure on this machine: real hosts, real packets."""


@lab.command()
@click.argument("file")
@click.option("--name", help="The lab's name (default: from FILE).")
@click.option(
    "--owner", type=click.IntRange(min=1), metavar="PID", help="Take the lab down when this process ends."
)
def up(file: str, name: str | None, owner: int | None) -> None:
    """Raise the lab that FILE (a lab file, a snapshot or a topology's name) describes.

    Prints the path of the environment file that reaches it.
    """
    from lab.raising import raise_here

    progress = _Progress()
    try:
        directory = raise_here(file, name, owner, progress.show, progress.note)
    finally:
        progress.clear()
    click.echo(str(directory.environment))


class _Progress:
    """One line on standard error that is rewritten; nothing at all without a terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def show(self, what: str, done: int, total: int) -> None:
        if self._shown:
            count = f" {done}/{total}" if done else f" ({total})"
            sys.stderr.write(f"\r\x1b[K{what}{count if total else ''}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def note(self, text: str) -> None:
        self.clear()
        click.echo(f"note: {text}", err=True)


@lab.command()
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Every lab, also what dead ones left behind.")
def down(name: str | None, everything: bool) -> None:
    """Take the lab NAME down; nothing of it is left."""
    from lab import state
    from lab.client import take_down

    if (name is None) == (not everything):
        raise click.UsageError("give the name of a lab, or --all")
    for lab_name in [directory.name for directory in state.directories()] if name is None else [name]:
        take_down(lab_name)


@lab.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def list_labs(as_json: bool) -> None:
    """The labs of this user: since when they stand, their VMs, the faults that stand in them."""
    from datetime import datetime

    from lab import linux, state

    rows: list[dict[str, Any]] = []
    for directory in state.directories():
        record = directory.record()
        running = record is not None and record.applier.running
        rows.append(
            {
                "name": directory.name,
                "state": ("up" if record and record.complete else "starting") if running else "dead",
                "since": datetime.fromtimestamp(linux.started_at(record.applier.start_time))
                .astimezone()
                .isoformat(timespec="seconds")
                if record and running
                else None,
                "vms": len(record.vms) if record else 0,
                "faults": _standing_faults(directory.name) if running and record and record.complete else [],
                "pid": record.applier.pid if record else None,
                "source": record.source if record else None,
                "environment": str(directory.environment),
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        since = f"since {row['since'][:19].replace('T', ' ')}" if row["since"] else "-"
        faults = f"faults: {', '.join(row['faults']) or 'none'}"
        columns = (row["name"], row["state"], since, f"{row['vms']} VMs", faults, row["environment"])
        click.echo("\t".join(columns))


def _standing_faults(name: str) -> list[str]:
    from harness.errors import AzreachError
    from lab import journal
    from lab.client import Lab

    try:
        return [entry.fault for entry in journal.entries(Lab.open(name))]
    except AzreachError:
        # it went away meanwhile
        return []


@lab.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def env(name: str, as_json: bool) -> None:
    """The path of the environment file of the lab NAME; with --json, its machines and VMs too."""
    from dataclasses import asdict

    from lab.client import Lab

    found = Lab.open(name)
    if as_json:
        from harness.environment import load_environment

        machines = load_environment(found.environment_path).machines
        document = {
            "name": found.name,
            "source": found.source,
            "environment": str(found.environment_path),
            # how each is reached: secrets by reference, as in the environment file
            "machines": {
                name: machine.model_dump(mode="json", exclude_none=True) for name, machine in machines.items()
            },
            # what each is made of on this machine
            "vms": [asdict(vm) for vm in found.vms.values()],
            # the control plane's endpoint; a lab has none yet
            "arm": None,
        }
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(str(found.environment_path))


@lab.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("name")
@click.argument("vm")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(name: str, vm: str, command: tuple[str, ...]) -> None:
    """Run COMMAND as root of VM in the lab NAME; its exit status and output pass through."""
    from lab.client import Lab

    _replace_by(Lab.open(name), vm, command[1:] if command[0] == "--" else command)


@lab.command()
@click.argument("name")
@click.argument("vm")
def shell(name: str, vm: str) -> None:
    """A root shell on VM in the lab NAME."""
    from lab.client import Lab

    _replace_by(Lab.open(name), vm, ("/bin/bash", "-l"))


def _replace_by(found: Lab, vm: str, command: tuple[str, ...]) -> None:
    from lab.client import command_environment

    if not command:
        raise click.UsageError("give a command after --")
    words = found.command(vm, command)
    sys.stdout.flush()
    os.execve(words[0], words, command_environment())
