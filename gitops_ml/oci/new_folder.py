"""Unpack untrusted archives into a folder that appears complete or not at all."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from gitops_ml.errors import GitopsMlError
from gitops_ml.oci.tar_entries import TarEntry

_LONGEST_PATH = 4090
"""Bytes; Linux takes 4,096 with the folder in front of it."""
_DEEPEST = 255
"""Nested folders."""

_IGNORED_BY_HFS = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""Characters that the file system of macOS drops from names: ``.g\u200cit`` is ``.git`` there."""
_SHORT_NAME = re.compile(r"git~[0-9]+")
"""The short name of ``.git`` on Windows."""
_MOST_NAME_BYTES = 32 << 20
"""Bytes of all paths together, each with a surcharge: about 300,000 files."""
_SURCHARGE = 48
_MOST_HOPS = 40
"""Links that Linux follows on the way to one file."""
_FREE_STEPS = 1 << 16
_STEPS = 64
"""Parts of a path that are followed for each link, and `_FREE_STEPS` more."""


@contextmanager
def new_folder(target: Path, *, may_be_there: bool = False) -> Iterator[NewFolder]:
    """A folder beside ``target`` that takes its name at the end, and is removed on any failure.

    An empty folder ``target`` is filled, as it may be a current folder or a mount. With
    ``may_be_there`` other processes write the same content, and the first one wins.

    Raises:
        GitopsMlError: it cannot be written, or a link in it leads out of it.
    """
    fills = target.is_dir() and not may_be_there
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target if fills else target.parent
        partial = Path(tempfile.mkdtemp(dir=beside, prefix=f".{target.name}."))
    except OSError as error:
        raise GitopsMlError(f"{target} cannot be made: {error.strerror or error}") from error
    try:
        folder = NewFolder(partial)
        yield folder
        folder.check_links()
        if fills:
            _move_into(target, partial)
        else:
            _take_name(target, partial, may_be_there=may_be_there)
    except OSError as error:
        # not the name of the partial folder, which is gone
        raise GitopsMlError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _take_name(target: Path, partial: Path, *, may_be_there: bool) -> None:
    partial.chmod(0o755)
    try:
        partial.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not may_be_there:
            raise


def _move_into(target: Path, partial: Path) -> None:
    moved: list[Path] = []
    try:
        for child in sorted(partial.iterdir()):
            child.rename(target / child.name)
            moved.append(child)
    except OSError:
        for child in moved:
            (target / child.name).rename(child)
        raise


