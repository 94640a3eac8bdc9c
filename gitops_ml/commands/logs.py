"""The logs of all replicas of an API, in one stream."""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from gitops_ml.cluster.kubernetes import KubernetesCluster, LogLines
from gitops_ml.cluster.observed import Container, Pod
from gitops_ml.cluster.replicas import replica_of
from gitops_ml.commands.get import cluster_of, utc_now
from gitops_ml.delivery.releases import current_release, repository_of
from gitops_ml.errors import GitopsMlError, ServerFailed, UsageError
from gitops_ml.gitops.release_yaml import ReleaseRecord
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace

CONTAINER = "predictor"
"""The container of the chart that serves predictions."""
PREFLIGHT = "preflight"
"""The container of the Job that tries a new image."""
_LOOK_AGAIN = 3.0
"""Seconds between two looks for new replicas while their log is followed."""
_ON_THEIR_WAY = 10_000
"""Lines that may be read ahead of what is shown."""


@dataclass(frozen=True, slots=True)
class LogLine:
    at: str
    """RFC 3339, as the kubelet wrote it: sorts as text."""
    pod: str
    text: str


def logs(
    workspace: Workspace,
    api: str,
    *,
    clients: Clients,
    environment: str,
    tail: int | None = None,
    container: str = CONTAINER,
) -> Iterator[LogLine]:
    """The log lines of every replica by time; of one that crashed, those of its last attempt.

    Raises:
        GitopsMlError: no replica runs; the message has the cause.
        Refused, ServerFailed: the GitOps repository or the cluster cannot be read, or a log breaks
            off before its end.
    """
    source = _Source.of(
        workspace, api, clients=clients, environment=environment, container=container
    )
    pods = source.pods()
    streams = [source.read(pod, tail=tail) for pod in pods if source.has_log(pod)]
    if not streams:
        raise GitopsMlError(source.nothing(pods))
    lines = heapq.merge(*streams, key=lambda line: line.at)
    # Each replica gave its newest lines; keep the newest of all.
    return iter(lines if tail is None else deque(lines, maxlen=tail))


def follow(
    workspace: Workspace,
    api: str,
    *,
    clients: Clients,
    environment: str,
    tail: int | None = 100,
    container: str = CONTAINER,
    look_again: float = _LOOK_AGAIN,
) -> Iterator[LogLine]:
    """The log lines of every replica as they come, also of new replicas, until the iterator is closed."""
    source = _Source.of(
        workspace, api, clients=clients, environment=environment, container=container
    )
    lines = _Lines()
    followed: dict[str, _Followed] = {}
    reported: set[str] = set()
    try:
        failures = _begin(source, followed, lines, tail=tail)
        if failures and not any(each.is_read for each in followed.values()):
            raise failures[0]
        while True:
            # A server that answered before may answer again.
            messages = {str(failure) for failure in failures}
            for each in sorted(messages - reported):
                clients.progress(each)
            reported = messages
            yield from lines.during(look_again)
            failures = _begin(source, followed, lines, tail=tail)
    finally:
        lines.end()
        for attempt in followed.values():
            attempt.close()


def _begin(
    source: _Source, followed: dict[str, _Followed], lines: _Lines, *, tail: int | None
) -> list[ServerFailed]:
    """Follow attempts that are not followed yet; returns the failures."""
    try:
        pods = source.pods()
    except ServerFailed as error:
        return [error]
    failures = []
    for pod in pods:
        attempt = followed.setdefault(source.attempt(pod), _Followed(pod, lines.put))
        if not attempt.is_read and source.has_log(pod):
            try:
                attempt.read(source, tail=tail)
            except ServerFailed as error:
                failures.append(error)
    return failures


