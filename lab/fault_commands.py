"""``azreach lab faults | break | mend``: faults of a running lab."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.model import Flow
    from lab.client import Lab


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def faults(name: str | None, as_json: bool) -> None:
    """The faults that can be injected; with NAME, those that stand in that lab now."""
    from lab import journal
    from lab.client import Lab
    from lab.faults import FAULTS

    if name is None:
        rows = [(fault.name, fault.summary) for fault in FAULTS.values()]
    else:
        rows = [(entry.fault, str(entry.flow)) for entry in journal.entries(Lab.open(name))]
    if as_json:
        second = "summary" if name is None else "flow"
        click.echo(json.dumps([{"fault": fault, second: text} for fault, text in rows], indent=2))
        return
    width = max((len(fault) for fault, _ in rows), default=0)
    for fault, text in rows:
        click.echo(f"{fault:<{width}}  {text}")


@click.command("break")
@click.argument("name")
@click.argument("fault")
@click.option("--from", "source", help="The source VM [default: that of the lab's first allowed flow].")
@click.option("--to", "target", metavar="VM:PORT/PROTOCOL", help="The target [default: as above].")
@click.option("--ipv6", is_flag=True, help="The IPv6 addresses of both.")
def break_(name: str, fault: str, source: str | None, target: str | None, ipv6: bool) -> None:
    """Inject FAULT into the running lab NAME, for one of its flows."""
    from harness.errors import InputError
    from harness.target import parse_flow
    from lab import journal
    from lab.client import Lab
    from lab.faults import find_fault

    find_fault(fault)
    lab = Lab.open(name)
    if (source is None) != (target is None):
        raise InputError("give both --from and --to, or neither")
    if source is not None and target is not None:
        flow = parse_flow(source, target, family=6 if ipv6 else None)
    else:
        flow = _first_allowed(lab)
    journal.make(lab, fault, flow)
    click.echo(f"{name}: {fault} for {flow}")


def _first_allowed(lab: Lab) -> Flow:
    from harness.environment import Expectation, load_environment
    from harness.errors import InputError
    from harness.model import Protocol

    declared = load_environment(lab.environment_path).expected_flows()
    allowed = [
        item.flow
        for item in declared
        if item.expect is Expectation.ALLOW and item.flow.protocol is Protocol.TCP
    ]
    if not allowed:
        raise InputError(
            f"lab '{lab.name}' declares no allowed tcp flow", hint="name one: --from VM --to VM:PORT/tcp"
        )
    return allowed[0]


@click.command()
@click.argument("name")
@click.argument("fault", required=False)
def mend(name: str, fault: str | None) -> None:
    """Take FAULT back, or everything that was broken in the lab NAME."""
    from lab import journal
    from lab.client import Lab

    mended = journal.mend(Lab.open(name), fault)
    for entry in mended:
        click.echo(f"{name}: mended {entry.fault} for {entry.flow}")
    if not mended:
        click.echo(f"{name}: nothing to mend")
