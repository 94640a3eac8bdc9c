"""Wait until releases are live: merged, synced and rolled out with the expected deployment id."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

from gitops_ml.cluster.model import LIVE, PENDING, UNKNOWN, ExpectedRelease, Status
from gitops_ml.commands.get import LiveRelease, Observation, look, utc_now
from gitops_ml.delivery.releases import current_releases, repository_of
from gitops_ml.errors import GitopsMlError, NotLive, ServerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from gitops_ml.commands.deploy import Deployment
    from gitops_ml.forge.pull_request import PullRequest
    from gitops_ml.git.repository import GitSnapshot
    from gitops_ml.gitops.release_yaml import ReleaseRecord
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock, which tests replace."""

    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitPolicy:
    """How long to wait, and how often to look."""

    timeout: float = 1800
    """Seconds: an image of gigabytes, a new node and a model that loads take a while."""
    interval: float = 5
    """Seconds between two looks."""
    clock: Clock = field(default_factory=Clock)


def wanted_by(
    workspace: Workspace, deployment: Deployment, *, tools: Clients
) -> tuple[ExpectedRelease, ...]:
    """What a deploy expects to run: releases that it changed, and those that did not have to change."""
    changed = {
        (release.environment, release.name): release.deployment_id
        for release in deployment.releases
    }
    current = {}
    if any((each.environment.name, each.name) not in changed for each in workspace.releases):
        snapshot = repository_of(workspace, tools).fetch()
        current = {
            (release.environment, release.api): release.deployment_id
            for release in current_releases(snapshot, workspace.environments)
        }
    ids = current | changed
    places = [(each.environment.name, each.name) for each in workspace.releases]
    return tuple(
        ExpectedRelease(api, environment, ids[environment, api], deployment.commit)
        for environment, api in places
        if (environment, api) in ids
    )


def wait(
    workspace: Workspace,
    wanted: Iterable[ExpectedRelease],
    *,
    tools: Clients,
    proposed: PullRequest | None = None,
    patience: WaitPolicy = WaitPolicy(),
) -> tuple[LiveRelease, ...]:
    """The releases, once all of them are live with the wanted deployment ids.

    With ``proposed`` the pull request has to be merged first.
    ``tools.progress`` gets a line whenever something is new.

    Raises:
        NotLive: a release cannot become live (its pull request was closed, Argo CD cannot sync it,
            its image cannot be pulled, it crashes again and again, another deploy came), or did not
            in time; the message has the cause and the remedy.
    """
    waiting = _Waiting(workspace, tuple(wanted), tools, proposed)
    clock, started = patience.clock, patience.clock.now()
    end = started + timedelta(seconds=patience.timeout)
    while True:
        live = waiting.look(clock.now())
        if live is not None:
            return live
        if clock.now() >= end:
            waiting.give_up(clock.now() - started)
        clock.sleep(patience.interval)


