"""Live progress on standard error: a spinner on a terminal, nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from harness.text import plain


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[str], None]]:
    """A spinner with ``title``; the function that it gives shows what is being done now."""
    if not sys.stderr.isatty():
        yield lambda what: None  # noqa: ARG005 - nobody is watching
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(plain(title))) as status:
        yield lambda what: status.update(Text(plain(f"{title}: {what}")))
