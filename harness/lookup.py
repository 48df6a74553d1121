"""Finds the environment file that a user means: a path, $AZREACH_ENV, or the name of a lab.

Packages that keep environments by name join through the entry-point group
``azreach.environments``: a function that returns a mapping of names to files.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from pathlib import Path

from harness.errors import InputError, UnknownNameError

ENVIRONMENT_VARIABLE = "AZREACH_ENV"


def named_file(file: Path | None, lab: str | None) -> Path | None:
    """The file that is named by path, by lab or by $AZREACH_ENV; None if none is. Raises InputError."""
    if file is not None and lab is not None:
        raise InputError("--env and --lab exclude each other")
    if file is not None:
        return file
    if lab is not None:
        labs = _by_name()
        if lab not in labs:
            running = ", ".join(labs) or "none"
            raise UnknownNameError(
                f"no lab '{lab}' is running", hint=f"running: {running}; `azreach lab up FILE --name {lab}`"
            )
        return labs[lab]
    given = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(given) if given else None


def environment_path(file: Path | None, lab: str | None) -> Path:
    """As :func:`named_file`, or the one running lab; raises InputError where nothing is meant, or several."""
    if (named := named_file(file, lab)) is not None:
        return named
    labs = _by_name()
    if len(labs) == 1:
        return next(iter(labs.values()))
    running = f" (running: {', '.join(labs)})" if labs else ", or raise one: `azreach lab up three-tier`"
    raise InputError("no environment is named", hint=f"give --env FILE, or --lab NAME{running}")


def _by_name() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for point in entry_points(group="azreach.environments"):
        found.update(point.load()())
    return found
