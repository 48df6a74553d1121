"""``azreach traceroute A B:PORT/PROTOCOL``: the hops that this flow's packets pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import environment_options

if TYPE_CHECKING:
    from harness.diagnosis.azure_view import AzureView
    from harness.environment import Environment

REACHED, NOT_REACHED = 0, 1


@click.command()
@click.argument("source")
@click.argument("target", metavar="TARGET:PORT/PROTOCOL")
@environment_options
@click.option(
    "--max-hops", type=click.IntRange(1, 255), default=30, show_default=True, help="The highest TTL to try."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.05, 60),
    default=1.0,
    show_default=True,
    help="Seconds to wait for the answers of one wave of probes.",
)
@click.option("--ipv6", is_flag=True, help="Use the IPv6 addresses of both ends.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on standard output, and nothing else there."
)
@click.pass_context
def traceroute(
    ctx: click.Context,
    source: str,
    target: str,
    env_file: Path | None,
    lab: str | None,
    max_hops: int,
    timeout: float,
    ipv6: bool,
    as_json: bool,
) -> None:
    """Show the hops from SOURCE to TARGET, by packets of the flow's own protocol and port.

    \b
    azreach traceroute app-01 db-01:1433/tcp --env prod.yaml

    Azure's fabric is no hop: what is seen are appliances and what lies beyond gateways. Needs root
    (or CAP_NET_RAW) on SOURCE. Exit status: 0 the target answered, 1 it did not, 2 wrong use or
    an unreachable source, 3 the source may not send such packets.
    """
    from harness.commands.options import chosen_environment
    from harness.diagnosis.azure_view import AzureView
    from harness.diagnosis.ends import Ends
    from harness.model import Outcome
    from harness.probe.traceroute import traceroute as trace_path
    from harness.report.paths import trace_document, trace_lines
    from harness.report.progress import progress
    from harness.target import parse_flow
    from harness.text import plain
    from harness.transport.session import Sessions

    flow = parse_flow(source, target, family=6 if ipv6 else None)
    environment = chosen_environment(env_file, lab)
    azure = AzureView(environment)
    with progress(f"tracing {flow}"), Sessions(environment) as sessions:
        ends = Ends(environment, sessions, azure)
        agent, party = ends.reach(flow)
        address = str(ends.address(party, flow.family))
        trace = trace_path(
            agent, address, protocol=flow.protocol, port=flow.port, max_hops=max_hops, timeout=timeout
        )
    names = _machine_names(environment, azure)
    if as_json:
        click.echo(trace_document(flow, trace, names).model_dump_json(indent=2))
    else:
        for line in trace_lines(flow, trace, names):
            click.echo(plain(line))
    end = trace.hops[-1] if trace.hops else None
    reached = trace.outcome is not Outcome.TIMEOUT and end is not None and end.address == address
    ctx.exit(REACHED if reached else NOT_REACHED)


def _machine_names(environment: Environment, azure: AzureView) -> dict[str, str]:
    """Address -> the machine of the environment that has it."""
    return {
        str(address): name
        for name, machine in environment.machines.items()
        for address in (machine.addresses or azure.addresses(name, machine))
    }
