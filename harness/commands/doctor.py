"""``azreach doctor``: can every machine be used, and what will not be told?"""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.options import environment_options


@click.command()
@environment_options
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on standard output, and nothing else there."
)
@click.pass_context
def doctor(ctx: click.Context, env_file: Path | None, lab: str | None, as_json: bool) -> None:
    """Can every machine be used, and what will the steps not be able to tell?

    Looks at all machines at the same time: reachable, host key, log-in, python3, privilege, tools,
    clock, captures, and whether the snapshot agrees. Every problem comes with the command that cures
    it. Nothing is changed anywhere.

    Exit status: 0 all is fine, 1 something is missing but work can be done, 2 some machine cannot be
    used at all, or a file is wrong.
    """
    from harness.commands.options import chosen_environment
    from harness.doctor.doctor import check_environment
    from harness.report.progress import progress

    environment = chosen_environment(env_file, lab)
    with progress(f"looking at {len(environment.machines)} machines") as said:
        report = check_environment(environment, progress=said)
    if as_json:
        from harness.doctor.document import doctor_document

        click.echo(doctor_document(report).model_dump_json(indent=2))
    else:
        from harness.doctor.show import print_report

        print_report(report)
    ctx.exit(report.exit_status)
