"""What a call wants to see running: whether the branch has it, and that Argo CD reads Git now, not at its next poll."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gitops_ml.cluster.observed import Application, ExpectedRelease, ExpectedRemoval
from gitops_ml.delivery.change import ReleaseChange
from gitops_ml.errors import Refused, ServerFailed
from gitops_ml.git.commits import Change, blob_id
from gitops_ml.git.repository import GitRepository, GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.argo import root_name
from gitops_ml.gitops.release_yaml import ReleaseRecord, read_release
from gitops_ml.workspace.clients import Clients

Expected = ExpectedRelease | ExpectedRemoval
_AGAIN_AFTER = timedelta(seconds=15)
"""A refresh may have begun before the commit could be read; Argo CD takes seconds for one."""
_POLLS_WITHIN = timedelta(minutes=5)
"""Argo CD polls Git every three minutes, with up to a minute of jitter."""


def expected_by(
    releases: Iterable[ReleaseChange], changes: Iterable[Change], *, commit: str | None
) -> tuple[Expected, ...]:
    """What a verb expects of its releases; ``commit`` is `None` where a review comes first."""
    changes = tuple(changes)
    return tuple(
        ExpectedRelease(
            each.api, each.environment, each.after, commit, below(changes, each.directory)
        )
        if each.after
        else expected_removal(changes, each.directory)
        for each in releases
    )


def expected_removal(changes: Iterable[Change], directory: str) -> ExpectedRemoval:
    """That a release is gone whose files ``changes`` remove."""
    files = below(changes, directory)
    _, environment, api = directory.split("/")
    facts = (read_release(c.before or b"") for c in files if c.path.endswith(f"/{layout.RELEASE}"))
    namespace = next((release.namespace for release in facts if release is not None), "")
    return ExpectedRemoval(api, environment, namespace, files)


def below(changes: Iterable[Change], directory: str) -> tuple[Change, ...]:
    return tuple(change for change in changes if change.path.startswith(f"{directory}/"))


@dataclass(slots=True)
class Branch:
    """The branch that Argo CD follows, as it is now."""

    repository: GitRepository
    snapshot: GitSnapshot | None = None
    _brought_by: dict[str, str | None] = field(default_factory=dict)
    _contains: set[tuple[str, str]] = field(default_factory=set)

    def fetch(self) -> None:
        fetched = self.repository.fetch()
        if self.snapshot is None or fetched.commit != self.snapshot.commit:
            self.snapshot, self._brought_by = fetched, {}

    def release(self, expected: Expected) -> ReleaseRecord | None:
        """The release in its place, whichever it is."""
        path = f"{_directory(expected)}/{layout.RELEASE}"
        return read_release(self._snapshot.read([path]).get(path, b""))

    def has(self, expected: Expected) -> bool:
        """Whether the branch has what was changed, or, where nothing was, the deployment id."""
        if not expected.changes:
            release = self.release(expected)
            wanted = getattr(expected, "deployment_id", None)
            return (release.deployment_id if release else None) == wanted
        there = self._snapshot.blob_ids(f"{_directory(expected)}/")
        length = len(self._snapshot.commit or "")
        return all(
            there.get(change.path)
            == (None if change.after is None else blob_id(change.after, length=length))
            for change in expected.changes
        )

    def commit_of(self, expected: Expected) -> str | None:
        """The commit of the branch that brought it: Argo CD has to sync that one or a later one."""
        if isinstance(expected, ExpectedRelease) and expected.commit:
            return expected.commit
        directory = _directory(expected)
        if directory not in self._brought_by:
            found = self.repository.last_change(self._snapshot, f"{directory}/")
            self._brought_by[directory] = found
        return self._brought_by[directory]

    def reached(self, revisions: Iterable[str], commit: str) -> frozenset[str]:
        """Those of ``revisions`` that contain ``commit``."""
        for revision in revisions:
            pair = revision, commit
            if pair not in self._contains and (
                revision == commit or self.repository.contains(revision, commit)
            ):
                self._contains.add(pair)
        return frozenset(each for each in revisions if (each, commit) in self._contains)

    @property
    def _snapshot(self) -> GitSnapshot:
        assert self.snapshot is not None, "it is fetched first"
        return self.snapshot


def _directory(expected: Expected) -> str:
    return layout.release_directory(expected.environment, expected.api)


@dataclass(slots=True)
class ArgoRefresh:
    """Refreshes of the Applications and ApplicationSets that a wait is about."""

    clients: Clients
    namespace: str
    """Argo CD's."""
    is_allowed: bool = True
    _asked: dict[str, datetime] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)
    _began: datetime | None = None

    def ask(
        self, environment: str, application: Application | None, *, key: str, now: datetime
    ) -> None:
        """Ask for what is not synced yet; ``key`` names the commit that Argo CD should read."""
        self._began = self._began or now
        cluster, gitops = self.clients.argo_cd, self.clients.project.gitops
        if gitops is not None:  # the commit may have changed the ApplicationSet itself
            self._send(cluster.refresh_application, root_name(gitops), key=f"root {key}", now=now)
        name = f"gitops-ml-{environment}"
        self._send(cluster.refresh_application_set, name, key=f"set {name} {key}", now=now)
        if application is not None and not application.is_refreshing:
            again = f"{application.name} {key}"
            self._send(cluster.refresh_application, application.name, key=again, now=now)

    def is_done(self, application: Application | None, *, key: str, now: datetime) -> bool:
        """Whether Argo CD has compared the Application since an earlier look, or has polled since then.

        It removes the request when it has; the time of the comparison does not move with each error.
        """
        if not self.is_allowed:
            return self._began is not None and now - self._began >= _POLLS_WITHIN
        if application is None:
            return True
        name = f"{application.name} {key}"
        if (asked := self._asked.get(name)) and asked < now and not application.is_refreshing:
            self._done.add(name)
        return name in self._done

    def _send(
        self, request: Callable[[str, str], None], name: str, *, key: str, now: datetime
    ) -> None:
        asked = self._asked.get(key)
        if not self.is_allowed or (asked is not None and now - asked < _AGAIN_AFTER):
            return
        self._asked[key] = now
        try:
            request(self.namespace, name)
        except ServerFailed:
            return  # the next look asks again
        except Refused:
            self.is_allowed = False
            self.clients.progress(
                "Argo CD polls Git, which takes up to four minutes: these credentials may not ask it to "
                "refresh. The role gitops-ml-refresher in bootstrap/rights.yaml of the GitOps repository "
                "allows that"
            )
