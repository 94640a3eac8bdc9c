"""Wait until releases are live, or gone: merged, synced and rolled out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NoReturn

from gitops_ml.cluster.observed import (
    ERROR_SYNC,
    GONE,
    LIVE,
    PENDING,
    UNKNOWN,
    Application,
    ApplicationSet,
    ExpectedRelease,
    ExpectedRemoval,
    Observed,
    Pod,
    Status,
)
from gitops_ml.cluster.replicas import lasting
from gitops_ml.cluster.status import named_commit, removal_status
from gitops_ml.commands.deploy import Deployment
from gitops_ml.commands.get import LiveRelease, Observation, cluster_of, live_release, look, utc_now
from gitops_ml.delivery.awaited import (
    ArgoRefresh,
    Branch,
    Expected,
    below,
    expected_by,
    expected_removal,
)
from gitops_ml.delivery.change import WAIT_SECONDS, ChangeResult
from gitops_ml.delivery.releases import current_releases, repository_of
from gitops_ml.errors import GitopsMlError, NotLive, Refused, ServerFailed
from gitops_ml.forge.pull_request import PullRequest
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_yaml import ReleaseRecord
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace

_MERGED = ("open", "merged")
"""A pull request that was open at the last fetch: its commit comes with the next one."""
_LASTS = timedelta(seconds=60)
"""How long a failure of Argo CD that names no commit may last before it counts as permanent."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock, which tests replace."""

    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitPolicy:
    """How long to wait, and how often to look."""

    timeout: float = WAIT_SECONDS
    interval: float = 5
    """Seconds between two looks; at the beginning they are closer together."""
    clock: Clock = field(default_factory=Clock)

    def pause(self, waited: timedelta) -> float:
        """Seconds until the next look."""
        return min(self.interval, max(1.0, waited.total_seconds() / 20))


def wanted_by(
    workspace: Workspace, deployment: Deployment, *, clients: Clients
) -> tuple[Expected, ...]:
    """What a deploy expects: releases that it changed, removed, or did not have to change."""
    commit = None if deployment.pull_request else deployment.commit
    wanted: dict[tuple[str, str], Expected] = {
        (each.environment, each.name): ExpectedRelease(
            each.name,
            each.environment,
            each.deployment_id,
            commit,
            below(deployment.changes, each.directory),
        )
        for each in deployment.releases
    }
    planned = {(each.environment.name, each.name) for each in workspace.releases}
    if unchanged := planned - wanted.keys():
        snapshot = repository_of(workspace, clients).fetch()
        for release in current_releases(snapshot, workspace.environments):
            if (place := (release.environment, release.api)) in unchanged:
                wanted[place] = ExpectedRelease(
                    release.api, release.environment, release.deployment_id
                )
    gone = (expected_removal(deployment.changes, each) for each in deployment.removed)
    return (*wanted.values(), *gone)


def wanted_by_change(changed: ChangeResult) -> tuple[Expected, ...]:
    """What promote, rollback, patch, refresh or delete expects."""
    commit = None if changed.pull_request else changed.commit
    return expected_by(changed.chosen, changed.changes, commit=commit)


def wait(
    workspace: Workspace,
    wanted: Iterable[Expected],
    *,
    clients: Clients,
    proposed: PullRequest | None = None,
    patience: WaitPolicy = WaitPolicy(),
) -> tuple[LiveRelease, ...]:
    """The releases, once all of them run what the commit that is waited for wants, and the others are gone.

    With ``proposed`` the pull request has to be merged first. Where it may, it asks Argo CD to refresh.
    ``clients.progress`` gets a line whenever something is new.

    Raises:
        NotLive: a release cannot become live (its pull request was closed, Argo CD cannot sync it,
            its image cannot be pulled, it crashes again and again, another change came), or did not
            in time; the message has the cause and the remedy.
    """
    waiting = _Waiting(workspace, tuple(wanted), clients, proposed)
    clock, started = patience.clock, patience.clock.now()
    end = started + timedelta(seconds=patience.timeout)
    while True:
        live = waiting.look(clock.now())
        if live is not None:
            return live
        if clock.now() >= end:
            waiting.give_up(clock.now() - started)
        clock.sleep(patience.pause(clock.now() - started))


