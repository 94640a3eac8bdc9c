"""What hostile input may cost: work that is linear in its size, on a machine of any load."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 5.0
"""CPU time. Linear work takes less than one; a second thread of the same core, or caches that others use, triple
it. What these tests guard against takes minutes."""


@contextmanager
def costs_little() -> Iterator[None]:
    """Fail if the work inside takes more CPU time."""
    before = time.process_time()
    yield
    used = time.process_time() - before
    assert used < SECONDS, f"took {used:.1f} s of CPU"
