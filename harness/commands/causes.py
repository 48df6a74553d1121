"""``azreach causes [CAUSE]``: the taxonomy of failure causes."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("cause", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def causes(cause: str | None, as_json: bool) -> None:
    """Why a VM cannot reach another: every cause, how it is recognised, and its fix.

    CAUSE is a step (nsg-udr), a cause (nsg-udr/route-to-none) or its last part (route-to-none).
    """
    from harness.model import Step
    from harness.taxonomy import STEP_TITLES, TAXONOMY, CauseInfo, causes_of, find_cause

    if cause is None:
        rows: tuple[CauseInfo, ...] = tuple(TAXONOMY.values())
    elif cause in {step.value for step in Step}:
        rows = causes_of(Step(cause))
    else:
        rows = (find_cause(cause),)
    if as_json:
        document = [
            {
                "cause": row.cause.value,
                "step": row.cause.step.value,
                "explanation": row.explanation,
                "recognised_by": row.recognised_by,
                "fix": list(row.fix),
            }
            for row in rows
        ]
        click.echo(json.dumps(document, indent=2))
        return
    if cause is not None:
        for row in rows:
            click.echo(f"{row.cause}\n  {row.explanation}\n  recognised by: {row.recognised_by}\n  fix:")
            for line in row.fix:
                click.echo(f"    {line}")
        if not rows:
            click.echo(f"step {STEP_TITLES[Step(cause)]}: no cause of this step is diagnosed yet")
        return
    width = max(len(row.cause.value) for row in rows)
    for step in Step:
        here = [row for row in rows if row.cause.step is step]
        if here:
            click.echo(f"\nstep {STEP_TITLES[step]}  ({step})")
        for row in here:
            click.echo(f"  {row.cause:<{width}}  {row.explanation}")
    click.echo("\n`azreach causes CAUSE` shows how a cause is recognised and mended.")
