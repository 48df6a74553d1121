"""``azreach probe A B:PORT/PROTOCOL``: real traffic, what came of it, no judgement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import environment_options

if TYPE_CHECKING:
    from harness.agent.client import Agent
    from harness.model import Flow
    from harness.probe.result import ProbeResult

HEALTHY, FAULT, INCONCLUSIVE = 0, 1, 3


@click.command()
@click.argument("source")
@click.argument("target", metavar="TARGET:PORT/PROTOCOL")
@environment_options
@click.option(
    "--count", type=click.IntRange(1, 10000), default=1, show_default=True, help="How many attempts."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.05, 60),
    default=2.0,
    show_default=True,
    help="Seconds of silence that count as no answer.",
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
    count: int,
    timeout: float,
    ipv6: bool,
    allow_disruptive: bool,
    as_json: bool,
) -> None:
    """Send real traffic from SOURCE to TARGET and say what came of it.

    Exit status: 0 it gets through, 1 it does not (or not every time), 2 wrong use or an
    unreachable source, 3 sent, but nobody could confirm that it arrived (UDP).
    """
    from harness.commands.options import chosen_environment
    from harness.diagnosis.azure_view import AzureView
    from harness.diagnosis.ends import Ends
    from harness.model import Outcome
    from harness.report.progress import progress
    from harness.report.text import plain
    from harness.target import parse_flow
    from harness.transport.session import Sessions

    flow = parse_flow(source, target, family=6 if ipv6 else None)
    environment = chosen_environment(env_file, lab)
    permitted = allow_disruptive or environment.allow_disruptive
    with progress(f"probing {flow}"), Sessions(environment) as sessions:
        ends = Ends(environment, sessions, AzureView(environment))
        agent, party = ends.reach(flow)
        address = str(ends.address(party, flow.family))
        result = _probe(flow, agent, party.agent, address, count, timeout, permitted)
    if as_json:
        from harness.report.documents import probe_document

        click.echo(probe_document(flow, address, result).model_dump_json(indent=2))
    else:
        times = f", {result.rtt_ms:.2f} ms" if result.rtt_ms is not None else ""
        tries = f", {result.successes} of {result.attempts}" if result.attempts > 1 else ""
        detail = f" ({result.detail})" if result.detail else ""
        click.echo(plain(f"{flow} ({address}): {result.outcome}{tries}{times}{detail}"))
    if result.outcome is Outcome.UNCONFIRMED:
        ctx.exit(INCONCLUSIVE)
    ctx.exit(HEALTHY if result.outcome.success else FAULT)


def _probe(
    flow: Flow, source: Agent, target: Agent | None, address: str, count: int, timeout: float, permitted: bool
) -> ProbeResult:
    from harness.model import Protocol
    from harness.probe.icmp import probe_icmp
    from harness.probe.tcp import probe_tcp
    from harness.probe.udp import probe_udp

    if flow.protocol is Protocol.ICMP:
        return probe_icmp(source, address, count=count, timeout=timeout)
    assert flow.port is not None
    if flow.protocol is Protocol.TCP:
        return probe_tcp(source, address, flow.port, count=count, timeout=timeout)
    return probe_udp(
        source, address, flow.port, target=target, count=count, timeout=timeout, allow_disruptive=permitted
    )
