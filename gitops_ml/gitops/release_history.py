"""Read the history of the GitOps repository as deployments of each release, in the order of the branch.

Only the content of ``release.yaml`` and ``values.yaml`` decides what a deployment is: each change of what
runs, also one that leaves the deployment id alone. Commit messages and trailers are for people: a squash
merge drops them, and a manual change does not have them. They only help to name the verb.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from gitops_ml.documents.plain_data import within
from gitops_ml.forge.pull_request import pull_request_number
from gitops_ml.git.commits import LoggedCommit
from gitops_ml.git.repository import GitRepository, GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.commit_message import action_of, is_of_tool
from gitops_ml.gitops.differences import FieldChange, field_changes
from gitops_ml.gitops.release_yaml import (
    ReleaseRecord,
    as_text,
    deployment_id_of,
    read_fields,
    read_release,
    rendered_as,
)
from gitops_ml.oci.reference import ImageRef

_FEW_PATHS = 8


@dataclass(frozen=True, slots=True)
class State:
    """The blob ids of a release's files at one commit."""

    release: str | None = None
    values: str | None = None
    manifest: str | None = None

    def after(self, directory: str, files: Mapping[str, str | None]) -> State:
        """The state after a commit that wrote ``files``."""
        names = (layout.RELEASE, layout.VALUES, layout.MANIFEST)
        paths = {name.removesuffix(".yaml"): f"{directory}/{name}" for name in names}
        return replace(self, **{key: files[path] for key, path in paths.items() if path in files})


