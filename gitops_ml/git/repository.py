"""The GitOps repository: a bare clone in the cache, without a work tree.

Nothing is checked out, so line-ending settings, LFS filters, submodules and hooks have no effect,
and the user's own checkout does not change. Commits are written by ``git fast-import`` and
moved by a plain push.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path

from gitops_ml.errors import ProgramFailed, Refused, RepositoryMoved, ServerFailed, UsageError
from gitops_ml.git.checkout import refuse_part_of_source
from gitops_ml.git.clone import Clone
from gitops_ml.git.commits import Branch, BranchCommit, Change, Difference, Log
from gitops_ml.git.failures import connection_failure, object_format_of, page_named_in, push_failure
from gitops_ml.git.object_store import (
    TreeEntry,
    commit_stream,
    parse_blobs,
    parse_commit,
    parse_difference,
    parse_log,
    parse_tree,
)
from gitops_ml.git.program import GitProgram, GitResult
from gitops_ml.git.remote import Credentials, Remote
from gitops_ml.project.project import GitopsSpec, SourceSpec
from gitops_ml.system.cache import Seal, cache_folder
from gitops_ml.system.progress import Progress

_PENDING = "refs/gitops-ml/pending"
_AS_IT_IS = (
    # A user may have other settings for reading logs.
    "-c", "log.showSignature=false", "-c", "log.follow=false", "-c", "log.diffMerges=separate",
)  # fmt: skip
_PROPOSED = "refs/gitops-ml/proposed"
_MOST_COMMITS = 500
"""On the branch of a proposal, which usually has one, and one more for each merge of the base."""


class GitRepository:
    """The branch of a GitOps repository that Argo CD follows.

    Reading and writing go through the clone in the cache, which one process changes at a time. A
    damaged clone is replaced automatically, once for each call.
    """

    def __init__(
        self,
        remote: Remote,
        *,
        branch: str,
        cache: Path,
        environ: Mapping[str, str],
        credentials: Credentials | None = None,
        progress: Progress = lambda line: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.remote = remote
        self.branch = branch
        self._credentials = credentials or Credentials()
        self._clock = clock
        seal = Seal.of_user(environ)
        # Jobs with other keys may share the cache at the same time: each key has its own clone.
        folder = cache / "git" / f"{remote.name}-{seal.mark('clone')[:8]}"
        self._git = GitProgram(folder, remote, credentials=self._credentials, environ=environ)
        self._clone = Clone(folder, self._git, seal=seal, progress=progress)

    @classmethod
    def from_spec(
        cls,
        spec: GitopsSpec | SourceSpec,
        *,
        folder: Path,
        environ: Mapping[str, str],
        section: str = "gitops",
        progress: Progress = lambda line: None,
    ) -> GitRepository:
        """The repository that ``section`` of the project file in ``folder`` names."""
        remote = Remote.parse(spec.repository, folder=folder, section=section)
        refuse_part_of_source(remote, folder, section)
        credentials = Credentials.from_environ(
            environ,
            folder=folder,
            username=spec.username,
            token_env=spec.token_env,
            section=section,
        )
        return cls(
            remote, branch=spec.branch, cache=cache_folder(environ), environ=environ,
            credentials=credentials, progress=progress,
        )  # fmt: skip

    def fetch(self) -> GitSnapshot:
        """The newest commit of the branch; a repository without branches is an empty snapshot."""
        with self._clone.hold():
            commit = self._fetch()
            self._clone.tidy()
        return GitSnapshot(commit, self)

    def commit(
        self, base: GitSnapshot, changes: Iterable[Change], *, message: str, author: tuple[str, str]
    ) -> str:
        """Write one commit on top of ``base`` into the clone, and return its id; nothing is pushed.

        ``author`` is name and address, of the committer as well.

        Raises:
            UsageError: a change would replace a submodule, a link or a folder of other files.
            ProgramFailed: the user's configuration asks for a signature, which cannot be made.
        """
        changes = tuple(changes)
        base.refuse_taken(changes)
        seconds, parent = int(self._clock()), base.commit
        stream = commit_stream(
            changes, parent=parent, ref=_PENDING, message=message, author=author, seconds=seconds
        )
        with self._clone.hold():
            output = self._local("fast-import", "--quiet", "--force", input=stream)
            commit = output.decode("ascii").strip()
            return self._git.signed(
                commit, parent=parent, message=message, author=author, seconds=seconds
            )

    def push(self, commit: str) -> None:
        """Move the branch to ``commit``, never by force."""
        with self._clone.hold():
            self._push(commit, self.branch)

    def read_branch(self, name: str, *, base: GitSnapshot) -> Branch | None:
        """The branch of a proposal as the server has it now, or ``None`` where it has none."""
        with self._clone.hold():
            try:
                return self._branch(name, base.commit)
            except ProgramFailed:
                self._renew()
                return self._branch(name, base.commit)

    def branches(self, prefix: str) -> tuple[str, ...]:
        """The branches of the server with this prefix, sorted."""
        return tuple(sorted(name for name in self._branches() if name.startswith(prefix)))

    def push_branch(self, name: str, commit: str, *, expected: str | None) -> str | None:
        """Make the branch of a proposal point at ``commit``, if it still points at ``expected``.

        ``expected`` is ``None`` where there was no such branch. Returns the page for opening a pull
        request, where the server names one.

        Raises:
            RepositoryMoved: the branch moved; read it again.
        """
        with self._clone.hold():
            lease = f"--force-with-lease=refs/heads/{name}:{expected or ''}"
            return page_named_in(self._push(commit, name, lease).stderr)

    def try_push(self, base: GitSnapshot, *, branch: str) -> None:
        """Ask the server whether ``base`` could be pushed to a new branch; nothing is pushed."""
        with self._clone.hold():
            self._push(base.commit or "", branch, "--dry-run")

    def _push(self, commit: str, branch: str, *options: str) -> GitResult:
        answer = self._git.push(
            "--porcelain", "--no-verify", *options, "--", self.remote.url,
            f"{commit}:refs/heads/{branch}",
        )  # fmt: skip
        if answer.status:
            if wanted := object_format_of(answer.stderr, own=len(commit)):
                self._clone.renew(object_format=wanted)
                raise RepositoryMoved(f"{self.remote} has object ids of another kind ({wanted})")
            failure = push_failure(answer, self.remote, branch, self._credentials)
            if isinstance(failure, ServerFailed) and not self._has(commit):
                self._clone.renew()
                raise RepositoryMoved(
                    f"the clone of {self.remote} in the cache was damaged and is made again"
                ) from failure
            raise failure
        return answer

    def _branch(self, name: str, base: str | None) -> Branch | None:
        """The branch; `ProgramFailed` where the clone is damaged."""
        answer = self._fetch_ref(f"+refs/heads/{name}:{_PROPOSED}")
        if "couldn't find remote ref" in answer.stderr:
            return None
        if answer.status:
            failure = connection_failure(answer, self.remote, self._credentials)
            if isinstance(failure, Refused) or name not in self._branches():
                raise failure
            answer.required()  # the server works, so the clone is damaged
        head = self._git.local("rev-parse", "--verify", _PROPOSED).text
        fork = self._git.local("merge-base", base or head, head)
        fork_point = None if fork.status == 1 else fork.text
        commits = self._commits(head, base or head)
        return Branch(name, head, commits, self._difference(fork_point, head))

    def _commits(self, head: str, base: str) -> tuple[BranchCommit, ...]:
        """The commits up to ``head`` that ``base`` does not have."""
        # The commit graph may list a commit whose objects are missing.
        listing = self._git.local(
            "-c", "core.commitGraph=false", "rev-list", "--parents",
            f"--max-count={_MOST_COMMITS}", head, "--not", base,
        )  # fmt: skip
        lines = [line.split() for line in listing.text.splitlines()]
        request = "".join(f"{id}\n" for id, *_ in lines).encode()
        texts = parse_blobs(self._git.local("cat-file", "--batch", input=request).required())
        found = []
        for id, *parents in lines:
            commit = parse_commit(id, texts[id], {})
            differences = tuple(self._difference(parent, id) for parent in parents or (None,))
            found.append(BranchCommit(id, commit.message, differences, commit.author, commit.when))
        return tuple(found)

    def _difference(self, old: str | None, new: str) -> Difference:
        # The empty tree's id depends on the kind of ids; `--root` compares with nothing in any.
        trees = ("--root", new) if old is None else (old, new)
        options = ("-r", "-z", "--no-commit-id", "--no-renames", "--full-index", "--no-ext-diff")
        return parse_difference(self._git.local("diff-tree", *options, *trees).required())

    def at(self, commit: str) -> GitSnapshot:
        """The repository at an earlier commit."""
        return GitSnapshot(commit, self)

    def log(self, head: GitSnapshot, *paths: str, side_branches: bool = False) -> Log:
        """The commits up to ``head`` that changed something below one of the ``paths``.

        A merge counts as what it brought to the branch. With ``side_branches`` the merged commits
        are listed instead, although the branch itself never pointed at them.
        """
        if head.commit is None:
            return Log(())
        with self._clone.hold():
            self._deepen()
            self._clone.index(head.commit)
        lines = ("--full-history", "--no-merges") if side_branches else ("--first-parent", "-m")
        output = self._local_read(
            *_AS_IT_IS, "log", "-z", "--raw", "--no-abbrev", "--no-renames", "--format=%H", *lines,
            head.commit, "--", *(f":(literal){path}" for path in paths),
        )  # fmt: skip
        found = parse_log(output)
        commits = self.blobs(found)
        return Log(
            tuple(parse_commit(id, commits[id], files) for id, files in found.items()),
            is_whole=not self._is_shallow(),
        )

    def last_change(self, head: GitSnapshot, path: str) -> str | None:
        """The newest commit of the branch that changed something below ``path``; merges count."""
        if head.commit is None:
            return None
        with self._clone.hold():
            self._deepen()
        newest = ("rev-list", "--max-count=1", "--first-parent", head.commit)
        return self._local_read(*newest, "--", f":(literal){path}").decode().strip() or None

    def contains(self, revision: str, commit: str) -> bool:
        """Whether ``revision`` is ``commit`` or comes after it; false for one that is not fetched."""
        return self._git.local("merge-base", "--is-ancestor", commit, revision).status == 0

    def tree(self, commit: str) -> tuple[TreeEntry, ...]:
        """Every entry of the commit, at any depth."""
        return parse_tree(self._local_read("ls-tree", "-r", "-z", "--full-tree", commit))

    def blobs(self, ids: Iterable[str]) -> dict[str, bytes]:
        """The content of blobs of the repository."""
        wanted = sorted(set(ids))
        if not wanted:
            return {}
        request = "".join(f"{id}\n" for id in wanted).encode()
        found = parse_blobs(self._local_read("cat-file", "--batch", input=request))
        if len(found) < len(wanted):
            with self._clone.hold():
                self._renew()
            found = parse_blobs(self._local_read("cat-file", "--batch", input=request))
        return found

    def _local_read(self, *arguments: str, input: bytes | None = None) -> bytes:
        answer = self._git.local(*arguments, input=input)
        if answer.status:
            with self._clone.hold():
                return self._local(*arguments, input=input)
        return answer.stdout

    def _local(self, *arguments: str, input: bytes | None = None) -> bytes:
        """The output of git on the clone; a clone that fails is made again first, once."""
        answer = self._git.local(*arguments, input=input)
        if answer.status:
            self._renew()
            answer = self._git.local(*arguments, input=input)
        return answer.required()

    def _renew(self) -> None:
        self._clone.renew()
        self._fetch()

    def _has(self, commit: str) -> bool:
        """Whether the commit is in the clone, with all that it refers to."""
        return self._git.local("rev-list", "--objects", "--quiet", commit).status == 0

    def _fetch(self) -> str | None:
        self._clone.ensure()
        answer = self._fetch_branch()
        if answer.status == 0:
            return self._head()
        failure = connection_failure(answer, self.remote, self._credentials)
        if isinstance(failure, Refused):
            raise failure
        # The server may work and have no such branch, or the clone may be damaged.
        if self.branch in (branches := self._branches()):
            self._clone.renew(object_format=object_format_of(answer.stderr))
            if (answer := self._fetch_branch()).status == 0:
                return self._head()
            raise connection_failure(answer, self.remote, self._credentials)
        if branches:
            raise UsageError(
                f"{self.remote} has no branch {self.branch!r}; it has {', '.join(branches)}. "
                "Name the one that Argo CD follows in gitops.branch"
            )
        return None

    def _is_shallow(self) -> bool:
        return (self._clone.folder / "shallow").exists()

    def _deepen(self) -> None:
        """Fetch the rest of the history of a shallow clone, as far as the server has it."""
        if self._is_shallow():
            self._fetch_branch("--unshallow")

    def _fetch_branch(self, *options: str) -> GitResult:
        return self._fetch_ref(f"+refs/heads/{self.branch}:{self._tracking}", *options)

    def _fetch_ref(self, refspec: str, *options: str) -> GitResult:
        return self._git.remote(
            "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head",
            "--update-shallow", *options, "--", self.remote.url, refspec,
        )  # fmt: skip

    def _branches(self) -> tuple[str, ...]:
        """The branches of the server, its default first."""
        answer = self._git.remote_alone("ls-remote", "--symref", "--", self.remote.url)
        if answer.status:
            raise connection_failure(answer, self.remote, self._credentials)
        lines = answer.stdout.decode("utf-8", "replace").splitlines()
        default = [x.split("\t")[0].removeprefix("ref: ") for x in lines if x.startswith("ref: ")]
        heads = [ref for line in lines if (ref := line.split("\t")[-1]).startswith("refs/heads/")]
        ordered = sorted(heads, key=lambda ref: (ref not in default, ref))
        return tuple(ref.removeprefix("refs/heads/") for ref in ordered)

    @property
    def _tracking(self) -> str:
        return f"refs/remotes/origin/{self.branch}"

    def _head(self) -> str:
        try:
            # Saves a process; a packed ref is read below.
            return (self._clone.folder / self._tracking).read_text().strip()
        except FileNotFoundError:
            return self._local("rev-parse", "--verify", self._tracking).decode().strip()


_KINDS = {"160000": "submodule", "120000": "symbolic link"}
"""By git's mode; everything else is a file."""


