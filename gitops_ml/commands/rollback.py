"""Roll a release back to an earlier state, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gitops_ml.delivery.change import (
    ChangeContext,
    ChangePlan,
    ChangeResult,
    ReleaseChange,
    change,
    changed_values,
)
from gitops_ml.delivery.derive import FILES, restored_changes
from gitops_ml.delivery.modes import mode_of
from gitops_ml.delivery.releases import refuse_other, repository_of
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.errors import RepositoryMoved, UsageError
from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.current_objects import render_manifest
from gitops_ml.gitops.release_history import Event, ReleaseHistory, State
from gitops_ml.gitops.release_yaml import ReleaseRecord, read_fields, read_release

_MOST_NAMED = 10
_COMMIT = re.compile("[0-9a-f]{7,64}")


def rollback(context: ChangeContext, api: str, *, to: str | None = None) -> ChangeResult:
    """Restore the files of a release from an earlier state, by default the one before the current.

    A rollback after a rollback goes on back, to the state before the one that was restored.

    ``to`` is a commit, for exactly its state, or a deployment id, for the last state before the current one
    that has it: scaling, routes and the like can differ between states with one id.

    Images are by digest, so what comes back is what ran. Other releases stay as they are, however
    far the branch has moved on. The base chart of that time comes back with it where it is gone.

    Raises:
        UsageError: there is no such deployment of this API in this environment.
        InvalidDocument: today's policies forbid that deployment, or it is not whole.
        RepositoryMoved: another release has its host and path by now, its base chart changed, or the
            release changed while this ran.
    """
    plan = _Plan(context, api, to)
    return change(context, plan, action="rollback", environment=context.environment, topic=api)


@dataclass(slots=True)
class _Plan:
    """The plan, which is made again where the branch moves: what is restored stays the same."""

    context: ChangeContext
    api: str
    to: str | None
    left: State | None = None
    """The state that the first plan leaves."""
    wanted: Event | None = None
    """What the first plan restores: the state "before the current one" may be another by now."""

    def __call__(self, snapshot: GitSnapshot) -> ChangePlan:
        context, environment = self.context, self.context.environment
        past = ReleaseHistory(
            repository_of(context.workspace, context.clients),
            environments=context.project.environments,
            snapshot=snapshot,
        )
        events = past.events(environment, self.api)
        if self.wanted is None:
            self.wanted = _wanted(past, events, api=self.api, environment=environment, to=self.to)
            self.left = events[0].last
        elif events[0].last not in (self.left, self.wanted.last):
            raise RepositoryMoved(
                f"{self.api} in {environment} was changed meanwhile, by {events[0].commit.id[:12]} of "
                f"{events[0].commit.author[0]}: see `gitops-ml history {self.api}`, and roll back again"
            )
        return _restoring(context, past, events[0], self.wanted)


def _wanted(
    past: ReleaseHistory, events: tuple[Event, ...], *, api: str, environment: str, to: str | None
) -> Event:
    """The event whose files come back."""
    if not events:
        raise UsageError(f"nothing was ever deployed as {api!r} to {environment}")
    deployments = [event for event in events if event.last.release]
    if to is not None:
        return _named(past, deployments, to, name=f"{api} in {environment}")
    current = _restored(past, events)
    earlier = events[events.index(current) + 1 :]
    for event in earlier:
        if event.last.release:
            return event
    raise UsageError(
        f"{api} in {environment} has its first deployment: there is nothing to roll back to. "
        "`gitops-ml history` lists later ones, which --to names"
    )


def _restored(past: ReleaseHistory, events: tuple[Event, ...]) -> Event:
    """The event that brought the current state, before rollbacks brought it back."""
    current = events[0]
    while past.is_rollback(current):
        earlier = events[events.index(current) + 1 :]
        same = [event for event in earlier if current.after in (event.after, event.last)]
        if not same:
            break
        current = same[0]
    return current


def _named(past: ReleaseHistory, deployments: list[Event], to: str, *, name: str) -> Event:
    """The state of a deployment id or of a commit; ``to`` is enough of its beginning."""
    earlier = [event for event in deployments if not event.is_newest]
    # The current state comes first, so that an earlier one with the same id replaces it.
    oldest_first = [*(each for each in deployments if each.is_newest), *reversed(earlier)]
    ids = {id: event for event in oldest_first if (id := past.id_of(event.last.release))}
    commits = {event.commit.id: replace(event, last=event.after) for event in deployments}
    for known, kind in ((ids, "ids"), (commits if _COMMIT.fullmatch(to) else {}, "commits")):
        starts = (to, f"{name.partition(' ')[0]}-{to}") if kind == "ids" else (to,)
        fitting = {key: event for key, event in known.items() if key.startswith(starts)}
        if len(fitting) == 1 or to in fitting:
            return fitting.get(to) or next(iter(fitting.values()))
        if fitting:
            raise UsageError(f"{to!r} begins several {kind}: {', '.join(sorted(fitting))}")
    states = [f"{past.id_of(e.last.release)} ({e.commit.id[:12]})" for e in deployments]
    raise UsageError(f"{name} never was {to!r}; it was: {', '.join(states[:_MOST_NAMED])}")


def _restoring(
    context: ChangeContext, past: ReleaseHistory, current: Event, wanted: Event
) -> ChangePlan:
    release = past.release(wanted.last.release)
    if release is None:
        raise RepositoryMoved(
            f"{wanted.last.release} at {wanted.commit.id[:12]} is not one that gitops-ml writes"
        )
    now = read_release(past.content(current.last.release))
    for each in filter(None, (release, now)):
        refuse_other(each, context.project.name)
    before, after = (read_fields(past.content(event.last.values)) for event in (current, wanted))
    restored = replace(
        ReleaseChange.of(release, after=release.deployment_id),
        before=now.deployment_id if now else None,
        fields=changed_values(before, after),
    )
    is_other = restored.before != restored.after
    state = release.deployment_id if is_other else wanted.commit.id[:12]
    return ChangePlan(
        releases=(restored,),
        changes=_changes(context, past, wanted, release),
        subject=f"Roll back {release.api} in {release.environment} to {state}",
        warnings=_warnings(past, release),
    )


def _changes(
    context: ChangeContext, past: ReleaseHistory, wanted: Event, release: ReleaseRecord
) -> tuple[Change, ...]:
    changes = restored_changes(
        release,
        _contents(context, past, wanted, release),
        RepositoryState.of(past.snapshot),
        context.project,
        way_out=f"{release.deployment_id} comes back as it was, or not at all: roll back to another "
        "deployment (--to), or deploy a manifest that the policy allows",
    )
    if changes:
        changes += _chart(past, wanted, release)
    return tuple(sorted(changes, key=lambda change: change.path))


def _contents(
    context: ChangeContext, past: ReleaseHistory, wanted: Event, release: ReleaseRecord
) -> Mapping[str, bytes]:
    """The files as they were, converted to the mode that the environment has now."""
    state, directory = wanted.last, release.directory
    now = RepositoryState.of(past.snapshot)
    blobs = dict(zip(FILES, (state.release, state.values, state.manifest), strict=True))
    found = {f"{directory}/{name}": past.content(id) for name, id in blobs.items() if id}
    path = f"{directory}/{layout.MANIFEST}"
    if mode_of(now, context.project, release.environment) == "chart":
        found.pop(path, None)
    elif path not in found:
        then = past.repository.at(wanted.commit.id)
        values = past.content(state.values).decode(errors="replace")
        found[path] = render_manifest(then, release, values, helm=context.clients.helm).encode()
    return found


def _chart(past: ReleaseHistory, wanted: Event, release: ReleaseRecord) -> tuple[Change, ...]:
    """The base chart of that time, where the repository lacks it."""
    prefix = f"{layout.chart_directory(release.chart, release.chart_version)}/"
    then = past.repository.at(wanted.commit.id)
    was, now = then.blob_ids(prefix), past.snapshot.blob_ids(prefix)
    if now and dict(now) != dict(was):
        raise RepositoryMoved(
            f"{prefix} in the GitOps repository is not what it was at {wanted.commit.id[:12]}, and a "
            "chart version never changes: restore the folder from its history"
        )
    missing = then.read(path for path in was if path not in now)
    return tuple(Change(path, None, content) for path, content in missing.items())


def _warnings(past: ReleaseHistory, release: ReleaseRecord) -> tuple[str, ...]:
    path = layout.app_project_path(release.team)
    found = list(past.warnings())
    if path not in past.snapshot.blob_ids("argocd/"):
        found.append(f"{path} no longer exists: `gitops-ml bootstrap` writes it")
    if release.image.digest is None:
        found.append(f"{release.image} is named by tag: it may be another image by now")
    return tuple(found)
