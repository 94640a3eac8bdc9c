"""What we ask of the outside. Adapters and test fakes implement these and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.core.changes import Change
    from gitops_ml.core.history import Log
    from gitops_ml.core.image import ImageRef
    from gitops_ml.core.model_artifacts import PulledModel, PushedModel
    from gitops_ml.core.proposal import Branch
    from gitops_ml.core.pull_request import Proposal, PullRequest
    from gitops_ml.core.running import Application, Event, Workload

Progress = Callable[[str], None]
"""Called with one line of text whenever long work has something to tell."""


@dataclass(frozen=True, slots=True)
class BuildInput:
    """One entry of the build context: bytes, a file on disk, or a link's target."""

    path: str
    """POSIX path inside the context."""
    mode: int
    """0o644 or 0o755; 0o777 for links."""
    source: bytes | Path | str
    """Content, the file that holds it, or (``str``) the target of a symbolic link."""
    fingerprint: str | None = None
    """The sha256 that entered the content hash: the bytes that are sent must still have it."""


class Registry(Protocol):
    """A container registry, asked over the OCI distribution API."""

    def digest(self, image: ImageRef) -> str | None:
        """The digest behind the tag, or ``None`` where the registry has no such image.

        Raises:
            Refused: the registry wants other credentials.
            ServerFailed: it cannot be reached, or answered with a failure.
        """
        ...


class ImageBuilder(Protocol):
    """Something that turns a build context into an image."""

    def build(
        self, context: Iterable[BuildInput], image: ImageRef, *, platform: str, progress: Progress
    ) -> str:
        """Build, tag as ``image`` in the local store, and return the image id.

        Raises:
            EngineFailed: no engine answers, or the build failed (with its last lines).
        """
        ...

    def push(self, image: ImageRef, *, progress: Progress) -> str:
        """Push the tag and return the digest that the registry gave it.

        Raises:
            Refused: the registry said no.
            EngineFailed: no engine answers, or the push failed.
        """
        ...


class ModelStore(Protocol):
    """Where model artifacts are."""

    def push(self, directory: Path, image: ImageRef, *, progress: Progress) -> PushedModel:
        """Store the files of ``directory``; what is there already is not sent again.

        Raises:
            UsageError: there is nothing to push.
            Refused, ServerFailed: the registry said no, or failed; the tag is as it was.
        """
        ...

    def named(self, directory: Path, image: ImageRef) -> ImageRef:
        """The reference, with its digest, that `push` would give; nothing is sent or asked.

        Raises:
            UsageError: there is nothing to push.
        """
        ...

    def pull(self, image: ImageRef, directory: Path, *, progress: Progress) -> PulledModel:
        """Write the files of an artifact to a new ``directory``, whole or not at all.

        Raises:
            UsageError: the directory has files already.
            Refused, ServerFailed: the registry said no, or failed.
        """
        ...

    def fetched(self, image: ImageRef, *, progress: Progress) -> Path:
        """The folder with the files of an artifact in this machine's cache, fetched if need be.

        Raises:
            Refused, ServerFailed: the registry said no, or failed.
        """
        ...