@dataclass(slots=True)
class _Waiting:
    workspace: Workspace
    wanted: tuple[ExpectedRelease, ...]
    tools: Clients
    proposed: PullRequest | None
    before: PullRequest | None = None
    """The pull request at the previous look."""
    statuses: dict[ExpectedRelease, Status] = field(default_factory=dict)
    """What was seen and reported last."""
    in_git: set[ExpectedRelease] = field(default_factory=set)
    """Releases that were in Git at some time during the wait."""

    def look(self, now: datetime) -> tuple[LiveRelease, ...] | None:
        """The releases if all of them are live; ``None`` if they may still become so."""
        try:
            snapshot = repository_of(self.workspace, self.tools).fetch()
            current = self._current(snapshot)
            looked = look(self.workspace, current.values(), tools=self.tools)
        except ServerFailed:
            if not self.statuses:
                raise
            return None  # it has answered before, and may again
        self._refuse_blindness(looked)
        live = []
        for wanted, release in current.items():
            (found,) = looked.live([release], commit=wanted.commit or snapshot.commit, now=now)
            self._report(wanted, found.status)
            live.append(found)
        if len(live) == len(self.wanted) and all(each.status.word == LIVE for each in live):
            return tuple(live)
        return None

    def give_up(self, waited: timedelta) -> NoReturn:
        for wanted, status in self.statuses.items():
            if status.word != LIVE:
                lead = f"after {_duration(waited)} it is still {status.word}"
                raise _not_live(wanted, status, lead=lead)
        raise AssertionError("something is not live")

    def _current(self, snapshot: GitSnapshot) -> Mapping[ExpectedRelease, ReleaseRecord]:
        """Those that are in Git now."""
        environments = {wanted.environment for wanted in self.wanted}
        found = {
            (release.environment, release.api): release
            for release in current_releases(snapshot, environments)
        }
        current = {
            wanted: release
            for wanted in self.wanted
            if (release := found.get((wanted.environment, wanted.api))) is not None
            and release.deployment_id == wanted.deployment_id
        }
        self.in_git |= current.keys()
        if not self.in_git.issuperset(self.wanted):
            self._ask_forge()
        for wanted in self.wanted:
            if wanted not in current:
                self._not_in_git(wanted, found.get((wanted.environment, wanted.api)))
        return current

    def _not_in_git(self, wanted: ExpectedRelease, release: ReleaseRecord | None) -> None:
        """It waits for its review, or it cannot become live."""
        proposed = self.proposed if wanted not in self.in_git else None
        if proposed is not None and proposed.state == "open":
            where = proposed.url or f"the branch {proposed.head}"
            self._report(wanted, Status(PENDING, f"it waits for its review: {where}"))
        elif proposed is not None and proposed.state == "closed":
            reason = f"its pull request was closed without being merged: {proposed.url}"
            raise _not_live(wanted, Status(PENDING, reason, "deploy again to open another one"))
        elif proposed is not None and self._is_newly_merged():
            self._report(wanted, Status(PENDING, f"its pull request is merged: {proposed.url}"))
        else:
            now = f"wants {release.deployment_id} now" if release else "has no such release"
            reason = f"the GitOps repository {now}: another change came after this one"
            raise _not_live(wanted, Status(UNKNOWN, reason, "`gitops-ml history` shows which"))

    def _ask_forge(self) -> None:
        """Read the pull request, once a look, however many releases it has."""
        if self.proposed is not None and self.proposed.number and (forge := self.tools.forge):
            self.before, self.proposed = self.proposed, forge.get(self.proposed.number)

    def _is_newly_merged(self) -> bool:
        """Whether it was open at the last fetch: then its commit comes with the next one."""
        was, now = self.before, self.proposed
        return was is not None and now is not None and (was.state, now.state) == ("open", "merged")

    def _report(self, wanted: ExpectedRelease, status: Status) -> None:
        if status.is_final:
            raise _not_live(wanted, status, lead=status.word)
        if self.statuses.get(wanted) != status:
            reason = f": {status.reason}" if status.reason else ""
            self.tools.progress(f"{wanted.api} in {wanted.environment}: {status.word}{reason}")
        self.statuses[wanted] = status

    def _refuse_blindness(self, looked: Observation) -> None:
        """Refuse to wait where neither Argo CD nor the pods can be read."""
        is_blind = any(
            not (seen.sees_applications or seen.sees_workloads) for seen in looked.seen.values()
        )
        lasting = [each for each in looked.failures if not isinstance(each, ServerFailed)]
        if is_blind and lasting:
            raise lasting[0]
        if is_blind and not self.statuses:
            raise looked.failures[0]


def _not_live(wanted: ExpectedRelease, status: Status, *, lead: str = "") -> GitopsMlError:
    message = ": ".join(part for part in (lead, status.reason) if part)
    remedy = f". {status.remedy[:1].upper()}{status.remedy[1:]}" if status.remedy else ""
    return NotLive(
        f"{wanted.api} in {wanted.environment} ({wanted.deployment_id}): {message}{remedy}",
        api=wanted.api,
        environment=wanted.environment,
        status=status.word,
        reason=status.reason,
        remedy=status.remedy,
    )


def _duration(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    return f"{seconds} seconds" if seconds < 120 else f"{round(seconds / 60)} minutes"
