"""``azreach probe A B:PORT/PROTOCOL``: real traffic, what came of it, and when; no judgement."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import environment_options, schedule_options, timeout_option

if TYPE_CHECKING:
    from harness.agent.client import Agent
    from harness.model import Flow
    from harness.probe.path_mtu import PathMtu
    from harness.probe.result import Attempt, ProbeResult

HEALTHY, FAULT, INCONCLUSIVE = 0, 1, 3

SHOWN_OUTAGES = 20


@click.command()
@click.argument("source")
@click.argument("target", metavar="TARGET:PORT/PROTOCOL")
@environment_options
@schedule_options
@timeout_option
@click.option(
    "--path-mtu", is_flag=True, help="Find the largest packet that gets through, and who says so, instead."
)
@click.option("--ipv6", is_flag=True, help="Use the IPv6 addresses of both ends.")
@click.option(
    "--allow-disruptive",
    is_flag=True,
    help="Permit a temporary UDP listener on the target, as proof of delivery.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on standard output, and nothing else there."
)
@click.pass_context
def probe(
    ctx: click.Context,
    source: str,
    target: str,
    env_file: Path | None,
    lab: str | None,
    count: int | None,
    duration: float | None,
    interval: float | None,
    timeout: float,
    path_mtu: bool,
    ipv6: bool,
    allow_disruptive: bool,
    as_json: bool,
) -> None:
    """Send real traffic from SOURCE to TARGET and say what came of it.

    \b
    azreach probe web-01 db-01:1433/tcp
    azreach probe web-01 db-01:1433/tcp --duration 600 --interval 0.5     does it come and go, and when?
    azreach probe web-01 db-01:1433/tcp --path-mtu

    Exit status: 0 it gets through, 1 it does not (or not every time), 2 wrong use or an
    unreachable source, 3 sent, but nobody could confirm that it arrived (UDP). With
    --path-mtu: 1 a black hole, 3 nothing answered.
    """
    from harness.commands.options import chosen_environment
    from harness.diagnosis.azure_view import AzureView
    from harness.diagnosis.ends import Ends
    from harness.probe.flow import probe_flow
    from harness.probe.repeat import Schedule, repeat
    from harness.report.progress import progress
    from harness.target import parse_flow
    from harness.transport.session import Sessions

    flow = parse_flow(source, target, family=6 if ipv6 else None)
    environment = chosen_environment(env_file, lab)
    permitted = allow_disruptive or environment.allow_disruptive
    schedule = Schedule(count, duration, interval)
    if path_mtu and (count, duration, interval) != (None, None, None):
        raise click.UsageError("--path-mtu is one measurement: no --count, --duration or --interval")
    with progress(f"probing {flow}") as said, Sessions(environment) as sessions:
        ends = Ends(environment, sessions, AzureView(environment))
        agent, party = ends.reach(flow)
        address = str(ends.address(party, flow.family))
        if path_mtu:
            found = _path_mtu(agent, party.agent, address, timeout, permitted)
        else:
            result = repeat(
                lambda: probe_flow(
                    flow, agent, party.agent, address, timeout=timeout, allow_disruptive=permitted
                ),
                schedule,
                heard=_counter(said),
            )
    if path_mtu:
        ctx.exit(_show_path_mtu(flow, found, as_json))
    ctx.exit(_show(flow, address, result, as_json))


def _show(flow: Flow, address: str, result: ProbeResult, as_json: bool) -> int:
    from harness.model import Outcome
    from harness.text import plain

    if as_json:
        from harness.report.documents import probe_document

        click.echo(probe_document(flow, address, result).model_dump_json(indent=2))
    else:
        times = f", {result.rtt_ms:.2f} ms" if result.rtt_ms is not None else ""
        tries = f", {result.successes} of {result.attempts}" if result.attempts > 1 else ""
        detail = f" ({result.detail})" if result.detail else ""
        click.echo(plain(f"{flow} ({address}): {result.outcome}{tries}{times}{detail}"))
        for line in _outage_lines(result) if result.attempts > 1 else ():
            click.echo(plain(line))
    if result.outcome is Outcome.UNCONFIRMED:
        return INCONCLUSIVE
    return HEALTHY if result.outcome.success else FAULT


def _outage_lines(result: ProbeResult) -> list[str]:
    """When it failed, by the source's own clock."""
    from harness.probe.result import outages

    found = outages(result.tries)
    lines = []
    for outage in found[:SHOWN_OUTAGES]:
        kinds = ", ".join(outage.outcomes)
        first, last = _stamp(outage.first), _stamp(outage.last)
        when = f"at {first}" if outage.count == 1 else f"from {first} to {last}: {outage.count} in a row"
        lines.append(f"  failed {when}: {kinds}")
    if len(found) > SHOWN_OUTAGES:
        lines.append(f"  and {len(found) - SHOWN_OUTAGES} more times (--json has all)")
    return lines


def _stamp(moment: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment)) + f"{moment % 1:.3f}Z"[1:]
    except (OverflowError, ValueError, OSError):
        return f"{moment:.3f}"


def _counter(said: Callable[[str], None]) -> Callable[[Attempt, int], None]:
    """Live progress: how many of how many failed so far."""
    failed = 0

    def heard(attempt: Attempt, number: int) -> None:
        nonlocal failed
        failed += not attempt.outcome.success
        if number > 1:
            said(f"{number} attempts, {failed} failed, the last {attempt.outcome}")

    return heard


def _path_mtu(source: Agent, target: Agent | None, address: str, timeout: float, permitted: bool) -> PathMtu:
    from harness.probe.path_mtu import path_mtu

    return path_mtu(source, address, target=target, timeout=min(timeout, 5.0), allow_disruptive=permitted)


def _show_path_mtu(flow: Flow, found: PathMtu, as_json: bool) -> int:
    from harness.probe.path_mtu import Verdict
    from harness.report.paths import path_mtu_document
    from harness.text import plain

    if as_json:
        click.echo(path_mtu_document(flow, found).model_dump_json(indent=2))
    else:
        click.echo(plain(f"{flow} ({found.address}): path MTU {found.text}"))
    return {Verdict.BLACK_HOLE: FAULT, Verdict.UNKNOWN: INCONCLUSIVE}.get(found.verdict, HEALTHY)
