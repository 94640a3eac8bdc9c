"""Pause the search for reference cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Do not search for cycles in the block, which makes and drops many values that have none.

    The search takes most of the time of reading a large JSON text. Of several threads in such blocks, the
    one that paused the search resumes it.
    """
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()
