"""Read a Git work tree of the user: commit, state and settings, without its configuration.

Git's configuration names programs (``core.fsmonitor``, filters, hooks, credential helpers, ssh), and
a source folder may come from anyone. So git never reads the configuration of such a repository: it
gets another common directory (``GIT_COMMON_DIR``), with links to the objects and refs, and a
configuration with the few settings that name no program. Filters and excludes of the user's own
configuration still apply, as Git LFS needs.

This module finds the repository by its ``.git``: a folder that looks like the inside of a repository
does not count, in any version of git. Links that lead out of the repository are not followed.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gitops_ml.errors import ProgramFailed, UsageError
from gitops_ml.git.environment import OUTSIDE, run_git
from gitops_ml.git.remote import Remote
from gitops_ml.system.files import read_whole

_LARGEST_FILE = 1 << 20
_MOST_SUBMODULES = 100
_DEEPEST_SUBMODULE = 8
_FOLDERS = ("objects", "refs")
_SHARED = (*_FOLDERS, "packed-refs", "reftable", "info", "shallow")
_FILES = ("HEAD", "index", "config", "config.worktree", "packed-refs", "shallow", "info/exclude",
          "info/attributes", "info/sparse-checkout", "objects/info/alternates")  # fmt: skip
"""What git reads first; with a pipe or a device in place of one, git would wait forever."""

_BOOLEAN = r"true|false|yes|no|on|off|0|1"
_SETTINGS = {
    "core.filemode": _BOOLEAN,
    "core.ignorecase": _BOOLEAN,
    "core.symlinks": _BOOLEAN,
    "core.precomposeunicode": _BOOLEAN,
    "core.trustctime": _BOOLEAN,
    "core.sparsecheckout": _BOOLEAN,
    "core.sparsecheckoutcone": _BOOLEAN,
    "core.checkstat": "default|minimal",
    "core.autocrlf": f"{_BOOLEAN}|input",
    "core.eol": "lf|crlf|native",
    "extensions.objectformat": "sha1|sha256",
    "extensions.refstorage": "files|reftable",
    "author.name": r"[^\0]*",
    "author.email": r"[^\0]*",
    "user.name": r"[^\0]*",
    "user.email": r"[^\0]*",
}
"""The settings of a repository that are kept, and their values: file comparison and user."""


class Untrusted(Exception):
    """The repository is not one that `git clone` or `git worktree` makes, so it is not read."""


@dataclass(frozen=True, slots=True)
class State:
    """What a checkout holds; ``is_dirty`` is about one folder of it."""

    commit: str | None
    is_dirty: bool | None
    changed: tuple[str, ...] = ()
    """Files of the checkout that are not in the commit, relative to its root."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A work tree at ``root``; ``common`` differs from ``folder`` in a worktree of another clone."""

    root: Path
    folder: Path
    common: Path
    settings: Mapping[str, str]
    """Of the repository's own configuration, without what that includes."""

    @property
    def url(self) -> str | None:
        """The address of the remote ``origin``, or else of the first one, as it is configured."""
        urls = {
            key.removeprefix("remote.").removesuffix(".url"): value
            for key, value in self.settings.items()
            if key.startswith("remote.") and key.endswith(".url")
        }
        return urls.get("origin") or next(iter(urls.values()), None)


def find_checkout(directory: Path) -> Checkout | None:
    """The checkout that ``directory`` is in; `None` outside of any.

    Raises:
        Untrusted: its parts lead elsewhere, or are not regular files.
        ProgramFailed: git is not installed, or cannot read its configuration.
    """
    start = _resolved(directory)
    for root in (start, *start.parents):
        entry = root / ".git"
        kind = _kind(entry)
        if kind == stat.S_IFDIR and all((entry / name).exists() for name in ("HEAD", *_FOLDERS)):
            return _opened(root, entry, entry)
        if kind == stat.S_IFREG:
            return _linked(root, entry)
        if kind not in {None, stat.S_IFDIR}:
            raise Untrusted(entry)
    return None


