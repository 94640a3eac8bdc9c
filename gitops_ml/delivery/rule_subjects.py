"""What rules are checked on, out of the files of a change: each release before and after, and the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gitops_ml.delivery.derive import parse_release
from gitops_ml.delivery.rendering import objects_of, predictor_chart
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.errors import GitopsMlError
from gitops_ml.git.commits import Change
from gitops_ml.gitops import layout
from gitops_ml.gitops.changed_releases import ReleaseChange, changed_releases
from gitops_ml.gitops.release_yaml import (
    ReleaseRecord,
    project_of,
    read_fields,
    read_release,
    split_provenance,
)
from gitops_ml.gitops.routes import route_of
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.policy.organisation_rules import usage_of, usage_of_values
from gitops_ml.policy.rule import Fleet, KubernetesObjects, Side, Subject, Usage
from gitops_ml.project.project import Project
from gitops_ml.release.resolve import resolve
from gitops_ml.system.memory import Memory
from gitops_ml.workspace.workspace import PlannedRelease

if TYPE_CHECKING:
    from gitops_ml.helm.engines import HelmEngine

Sources = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class SubjectReader:
    """Reads the releases of changes, for one verb."""

    project: Project
    verb: str
    now: datetime
    helm: HelmEngine | None
    planned: Mapping[str, PlannedRelease]
    """By directory, those whose manifests are in files at hand."""
    sources: Callable[[str], Sources]
    """The Python files of a release's image by its directory; none where they are not at hand."""
    memory: Memory
    needs_values: bool = False
    """Whether a rule that is not ours may look at Helm's values."""
    manifests: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    """By environment and API, filled while reading."""

    def fleet(self, changes: Iterable[Change], state: RepositoryState) -> Fleet:
        known = self.project.environments
        touched = [each for each in changed_releases(changes) if each.environment in known]
        objects = self._objects(touched, state)
        subjects = tuple(
            self._subject(each, state, objects.get(each.directory, ())) for each in touched
        )
        directories = {each.directory for each in touched}
        return Fleet(
            subjects,
            self.project,
            existing=self._existing(state) if any(s.after is None for s in subjects) else {},
            standing=tuple(self._standing(state, directories)) if subjects else (),
        )

    def _objects(
        self, touched: Iterable[ReleaseChange], state: RepositoryState
    ) -> Mapping[str, KubernetesObjects]:
        """The objects after the change, of this version's chart; others were checked when they were made."""
        if self.helm is None:
            return {}
        chart, wanted = predictor_chart(), {}
        for each in touched:
            record = _record(each, state, at=1)
            values = _values(each, state, at=1)
            if record is None or values is None:
                continue
            if (record.chart, record.chart_version) == (chart.name, chart.version):
                wanted[each.directory] = record.api, record.namespace, values
        return objects_of(wanted, helm=self.helm, memory=self.memory)

    def _subject(
        self, change: ReleaseChange, state: RepositoryState, objects: KubernetesObjects
    ) -> Subject:
        return Subject(
            api=change.api,
            environment=self.project.environments[change.environment],
            action=change.action,
            before=self._side(change, state, (), at=0),
            after=self._side(change, state, objects, at=1),
            project=self.project,
            now=self.now,
            verb=self.verb,
        )

    def _side(
        self, change: ReleaseChange, state: RepositoryState, objects: KubernetesObjects, *, at: int
    ) -> Side | None:
        """The release before (0) or after (1); `None` where there is none, or it cannot be read."""
        if (record := _record(change, state, at=at)) is None:
            return None
        planned = self.planned.get(change.directory) if at else None
        try:
            manifest = planned.manifest if planned else parse_release(record, record.manifest)[0]
            spec = planned.spec if planned else resolve(manifest, self.project, record.environment)
        except (GitopsMlError, KeyError):
            # A release of an older version, or of an environment that the project no longer has.
            return None
        values = _values(change, state, at=at)
        route = route_of(change.directory, facts=record.text, values=values)
        if at:
            self.manifests[change.environment, change.api] = manifest
        elif route is not None:
            # Hosts come from the project file, which may have changed since.
            spec = replace(
                spec, networking=replace(spec.networking, endpoint=route.path, hosts=route.hosts)
            )
        return Side(
            spec=spec,
            image=record.image,
            values=read_fields(values) if at and self.needs_values else {},
            is_routed=route is not None,
            objects=objects,
            origin=_provenance(record),
            sources=self._sources(change, record) if at else {},
        )

    def _sources(self, change: ReleaseChange, record: ReleaseRecord) -> Sources:
        """The files of an image that is new; those of a known one were checked before."""
        old = read_release(change.facts[0] or b"")
        is_known = old is not None and old.image == record.image
        return {} if is_known else self.sources(change.directory)

    # -- the other releases ------------------------------------------------------------------------

    def _existing(self, state: RepositoryState) -> dict[str, int]:
        """How many releases of the project each environment has."""
        own = (d for d, content in state.directories() if project_of(content) == self.project.name)
        return dict(Counter(directory.split("/")[1] for directory in own))

    def _standing(self, state: RepositoryState, touched: set[str]) -> Iterator[Usage]:
        """What the releases use that do not change, where a limit counts them."""
        if not self.project.checks.limits:
            return
        others = {d: content for d, content in state.directories() if d not in touched}
        values = state.read(f"{directory}/{layout.VALUES}" for directory in others)
        for directory, content in others.items():
            if (record := read_release(content)) is not None:
                fields = read_fields(values.get(f"{directory}/{layout.VALUES}"))
                yield self._usage(record, fields)

    def _usage(self, record: ReleaseRecord, values: Mapping[str, Any]) -> Usage:
        if record.project == self.project.name and record.environment in self.project.environments:
            try:
                manifest, _ = parse_release(record, record.manifest)
                spec = resolve(manifest, self.project, record.environment)
                return usage_of(spec, self.project.clusters[spec.cluster])
            except (GitopsMlError, KeyError):
                pass
        return usage_of_values(values, environment=record.environment, team=record.team)


def _record(change: ReleaseChange, state: RepositoryState, *, at: int) -> ReleaseRecord | None:
    if change.action == ("add", "delete")[at]:
        return None
    return read_release(change.facts[at] or state.release_yaml(change.directory) or b"")


def _values(change: ReleaseChange, state: RepositoryState, *, at: int) -> bytes | None:
    if change.action == ("add", "delete")[at]:
        return None
    path = f"{change.directory}/{layout.VALUES}"
    return change.values[at] or state.read([path]).get(path)


def _provenance(record: ReleaseRecord) -> Mapping[str, Any]:
    """The last block alone: it is parsed much faster than the whole file."""
    found = read_fields(split_provenance(record.text)[1]).get("provenance")
    return found if isinstance(found, dict) else {}