class Snapshot(Protocol):
    """The GitOps repository at one commit."""

    @property
    def commit(self) -> str | None:
        """The commit's hex id; ``None`` while the branch does not exist yet."""
        ...

    def blob_ids(self, prefix: str = "") -> Mapping[str, str]:
        """Path to git blob id (hex SHA-1 of git's blob object) of every file below ``prefix``."""
        ...

    def read(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        """The content of those of ``paths`` that exist, in one go."""
        ...

    def refuse_taken(self, changes: Iterable[Change]) -> None:
        """Keep what is not ours: a submodule, a link or a file where a change would be written.

        Raises:
            UsageError: one is there; the message names it.
        """
        ...


class GitopsRepository(Protocol):
    """A clone in the cache that follows the GitOps repository; never the user's checkout."""

    def fetch(self) -> Snapshot:
        """The newest commit of the branch.

        Raises:
            Refused: wrong or missing credentials.
            ServerFailed: the server cannot be reached, or there is no such repository.
        """
        ...

    def commit(
        self, base: Snapshot, changes: Iterable[Change], *, message: str, author: tuple[str, str]
    ) -> str:
        """Write a commit on top of ``base`` and return its id. Nothing moves yet."""
        ...

    def push(self, commit: str, *, base: Snapshot) -> None:
        """Move the branch from ``base`` to ``commit``, never by force.

        Raises:
            RepositoryMoved: somebody else was faster; fetch and render again.
            Refused: the server said no (credentials, protected branch, hook).
        """
        ...

    def at(self, commit: str) -> Snapshot:
        """The repository at an earlier commit."""
        ...

    def log(self, head: Snapshot, path: str, *, side_branches: bool = False) -> Log:
        """The commits up to ``head`` that changed something below ``path``.

        A merge counts as what it brought to the branch. With ``side_branches`` the commits that were
        merged come instead, those that the branch itself never stood at included.
        """
        ...

    def blobs(self, ids: Iterable[str]) -> Mapping[str, bytes]:
        """The content of blobs by their ids, in one go."""
        ...

    def read_branch(self, name: str, *, base: Snapshot) -> Branch | None:
        """The branch of a proposal as the server has it now, or ``None`` where it has none.

        Raises:
            Refused, ServerFailed: see ``fetch``.
        """
        ...

    def push_branch(self, name: str, commit: str, *, expected: str | None) -> str | None:
        """Make the branch of a proposal point at ``commit``, if it is where it was seen last.

        ``expected`` is that commit, ``None`` where there was no such branch. Returns the page at
        which the server says that a pull request can be opened, where it says so.

        Raises:
            RepositoryMoved: somebody else was faster; look again.
            Refused: see ``push``.
        """
        ...


class Forge(Protocol):
    """Where pull requests are: GitHub, GitLab, Gitea, Bitbucket, … for one repository there.

    Every method raises `Refused` where the forge says no (token, scope, protected branch) and
    `ServerFailed` where it cannot be reached or fails; the messages name the remedy.
    """

    def find(self, *, head: str, base: str) -> PullRequest | None:
        """The newest pull request from ``head`` to ``base``: the open one if there is one."""
        ...

    def open(self, proposal: Proposal) -> PullRequest:
        """Open a pull request; the one that is open already is brought up to date instead."""
        ...

    def update(self, pull_request: PullRequest, proposal: Proposal) -> PullRequest:
        """Have an open pull request say what ``proposal`` says; what is equal is not sent."""
        ...

    def get(self, number: int) -> PullRequest:
        """The pull request as it is now."""
        ...

    def of_commit(self, commit: str) -> tuple[PullRequest, ...]:
        """The pull requests that brought ``commit`` (hex id) to the branch; the newest first."""
        ...


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server of ours answered, whatever the status."""

    status: int
    headers: Mapping[str, str]
    """By names in small letters."""
    body: bytes


class LogStream(Protocol):
    """The log of one container, line by line, each beginning with its time."""

    @property
    def is_over(self) -> bool:
        """Whether it came to its end, and was not cut off."""
        ...

    def __iter__(self) -> Iterator[str]: ...

    def close(self) -> None:
        """End it, also while somebody waits for the next line."""
        ...


class Cluster(Protocol):
    """A Kubernetes cluster, asked and never changed.

    Every method raises `Refused` where the API server says no (credentials, permissions), and
    `ServerFailed` where it cannot be reached, fails, or lacks what is asked about.
    """

    def applications(
        self, namespace: str, *, environment: str, api: str | None = None
    ) -> tuple[Application, ...]:
        """Argo CD's Applications of an environment, or of one API there."""
        ...

    def workloads(
        self, namespace: str, *, environment: str, api: str | None = None
    ) -> tuple[Workload, ...]:
        """The Deployments of an environment, with their pods and autoscalers."""
        ...

    def warnings(self, namespace: str) -> tuple[Event, ...]:
        """The events of a namespace that are more than routine; the newest last."""
        ...

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: str | None = None,
        previous: bool = False,
    ) -> LogStream:
        """A container's log, or its last ``tail`` lines, or those from the time ``since`` on.

        ``previous`` is the log of the process that crashed before.
        """
        ...

    def post(
        self,
        namespace: str,
        service: str,
        path: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        seconds: float,
    ) -> HttpAnswer:
        """Send a request to a Service, by way of the API server."""
        ...


class HelmEngine(Protocol):
    """Helm itself, in process or as a program."""

    def template(
        self, chart: Path, *, release: str, namespace: str, values: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], ...]:
        """The Kubernetes objects of one release, in Helm's order, without notes and hooks.

        Raises:
            ProgramFailed: Helm refused the values or a template failed; holds Helm's words.
        """
        ...

    def manifest(
        self, chart: Path, *, release: str, namespace: str, values: Mapping[str, Any]
    ) -> str:
        """The same objects as Helm's own text: a YAML stream, each document after a ``---``.

        Raises:
            ProgramFailed: see `template`.
        """
        ...
