"""``azreach lint``: what is wrong with a network's configuration that no flow needs asking for.

Only arguments and printing; the checks are :mod:`harness.lint`'s. Exit status 0 clean, 1 findings of
the severity that counts; errors (status 2) are printed by the command group.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import chosen_policy, loaded, policy_options

if TYPE_CHECKING:
    from harness.lint.finding import Check, LintFinding

SEVERITIES = ("error", "warning", "note")
NEVER = "never"
STDOUT = Path("-")


@click.command()
@click.argument("network", metavar="[NETWORK]", type=click.Path(path_type=Path), required=False)
@click.option("--select", multiple=True, metavar="ID", help="Only this check or family (nsg); repeatable.")
@click.option("--ignore", multiple=True, metavar="ID", help="Not this check or family; repeatable.")
@click.option("--list", "listing", is_flag=True, help="List the checks with their severities, and end.")
@click.option(
    "--fail-on",
    type=click.Choice([*SEVERITIES, NEVER]),
    default="warning",
    show_default=True,
    help="The least severe finding that makes the exit status 1.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option(
    "--sarif",
    "sarif_file",
    type=click.Path(path_type=Path),
    help="Write SARIF 2.1.0 for code scanning to this file (- is standard output).",
)
@policy_options
@click.pass_context
def lint(
    context: click.Context,
    network: Path | None,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    listing: bool,
    fail_on: str,
    as_json: bool,
    sarif_file: Path | None,
    assumptions: tuple[str, ...],
    service_tags_file: Path | None,
) -> None:
    """What is wrong with the configuration in NETWORK, whatever the flow?

    Rules that never decide, management ports open to the Internet, dead routes and peerings,
    asymmetric paths, missing outbound methods, overlapping spaces: each with object, reason and fix.
    With --service-tags rules are compared by the tags' addresses, too.

    NETWORK is a snapshot {"resources": [...]} of ARM resources as GET returns them, what `az ... list`
    prints, an exported template, `terraform show -json` of a plan or a state, or a lab file. Exit status:
    0 nothing found that counts (see --fail-on), 1 findings, 2 wrong input.
    """
    from harness.lint.registry import chosen
    from harness.lint.registry import lint as judge

    if as_json and sarif_file == STDOUT:
        raise click.UsageError("--json and --sarif - both want standard output")
    checks = chosen(select, ignore)
    if listing:
        _list(checks, as_json)
        return
    if network is None:
        raise click.UsageError("Missing argument 'NETWORK'.")

    if sarif_file not in (None, STDOUT):
        from harness.outfile import check_writable

        check_writable(sarif_file)
    options, service_tags = chosen_policy(assumptions, service_tags_file)

    from harness.policy.compiled import Compiled

    findings = judge(Compiled(loaded(network, service_tags), options, service_tags), checks)
    if sarif_file is not None:
        _write_sarif(findings, checks, network, sarif_file)
    if as_json:
        _print_json(findings)
    elif sarif_file != STDOUT:
        from rich.console import Console

        from harness.lint.show import print_findings

        print_findings(Console(highlight=False, soft_wrap=True), findings)
    counted = SEVERITIES[: SEVERITIES.index(fail_on) + 1] if fail_on != NEVER else ()
    context.exit(1 if any(item.severity.value in counted for item in findings) else 0)


def _list(checks: Sequence[Check], as_json: bool) -> None:
    if as_json:
        import json

        rows = [
            {
                "id": item.id,
                "severity": item.severity.value,
                "title": item.title,
                "description": item.description,
            }
            for item in checks
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console

    from harness.lint.show import print_checks

    print_checks(Console(highlight=False, soft_wrap=True), checks)


def _print_json(findings: Sequence[LintFinding]) -> None:
    import json

    from harness.lint.document import to_json

    # ASCII only: whatever a name holds, the terminal and the reader's encoding are safe from it
    click.echo(json.dumps(to_json(findings), indent=2))


def _write_sarif(
    findings: Sequence[LintFinding], checks: Sequence[Check], network: Path, target: Path
) -> None:
    import json

    from harness.lint.sarif import to_sarif
    from harness.network.jsonfile import read_text

    files = sorted(network.glob("*.json")) if network.is_dir() else [network]
    document = json.dumps(to_sarif(findings, checks, {path: read_text(path) for path in files}), indent=2)
    if target == STDOUT:
        click.echo(document)
    else:
        from harness.outfile import writing

        with writing(target) as stream:
            stream.write(f"{document}\n")
