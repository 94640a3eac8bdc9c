"""Write a part of a state of the source into a folder, as the commands that read projects expect it.

Nothing of git takes part: no checkout, hook, filter, attribute or submodule. Links are written last, so
that no file is written through one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from gitops_ml.documents.yaml_reader import LARGEST_FILE
from gitops_ml.errors import UsageError
from gitops_ml.git.source_tree import LARGEST_BLOB, LINK, SourceFile, SourceRepository, SourceTree

_UNREAD = LARGEST_FILE + 1
_MOST_WRITTEN = 4 << 30
"""Bytes of the files of a state that are written. In git, many large files may take little."""


def write_tree(
    repository: SourceRepository, tree: SourceTree, paths: Iterable[str], folder: Path
) -> dict[str, int]:
    """Write the files of ``paths`` below ``folder``; returns their sizes in bytes.

    A large file is replaced by a text with its blob id: equal files stay equal, other ones differ. A document
    keeps a size that its reader refuses.

    Raises:
        UsageError: two paths exclude each other, one leaves the folder, or all are too large.
    """
    wanted = {path: tree.files[path] for path in sorted(set(paths)) if path in tree.files}
    for path in wanted:
        _refuse_bad(path)
    users: dict[str, list[str]] = {}
    for path, file in wanted.items():
        users.setdefault(file.id, []).append(path)
    stored = [id for id in users if id not in tree.local]
    sizes = {**repository.sizes(stored), **_local_sizes(tree, users)}
    small = (size for file in wanted.values() if (size := sizes.get(file.id, 0)) <= LARGEST_BLOB)
    if (total := sum(small)) > _MOST_WRITTEN:
        raise UsageError(
            f"the folders with the manifests that change have {total:,} bytes, and at most {_MOST_WRITTEN:,} are read: "
            "move data out of them"
        )
    links: list[tuple[str, bytes]] = []
    for id, content in _contents(repository, tree, users, sizes):
        for path in users[id]:
            if wanted[path].mode == LINK:
                links.append((path, content))
            else:
                least = _UNREAD if sizes.get(id, 0) > LARGEST_BLOB else 0
                _write(folder, path, content, wanted[path], least=least)
    for path, target in links:
        _link(folder, path, target)
    return {path: sizes.get(file.id, 0) for path, file in wanted.items()}


def _contents(
    repository: SourceRepository,
    tree: SourceTree,
    ids: Iterable[str],
    sizes: Mapping[str, int],
) -> Iterable[tuple[str, bytes]]:
    small = [id for id in ids if sizes.get(id, 0) <= LARGEST_BLOB]
    for id in ids:
        if sizes.get(id, 0) > LARGEST_BLOB:
            yield id, f"blob {id}\n".encode()
        elif id in tree.local:
            yield id, local_content(tree.local[id])
    yield from repository.blobs(id for id in small if id not in tree.local)


def _local_sizes(tree: SourceTree, ids: Iterable[str]) -> dict[str, int]:
    return {id: tree.local[id].lstat().st_size for id in ids if id in tree.local}


def local_content(path: Path) -> bytes:
    """The content of a file of the checkout, at most `LARGEST_BLOB`; of a link, its target."""
    if path.is_symlink():
        return os.fsencode(os.readlink(path))  # noqa: PTH115 - as git stores it
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(opened, "rb") as file:
        return file.read(LARGEST_BLOB)


def _refuse_bad(path: str) -> None:
    """A commit that git did not make may hold any name."""
    if "\0" in path or any(p in {"", ".", ".."} or p.lower() == ".git" for p in path.split("/")):
        raise UsageError(f"the commit has a file {path!r}, which no checkout could have")


def _write(folder: Path, path: str, content: bytes, file: SourceFile, *, least: int) -> None:
    place = folder / path
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o755 if file.mode == "100755" else 0o644
        opened = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(opened, "wb") as out:
            out.write(content)
            out.truncate(max(len(content), least))
    except OSError as error:
        raise UsageError(f"{path} of the commit cannot be written: {error.strerror}") from error


def _link(folder: Path, path: str, target: bytes) -> None:
    place = folder / path
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.fsdecode(target))
    except (OSError, ValueError) as error:
        raise UsageError(f"the link {path} of the commit cannot be written: {error}") from error
