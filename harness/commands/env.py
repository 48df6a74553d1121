"""``azreach env check|schema|add``: the environment file itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.lookup import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from harness.doctor.env_add import Added, NotAdded
    from harness.transport.known_hosts import ShownKey

DEFAULT_FILE = "azreach.yaml"
WRONG = 2


@click.group()
def env() -> None:
    """The environment file: check it, its schema for editors, a first one."""


@env.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def check(ctx: click.Context, file: Path) -> None:
    """Is FILE in order, and is everything there that it refers to?

    Looks at this machine only; `azreach doctor` looks at the others. Prints "ok" or one line per
    problem, with file and line. Exit status: 0 in order, 2 not.
    """
    from harness.doctor.env_check import check_file
    from harness.text import plain

    found = check_file(file)
    for line in found.problems:
        click.echo(plain(line))
    if found.problems:
        ctx.exit(WRONG)
    click.echo(f"ok: {_count(found.machines, 'machine')}, {_count(found.flows, 'flow')}")


@env.command()
def schema() -> None:
    """The JSON schema of the environment file, for editors.

    \b
    azreach env schema > azreach-env.schema.json

    Editors with a YAML language server then complete and check a file that has this line:

    \b
    # yaml-language-server: $schema=azreach-env.schema.json
    """
    import json

    from harness.doctor.env_schema import environment_schema

    click.echo(json.dumps(environment_schema(), indent=2))


@env.command()
@click.argument("targets", nargs=-1, required=True, metavar="USER@HOST[:PORT]...")
@click.option(
    "--env",
    "env_file",
    type=click.Path(path_type=Path),
    help=f"The file to write or to extend [default: ${ENVIRONMENT_VARIABLE}, else {DEFAULT_FILE}].",
)
@click.option(
    "--key", "key_file", type=click.Path(path_type=Path), help="Private key [default: the SSH agent's]."
)
@click.option("--jump", metavar="X", help="Jump host: a machine of the file, or user@host[:port].")
@click.option("--name", help="The machine's name [default: its hostname]; for a single target.")
@click.option(
    "--known-hosts",
    type=click.Path(path_type=Path),
    help="Where host keys are looked up and recorded [default: ~/.ssh/known_hosts].",
)
@click.option(
    "--accept-host-keys",
    is_flag=True,
    help="Record unknown host keys (their fingerprints are shown) unasked.",
)
@click.pass_context
def add(
    ctx: click.Context,
    targets: tuple[str, ...],
    env_file: Path | None,
    key_file: Path | None,
    jump: str | None,
    name: str | None,
    known_hosts: Path | None,
    accept_host_keys: bool,
) -> None:
    """Log in to machines, ask them about themselves, and add them to an environment file.

    \b
    azreach env add azureuser@20.0.0.10 azureuser@20.0.0.11 --key ~/.ssh/id_ed25519
    azreach env add azureuser@10.0.3.4 --jump web-01 --name db-01

    Hostname, addresses, listening services, and whether sudo works go into the file; its comments and
    order stay, and a machine that it has is never overwritten. An unknown host key is recorded only
    after a yes, or with --accept-host-keys; a changed one never.

    Exit status: 0 all were added, 1 some were, 2 none was.
    """
    if name is not None and len(targets) > 1:
        raise click.UsageError("--name goes with a single target")

    from harness.doctor.env_add import Added, Wanted, add_machines
    from harness.doctor.references import parse_log_in

    path = env_file or Path(os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_FILE)
    wanted = [
        Wanted(text, parse_log_in(text), _absolute(key_file), jump, _absolute(known_hosts), name)
        for text in dict.fromkeys(targets)
    ]

    def approve(target: str, shown: ShownKey) -> bool:
        return _approve(target, shown, accept=accept_host_keys)

    results = add_machines(path, wanted, approve)
    for result in results:
        _print(result)
    added = sum(isinstance(result, Added) for result in results)
    if added:
        click.echo(f"{path}: {_count(added, 'machine')} added; next: azreach doctor --env {path}")
    ctx.exit(0 if added == len(results) else 1 if added else WRONG)


def _approve(target: str, shown: ShownKey, *, accept: bool) -> bool:
    """Shows the fingerprint in any case; only a person at a terminal or the option says yes."""
    from harness.text import plain
    from harness.transport.known_hosts import fingerprint

    key = plain(f"{shown.name} shows the host key {shown.key_type} {fingerprint(shown.key)}")
    click.echo(f"{plain(target)}: {key}", err=True)
    if accept:
        click.echo(f"  accepted, and recorded in {plain(str(shown.file))}", err=True)
        return True
    if not sys.stdin.isatty():
        return False
    return click.confirm(
        "  Is this the machine's own key, and shall it be recorded?", default=False, err=True
    )


def _print(result: Added | NotAdded) -> None:
    from harness.doctor.env_add import NotAdded
    from harness.text import plain

    if isinstance(result, NotAdded):
        for number, line in enumerate(result.why.splitlines()):
            named = line if number or line.startswith(f"{result.text}: ") else f"{result.text}: {line}"
            click.echo(plain(named), err=True)
        return
    entry = result.entry
    services = ", ".join(
        f"{item['port']}/{item.get('protocol', 'tcp')}" for item in entry.get("services", ())
    )
    parts = [
        f"added {result.name} ({result.text})",
        ", ".join(entry.get("addresses", ())) or "no address",
        f"services {services}" if services else "no service",
        *(["root by sudo"] if "become" in entry else []),
    ]
    click.echo(plain("; ".join(parts)))


def _absolute(path: Path | None) -> Path | None:
    return path.expanduser().absolute() if path is not None else None


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"
