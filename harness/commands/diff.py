"""``azreach diff``: which flows open and which close between two networks.

Only arguments and printing; the answer is :mod:`harness.policy.difference`'s. Exit status 0 if no
flow changes, 1 if one does, 2 if something cannot be told and nothing that can be told changes; errors
(status 2, too) are printed by the command group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import chosen_policy, policy_options, say_undefined_tags, say_unmodelled
from harness.errors import InputError

if TYPE_CHECKING:
    from harness.flows import FileFlow
    from harness.policy.difference import Difference, FlowChange


@click.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option(
    "--flows", "flows_file", type=click.Path(path_type=Path),
    help="Only these flows: a CSV file with the columns from,to,protocol,port (- is standard input).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@policy_options
@click.pass_context
def diff(
    context: click.Context,
    before: Path,
    after: Path,
    flows_file: Path | None,
    as_json: bool,
    assumptions: tuple[str, ...],
    service_tags_file: Path | None,
) -> None:
    """Which flows does the change from BEFORE to AFTER open or close, and by which rule?

    BEFORE and AFTER are networks in any form that `azreach explain` reads; a Terraform plan
    (`terraform show -json plan`) as AFTER guards a pull request.

    Machines and rules are the same where their ARM ids are. Where each side is in one subscription, AFTER
    is read as if it were in that of BEFORE; so is what a plan is to make, whose subscription it does not
    tell. A machine that is new opens flows, one that is gone closes them.

    Exit status: 0 no flow changes, 1 some do, 2 wrong input, or (all others unchanged) some cannot be told.
    """
    options, service_tags = chosen_policy(assumptions, service_tags_file)

    from harness.network.load import load_sources
    from harness.network.snapshot import network_from_sources
    from harness.network.subscriptions import in_one_subscription
    from harness.policy.changes import ObjectChangeKind
    from harness.policy.difference import Difference
    from harness.report import differences
    from harness.text import plain

    asked = None
    if flows_file is not None:
        from harness.flows import read_flows

        asked = read_flows(flows_file)
    sources = load_sources(before), load_sources(after)
    old, new, notes = in_one_subscription(*sources)
    for note in (*(note for side in sources for source in side for note in source.notes), *notes):
        click.echo(f"note: {plain(note)}", err=True)
    networks = (
        network_from_sources(old, plain(str(before))),
        network_from_sources(new, plain(str(after))),
    )
    say_unmodelled(networks[1])
    say_undefined_tags(networks[1], service_tags)
    difference = Difference(*networks, options=options, service_tags=service_tags)
    gone = sum(change.kind is ObjectChangeKind.REMOVED for change in difference.objects)
    if gone:
        click.echo(
            f"note: {gone} objects of BEFORE are not in AFTER and count as removed: AFTER must hold the whole"
            " network, what Terraform does not manage included (as data sources)",
            err=True,
        )
    found = difference.changes() if asked is None else list(_of_file(difference, asked))
    for why in difference.unknown:
        click.echo(f"not compared: {plain(why)}", err=True)
    if as_json:
        differences.print_json(found, difference.objects, difference.unknown)
    else:
        differences.print_text(found, difference.objects, difference.unknown)
    if found:
        context.exit(1)
    context.exit(2 if difference.unknown else 0)


def _of_file(difference: Difference, asked: Iterable[FileFlow]) -> Iterator[FlowChange]:
    """The flows of a file that change; an error names the line."""
    for item in asked:
        try:
            found = difference.of(item.flow)
        except InputError as error:
            raise type(error)(f"{item.place}: {error.message}", hint=error.hint) from error
        if found is not None:
            yield found
