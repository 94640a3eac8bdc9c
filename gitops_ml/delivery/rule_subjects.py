"""What rules are checked on, out of the files of a change: each release before and after, and the others."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gitops_ml.delivery.derive import parse_release
from gitops_ml.delivery.rendering import predictor_chart, rendered_objects
from gitops_ml.errors import GitopsMlError
from gitops_ml.gitops import layout
from gitops_ml.gitops.changed_releases import changed_releases
from gitops_ml.gitops.release_yaml import project_of, read_fields, read_release
from gitops_ml.policy.limits import usage_of, usage_of_values
from gitops_ml.policy.rule import Fleet, Side, Subject
from gitops_ml.release.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from gitops_ml.delivery.repository_state import RepositoryState
    from gitops_ml.git.commits import Change
    from gitops_ml.gitops.changed_releases import ReleaseChange
    from gitops_ml.gitops.release_yaml import ReleaseRecord
    from gitops_ml.helm.engines import HelmEngine
    from gitops_ml.manifest.manifest import Manifest
    from gitops_ml.policy.rule import KubernetesObjects, Usage
    from gitops_ml.project.project import Project
    from gitops_ml.workspace.workspace import PlannedRelease

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
    manifests: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    """By environment and API, filled while reading."""

    def fleet(self, changes: Iterable[Change], state: RepositoryState) -> Fleet:
        known = self.project.environments
        touched = [each for each in changed_releases(changes) if each.environment in known]
        subjects = tuple(self._subject(each, state) for each in touched)
        directories = {each.directory for each in touched}
        return Fleet(
            subjects,
            self.project,
            existing=self._existing(state) if any(s.after is None for s in subjects) else {},
            standing=tuple(self._standing(state, directories)) if subjects else (),
        )

    def _subject(self, change: ReleaseChange, state: RepositoryState) -> Subject:
        return Subject(
            api=change.api,
            environment=self.project.environments[change.environment],
            action=change.action,
            before=self._side(change, state, at=0),
            after=self._side(change, state, at=1),
            project=self.project,
            now=self.now,
            verb=self.verb,
        )

    def _side(self, change: ReleaseChange, state: RepositoryState, *, at: int) -> Side | None:
        """The release before (0) or after (1); `None` where there is none, or it cannot be read."""
        if change.action == ("add", "delete")[at]:
            return None
        directory = change.directory
        record = read_release(change.facts[at] or state.release_yaml(directory) or b"")
        if record is None:
            return None
        planned = self.planned.get(directory) if at else None
        try:
            manifest = planned.manifest if planned else parse_release(record, record.manifest)[0]
            spec = planned.spec if planned else resolve(manifest, self.project, record.environment)
        except (GitopsMlError, KeyError):
            # A release of an older version, or of an environment that the project no longer has.
            return None
        if at:
            self.manifests[change.environment, change.api] = manifest
        path = f"{directory}/{layout.VALUES}"
        values = read_fields(change.values[at] or state.read([path]).get(path))
        return Side(
            spec=spec,
            image=record.image,
            values=values,
            objects=self._objects(record, values) if at else (),
            origin=record.provenance,
            sources=self._sources(change, record) if at else {},
        )

    def _objects(self, record: ReleaseRecord, values: Mapping[str, Any]) -> KubernetesObjects:
        """The objects of a release of this version's chart; others were checked when they were made."""
        chart = predictor_chart()
        if self.helm is None or (record.chart, record.chart_version) != (chart.name, chart.version):
            return ()
        data = json.dumps(values, ensure_ascii=False)
        try:
            return rendered_objects(
                self.helm, chart.name, name=record.api, namespace=record.namespace, data=data
            )
        except GitopsMlError:
            # The verb refuses it itself, or restores values of another time.
            return ()

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
