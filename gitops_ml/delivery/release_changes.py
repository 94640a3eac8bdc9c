"""The one way from releases to changes of the GitOps repository.

Every verb that renders releases takes it: refuse what belongs to others or is beyond a policy, render
the files, and compare them with the repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gitops_ml.delivery.modes import EnvironmentMode, carried_along, environment_modes
from gitops_ml.delivery.refusals import (
    refuse_beyond_policy,
    refuse_others,
    refuse_role_changes,
    refuse_taken_routes,
)
from gitops_ml.delivery.rendering import make_releases, refuse_unrenderable, render_manifests
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.errors import RepositoryMoved
from gitops_ml.git.commits import Change, RenderedFile
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_files import Release, chart_files, environment_files, release_files
from gitops_ml.gitops.release_yaml import REFRESH, Provenance, project_of, read_release
from gitops_ml.image.planner import PlannedImage
from gitops_ml.project.project import Project
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import PlannedRelease, Workspace

_COMMIT = re.compile("[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True)
class WantedRelease:
    """A release as it should be in the GitOps repository."""

    planned: PlannedRelease
    release: Release
    provenance: Provenance | Mapping[str, Any]


def wanted_releases(
    workspace: Workspace, images: Mapping[str, PlannedImage], provenance: Provenance
) -> list[WantedRelease]:
    """The releases of the workspace with their images."""
    releases = make_releases(workspace.releases, images, workspace)
    return [
        WantedRelease(planned, release, provenance)
        for planned, release in zip(workspace.releases, releases, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class ReleaseChanges:
    """What has to change for releases to be as wanted."""

    releases: tuple[Release, ...]
    """With what carries over from the current releases."""
    changes: tuple[Change, ...]
    """Sorted by path."""
    warnings: tuple[str, ...]
    switches: tuple[EnvironmentMode, ...]
    """The environments whose mode changes."""

    @property
    def subject(self) -> str | None:
        """The subject of a commit that changes nothing but the mode."""
        changed = {layout.file_of(change.path) for change in self.changes}
        if not self.switches or changed & {layout.VALUES, layout.RELEASE}:
            return None
        names = ", ".join(mode.environment for mode in self.switches)
        return f"Switch {names} to mode {self.switches[0].after}"


def release_changes(
    wanted: Iterable[WantedRelease],
    state: RepositoryState,
    workspace: Workspace,
    clients: Clients,
    *,
    gone: Iterable[str] = (),
) -> ReleaseChanges:
    """What has to change in the repository for the releases to be in it, and for ``gone`` not to be."""
    wanted = tuple(wanted)
    releases = with_refreshes((item.release for item in wanted), state)
    releases = _with_alert_origins(zip(wanted, releases, strict=True), state)
    project, gone = workspace.project, tuple(gone)
    _refuse(wanted, releases, state, project, gone=gone)
    modes = environment_modes(state, project, {item.environment for item in releases})
    is_rendered = wants_manifests(workspace)
    manifests = render_manifests(releases, helm=clients.helm) if is_rendered else {}
    rest = carried_along(
        modes, state, clients, made={item.directory for item in releases}, gone=gone
    )
    shared = _shared_files(releases, project, state, modes)
    refuse_role_changes(state, project.name, shared)
    files = (*shared, *_own_files(wanted, releases, manifests, state), *rest.files)
    changes = (*changes_against(state, files), *rest.removed)
    return ReleaseChanges(
        releases=releases,
        changes=tuple(sorted((*changes, *removals(state, gone)), key=lambda each: each.path)),
        warnings=rest.warnings,
        switches=tuple(mode for mode in modes if mode.is_switch),
    )


def _refuse(
    wanted: Iterable[WantedRelease],
    releases: Iterable[Release],
    state: RepositoryState,
    project: Project,
    *,
    gone: Iterable[str],
) -> None:
    plans = [item.planned for item in wanted]
    releases = tuple(releases)
    refuse_others(state, project.name, (item.directory for item in releases))
    pairs = zip((plan.manifest for plan in plans), releases, strict=True)
    refuse_taken_routes(pairs, state, gone=gone)
    refuse_beyond_policy(plans, state)


def refuse_what_helm_refuses(made: ReleaseChanges, workspace: Workspace, clients: Clients) -> None:
    """Render the releases that change, where Helm is at hand, before they are committed."""
    changed = {change.path for change in made.changes}
    new = [item for item in made.releases if f"{item.directory}/{layout.VALUES}" in changed]
    if not new or wants_manifests(workspace):
        return
    if (helm := clients.helm_at_hand) is not None:
        refuse_unrenderable(new, helm=helm, memory=workspace.memory)


def wants_manifests(workspace: Workspace) -> bool:
    """Whether Argo CD syncs ``manifest.yaml`` files; in mode ``chart`` it renders the chart."""
    gitops = workspace.project.gitops
    return gitops is not None and gitops.mode == "manifests"


def changes_against(state: RepositoryState, files: Iterable[RenderedFile]) -> tuple[Change, ...]:
    """The files that differ from those in the repository.

    Raises:
        RepositoryMoved: the repository has a base chart of this version with other content. Versions
            are immutable, as releases that were reviewed name them.
    """
    wanted = tuple(files)
    different = [file for file in wanted if not state.has(file)]
    before = state.read(file.path for file in different)
    changed = {path for path in before if layout.chart_of(path)}
    if altered := sorted(changed | _added_to_charts(state, wanted)):
        raise RepositoryMoved(
            f"{altered[0]} in the GitOps repository is not what this version of gitops-ml "
            "carries, and a chart version never changes: restore the folder from its history, or "
            "use the version of gitops-ml that wrote it"
        )
    return tuple(Change(f.path, before.get(f.path), f.content) for f in different)


def removals(state: RepositoryState, directories: Iterable[str]) -> tuple[Change, ...]:
    """Every file of the directories, deleted."""
    prefixes = tuple(f"{directory}/" for directory in directories)
    if not prefixes:
        return ()
    contents = state.read(path for path in state.blob_ids if path.startswith(prefixes))
    return tuple(Change(path, content, None) for path, content in sorted(contents.items()))


def left_behind(
    state: RepositoryState, workspace: Workspace, directories: Iterable[str]
) -> tuple[str, ...]:
    """Directories of this project's releases that no manifest describes any more.

    ``directories`` are those of the releases that manifests describe.
    """
    if not workspace.covers_project:
        return ()
    current = set(directories)
    prefixes = tuple(f"{layout.RELEASES}/{name}/" for name in workspace.environments)
    return tuple(
        sorted(
            directory
            for directory, content in state.directories()
            if directory.startswith(prefixes)
            and directory not in current
            and project_of(content) == workspace.project.name
        )
    )


def _own_files(
    wanted: Iterable[WantedRelease],
    releases: Iterable[Release],
    manifests: Mapping[str, bytes],
    state: RepositoryState,
) -> list[RenderedFile]:
    """The files of the releases; ``manifests`` by the directories of the releases."""
    files: list[RenderedFile] = []
    for item, release in zip(wanted, releases, strict=True):
        files += release_files(
            release,
            provenance=item.provenance,
            previous=state.release_yaml(release.directory),
            manifests=manifests.get(release.directory),
        )
    return files


def _shared_files(
    releases: Iterable[Release],
    project: Project,
    state: RepositoryState,
    modes: Iterable[EnvironmentMode],
) -> list[RenderedFile]:
    """What the releases need besides their own files: charts and Argo CD's objects."""
    releases = tuple(releases)
    charts = {release.chart.name: release.chart for release in releases}
    return [
        *chart_files(charts.values()),
        *environment_files(
            project,
            sorted({release.environment for release in releases}),
            {release.team for release in releases},
            others=state.destinations(besides=project.name),
            mode_of={mode.environment: mode.decided_by for mode in modes},
        ),
    ]