class _Lines:
    """Lines on their way from many threads to one reader, who may be slower than they are."""

    def __init__(self) -> None:
        self._lines: queue.Queue[LogLine] = queue.Queue(_ON_THEIR_WAY)
        self._is_over = threading.Event()

    def put(self, line: LogLine) -> None:
        while not self._is_over.is_set():
            with suppress(queue.Full):
                self._lines.put(line, timeout=0.5)
                return

    def during(self, seconds: float) -> Iterator[LogLine]:
        """The lines that arrive in this time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                yield self._lines.get(timeout=left)
            except queue.Empty:
                return

    def end(self) -> None:
        """Stop threads that wait to put a line: no one reads them."""
        self._is_over.set()


@dataclass(slots=True)
class _Followed:
    """One attempt of one replica's container, read by a thread of its own."""

    pod: Pod
    put: Callable[[LogLine], None]
    stream: LogLines | None = None
    last: str = ""
    """The time of its newest line: where to continue after a lost connection."""

    @property
    def is_read(self) -> bool:
        return self.stream is not None

    def read(self, source: _Source, *, tail: int | None) -> None:
        stream = source.stream(
            self.pod, follow=True, tail=None if self.last else tail, since=self.last or None
        )
        self.stream = stream
        threading.Thread(
            target=self._pass_on, args=[stream, self.last], daemon=True,
            name=f"log of {self.pod.name}",
        ).start()  # fmt: skip

    def close(self) -> None:
        stream = self.stream  # the thread lets go of it when the connection is lost
        if stream is not None:
            stream.close()

    def _pass_on(self, stream: LogLines, since: str) -> None:
        for text in stream:
            line = _line(self.pod, text)
            # Lines that come again after a lost connection were reported already.
            if line.at > since:
                self.last = line.at
                self.put(line)
        # The process ended, and the next attempt is another one; or the connection was lost.
        if not stream.is_over:
            self.stream = None


@dataclass(frozen=True, slots=True)
class _Source:
    """The container whose logs are read, in whatever pods there are."""

    cluster: KubernetesCluster
    release: ReleaseRecord
    container: str

    @classmethod
    def of(
        cls, workspace: Workspace, api: str, *, clients: Clients, environment: str, container: str
    ) -> _Source:
        release = current_release(repository_of(workspace, clients).fetch(), api, environment)
        cluster = clients.cluster(cluster_of(workspace, environment).name)
        return cls(cluster, release, container)

    def pods(self) -> tuple[Pod, ...]:
        of_preflight = self.container == PREFLIGHT
        read = self.cluster.preflights if of_preflight else self.cluster.workloads
        release = self.release
        found = read(release.namespace, environment=release.environment, api=release.api)
        return tuple(pod for each in found for pod in each.pods)

    def has_log(self, pod: Pod) -> bool:
        """Whether the container has ever run in this pod."""
        container = self._container(pod)
        return container is not None and (not container.waits_for or container.ended is not None)

    def attempt(self, pod: Pod) -> str:
        """Another one each time that the container is started: a log ends with its process."""
        container = self._container(pod)
        return f"{pod.name}/{container.restarts if container else 0}"

    def read(self, pod: Pod, *, tail: int | None) -> Iterator[LogLine]:
        return _whole(pod, self.stream(pod, follow=False, tail=tail))

    def stream(
        self, pod: Pod, *, follow: bool, tail: int | None, since: str | None = None
    ) -> LogLines:
        container = self._container(pod)
        # Between two attempts only the log of the last one exists.
        crashed = container is not None and container.waits_for == "CrashLoopBackOff"
        return self.cluster.logs(
            self.release.namespace, pod.name, self.container,
            follow=follow and not crashed, tail=tail, since=since, previous=crashed,
        )  # fmt: skip

    def nothing(self, pods: tuple[Pod, ...]) -> str:
        name = f"{self.release.api} in {self.release.environment}"
        if not pods:
            return f"nothing of {name} runs; `gitops-ml describe {self.release.api}` shows why"
        names = sorted({each.name for pod in pods for each in pod.containers})
        if names and self.container not in names:
            raise UsageError(
                f"{name} has no container {self.container!r}; it has {', '.join(names)}"
            )
        wanted, now = self.release.deployment_id, utc_now()
        problems = [replica_of(pod, wanted=wanted, now=now).problem for pod in pods]
        why = next((problem.reason for problem in problems if problem), "its replicas are starting")
        return f"{name} has written no logs yet: {why}"

    def _container(self, pod: Pod) -> Container | None:
        return next((each for each in pod.containers if each.name == self.container), None)


def _whole(pod: Pod, stream: LogLines) -> Iterator[LogLine]:
    for text in stream:
        yield _line(pod, text)
    if not stream.is_over:
        raise ServerFailed(f"the log of {pod.name} broke off, and there is more of it: ask again")


def _line(pod: Pod, line: str) -> LogLine:
    at, _, text = line.partition(" ")
    return LogLine(at, pod.name, text)
