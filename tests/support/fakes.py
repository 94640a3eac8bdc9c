"""Adapters in memory, for tests of decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gitops_ml.errors import GitopsMlError, RepositoryMoved
from gitops_ml.git.commits import Change, Log, LoggedCommit
from gitops_ml.git.repository import GitSnapshot


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class FakeSnapshot:
    commit: str | None
    files: Mapping[str, bytes]

    def blob_ids(self, prefix: str = "") -> Mapping[str, str]:
        return {p: blob_id(c) for p, c in sorted(self.files.items()) if p.startswith(prefix)}

    def read(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        return {path: self.files[path] for path in paths if path in self.files}

    def refuse_taken(self, changes: Iterable[Change]) -> None:
        """There are neither links nor submodules here."""


@dataclass(frozen=True)
class FakeCommit:
    id: str
    parent: str | None
    files: Mapping[str, bytes]
    message: str
    author: tuple[str, str]


@dataclass
class FakeGitopsRepository:
    """A GitOps repository in memory. ``commits`` is the branch, ``pending`` what was not pushed."""

    commits: list[FakeCommit] = field(default_factory=list)
    pending: dict[str, FakeCommit] = field(default_factory=dict)
    before_push: Callable[[], None] | None = None
    """Called before a push is looked at: the place where somebody else is faster."""
    refusal: GitopsMlError | None = None
    """What a push raises."""

    @classmethod
    def holding(cls, files: Mapping[str, bytes]) -> FakeGitopsRepository:
        repository = cls()
        repository.somebody_else_commits(files)
        return repository

    def fetch(self) -> FakeSnapshot:
        return FakeSnapshot(self.head, self.files)

    def commit(
        self, base: GitSnapshot, changes: Iterable[Change], *, message: str, author: tuple[str, str]
    ) -> str:
        files = {} if base.commit is None else dict(self._at(base.commit).files)
        for change in changes:
            if change.after is None:
                files.pop(change.path, None)
            else:
                files[change.path] = change.after
        facts = repr((base.commit, sorted(files.items()), message, author, len(self.pending)))
        id = hashlib.sha1(facts.encode()).hexdigest()
        self.pending[id] = FakeCommit(id, base.commit, files, message, author)
        return id

    def push(self, commit: str) -> None:
        if self.before_push:
            self.before_push()
        if self.refusal:
            raise self.refusal
        if self.head != self.pending[commit].parent:
            raise RepositoryMoved("main moved meanwhile (fetch first)")
        self.commits.append(self.pending[commit])

    def at(self, commit: str) -> FakeSnapshot:
        return FakeSnapshot(commit, self._at(commit).files)

    def log(self, head: GitSnapshot, path: str, *, side_branches: bool = False) -> Log:
        found, before = [], {}
        for number, commit in enumerate(self.commits):
            paths = sorted({*before, *commit.files})
            files = {
                name: blob_id(commit.files[name]) if name in commit.files else None
                for name in paths
                if before.get(name) != commit.files.get(name) and name.startswith(f"{path}/")
            }
            when = f"2026-01-01T00:{number // 60:02}:{number % 60:02}+00:00"
            if files:
                found.append(
                    LoggedCommit(
                        id=commit.id,
                        author=commit.author,
                        when=when,
                        message=commit.message,
                        files=files,
                    )
                )
            before = commit.files
        return Log(tuple(reversed(found)))

    def blobs(self, ids: Iterable[str]) -> Mapping[str, bytes]:
        all = {blob_id(c): c for commit in self.commits for c in commit.files.values()}
        return {id: all[id] for id in ids}

    def somebody_else_commits(self, files: Mapping[str, bytes]) -> None:
        """A commit that adds ``files`` to the branch, past us."""
        number = len(self.commits)
        id = hashlib.sha1(f"other {number}".encode()).hexdigest()
        merged = {**self.files, **files}
        self.commits.append(
            FakeCommit(id, self.head, merged, "Work of somebody else", ("S", "s@example.org"))
        )

    @property
    def head(self) -> str | None:
        return self.commits[-1].id if self.commits else None

    @property
    def files(self) -> Mapping[str, bytes]:
        return self.commits[-1].files if self.commits else {}

    def _at(self, id: str) -> FakeCommit:
        return next(commit for commit in self.commits if commit.id == id)
