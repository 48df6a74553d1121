"""``azreach explain``: what a network's configuration says of one flow, or of a file of flows.

Only arguments and printing; the answer is :mod:`harness.policy`'s. Exit status 0 for allow,
1 for deny; errors (status 2) are printed by the command group.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import chosen_policy, loaded, policy_options

if TYPE_CHECKING:
    from harness.model import Flow

PROTOCOLS = ("tcp", "udp", "icmp", "esp", "ah")


@click.command()
@click.argument("network", metavar="NETWORK", type=click.Path(path_type=Path))
@click.option("--from", "source", metavar="A", help="VM name, IP address or ARM id.")
@click.option("--to", "target", metavar="B", help="VM name, IP address or ARM id.")
@click.option(
    "--protocol", type=click.Choice(PROTOCOLS, case_sensitive=False), default="tcp", show_default=True
)
@click.option("--port", type=click.IntRange(1, 65535), help="Destination port; none for icmp, esp, ah.")
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
@click.option(
    "--flows", "flows_file", type=click.Path(path_type=Path),
    help="Many flows: a CSV file with the columns from,to,protocol,port (- is standard input).",
)  # fmt: skip
@click.option("--rules", is_flag=True, help="Every rule that was asked, and why it did not match.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option("--jsonl", is_flag=True, help="With --flows: a JSON document a line for each flow.")
@policy_options
@click.pass_context
def explain(
    context: click.Context,
    network: Path,
    source: str | None,
    target: str | None,
    protocol: str,
    port: int | None,
    source_port: int,
    family: str | None,
    flows_file: Path | None,
    rules: bool,
    as_json: bool,
    jsonl: bool,
    assumptions: tuple[str, ...],
    service_tags_file: Path | None,
) -> None:
    """Does the configuration in NETWORK let A reach B, and which rule or route decides?

    NETWORK is a snapshot {"resources": [...]} of ARM resources as GET returns them, what `az ... list`
    prints, an exported template, `terraform show -json` of a plan or a state, or a lab file. Every
    decision on the way is listed, forward and return. Exit status: 0 allow, 1 deny; with --flows 1 if one
    is denied, 2 if one cannot be told.
    """
    flow = _one_flow(source, target, protocol.lower(), port, family) if flows_file is None else None
    if flows_file is not None and (source or target or port is not None or as_json):
        raise click.UsageError("--flows does not go with --from, --to, --port or --json (but with --jsonl)")
    if flow is not None and jsonl:
        raise click.UsageError("--jsonl goes with --flows; one flow is printed by --json")
    if rules and (flows_file is not None or as_json):
        raise click.UsageError("--rules does not go with --flows or --json (which has them all)")
    options, service_tags = chosen_policy(assumptions, service_tags_file)

    from harness.policy.compiled import Compiled
    from harness.policy.explain import explain as judge
    from harness.report import explanations

    if flow is not None:
        view = Compiled(loaded(network, service_tags), options, service_tags)
        explanation = judge(view, flow, source_port=source_port)
        if as_json:
            explanations.print_json(explanation)
        else:
            explanations.print_one(explanation, rules=rules)
        context.exit(0 if explanation.allowed else 1)

    from harness.flows import read_flows

    assert flows_file is not None  # one of the two is given
    flows = read_flows(flows_file)
    view = Compiled(loaded(network, service_tags), options, service_tags)
    answers = explanations.answer_all(view, flows, source_port)
    context.exit(explanations.print_lines(answers) if jsonl else explanations.print_table(answers))


def _one_flow(
    source: str | None, target: str | None, protocol: str, port: int | None, family: str | None
) -> Flow:
    from harness.model import Flow, Protocol

    if source is None or target is None:
        raise click.UsageError("name the two ends with --from and --to, or a file of flows with --flows")
    kind = Protocol(protocol)
    if not kind.has_ports and port is not None:
        raise click.UsageError(f"--port does not go with --protocol {protocol}")
    if kind.has_ports and port is None:
        raise click.UsageError(f"--protocol {protocol} needs --port")
    return Flow(source, target, kind, port, int(family) if family else None)
