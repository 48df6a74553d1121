"""``azreach explain``: what a snapshot's configuration says of one flow.

Only arguments and printing; the answer is :mod:`harness.policy`'s. Exit status 0 for allow,
1 for deny; errors (status 2) are printed by the command group.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from harness.policy.decision import Decision, Explanation

PROTOCOLS = ("tcp", "udp", "icmp")


@click.command()
@click.argument("snapshot", type=click.Path(path_type=Path))
@click.option("--from", "source", required=True, metavar="A", help="VM name, IP address or ARM id.")
@click.option("--to", "target", required=True, metavar="B", help="VM name, IP address or ARM id.")
@click.option(
    "--protocol", type=click.Choice(PROTOCOLS, case_sensitive=False), default="tcp", show_default=True
)
@click.option("--port", type=click.IntRange(1, 65535), help="Destination port; none for icmp.")
@click.option(
    "--source-port",
    type=click.IntRange(1, 65535),
    default=49152,
    show_default=True,
    help="For rules that ask it.",
)
@click.option(
    "--family", type=click.Choice(["4", "6"]), help="IP version, where a name has addresses of both."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.pass_context
def explain(
    context: click.Context,
    snapshot: Path,
    source: str,
    target: str,
    protocol: str,
    port: int | None,
    source_port: int,
    family: str | None,
    as_json: bool,
) -> None:
    """Does the configuration in SNAPSHOT let A reach B, and which rule or route decides?

    SNAPSHOT is a JSON file {"resources": [...]} of ARM resources as GET returns them. Every
    decision on the way is listed, forward and return. Exit status: 0 allow, 1 deny.
    """
    protocol = protocol.lower()
    if protocol == "icmp" and port is not None:
        raise click.UsageError("--port does not go with --protocol icmp")
    if protocol != "icmp" and port is None:
        raise click.UsageError(f"--protocol {protocol} needs --port")

    from harness.model import Flow, Protocol
    from harness.network.snapshot import load_snapshot
    from harness.policy.explain import explain as judge

    flow = Flow(source, target, Protocol(protocol), port, int(family) if family else None)
    explanation = judge(load_snapshot(snapshot), flow, source_port=source_port)
    if as_json:
        _print_json(explanation)
    else:
        from rich.console import Console

        _print(Console(highlight=False, soft_wrap=True), explanation)
    context.exit(0 if explanation.allowed else 1)


def _print_json(explanation: Explanation) -> None:
    import json

    from harness.policy.document import to_json

    # ASCII only: whatever a name holds, the terminal and the reader's encoding are safe from it
    click.echo(json.dumps(to_json(explanation), indent=2))


def _print(console: Console, explanation: Explanation) -> None:
    """Lines, not a table: a rule's name is never cut, whatever the width."""
    from rich.text import Text

    from harness.text import plain

    def line(*parts: tuple[str, str]) -> None:
        console.print(Text.assemble(*((plain(text), style) for text, style in parts)))

    colour = "bold green" if explanation.allowed else "bold red"
    addresses = f" ({explanation.source_address} -> {explanation.target_address})"
    line((explanation.verdict.upper(), colour), (f"  {explanation.flow}", "bold"), (addresses, "dim"))
    if explanation.cause is not None:
        line(("cause     ", "dim"), (explanation.cause.value, colour))
    if explanation.deciding is not None:
        line(("because   ", "dim"), (f"{explanation.deciding.where}: {explanation.deciding.why}", ""))
    if explanation.rule is not None:
        line(("rule      ", "dim"), (explanation.rule, ""))
    if explanation.route is not None:
        line(("route     ", "dim"), (str(explanation.route), ""))
    line(("decisions", "dim"))
    for number, decision in enumerate(explanation.decisions, 1):
        line(*_decision(number, decision))
    if explanation.fix:
        line(("fix", "dim"))
    for command in explanation.fix:
        line((f"  {command}", ""))


def _decision(number: int, decision: Decision) -> tuple[tuple[str, str], ...]:
    denied = decision.access.value == "Deny"
    return (
        (f"  {number:>2}. {decision.way.value:<7} ", "dim"),
        (f"{decision.access.value:<5} ", "red" if denied else "green"),
        (f"{decision.kind.value:<9} {decision.where}: {decision.why}", ""),
    )
