"""Walk a directory of inputs under the ignore rules, and fingerprint its files."""

from __future__ import annotations

import os
import posixpath
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gitops_ml.image.content_hash import InputFile
from gitops_ml.image.ignore import INCLUDED, IgnoreRules, Verdict
from gitops_ml.system.pointer_files import link_fault
from gitops_ml.system.project_files import KINDS, CannotRead, fingerprint_and_fault

LONGEST_PATH = 4090
"""Bytes of a path in a project: ``/app/`` and the final NUL fit into Linux's 4096 with it."""

_WORKERS = 2
Found = Callable[[str, Sequence[str]], str | None]
"""The reason to leave a directory out, given its path and the names in it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry that cannot enter an image, and what to do about it."""

    path: str
    message: str
    line: int = 0
    """Of an ignore file."""
    is_pointer: bool = False
    """Whether it could enter, and stands for a file that is elsewhere."""


_Hashed = tuple[InputFile | None, Fault | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A directory that did not enter a build context, and the rule that excluded it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tree:
    """The result of a walk. Only links among the ``entries`` have fingerprints yet."""

    entries: list[InputFile] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def walk(root: Path, *, rules: IgnoreRules, found: Found) -> Tree:
    """Every file and link below ``root`` that the rules include, in no particular order."""
    tree = Tree()
    waiting: list[tuple[str, Verdict]] = [("", INCLUDED)]
    while waiting:
        directory, above = waiting.pop()
        try:
            with os.scandir(root / directory) as scan:
                entries = list(scan)
        except OSError as error:
            tree.faults.append(Fault(directory, _unreadable(error)))
            continue
        verdict = INCLUDED
        if directory:
            reason = found(directory, [entry.name for entry in entries])
            verdict = rules.decide(directory, is_directory=True, parent=above, found=reason)
            if verdict.is_excluded and reason == verdict.reason:
                tree.left_out.append(LeftOut(path=directory, reason=reason))
            if verdict.is_excluded and verdict.is_final:
                continue
        waiting.extend(_take(tree, root, directory, verdict, entries, rules))
    return tree


def _take(
    tree: Tree,
    root: Path,
    directory: str,
    verdict: Verdict,
    entries: Iterable[os.DirEntry[str]],
    rules: IgnoreRules,
) -> Iterator[tuple[str, Verdict]]:
    """Add the files of one directory to ``tree``; returns its directories."""
    for entry in entries:
        path = posixpath.join(directory, entry.name)
        if entry.is_dir(follow_symlinks=False):
            # the ignore rules decide before anything in the directory is read
            inner = rules.decide(path, is_directory=True, parent=verdict)
            if not (inner.is_excluded and inner.is_final):
                yield path, verdict
        elif not rules.decide(path, is_directory=False, parent=verdict).is_excluded:
            taken = _entry(root, path, entry)
            (tree.faults if isinstance(taken, Fault) else tree.entries).append(taken)  # type: ignore[arg-type]


def _entry(root: Path, path: str, entry: os.DirEntry[str]) -> InputFile | Fault:
    if fault := _name_fault(path):
        return fault
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            target = os.readlink(entry.path)  # noqa: PTH115 - as written, not as a path
            return _link_fault(root, path, target) or InputFile(path, True, False, target)
    except OSError as error:
        return Fault(path, _unreadable(error))
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "neither a file nor a directory")
        return Fault(path, f"is {kind}, which no image can hold: remove it, or ignore it")
    return InputFile(path, False, bool(mode & stat.S_IXUSR), "")


def _name_fault(path: str) -> Fault | None:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return Fault(shown, "its name is not UTF-8: rename it, or ignore it")
    if not unicodedata.is_normalized("NFC", path):
        return Fault(path, "its name is not in Unicode's composed form (NFC): rename it")
    if len(encoded) > LONGEST_PATH:
        shown = f"{path[:60]}…{path[-30:]}"
        return Fault(shown, f"its path has {len(encoded)} bytes, more than {LONGEST_PATH}")
    return None


def _link_fault(root: Path, path: str, target: str) -> Fault | None:
    try:
        target.encode()
    except UnicodeEncodeError:
        return Fault(path, "is a link whose target is not UTF-8: remove it, or ignore it")
    remedy = "copy the file into the project, or ignore the link"
    if posixpath.isabs(target):
        return Fault(path, f"links to {target}, which is another place in the image: {remedy}")
    if pointer := link_fault(target):
        return Fault(path, f"{pointer}, or ignore it")
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    real_root = os.path.realpath(root)
    real = os.path.realpath(root / path)
    if inside.split("/")[0] == ".." or os.path.commonpath([real_root, real]) != real_root:
        return Fault(path, f"links to {target}, which leaves the project: {remedy}")
    return None


def _unreadable(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "vanished while the project was read: run it again"
    if isinstance(error, CannotRead):
        return f"{error.reason}, or ignore it"
    return f"cannot be read ({error.strerror}): make it readable, or ignore it"


def with_fingerprints(
    root: Path, entries: Sequence[InputFile], *, batch: int = 32
) -> tuple[list[InputFile], list[Fault]]:
    """``entries`` with the sha256 of each file, and faults for pointers and those that cannot be read.

    The entries of a ``batch`` are read in order, several batches at once.
    """
    files: list[InputFile] = []
    faults: list[Fault] = []
    batches = [entries[start : start + batch] for start in range(0, len(entries), batch)]
    for results in _together(lambda some: [_hashed(root, entry) for entry in some], batches):
        for hashed, fault in results:
            files += [hashed] if hashed else []
            faults += [fault] if fault else []
    return files, faults


def _together(
    work: Callable[[Sequence[InputFile]], list[_Hashed]],
    batches: Sequence[Sequence[InputFile]],
) -> Iterable[list[_Hashed]]:
    if len(batches) < 2:
        return map(work, batches)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(work, batches))


def _hashed(root: Path, entry: InputFile) -> _Hashed:
    if entry.is_link:
        return entry, None
    try:
        fingerprint, pointer = fingerprint_and_fault(root / entry.path, inside=(root,))
    except OSError as error:
        return None, Fault(entry.path, _unreadable(error))
    fault = Fault(entry.path, f"{pointer}, or ignore it", is_pointer=True) if pointer else None
    return InputFile(entry.path, False, entry.is_executable, fingerprint), fault