@dataclass(frozen=True, slots=True)
class Event:
    """A deployment or a removal by ``commit``."""

    commit: LoggedCommit
    before: State
    after: State
    last: State
    """The state just before the next event, or now."""
    is_return: bool
    """Whether an earlier state had exactly this ``release.yaml``."""
    is_newest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One deployment of an API in one environment, or its removal."""

    api: str
    environment: str
    deployment_id: str | None
    """`None` where the release was removed."""
    action: str
    """``deploy``, ``promote``, ``rollback``, ``refresh``, ``patch``, ``delete``, or ``edit`` for a
    manual change."""
    commit: str
    when: str
    """When it reached the branch, as ISO 8601 with its zone."""
    author: str
    pull_request: int | None
    image: ImageRef | None
    chart: str | None
    changes: tuple[FieldChange, ...]
    """Of the values, the image and the chart; empty for a first deployment and a removal."""
    is_current: bool
    before: State
    state: State
    """The files just before the next deployment, or now."""

    @property
    def directory(self) -> str:
        return layout.release_directory(self.environment, self.api)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDeployment:
    """The deployment of a deployment id."""

    deployment_id: str
    release: ReleaseRecord
    """``release.yaml`` at that time: image, manifest, provenance."""
    entries: tuple[Entry, ...]
    """Its deployments, the newest first; a rollback deploys an id again. Empty where it was replaced
    within its pull request and never reached the branch."""
    commit: str
    """The first commit that contains it."""
    when: str
    author: str
    pull_request: int | None
    is_current: bool


class ReleaseHistory:
    """The history of the GitOps repository up to one commit, the newest by default; it caches blobs."""

    def __init__(
        self,
        repository: GitRepository,
        *,
        environments: Iterable[str],
        snapshot: GitSnapshot | None = None,
    ) -> None:
        self.repository = repository
        self.snapshot = snapshot or repository.fetch()
        self._known = tuple(environments)
        self._blobs: dict[str, bytes] = {}
        self._unknown_before: dict[str, str] = {}

    @cached_property
    def environments(self) -> tuple[str, ...]:
        """The environments of the project file, and those with releases of other projects."""
        there = {
            place[0]
            for path in self.snapshot.blob_ids(f"{layout.RELEASES}/")
            if (place := layout.release_of(path))
        }
        return (*self._known, *sorted(there - set(self._known)))

    def events(self, environment: str, api: str) -> tuple[Event, ...]:
        """The deployments and removals of one release, the newest first."""
        if not _is_name(api):
            return ()
        directory = layout.release_directory(environment, api)
        return self.events_below([directory])[directory]

    def events_below(self, directories: Collection[str]) -> dict[str, tuple[Event, ...]]:
        """The deployments and removals of each release, by its directory; read from Git at once."""
        # git compares each change with each path: from a few on, those of whole environments are faster.
        few = len(directories) <= _FEW_PATHS
        above = {directory.rpartition("/")[0] for directory in directories}
        log = self.repository.log(self.snapshot, *(directories if few else sorted(above)))
        if not log.is_whole and log.commits:
            oldest = log.commits[-1]
            self._unknown_before[oldest.id] = oldest.when
        # Of few releases the values are compared as well: git is started once for all of them.
        self._load_files(log.commits, (layout.RELEASE, layout.VALUES) if few else (layout.RELEASE,))
        commits: dict[str, list[LoggedCommit]] = {directory: [] for directory in directories}
        for commit in log.commits:
            for directory in {path.rpartition("/")[0] for path in commit.files} & commits.keys():
                commits[directory].append(commit)
        return {
            directory: timeline(touched, directory, is_same=self._is_same)
            for directory, touched in commits.items()
        }

    def events_in(self, environments: Iterable[str], api: str) -> list[tuple[str, Event]]:
        """The events in several environments, the newest first."""
        lists = [[(name, event) for event in self.events(name, api)] for name in environments]
        # Merged, not sorted: within an environment the order of the branch counts, not the clocks.
        return list(heapq.merge(*lists, key=lambda found: -_seconds(found[1].commit.when)))

    def events_anywhere(self, api: str) -> list[tuple[str, Event]]:
        """The events in environments that do not exist any more."""
        return self.events_in(self._gone, api)

    @cached_property
    def _gone(self) -> tuple[str, ...]:
        """Former environments, found by their ApplicationSets."""
        log = self.repository.log(self.snapshot, layout.ARGOCD)
        paths = {path for commit in log.commits for path in commit.files}
        paths.update(self.snapshot.blob_ids(f"{layout.ARGOCD}/"))
        found = {name for path in paths if (name := layout.environment_of(path))}
        return tuple(sorted(found - set(self.environments)))

    def entries(self, api: str, events: Iterable[tuple[str, Event]]) -> tuple[Entry, ...]:
        """The events with their facts, for people."""
        events = list(events)
        self._load(
            id
            for _, event in events
            for state in (event.before, event.after)
            for id in (state.release, state.values)
        )
        return tuple(self._entry(api, environment, event) for environment, event in events)

    def ids(self) -> set[str]:
        """Every deployment id of the releases that are current, and of their past."""
        files = self.snapshot.blob_ids(f"{layout.RELEASES}/")
        events = self.events_below({path.rpartition("/")[0] for path in files})
        blobs = {event.after.release for found in events.values() for event in found}
        self._load(blobs)
        return {id for blob in blobs if (id := self.id_of(blob))}

    def content(self, blob: str | None) -> bytes:
        self._load([blob])
        return self._blobs[blob] if blob else b""

    def release(self, blob: str | None) -> ReleaseRecord | None:
        self._load([blob])
        return read_release(self._blobs[blob]) if blob else None

    def id_of(self, blob: str | None) -> str | None:
        """The deployment id in a ``release.yaml``."""
        return deployment_id_of(self._blobs[blob]) if blob else None

    def is_rollback(self, event: Event) -> bool:
        """Whether the event brought an earlier state back."""
        before, after = self.release(event.before.release), self.release(event.after.release)
        return _action(event, before, after) == "rollback"

    def is_edit(self, event: Event) -> bool:
        """Whether a person changed the values, which gitops-ml writes together with its record."""
        changed = event.before.release == event.after.release is not None
        return changed and not is_of_tool(event.commit.message)

    def warnings(self) -> tuple[str, ...]:
        return tuple(
            f"the GitOps repository is a shallow clone: what is before {id[:12]} ({when}) is unknown"
            for id, when in sorted(self._unknown_before.items())
        )

    def merged_away(self, api: str, id: str) -> FoundDeployment | None:
        """A deployment that never reached the branch: it was replaced within its pull request."""
        for environment in (*self.environments, *self._gone) if _is_name(api) else ():
            directory = layout.release_directory(environment, api)
            log = self.repository.log(self.snapshot, directory, side_branches=True)
            self._load_files(log.commits, (layout.RELEASE,))
            for commit in reversed(log.commits):
                release = self.release(commit.files.get(f"{directory}/{layout.RELEASE}"))
                if release is not None and release.deployment_id == id:
                    return FoundDeployment(
                        deployment_id=id,
                        release=release,
                        entries=(),
                        commit=commit.id,
                        when=commit.when,
                        author=_signature(commit),
                        pull_request=pull_request_number(commit.message),
                        is_current=False,
                    )
        return None

    def _entry(self, api: str, environment: str, event: Event) -> Entry:
        before, after = self.release(event.before.release), self.release(event.after.release)
        return Entry(
            api=api,
            environment=environment,
            deployment_id=self.id_of(event.after.release),
            action=_action(event, before, after),
            commit=event.commit.id,
            when=event.commit.when,
            author=_signature(event.commit),
            pull_request=pull_request_number(event.commit.message),
            image=after.image if after else None,
            chart=f"{after.chart}-{after.chart_version}" if after else None,
            changes=self._changes(event, before, after),
            is_current=event.is_newest and after is not None,
            before=event.before,
            state=event.last,
        )

    def _changes(
        self, event: Event, before: ReleaseRecord | None, after: ReleaseRecord | None
    ) -> tuple[FieldChange, ...]:
        if before is None or after is None:
            return ()
        return field_changes(self._facts(event.before, before), self._facts(event.after, after))

    def _facts(self, state: State, release: ReleaseRecord) -> Mapping[str, Any]:
        return {
            "chart": f"{release.chart}-{release.chart_version}",
            "namespace": release.namespace,
            "server": release.server,
            **_without_id(self._values(state)),
        }

    def _values(self, state: State) -> Mapping[str, Any]:
        self._load([state.values])
        return read_fields(self._blobs.get(state.values or ""))

    def _is_same(self, one: State, other: State) -> bool:
        """Whether two states deploy the same; the tag of an image with a digest has no effect."""
        if one.release != other.release and self._decided(one) != self._decided(other):
            return False
        if one.manifest and other.manifest and one.manifest != other.manifest:
            return False
        if one.values == other.values:
            return True
        return _without_tag(self._values(one)) == _without_tag(self._values(other))

    def _decided(self, state: State) -> tuple[Any, ...]:
        text = as_text(self.content(state.release))
        return (deployment_id_of(text), *rendered_as(text))

    def _load_files(self, commits: Iterable[LoggedCommit], names: Collection[str]) -> None:
        self._load(
            blob
            for commit in commits
            for path, blob in commit.files.items()
            if layout.file_of(path) in names
        )

    def _load(self, ids: Iterable[str | None]) -> None:
        if missing := {id for id in ids if id and id not in self._blobs}:
            self._blobs |= self.repository.blobs(missing)


def timeline(
    commits: Iterable[LoggedCommit],
    directory: str,
    *,
    is_same: Callable[[State, State], bool],
) -> tuple[Event, ...]:
    """The deployments of one release and its removals, the newest first.

    ``commits`` are those that touched the directory, the newest first. ``is_same`` compares two
    states that both have a ``release.yaml``.
    """
    events: list[Event] = []
    state = State()
    seen: set[str | None] = set()
    for commit in reversed(tuple(commits)):
        now = state.after(directory, commit.files)
        is_event = (
            is_same(state, now) is False
            if state.release and now.release
            else (state.release is None) != (now.release is None)
        )
        if is_event:
            events.append(Event(commit, state, now, now, is_return=now.release in seen))
        elif events:
            events[-1] = replace(events[-1], last=now)
        seen.add(state.release)
        state = now
    if events:
        events[-1] = replace(events[-1], is_newest=True)
    return tuple(reversed(events))


def _is_name(api: str) -> bool:
    return bool(api) and "/" not in api and api not in (".", "..")


def _action(event: Event, before: ReleaseRecord | None, after: ReleaseRecord | None) -> str:
    if event.after.release is None:
        return "delete"
    if after is None or event.before.release == event.after.release:
        return "edit"
    if event.is_return and not _is_deployed(event.commit, after):
        return "rollback"
    if before is not None and before.deployment_id == after.deployment_id:
        # The provenance is that of the pods, which are the same.
        return action_of(event.commit.message) or "deploy"
    return str(within(after.provenance, "derived_from").get("by") or "deploy")


def _is_deployed(commit: LoggedCommit, release: ReleaseRecord) -> bool:
    """Whether `deploy` wrote the commit, and not `rollback` or a person's revert."""
    lines = commit.message.splitlines()
    has_id = f"Deployment-Id: {release.deployment_id}" in lines
    return has_id and action_of(commit.message) is None


def _without_id(values: Mapping[str, Any]) -> Mapping[str, Any]:
    api = within(values, "api")
    return (
        {**values, "api": {k: v for k, v in api.items() if k != "deploymentId"}} if api else values
    )


def _without_tag(values: Mapping[str, Any]) -> Mapping[str, Any]:
    image = within(values, "image")
    if not image.get("digest"):
        return values
    return {**values, "image": {k: v for k, v in image.items() if k != "tag"}}


def _signature(commit: LoggedCommit) -> str:
    name, address = commit.author
    return f"{name} <{address}>" if address else name


def _seconds(when: str) -> float:
    """A commit's time in seconds, so that times of different zones compare."""
    try:
        return datetime.fromisoformat(when).timestamp()
    except ValueError:
        return 0.0
