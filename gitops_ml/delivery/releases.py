"""The current releases of the GitOps repository, and selections of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gitops_ml.documents.findings import suggestion
from gitops_ml.errors import RepositoryMoved, UsageError
from gitops_ml.git.repository import GitRepository, GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_yaml import ReleaseRecord, read_fields, read_release
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which releases of one environment a verb works on: named ones, or those that match."""

    apis: tuple[str, ...] = ()
    every: bool = False
    teams: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not (self.apis or self.every or self.teams or self.labels):
            raise UsageError("name the APIs, or choose them with --all, --team or --label")
        if self.apis and self.every:
            raise UsageError("--all means every API: leave the names out, or leave it out")


def current_releases(
    snapshot: GitSnapshot, environments: Iterable[str] = ()
) -> tuple[ReleaseRecord, ...]:
    """The releases in these environments, or in all of them."""
    wanted = set(environments)
    paths = [
        path
        for path in snapshot.blob_ids(f"{layout.RELEASES}/")
        if (place := layout.release_of(path)) and (not wanted or place[0] in wanted)
    ]
    found = snapshot.read(paths)
    releases = (read_release(found[path]) for path in sorted(found))
    return tuple(release for release in releases if release is not None)


def own_releases(
    snapshot: GitSnapshot, project: str, environments: Iterable[str]
) -> tuple[ReleaseRecord, ...]:
    """The current releases of ``project``, and those that name no project."""
    releases = current_releases(snapshot, environments)
    return tuple(release for release in releases if release.project in ("", project))


def current_release(snapshot: GitSnapshot, api: str, environment: str) -> ReleaseRecord:
    """The release of ``api`` in ``environment``.

    Raises:
        UsageError: it does not exist.
        RepositoryMoved: its ``release.yaml`` is not one that gitops-ml writes.
    """
    path = f"{layout.release_directory(environment, api)}/{layout.RELEASE}"
    content = snapshot.read([path]).get(path)
    if content is None:
        raise _not_there(snapshot, api, environment)
    release = read_release(content)
    if release is None:
        raise RepositoryMoved(f"{path} in the GitOps repository is damaged: deploy the API again")
    return release


def selected(
    snapshot: GitSnapshot, selection: Selection, *, environment: str, project: str
) -> tuple[ReleaseRecord, ...]:
    """The project's selected releases in ``environment``, sorted by API.

    Raises:
        UsageError: a named API does not exist, or nothing matches.
        RepositoryMoved: a named API belongs to another project.
    """
    if selection.apis:
        releases = [
            current_release(snapshot, api, environment) for api in sorted({*selection.apis})
        ]
        for release in releases:
            refuse_other(release, project)
    else:
        own = current_releases(snapshot, [environment])
        releases = [release for release in own if release.project == project]
    if selection.teams:
        releases = [release for release in releases if release.team in selection.teams]
    if selection.labels:
        releases = _with_labels(snapshot, releases, selection.labels)
    if not releases:
        raise UsageError(
            f"no release of {project} in {environment} matches the selection{_shown(selection)}"
        )
    return tuple(releases)


def _shown(selection: Selection) -> str:
    labels = [f"{key}={value}" for key, value in (selection.labels or {}).items()]
    chosen = {"team": selection.teams, "label": labels}
    parts = [f"{kind} {', '.join(names)}" for kind, names in chosen.items() if names]
    return f": {' and '.join(parts)}" if parts else ""


def topic_of(selection: Selection, project: str) -> str:
    """One branch name for one selection."""
    if len(selection.apis) == 1:
        return selection.apis[0]
    if len(selection.teams) == 1 and not selection.apis and not selection.labels:
        return f"team-{selection.teams[0]}"
    return project


def refuse_other(release: ReleaseRecord, project: str) -> None:
    """Only the project that made a release changes it."""
    if release.project not in ("", project):
        raise RepositoryMoved(
            f"{release.directory} in the GitOps repository belongs to the project "
            f"{release.project!r}, and this is {project!r}"
        )


def values_of(snapshot: GitSnapshot, directories: Iterable[str]) -> dict[str, Mapping[str, object]]:
    """The values of releases, by their directories."""
    found = snapshot.read(f"{directory}/{layout.VALUES}" for directory in directories)
    return {path.rpartition("/")[0]: read_fields(content) for path, content in found.items()}


def release_values(snapshot: GitSnapshot, release: ReleaseRecord) -> Mapping[str, object]:
    """The values of one release; empty where its ``values.yaml`` is missing."""
    return values_of(snapshot, [release.directory]).get(release.directory, {})


def _with_labels(
    snapshot: GitSnapshot, releases: Iterable[ReleaseRecord], labels: Mapping[str, str]
) -> list[ReleaseRecord]:
    releases = list(releases)
    values = values_of(snapshot, [release.directory for release in releases])
    matching = []
    for release in releases:
        has = values.get(release.directory, {}).get("labels") or {}
        if isinstance(has, Mapping) and all(has.get(k) == v for k, v in labels.items()):
            matching.append(release)
    return matching


def _not_there(snapshot: GitSnapshot, api: str, environment: str) -> UsageError:
    places = [
        p for path in snapshot.blob_ids(f"{layout.RELEASES}/") if (p := layout.release_of(path))
    ]
    elsewhere = sorted(where for where, name in places if name == api)
    if elsewhere:
        return UsageError(
            f"{api} is not in {environment}; it is in {', '.join(elsewhere)}: deploy or promote it"
        )
    here = sorted(name for where, name in places if where == environment)
    if not here:
        return UsageError(f"there is no API {api!r} in {environment}, which has no release yet")
    return UsageError(f"there is no API {api!r} in {environment}{suggestion(api, here)}")


def repository_of(workspace: Workspace, clients: Clients) -> GitRepository:
    if workspace.project.gitops is None:
        raise UsageError(
            "the project file does not name the GitOps repository: "
            "set gitops.repository in gitops-ml.yaml"
            if workspace.has_project_file
            else "there is no gitops-ml.yaml here or above, so the GitOps repository is unknown: "
            "`gitops-ml init` writes one"
        )
    return clients.repository