def with_refreshes(releases: Iterable[Release], state: RepositoryState) -> tuple[Release, ...]:
    """The releases; one that was refreshed and is otherwise as it is now keeps its refresh."""
    found = []
    for item in releases:
        content = state.release_yaml(item.directory)
        if content and REFRESH in content and (there := read_release(content)):
            item = replace(item, text=item.text.refreshed(there.refresh))
        found.append(item)
    return tuple(found)


def _with_alert_origins(
    pairs: Iterable[tuple[WantedRelease, Release]], state: RepositoryState
) -> tuple[Release, ...]:
    """The releases; alerts name the commit of the deployment, and the deployment before it."""
    pairs = tuple(pairs)
    paths = {f"{item.directory}/{layout.VALUES}" for _, item in pairs if item.text.has_alerts}
    values = state.read(paths & state.blob_ids.keys())
    return tuple(
        replace(
            item,
            text=item.text.with_alert_origin(
                state.release_yaml(item.directory),
                values.get(f"{item.directory}/{layout.VALUES}"),
                commit=_commit(wanted.provenance),
            ),
        )
        if item.text.has_alerts
        else item
        for wanted, item in pairs
    )


def _commit(provenance: Provenance | Mapping[str, Any]) -> str | None:
    fields = provenance if isinstance(provenance, Mapping) else provenance.fields()
    commit = fields.get("commit")
    return commit if isinstance(commit, str) and _COMMIT.fullmatch(commit) else None


def _added_to_charts(state: RepositoryState, files: Iterable[RenderedFile]) -> set[str]:
    """Other files in the folders of the base charts: with one more template it is another chart."""
    own = {file.path for file in files if layout.chart_of(file.path)}
    folders = {layout.chart_of(path) for path in own}
    return {path for path in state.blob_ids if layout.chart_of(path) in folders} - own
