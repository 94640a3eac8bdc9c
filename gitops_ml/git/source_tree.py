"""Read commits of a source repository as data: paths, modes and contents, without a checkout.

Filters, attributes, hooks and the configuration of the repository have no part in it: what is read are
git's objects. The files that a checkout has beyond its commit are compared by their blob ids as well.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from gitops_ml.errors import ProgramFailed, UsageError
from gitops_ml.git.checkout import (
    Checkout,
    Untrusted,
    find_checkout,
    read_state,
    replaced_configuration,
)
from gitops_ml.git.commits import blob_id
from gitops_ml.git.environment import OPTIONS, git_environment, git_program, run_git
from gitops_ml.git.object_store import parse_blobs, parse_tree
from gitops_ml.system.files import HeldFile
from gitops_ml.system.process import TooMuchOutput, run

LINK = "120000"
_SUBMODULE = "160000"
_BATCH = 32 << 20
"""Bytes of blobs that are in memory at a time."""
LARGEST_BLOB = 16 << 20
"""A larger blob is not read: its id decides whether it changes."""
_LONGEST_LISTING = 128 << 20
"""Bytes of the paths of a commit. A tree of a few bytes may have the same tree many times, and so on."""
_MOST_UNTRACKED = 100_000
_MOST_LINKS = 8
_MOST_SUBMODULES, _DEEPEST_SUBMODULE = 100, 4
_WHOLE_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT_ID = re.compile(r"[0-9a-f]{4,64}")
_OWN_FILE = re.compile(r"[A-Z_]*HEAD")
"""A name that git keeps beside all branches and tags, and looks for first."""
_AFTER_A_NAME = re.compile(r"[~^:]|@\{")


class SourceFile(NamedTuple):
    """A file or link of a state of the source."""

    mode: str
    id: str
    """Of the blob."""


@dataclass(frozen=True, slots=True)
class SourceTree:
    """All files of one state by path, relative to the root of the repository."""

    commit: str | None
    is_dirty: bool | None
    """Whether it has files that the commit has not; `None` where git could not tell."""
    files: Mapping[str, SourceFile]
    local: Mapping[str, Path] = field(default_factory=dict)
    """Files of the checkout that are in no commit, by blob id."""
    submodules: Mapping[str, str] = field(default_factory=dict)
    """The commits of other repositories by path; their files are here where the checkout has these commits."""
    unread: frozenset[str] = frozenset()
    """The submodules whose files are not here."""


class SourceRepository:
    """The objects of a checkout's repository."""

    def __init__(self, checkout: Checkout, variables: Mapping[str, str]) -> None:
        self.checkout = checkout
        self._variables = dict(variables)
        self._submodules: dict[str, Checkout | None] = {}

    def commit(self, ref: str) -> str:
        """The id of a commit.

        Raises:
            UsageError: there is no such commit, or the name is that of several.
        """
        self._refuse_ambiguous(ref)
        try:
            text = self._git("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
        except ProgramFailed as error:
            raise UsageError(
                f"{ref!r} is no commit of {self.checkout.root}: fetch it first "
                "(in CI, a checkout with the whole history), or name another one"
            ) from error
        return text.strip()

    def _refuse_ambiguous(self, ref: str) -> None:
        """Git takes a tag `origin/main` for `origin/main`: the author of a tag would choose the rules of a check."""
        name = _AFTER_A_NAME.split(ref, maxsplit=1)[0]
        if not name or name.startswith("refs/") or _OWN_FILE.fullmatch(name):
            return
        if _WHOLE_ID.fullmatch(name):
            return
        places = [
            f"{above}{name}" for above in ("refs/", "refs/tags/", "refs/heads/", "refs/remotes/")
        ]
        places.append(f"refs/remotes/{name}/HEAD")
        form = "--format=%(refname) %(objectname) %(*objectname)"
        lines = [line.split() for line in self._git("for-each-ref", form, *places).splitlines()]
        found = {line[0]: line[-1] for line in lines if line[0] in places}
        if found and _SHORT_ID.fullmatch(name):
            ids = self._git("rev-parse", f"--disambiguate={name}").split()
            found |= {f"the commit {id}": id for id in ids}
        if len({*found.values()}) > 1:
            raise UsageError(
                f"{ref!r} is the name of several commits: {', '.join(sorted(found))}; name one of them in full"
            )

    def merge_base(self, one: str, other: str) -> str | None:
        """The newest commit that both have; `None` where the history is not here."""
        try:
            return self._git("merge-base", one, other).split()[0]
        except (ProgramFailed, IndexError):
            return None

    def at_commit(self, commit: str) -> SourceTree:
        files, submodules = self._entries(commit)
        return self._with_submodules(SourceTree(commit, False, files, submodules=submodules))

    def at_checkout(self) -> SourceTree:
        """The commit that is checked out, with the files of the checkout that it does not have."""
        state = read_state(self.checkout, self.checkout.root)
        files, submodules = self._entries(state.commit) if state.commit else ({}, {})
        local: dict[str, Path] = {}
        length = len(state.commit) if state.commit else 40
        for changed in state.changed:
            files.pop(changed, None)
            if changed in submodules and (inner := self._submodule(changed)) is not None:
                submodules[changed] = read_state(inner, inner.root).commit or submodules[changed]
                continue
            for path in _on_disk(self.checkout.root, changed):
                if (found := _read(self.checkout.root / path, length)) is not None:
                    files[path] = found
                    local[found.id] = self.checkout.root / path
        tree = SourceTree(state.commit, state.is_dirty, files, local, submodules)
        return self._with_submodules(tree)

    def _with_submodules(self, tree: SourceTree) -> SourceTree:
        """The state with the files of its submodules, as far as the checkout has their commits."""
        files, submodules, unread = dict(tree.files), dict(tree.submodules), set[str]()
        waiting = [(path, 1) for path in submodules]
        while waiting:
            path, depth = waiting.pop()
            found = None
            if depth <= _DEEPEST_SUBMODULE and len(submodules) <= _MOST_SUBMODULES:
                found = self._files_of_submodule(path, submodules[path])
            if found is None:
                unread.add(path)
                continue
            inner, further = found
            files.update((f"{path}/{name}", file) for name, file in inner.items())
            deeper = {f"{path}/{name}": commit for name, commit in further.items()}
            submodules.update(deeper)
            waiting += [(name, depth + 1) for name in deeper]
        return replace(tree, files=files, submodules=submodules, unread=frozenset(unread))

    def _files_of_submodule(
        self, path: str, commit: str
    ) -> tuple[dict[str, SourceFile], dict[str, str]] | None:
        """Files and submodules of a commit of a submodule; `None` where it is not in the checkout."""
        checkout = self._submodule(path)
        if checkout is None:
            return None
        objects = checkout.common / "objects"
        try:
            # Of this repository alone: another one may have the commit by chance.
            return self._entries(commit, {"GIT_OBJECT_DIRECTORY": str(objects)})
        except ProgramFailed:
            return None

    def _submodule(self, path: str) -> Checkout | None:
        """The repository of a submodule that is checked out here; git's objects include its own from then on."""
        if path not in self._submodules:
            root = self.checkout.root / path
            try:
                found = find_checkout(root) if (root / ".git").exists() else None
            except (Untrusted, ProgramFailed):
                found = None
            objects = str(found.common / "objects") if found else ""
            if found is None or found.root != root or os.pathsep in objects or '"' in objects:
                self._submodules[path] = None
                return None
            known = self._variables.get("GIT_ALTERNATE_OBJECT_DIRECTORIES", "")
            places = [*filter(None, known.split(os.pathsep)), objects]
            self._variables["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = os.pathsep.join(places)
            self._submodules[path] = found
        return self._submodules[path]

    def followed(self, tree: SourceTree, names: Iterable[str]) -> SourceTree:
        """The state with the files that links of these names lead to in place of the links, inside the repository."""
        wanted = frozenset(names)
        links = [
            path
            for path, file in tree.files.items()
            if file.mode == LINK and posixpath.basename(path) in wanted
        ]
        found = {path: file for path in links if (file := self._target(tree, path)) is not None}
        return replace(tree, files={**tree.files, **found}) if found else tree

    def _target(self, tree: SourceTree, path: str) -> SourceFile | None:
        for _ in range(_MOST_LINKS):
            file = tree.files.get(path)
            if file is None or file.mode != LINK:
                return file
            target = os.fsdecode(dict(self.blobs([file.id], tree.local)).get(file.id, b""))
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        return None

    def sizes(self, ids: Iterable[str], local: Mapping[str, Path]) -> dict[str, int]:
        """Bytes of each blob; ``local`` has files of the checkout, whose blobs git does not have.

        Raises:
            UsageError: one is not here. A file that cannot be read would count as one that is not there.
        """
        wanted = tuple(ids)
        found = {id: local[id].lstat().st_size for id in wanted if id in local}
        missing = 0
        listing = self._batch("--batch-check", (id for id in wanted if id not in local))
        for line in listing.decode("ascii", "replace").splitlines():
            id, _, rest = line.partition(" ")
            kind, _, size = rest.partition(" ")
            if kind == "blob":
                found[id] = int(size)
            missing += kind == "missing"
        if missing:
            raise UsageError(
                f"{self.checkout.root} does not have {missing} of the files that are compared: it is a "
                "partial clone, or damaged; clone it without --filter (in CI, check out without a filter)"
            )
        return found

    def blobs(
        self, ids: Iterable[str], local: Mapping[str, Path], *, largest: int = LARGEST_BLOB
    ) -> Iterator[tuple[str, bytes]]:
        """The contents of blobs of at most ``largest`` bytes, some at a time; of a link, its target."""
        batch: list[str] = []
        waiting = 0
        for id, size in self.sizes(ids, local).items():
            if size > largest:
                continue
            if id in local:
                yield id, _content(local[id])
                continue
            if batch and waiting + size > _BATCH:
                yield from parse_blobs(self._batch("--batch", batch)).items()
                batch, waiting = [], 0
            batch.append(id)
            waiting += size
        if batch:
            yield from parse_blobs(self._batch("--batch", batch)).items()

    def _entries(
        self, commit: str, variables: Mapping[str, str] | None = None
    ) -> tuple[dict[str, SourceFile], dict[str, str]]:
        """The files of a commit, and its submodules."""
        files: dict[str, SourceFile] = {}
        submodules: dict[str, str] = {}
        command = ("ls-tree", "-r", "-z", "--full-tree", commit)
        try:
            listing = self._run(*command, variables=variables or {}, most=_LONGEST_LISTING)
        except TooMuchOutput:
            raise UsageError(
                f"the paths of commit {commit[:12]} take more than {_LONGEST_LISTING:,} bytes: remove files from it"
            ) from None
        for entry in parse_tree(listing):
            if entry.mode == _SUBMODULE:
                submodules[entry.path] = entry.id
            else:
                files[entry.path] = SourceFile(entry.mode, entry.id)
        return files, submodules

    def _batch(self, how: str, ids: Iterable[str]) -> bytes:
        wanted = "".join(f"{id}\n" for id in dict.fromkeys(ids))
        return self._run("cat-file", how, input=wanted.encode()) if wanted else b""

    def _git(self, *arguments: str) -> str:
        return run_git(*arguments, repository=self._variables)

    def _run(
        self,
        *arguments: str,
        input: bytes | None = None,
        variables: Mapping[str, str] | None = None,
        most: int | None = None,
    ) -> bytes:
        return run(
            [git_program(os.environ), *OPTIONS, *arguments],
            cwd=Path(os.sep),
            environ=git_environment(
                os.environ, repository={**self._variables, **(variables or {})}
            ),
            input=input,
            timeout=300,
            most=most,
        ).stdout


@contextmanager
def open_source(checkout: Checkout) -> Iterator[SourceRepository]:
    """The repository of a checkout, read with a configuration that names no program."""
    with replaced_configuration(checkout) as variables:
        # An object that replaces another one would be reviewed, and the other one merged; grafts likewise for parents.
        own = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": os.devnull}
        yield SourceRepository(checkout, {**variables, **own})


def _on_disk(root: Path, changed: str) -> Iterator[str]:
    """The path of a file of the checkout; of a folder, those of all files and links below it."""
    if not changed.endswith("/"):
        yield changed
        return
    count = 0
    for directory, folders, names in os.walk(root / changed):
        folders[:] = sorted(name for name in folders if name != ".git")
        # A link to a folder is an entry of its own, as it is in git.
        links = [name for name in folders if Path(directory, name).is_symlink()]
        for name in sorted([*names, *links]):
            count += 1
            if count > _MOST_UNTRACKED:
                raise UsageError(f"{changed} has more than {_MOST_UNTRACKED:,} untracked files")
            yield Path(directory, name).relative_to(root).as_posix()


def _content(path: Path) -> bytes:
    """The content of a file of the checkout, at most `LARGEST_BLOB`; of a link, its target."""
    if path.is_symlink():
        return os.fsencode(os.readlink(path))  # noqa: PTH115 - as git stores it
    return HeldFile(path).read(0, LARGEST_BLOB)


def _read(path: Path, length: int) -> SourceFile | None:
    """A regular file or a link of the checkout; `None` for anything else."""
    try:
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            return SourceFile(LINK, blob_id(_content(path), length=length))
        if not stat.S_ISREG(facts.st_mode):
            return None
        if facts.st_size > LARGEST_BLOB:
            # Data beside the project may have any size; git reports this file as changed already.
            stamp = f"{facts.st_size} {facts.st_mtime_ns}".encode()
            return SourceFile(_mode(facts), blob_id(stamp, length=length))
        return SourceFile(_mode(facts), blob_id(_content(path), length=length))
    except OSError:
        return None


def _mode(facts: os.stat_result) -> str:
    return "100755" if facts.st_mode & stat.S_IXUSR else "100644"