class GitSnapshot:
    """The files of one commit of the GitOps repository; read on demand, then kept."""

    def __init__(self, commit: str | None, repository: GitRepository) -> None:
        self.commit = commit
        """Its id; ``None`` for a repository without commits."""
        self._repository = repository

    def blob_ids(self, prefix: str = "") -> Mapping[str, str]:
        """Path to git blob id (hex hash of git's blob object) of every file below ``prefix``.

        Submodules have no blob and are left out.
        """
        return {path: id for path, id in self._ids.items() if path.startswith(prefix)}

    def read(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        """The content of those of ``paths`` that exist, with one command of git."""
        ids = {path: id for path in paths if (id := self._ids.get(path)) is not None}
        blobs = self._repository.blobs(ids.values())
        return {path: blobs[id] for path, id in ids.items()}

    def refuse_taken(self, changes: Iterable[Change]) -> None:
        """Refuse changes that would replace a submodule, a link, or a file that is in the way.

        Git would replace it with all that it holds, without a warning.
        """
        changes = tuple(changes)
        gone = {change.path for change in changes if change.after is None}
        kinds = {entry.path: _KINDS.get(entry.mode, "file") for entry in self._entries}
        for path in (change.path for change in changes if change.after is not None):
            above = ("/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 1))
            taken = next((place for place in above if place in kinds and place not in gone), None)
            if taken is None and kinds.get(path, "file") != "file":
                taken = path
            if taken is not None:
                raise UsageError(
                    f"{self._repository.remote} has a {kinds[taken]} at {taken}, where {path} is to "
                    f"be written: it would be lost. Move it, or choose another repository or branch"
                )

    @cached_property
    def _entries(self) -> tuple[TreeEntry, ...]:
        return self._repository.tree(self.commit) if self.commit else ()

    @cached_property
    def _ids(self) -> dict[str, str]:
        return {entry.path: entry.id for entry in self._entries if entry.kind == "blob"}
