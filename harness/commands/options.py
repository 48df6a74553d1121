"""Options that several commands share: which environment, how often, how long to wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from harness.environment import Environment

Function = TypeVar("Function", bound=Callable[..., Any])

timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(0.05, 60),
    default=2.0,
    show_default=True,
    help="Seconds of silence that count as no answer.",
)


def environment_options(function: Function) -> Function:
    """``--env FILE`` and ``--lab NAME``."""
    function = click.option("--lab", metavar="NAME", help="A running lab: looks up its environment file.")(
        function
    )
    return click.option(
        "--env",
        "env_file",
        type=click.Path(path_type=Path),
        help="The environment file [default: $AZREACH_ENV, else the one running lab].",
    )(function)


def schedule_options(function: Function) -> Function:
    """``--count``, ``--duration`` and ``--interval``: how often a probe is made."""
    options = (
        click.option("--count", type=click.IntRange(1, 1000000), help="How many attempts  [default: 1]."),
        click.option(
            "--duration",
            type=click.FloatRange(0.001, 604800),
            help="Go on for so many seconds (Ctrl-C ends it).",
        ),
        click.option(
            "--interval",
            type=click.FloatRange(0, 3600),
            help="Seconds from one attempt to the next  [default: 1 with --duration, else 0].",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def chosen_environment(env_file: Path | None, lab: str | None) -> Environment:
    """The environment that the options mean; raises InputError."""
    from harness.environment import load_environment
    from harness.lookup import environment_path

    return load_environment(environment_path(env_file, lab))
