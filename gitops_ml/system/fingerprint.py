"""The sha256 of a file."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from gitops_ml.system.project_files import open_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_BUFFER = 1 << 20


def file_fingerprint(path: Path, *, inside: Sequence[Path] = ()) -> str:
    """The sha256 hex of a regular file's bytes, in constant memory; see `read_file` for ``inside``.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open_file(path, inside=inside) as file:
        # small files are many: do not clear a megabyte for each
        view = memoryview(bytearray(min(_BUFFER, os.fstat(file.fileno()).st_size + 1)))
        while size := file.readinto(view):
            digest.update(view[:size])
    return digest.hexdigest()
