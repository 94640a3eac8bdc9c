"""What every input may cost at most: time and memory that are linear in its length."""

from __future__ import annotations

import resource
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Far above what linear work takes, also with the fuzzer's instruments: what is quadratic, or makes
# gigabytes out of a line, is above them by orders of magnitude.
_SECONDS, _SECONDS_A_BYTE = 3.0, 1e-3
_KIB, _BYTES_A_BYTE = 100 << 10, 400


class TooExpensive(AssertionError):
    """An input cost more than linear work would."""


@contextmanager
def bounded(data: bytes) -> Iterator[None]:
    """Hold the work on ``data`` to the bounds.

    Raises:
        TooExpensive: it took too much CPU time, or raised the peak of memory too far.
    """
    peak, started = _peak(), time.process_time()
    yield
    seconds, grown = time.process_time() - started, _peak() - peak
    if seconds > _SECONDS + _SECONDS_A_BYTE * len(data):
        raise TooExpensive(f"{seconds:.1f} s of CPU for {len(data)} bytes")
    if grown > _KIB + (_BYTES_A_BYTE * len(data) >> 10):
        raise TooExpensive(f"{grown >> 10} MiB for {len(data)} bytes")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
