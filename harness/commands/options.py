"""Options that several commands share: which environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from harness.environment import Environment

Function = TypeVar("Function", bound=Callable[..., Any])


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


def chosen_environment(env_file: Path | None, lab: str | None) -> Environment:
    """The environment that the options mean; raises InputError."""
    from harness.environment import load_environment
    from harness.lookup import environment_path

    return load_environment(environment_path(env_file, lab))
