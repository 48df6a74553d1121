"""Live progress of a matrix on standard error: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from harness.matrix.survey import Advance


@contextlib.contextmanager
def progress_bar(total: int) -> Iterator[Advance]:
    """A bar of ``total`` flows; the function that it gives moves it on."""
    if not sys.stderr.isatty():
        yield lambda flows: None  # noqa: ARG005 - nobody is watching
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("asking"), BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("asking", total=total)
        yield lambda flows: bar.advance(task, flows)
