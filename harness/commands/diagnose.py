"""``azreach diagnose A B:PORT/PROTOCOL``: why can A not reach B?"""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.options import environment_options, schedule_options, timeout_option

EXIT = {"healthy": 0, "fault": 1, "inconclusive": 3}


@click.command()
@click.argument("source")
@click.argument("target", metavar="TARGET:PORT/PROTOCOL")
@environment_options
@schedule_options
@click.option("--ipv6", is_flag=True, help="Use the IPv6 addresses of both ends.")
@timeout_option
@click.option(
    "--allow-disruptive",
    is_flag=True,
    help="Permit what changes a machine for a moment (a temporary listener).",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on standard output, and nothing else there."
)
@click.pass_context
def diagnose(
    ctx: click.Context,
    source: str,
    target: str,
    env_file: Path | None,
    lab: str | None,
    count: int | None,
    duration: float | None,
    interval: float | None,
    ipv6: bool,
    timeout: float,
    allow_disruptive: bool,
    as_json: bool,
) -> None:
    """Why can SOURCE not reach TARGET? Real traffic, evidence from both ends, the cause, the fix.

    \b
    azreach diagnose web-01 db-01:1433/tcp --env prod.yaml
    azreach diagnose web-01 dns-01:53/udp --lab three-tier --json
    azreach diagnose web-01 db-01:1433/tcp --count 100     does it work every time?

    Exit status: 0 healthy, 1 a fault, 2 wrong use or unreachable machines, 3 inconclusive.
    """
    from harness.commands.options import chosen_environment
    from harness.diagnosis.diagnoser import Diagnoser
    from harness.probe.repeat import Schedule
    from harness.report.progress import progress
    from harness.target import parse_flow

    flow = parse_flow(source, target, family=6 if ipv6 else None)
    environment = chosen_environment(env_file, lab)
    repeated = Schedule(count, duration, interval) if count is not None or duration is not None else None
    with (
        progress(f"diagnosing {flow}") as said,
        Diagnoser(
            environment,
            allow_disruptive=allow_disruptive or None,
            timeout=timeout,
            progress=said,
            schedule=repeated,
        ) as diagnoser,
    ):
        diagnosis = diagnoser.diagnose(flow)
    if as_json:
        from harness.report.documents import diagnosis_document

        click.echo(diagnosis_document(diagnosis).model_dump_json(indent=2))
    else:
        from harness.report.terminal import print_diagnosis

        print_diagnosis(diagnosis)
    ctx.exit(EXIT[diagnosis.verdict.value])