class NewFolder:
    """Files and links of one project or model, written below ``root`` and nowhere else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sizes: dict[str, int] = {}
        """By path; 0 for links."""
        self._links: set[str] = set()
        self._folders = {""}
        self._name_bytes = 0

    def write(self, entry: TarEntry, path: str) -> None:
        """Write a file of an archive at ``path``.

        Raises:
            GitopsMlError: the path is not allowed, or something else is at it.
            OSError: the disk is full, or refuses the file.
        """
        target = self._place(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        mode = 0o755 if entry.is_executable else 0o644
        with open(os.open(target, flags, mode), "wb") as file:  # noqa: PTH123 - no link is followed
            for piece in entry.pieces:
                file.write(piece)
        target.chmod(mode)
        self.sizes[path] = entry.size

    def link(self, entry: TarEntry, path: str) -> None:
        """Write a symbolic link of an archive at ``path``; where it leads is checked at the end.

        Raises:
            GitopsMlError: the path or the target is not allowed, or something else is at the path.
            OSError: the disk is full, or refuses the link.
        """
        if _leaves(path, entry.target):
            raise _leaving(path)
        self._place(path).symlink_to(entry.target)
        self.sizes[path] = 0
        self._links.add(path)

    def text(self, path: str, content: bytes) -> None:
        """Write a file that no archive holds."""
        (self.root / path).write_bytes(content)
        (self.root / path).chmod(0o644)
        self.sizes[path] = len(content)

    def check_links(self) -> None:
        """Follow every link, including those on the way; one that leads to itself leads nowhere.

        Raises:
            GitopsMlError: one leads out of the folder, or by way of more links than Linux follows.
        """
        walk = _Walk(steps=_FREE_STEPS + _STEPS * len(self._links))
        for path in sorted(self._links):
            walk.start(path)
            self._follow("", path, walk)

    def _follow(self, at: str, path: str, walk: _Walk) -> str:
        """Where ``path`` leads, seen from the folder ``at``; no deeper than `_MOST_HOPS`."""
        for part in path.split("/"):
            walk.step()
            if part == "..":
                if not at:
                    raise _leaving(walk.link)
                at = at.rpartition("/")[0]
            elif part not in ("", "."):
                place = f"{at}/{part}" if at else part
                target = self._target(place)
                if target is None or place in walk.open:
                    at = place
                    continue
                walk.enter(place)
                at = self._follow(at, target, walk)
                walk.open.remove(place)
        return at

    def _target(self, path: str) -> str | None:
        """The target of the link at ``path``; ``None`` where something else is, or nothing."""
        if path in self._folders:
            return None
        try:
            # the disk decides: some disks take two spellings for one name
            return os.readlink(self.root / path)  # noqa: PTH115 - as written, not as a path
        except (OSError, ValueError):
            return None

    def _place(self, path: str) -> Path:
        """The place of ``path``, with its folders made and the file of an earlier layer removed."""
        if reason := _unwritable(path):
            raise GitopsMlError(f"the image has a file {_shown(path)}, which {reason}")
        self._name_bytes += len(path) + _SURCHARGE
        if self._name_bytes > _MOST_NAME_BYTES:
            raise GitopsMlError("the image has more files than a project or a model has")
        self._make_folder(path.rpartition("/")[0], path)
        target = self.root / path
        try:
            mode = target.lstat().st_mode
        except FileNotFoundError:
            return target
        if stat.S_ISDIR(mode):
            raise GitopsMlError(f"the image has {_shown(path)} as a folder and as a file")
        if path not in self.sizes:
            raise GitopsMlError(
                f"the image has {_shown(path)} and a file whose name is the same on this disk"
            )
        target.unlink()
        self._links.discard(path)
        return target

    def _make_folder(self, folder: str, path: str) -> None:
        if folder in self._folders:
            return
        for parent in (*reversed(PurePosixPath(folder).parents[:-1]), PurePosixPath(folder)):
            name = parent.as_posix()
            if name in self._folders:
                continue
            try:
                (self.root / name).mkdir()
            except FileExistsError as error:
                # on a disk that ignores case, the folder may exist with another spelling
                if not stat.S_ISDIR((self.root / name).lstat().st_mode):
                    raise GitopsMlError(
                        f"the image has {_shown(name)} as a file or link, and {_shown(path)} below it"
                    ) from error
            self._name_bytes += len(name) + _SURCHARGE
            self._folders.add(name)


class _Walk:
    """The limits of following links: those of one link, and of all together."""

    def __init__(self, *, steps: int) -> None:
        self._steps = steps
        self.start("")

    def start(self, link: str) -> None:
        self.link, self.open, self._hops = link, set[str](), 0

    def step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise GitopsMlError("the image has more links in its paths than are followed")

    def enter(self, place: str) -> None:
        self._hops += 1
        if self._hops > _MOST_HOPS:
            raise GitopsMlError(
                f"the image has a link that leads through more than {_MOST_HOPS} links, which Linux "
                f"does not follow: {_shown(self.link)}"
            )
        self.open.add(place)


def _leaves(path: str, target: str) -> bool:
    if not target or target.startswith("/") or "\0" in target or len(target) > _LONGEST_PATH:
        return True
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return inside.partition("/")[0] == ".."


def _leaving(path: str) -> GitopsMlError:
    return GitopsMlError(f"the image has a link that leaves the project: {_shown(path)}")


def _shown(path: str) -> str:
    return repr(path if len(path) <= 120 else f"{path[:80]}…{path[-30:]}")


def _unwritable(path: str) -> str | None:
    """The reason not to write a file at ``path`` (relative, POSIX), or ``None``.

    >>> _unwritable("src/model.py")
    >>> _unwritable("src/.GIT/config")
    "has a '.GIT', whose content git would execute"
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "is not a path below the folder"
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    if "\0" in path:
        return "has a character that no file name can have"
    if size > _LONGEST_PATH or len(parts) > _DEEPEST or any(len(p.encode()) > 255 for p in parts):
        return "is longer or deeper than a file system allows"
    if git := next(filter(_is_git_folder, parts), None):
        return f"has a {git!r}, whose content git would execute"
    return None


def _is_git_folder(name: str) -> bool:
    """Whether a file system may read ``name`` as ``.git``, whose content git executes."""
    # Windows drops dots and blanks at the end, and opens a stream after a colon
    plain = _IGNORED_BY_HFS.sub("", name).partition(":")[0].rstrip(". ").lower()
    return plain == ".git" or _SHORT_NAME.fullmatch(plain) is not None
