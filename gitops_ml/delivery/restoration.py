"""Files of a release that are written as given, not rendered: a rollback's, a refresh's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gitops_ml.delivery.derive import parse_release, refuse_unresolvable
from gitops_ml.delivery.ownership import taken_routes
from gitops_ml.delivery.rendering import refuse_faults
from gitops_ml.delivery.repository_policy import refuse_forbidden
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.errors import RepositoryMoved
from gitops_ml.git.commits import Change
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_yaml import ReleaseRecord, read_fields
from gitops_ml.gitops.routes import route_of
from gitops_ml.gitops.whole_release import faults_of_text, faults_of_values
from gitops_ml.project.project import Project
from gitops_ml.workspace.workspace import PlannedRelease

FILES = (layout.RELEASE, layout.VALUES, layout.MANIFEST)


def restored_changes(
    release: ReleaseRecord,
    files: Mapping[str, bytes],
    state: RepositoryState,
    project: Project,
    *,
    way_out: str,
) -> tuple[Change, ...]:
    """What has to change for the release's files to be ``files``, by path; others are deleted.

    ``way_out`` is a sentence for the person whose release today's policy forbids.

    Raises:
        InvalidDocument: the release is not whole, or today's policies forbid it.
        RepositoryMoved: another release has its host and path by now.
    """
    paths = [f"{release.directory}/{name}" for name in FILES]
    facts, values, manifest = (files.get(path) for path in paths)
    _refuse_broken(release.directory, values, manifest)
    route = route_of(release.directory, facts=facts, values=values)
    if taken := taken_routes({release.directory: route}, state):
        raise RepositoryMoved(taken[0][1])
    refuse_forbidden(_planned(release, project), state, way_out=way_out)
    before = state.read(paths)
    return tuple(
        Change(path, before.get(path), files.get(path))
        for path in paths
        if before.get(path) != files.get(path)
    )


def _refuse_broken(directory: str, values: bytes | None, manifest: bytes | None) -> None:
    data = read_fields(values)
    faults = faults_of_values(data)
    if manifest is not None:
        faults += faults_of_text(data, manifest.decode(errors="replace"))
    refuse_faults({directory: faults})


def _planned(release: ReleaseRecord, project: Project) -> PlannedRelease:
    """The release's manifest as of today; the project may no longer have its other environments."""
    own = release.manifest.get("environments")
    kept = {
        name: each
        for name, each in (own.items() if isinstance(own, dict) else ())
        if name == release.environment
    }
    place = project.environments[release.environment]
    submitted = {key: value for key, value in release.manifest.items() if key != "environments"}
    if kept:
        submitted["environments"] = kept
    manifest, _ = parse_release(release, submitted)
    here = replace(project, environments={place.name: place})
    refuse_unresolvable(manifest, here)
    return PlannedRelease(manifest, project, place, release.team)
