"""Loading without the garbage collector, which finds nothing to collect there and asks again and again.

A large snapshot is a million objects, all of which stay: traversing them took more than half of the time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Switches the cyclic garbage collector off inside, unless it is off already."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