def source_folder(directory: Path) -> Path:
    """The whole checkout that ``directory`` is in; outside of any, the folder itself."""
    start = Path(os.path.realpath(directory))
    return next((r for r in (start, *start.parents) if os.path.lexists(r / ".git")), start)


def refuse_part_of_source(remote: Remote, folder: Path, section: str) -> None:
    """Refuse a repository inside of the source folder: a push to it would run its hooks."""
    if not remote.is_local:
        return
    source = source_folder(folder)
    if Path(os.path.realpath(remote.path)).is_relative_to(source):
        raise UsageError(
            f"{section}.repository is {remote}, inside of the source folder {source}: git would run "
            "the hooks that come with the source; move the repository out of it, or name it by the "
            "address of its server"
        )


def read_state(checkout: Checkout, directory: Path) -> State:
    """The commit of the checkout, and whether files of ``directory`` are not in it."""
    try:
        return _state(checkout, _resolved(directory), depth=0)
    except (ProgramFailed, Untrusted):
        # For example a filter that is not installed, or a broken submodule.
        with replaced_configuration(checkout) as repository:
            head = run_git("rev-parse", "--verify", "HEAD^{commit}", repository=repository)
        return State(_commit(head.strip()), None)


def read_user(checkout: Checkout | None) -> Mapping[str, str]:
    """Name and email of ``user`` and ``author`` as git has them in this checkout, or outside of any."""
    try:
        with replaced_configuration(checkout) as repository:
            wanted = ("config", "-z", "--get-regexp", r"^(author|user)\.(name|email)$")
            return _entries(run_git(*wanted, repository=repository))
    except ProgramFailed as error:
        if error.returncode == 1:  # neither is set
            return {}
        raise


def _linked(root: Path, entry: Path) -> Checkout:
    """The checkout of a ``.git`` file, of a worktree or a submodule.

    The other end must name this folder, too: otherwise a checkout could present the commits of
    another repository on this machine as its own.
    """
    folder = _resolved(root / _line(entry).removeprefix("gitdir:").strip())
    if (folder / "commondir").exists():
        common = _resolved(folder / _line(folder / "commondir"))
        back = _resolved(folder / _line(folder / "gitdir"))
        if back != entry or folder.parent != common / "worktrees":
            raise Untrusted(entry)
        return _opened(root, folder, common)
    checkout = _opened(root, folder, folder)
    if _resolved(folder / checkout.settings.get("core.worktree", "")) != root:
        raise Untrusted(entry)
    return checkout


def _opened(root: Path, folder: Path, common: Path) -> Checkout:
    for place in {folder, common}:
        if any(_kind(place / name) not in {None, stat.S_IFREG} for name in _FILES):
            raise Untrusted(place)
    if any(_kind(common / name) != stat.S_IFDIR for name in _FOLDERS):
        raise Untrusted(common)
    if any(_kind(common / name) not in {None, stat.S_IFDIR} for name in ("info", "reftable")):
        raise Untrusted(common)
    files = (common / "config", folder / "config.worktree")
    text = b"\n".join(_content(path) for path in files if path.exists())
    # Git follows no include in its standard input.
    listing = run_git("config", "--file", "-", "-z", "--list", repository=OUTSIDE, input=text)
    return Checkout(root, folder, common, _entries(listing, keeps="remote."))


def _entries(listing: str, *, keeps: str = " ") -> dict[str, str]:
    """Key to value of ``git config -z``: the last one counts, for keys with prefix ``keeps`` the first."""
    found: dict[str, str] = {}
    for entry in listing.split("\0"):
        key, has_value, value = entry.partition("\n")
        if key and not (key.startswith(keeps) and key in found):
            found[key] = value if has_value else "true"
    return found


