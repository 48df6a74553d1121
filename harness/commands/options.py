"""Options that several commands share: which environment, and how answers are printed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from harness.environment import Environment

Function = TypeVar("Function", bound=Callable[..., Any])

ENVIRONMENT_VARIABLE = "AZREACH_ENV"


def environment_options(function: Function) -> Function:
    """``--env FILE`` (or $AZREACH_ENV) and ``--lab NAME``."""
    function = click.option("--lab", metavar="NAME", help="A running lab: looks up its environment file.")(
        function
    )
    return click.option(
        "--env",
        "env_file",
        type=click.Path(path_type=Path),
        help=f"The environment file [default: ${ENVIRONMENT_VARIABLE}, else the one running lab].",
    )(function)


def environment_path(env_file: Path | None, lab: str | None) -> Path:
    """The environment file that the options name; raises InputError where there is none or no single one."""
    if env_file is not None and lab is not None:
        raise InputError("--env and --lab exclude each other")
    if env_file is not None:
        return env_file
    if lab is None and os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(os.environ[ENVIRONMENT_VARIABLE])
    labs = _lab_environments()
    if lab is not None:
        if lab not in labs:
            raise UnknownNameError(
                f"no lab '{lab}' is running",
                hint=f"running: {', '.join(labs) or 'none'}; `azreach lab up FILE --name {lab}`",
            )
        return labs[lab]
    if len(labs) == 1:
        return next(iter(labs.values()))
    raise InputError(
        "no environment is named",
        hint="give --env FILE, or --lab NAME"
        + (f" (running: {', '.join(labs)})" if labs else ", or raise one: `azreach lab up three-tier`"),
    )


def _lab_environments() -> dict[str, Path]:
    """Environment files by name, from the entry-point group ``azreach.environments``."""
    from importlib.metadata import entry_points

    found: dict[str, Path] = {}
    for point in entry_points(group="azreach.environments"):
        found.update(point.load()())
    return found


def chosen_environment(env_file: Path | None, lab: str | None) -> Environment:
    from harness.environment import load_environment

    return load_environment(environment_path(env_file, lab))
