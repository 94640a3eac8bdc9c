"""How glibc keeps the memory of large bodies and arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

MOST_BYTES = 2**25
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_freed_memory(size: int, environ: Mapping[str, str]) -> None:
    """Keep so many freed bytes, at most `MOST_BYTES`, for the next body, if the environment does not say otherwise.

    Else glibc returns the memory of each body to the kernel, and getting it again page by page takes longer than to
    read the body. For the size of single allocations this is what glibc itself comes to after it has freed a large one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl and macOS have none
    if mallopt is None or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in environ):
        return
    mallopt(_MMAP_THRESHOLD, MOST_BYTES)
    mallopt(_TRIM_THRESHOLD, min(size, MOST_BYTES))