class _Waiting:
    def __init__(
        self,
        workspace: Workspace,
        wanted: tuple[Expected, ...],
        clients: Clients,
        proposed: PullRequest | None,
    ) -> None:
        assert workspace.project.gitops is not None, "the repository was asked for before"
        self.workspace, self.wanted, self.clients = workspace, wanted, clients
        self.proposed = proposed
        self.before: PullRequest | None = None
        """The pull request at the previous look."""
        self.branch = Branch(repository_of(workspace, clients))
        self.refresh = ArgoRefresh(clients, workspace.project.gitops.argocd_namespace)
        self.statuses: dict[Expected, Status] = {}
        """What was seen and reported last."""
        self.failing_since: dict[Expected, datetime] = {}
        self.in_git: set[Expected] = set()
        """Those that were in Git at some time during the wait."""

    def look(self, now: datetime) -> tuple[LiveRelease, ...] | None:
        """The releases if all is as it should be; ``None`` if that may still come."""
        try:
            self.branch.fetch()
            there = self._in_git()
            live = self._look_at_releases(there, now)
            self._look_at_removals(there, now)
        except ServerFailed:
            if not self.statuses:
                raise
            return None  # it has answered before, and may again
        done = all(
            (status := self.statuses.get(each)) is not None and status.state in (LIVE, GONE)
            for each in self.wanted
        )
        return live if done else None

    def give_up(self, waited: timedelta) -> NoReturn:
        for wanted, status in self.statuses.items():
            if status.state not in (LIVE, GONE):
                lead = f"after {lasting(waited)} it is still {status.state}"
                raise _not_live(wanted, status, lead=lead)
        raise AssertionError("something is not as it should be")

    # -- Git -----------------------------------------------------------------------------------

    def _in_git(self) -> list[Expected]:
        """Those that the branch has now."""
        there = [wanted for wanted in self.wanted if self.branch.has(wanted)]
        self.in_git.update(there)
        number = self.proposed.number if self.proposed is not None else None
        if not self.in_git.issuperset(self.wanted) and number and (forge := self.clients.forge):
            # Once a look, however many releases the pull request has.
            self.before, self.proposed = self.proposed, forge.get(number)
        for wanted in self.wanted:
            if wanted not in there:
                self._not_in_git(wanted, self.branch.release(wanted))
        return there

    def _not_in_git(self, wanted: Expected, release: ReleaseRecord | None) -> None:
        """It waits for its review, or it cannot come true."""
        proposed = self.proposed if wanted not in self.in_git else None
        if proposed is not None and proposed.state == "open":
            where = proposed.url or f"the branch {proposed.head}"
            self._report(wanted, Status(PENDING, f"it waits for its review: {where}"))
        elif proposed is not None and proposed.state == "closed":
            reason = f"its pull request was closed without being merged: {proposed.url}"
            raise _not_live(wanted, Status(PENDING, reason, "deploy again to open another one"))
        elif (was := self.before) and proposed and (was.state, proposed.state) == _MERGED:
            self._report(wanted, Status(PENDING, f"its pull request is merged: {proposed.url}"))
        else:
            now = f"wants {release.deployment_id} now" if release else "has no such release"
            reason = f"the GitOps repository {now}: another change came after this one"
            raise _not_live(wanted, Status(UNKNOWN, reason, "`gitops-ml history` shows which"))

    # -- the cluster ---------------------------------------------------------------------------

    def _look_at_releases(
        self, there: Iterable[Expected], now: datetime
    ) -> tuple[LiveRelease, ...]:
        current = {
            wanted: release
            for wanted in there
            if isinstance(wanted, ExpectedRelease)
            and (release := self.branch.release(wanted)) is not None
        }
        looked = look(self.workspace, current.values(), clients=self.clients)
        self._refuse_blindness(looked)
        live = []
        for wanted, release in current.items():
            commit = self.branch.commit_of(wanted)
            assert commit is not None, "the branch has it"
            seen = self._judged(looked.seen[wanted.environment, wanted.api], release, commit, now)
            found = live_release(release, seen, commit=commit, now=now)
            self._report(wanted, found.status, now=now)
            live.append(found)
        return tuple(live)

    def _judged(
        self, seen: Observed, release: ReleaseRecord, commit: str, now: datetime
    ) -> Observed:
        """What was seen, with what it says about the commit; Argo CD is asked for what is missing."""
        application = seen.application
        reached = self.branch.reached(_revisions(application), commit)
        has_source = application is None or not application.path.startswith("charts/") or (
            application.path == layout.chart_directory(release.chart, release.chart_version)
        )  # fmt: skip
        is_read = application is not None and application.revision in reached
        if not (is_read and has_source):
            self.refresh.ask(release.environment, application, key=commit, now=now)
        return replace(
            seen,
            reached=reached,
            has_source=has_source,
            has_compared=is_read or self.refresh.is_done(application, key=commit, now=now),
            application_set=None if application else self._application_set(release.environment),
        )

    def _application_set(self, environment: str) -> ApplicationSet | None:
        """It says why there is no Application; ``None`` where it cannot be read."""
        try:
            found = self.clients.argo_cd.application_sets(
                self.refresh.namespace, environment=environment
            )
        except Refused:
            return None
        return next(iter(found), None)

    def _look_at_removals(self, there: Iterable[Expected], now: datetime) -> None:
        for wanted in there:
            if isinstance(wanted, ExpectedRemoval):
                self._report(wanted, self._removal(wanted, now), now=now)

    def _removal(self, wanted: ExpectedRemoval, now: datetime) -> Status:
        environment = wanted.environment
        if self.workspace.project.environments[environment].protected:
            reason = (
                f"{environment} is protected: Argo CD keeps what runs, so nothing is waited for"
            )
            return Status(GONE, reason)
        applications = self.clients.argo_cd.applications(
            self.refresh.namespace, environment=environment, api=wanted.api
        )
        application = next(iter(applications), None)
        if application is not None and not application.is_deleting:
            self.refresh.ask(environment, None, key=str(self.branch.commit_of(wanted)), now=now)
        return removal_status(wanted, application, self._pods(wanted))

    def _pods(self, wanted: ExpectedRemoval) -> tuple[Pod, ...]:
        """Those of the removed release; none where they cannot be read."""
        cluster = self.clients.cluster(cluster_of(self.workspace, wanted.environment).name)
        try:
            return cluster.pods(wanted.namespace, environment=wanted.environment, api=wanted.api)
        except Refused:
            return ()

    # -- messages --------------------------------------------------------------------------

    def _report(self, wanted: Expected, status: Status, *, now: datetime | None = None) -> None:
        if status.is_final or (now is not None and self._has_lasted(wanted, status, now)):
            raise _not_live(wanted, status, lead=status.state)
        if self.statuses.get(wanted) != status:
            reason = f": {status.reason}" if status.reason else ""
            self.clients.progress(f"{wanted.api} in {wanted.environment}: {status.state}{reason}")
        self.statuses[wanted] = status

    def _has_lasted(self, wanted: Expected, status: Status, now: datetime) -> bool:
        """Whether a failure to sync has lasted so long that it counts as permanent."""
        if status.state != ERROR_SYNC:
            self.failing_since.pop(wanted, None)
            return False
        return now - self.failing_since.setdefault(wanted, now) >= _LASTS

    def _refuse_blindness(self, looked: Observation) -> None:
        """Refuse to wait where Argo CD cannot be read: what it has synced would stay unknown."""
        if not looked.failures:
            return
        if not all(seen.sees_applications for seen in looked.seen.values()):
            final = [each for each in looked.failures if not isinstance(each, ServerFailed)]
            if final or not self.statuses:
                raise (final or looked.failures)[0]
        elif not self.statuses:
            self.clients.progress(
                f"Argo CD's health counts, as the pods cannot be read: {looked.unseen[0]}"
            )


def _revisions(application: Application | None) -> tuple[str, ...]:
    """The commits that Argo CD names: of the comparison, of the operation, of a failed one."""
    if application is None:
        return ()
    operation = application.operation
    named = (application.revision, operation.revision if operation else None)
    failed = (named_commit(each.message) for each in application.conditions)
    return tuple(each for each in (*named, *failed) if each)


def _not_live(wanted: Expected, status: Status, *, lead: str = "") -> GitopsMlError:
    message = ": ".join(part for part in (lead, status.reason) if part)
    remedy = f". {status.remedy[:1].upper()}{status.remedy[1:]}" if status.remedy else ""
    id = wanted.deployment_id if isinstance(wanted, ExpectedRelease) else "its removal"
    return NotLive(
        f"{wanted.api} in {wanted.environment} ({id}): {message}{remedy}",
        api=wanted.api,
        environment=wanted.environment,
        status=status.state,
        reason=status.reason,
        remedy=status.remedy,
    )