@contextlib.contextmanager
def replaced_configuration(checkout: Checkout | None) -> Iterator[Mapping[str, str]]:
    """Variables that point git at the checkout, with its configuration replaced."""
    if checkout is None:
        yield OUTSIDE
        return
    with tempfile.TemporaryDirectory(prefix="gitops-ml-") as folder:
        for name in _SHARED:
            if (checkout.common / name).exists():
                Path(folder, name).symlink_to(checkout.common / name)
        Path(folder, "config").write_text(
            _configuration(checkout.settings), "utf-8", "surrogateescape"
        )
        yield {
            "GIT_DIR": str(checkout.folder),
            "GIT_COMMON_DIR": folder,
            "GIT_WORK_TREE": str(checkout.root),
        }


def _configuration(settings: Mapping[str, str]) -> str:
    lines = ["[core]\n\trepositoryformatversion = 1\n\tbare = false\n"]
    for key, values in _SETTINGS.items():
        value = settings.get(key)
        if value is not None and re.fullmatch(values, value, re.I | re.S):
            section, _, name = key.partition(".")
            escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            lines.append(f'[{section}]\n\t{name} = "{escaped}"\n')
    return "".join(lines)


def _state(checkout: Checkout, directory: Path, *, depth: int) -> State:
    with replaced_configuration(checkout) as repository:
        answer = run_git(
            "--no-optional-locks", "status", "--porcelain=v2", "--branch", "-z", "--no-renames",
            "--untracked-files=normal", "--ignore-submodules=dirty", "--", ".",
            repository=repository, cwd=directory,
        )  # fmt: skip
        entries = [entry for entry in answer.split("\0") if entry]
        head = next((e.split(" ")[2] for e in entries if e.startswith("# branch.oid ")), "")
        changed = tuple(_changed_path(entry) for entry in entries if not entry.startswith("# "))
        is_dirty: bool | None = bool(changed)
        if not is_dirty and _kind(checkout.root / ".gitmodules") == stat.S_IFREG:
            listing = run_git(
                "ls-files", "--stage", "-z", "--", ".", repository=repository, cwd=directory
            )
            is_dirty = _is_any_dirty(_submodules(listing, directory), depth=depth + 1)
    return State(_commit(head), is_dirty, changed)


_FIELDS_BEFORE_PATH = {"1": 8, "2": 9, "u": 10, "?": 1}
"""By the kind of an entry in ``git status --porcelain=v2``."""


def _changed_path(entry: str) -> str:
    return entry.split(" ", _FIELDS_BEFORE_PATH.get(entry[:1], 1))[-1]


def _commit(text: str) -> str | None:
    return text if re.fullmatch(r"[0-9a-f]{40,64}", text) else None


def _submodules(listing: str, directory: Path) -> list[Path]:
    """The folders of the submodules in the output of ``git ls-files --stage -z`` that are checked out."""
    links = [line.partition("\t")[2] for line in listing.split("\0") if line.startswith("160000 ")]
    return [directory / path for path in links if (directory / path / ".git").exists()]


def _is_any_dirty(submodules: list[Path], *, depth: int) -> bool | None:
    """Whether a submodule has uncommitted files; git itself would read its configuration."""
    if len(submodules) > _MOST_SUBMODULES or depth > _DEEPEST_SUBMODULE:
        return None
    is_unknown = False
    for folder in submodules:
        checkout = find_checkout(folder)
        if checkout is None or checkout.root != _resolved(folder):
            raise Untrusted(folder)
        is_dirty = _state(checkout, folder, depth=depth).is_dirty
        if is_dirty:
            return True
        is_unknown = is_unknown or is_dirty is None
    return None if is_unknown else False


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a NUL
        raise Untrusted(path) from error


def _kind(path: Path) -> int | None:
    """The file type of what is at ``path`` itself, not of what it links to; `None` for nothing."""
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Untrusted(path) from error


def _line(path: Path) -> str:
    return _content(path).decode("utf-8", "surrogateescape").rstrip("\n")


def _content(path: Path) -> bytes:
    """The bytes of a file of a repository, which is no link, device or pipe, and not too large."""
    try:
        return read_whole(path, limit=_LARGEST_FILE)
    except OSError as error:
        raise Untrusted(path) from error
