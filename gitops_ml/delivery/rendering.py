"""Releases as files: what stands in the GitOps repository already decides what has to be written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from gitops_ml.documents.findings import error
from gitops_ml.errors import InvalidDocument, Problem, RepositoryMoved, UsageError
from gitops_ml.git.model import Change, RenderedFile, blob_id
from gitops_ml.gitops import layout
from gitops_ml.gitops.refresh_mark import REFRESH, carried_over
from gitops_ml.gitops.release_files import (
    Release,
    ReleaseText,
    chart_files,
    environment_files,
    release_files,
    release_text,
)
from gitops_ml.gitops.release_yaml import destination_of, image_of, project_of, read_release
from gitops_ml.gitops.routes import Route, conflicts, route_of
from gitops_ml.gitops.whole_release import faults_of_objects, faults_of_text
from gitops_ml.helm.charts import Chart, chart_path, read_chart
from gitops_ml.system.memory import key as memory_key

if TYPE_CHECKING:
    from gitops_ml.git.repository import GitSnapshot
    from gitops_ml.gitops.argo import Destination
    from gitops_ml.gitops.provenance import Provenance
    from gitops_ml.helm.engines import HelmEngine
    from gitops_ml.image.planner import PlannedImage
    from gitops_ml.manifest.model import Manifest
    from gitops_ml.oci.reference import ImageRef
    from gitops_ml.project.model import Project
    from gitops_ml.workspace.workspace import PlannedRelease, Workspace

CHART = "predictor"
Made = TypeVar("Made")
Objects = tuple[Mapping[str, object], ...]


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """What the GitOps repository holds now: blob ids of all files, and the ``release.yaml`` files."""

    blob_ids: Mapping[str, str]
    releases: Mapping[str, bytes]

    @classmethod
    def read(cls, snapshot: GitSnapshot) -> RepositoryState:
        blob_ids = snapshot.blob_ids()
        wanted = [
            path
            for path in blob_ids
            if path.startswith(f"{layout.RELEASES}/") and path.endswith(f"/{layout.RELEASE}")
        ]
        return cls(blob_ids, snapshot.read(wanted))

    @classmethod
    def nothing(cls) -> RepositoryState:
        """An empty GitOps repository."""
        return cls({}, {})

    def digests(self) -> dict[str, str]:
        """Digest by ``repository:tag`` of everything that is deployed."""
        found = {}
        for content in self.releases.values():
            image = image_of(content.decode(errors="replace"))
            if image is not None and image.digest:
                found[f"{image.repository}:{image.tag}"] = image.digest
        return found

    def destinations(self, *, besides: str) -> dict[str, set[Destination]]:
        """Where releases of projects other than ``besides`` go, by team."""
        found: dict[str, set[Destination]] = {}
        for content in self.releases.values():
            text = content.decode(errors="replace")
            destination = destination_of(text)
            if destination is not None and project_of(text) != besides:
                found.setdefault(destination[0], set()).add(destination[1])
        return found

    def has(self, file: RenderedFile) -> bool:
        """Whether exactly this file stands there; by git's blob id, so nothing has to be read."""
        known = self.blob_ids.get(file.path)
        return known is not None and known == blob_id(file.content, length=len(known))


def make_releases(
    planned: Iterable[PlannedRelease], images: Mapping[str, PlannedImage], workspace: Workspace
) -> tuple[Release, ...]:
    """The releases with their deployment ids, in the order of the manifests."""
    chart = read_chart(CHART)
    wanted = [(plan, images[plan.directory]) for plan in planned]
    keys = [
        memory_key(
            "text", plan.key, str(image.ref), _hex(image), workspace.source_path(plan.manifest)
        )
        for plan, image in wanted
    ]
    known = workspace.memory.recall(keys)
    answers: dict[bytes, str] = {}
    releases = []
    for (plan, image), key in zip(wanted, keys, strict=True):
        if key in known:
            text = ReleaseText(*json.loads(known[key]))
        else:
            text = _text(plan, image, chart, workspace)
            answers[key] = json.dumps(astuple(text))
        releases.append(
            Release(
                name=plan.name,
                environment=plan.environment.name,
                team=plan.team,
                namespace=plan.environment.namespace,
                image=image.ref,
                content_hash=_hex(image),
                chart=chart,
                text=text,
            )
        )
    workspace.memory.keep(answers)
    return tuple(releases)


def _text(
    plan: PlannedRelease, image: PlannedImage, chart: Chart, workspace: Workspace
) -> ReleaseText:
    return release_text(
        plan.spec,
        plan.cluster,
        image=image.ref,
        content_hash=_hex(image),
        chart=chart,
        project=workspace.project.name,
        manifest=plan.manifest.submitted,
        manifest_file=workspace.source_path(plan.manifest),
    )


def _hex(image: PlannedImage) -> str | None:
    return image.content_hash.hex if image.content_hash else None


def render_files(
    releases: tuple[Release, ...],
    workspace: Workspace,
    *,
    provenance: Provenance,
    standing: RepositoryState,
    manifests: Mapping[str, bytes] | None = None,
) -> tuple[RenderedFile, ...]:
    """Every file that the releases need, charts and Argo CD's objects included, sorted by path."""
    files = shared_files(releases, workspace.project, standing)
    for item in releases:
        files += release_files(
            item,
            provenance=provenance,
            previous=standing.releases.get(f"{item.directory}/{layout.RELEASE}"),
            manifests=manifests[item.directory] if manifests is not None else None,
        )
    return tuple(sorted(files))


def shared_files(
    releases: Iterable[Release], project: Project, standing: RepositoryState
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
            others=standing.destinations(besides=project.name),
        ),
    ]


def with_refreshes(releases: Iterable[Release], standing: RepositoryState) -> tuple[Release, ...]:
    """The releases; those that were refreshed and are what stands there anyway keep the refresh."""
    found = []
    for item in releases:
        content = standing.releases.get(f"{item.directory}/{layout.RELEASE}")
        if content and REFRESH in content and (there := read_release(content)):
            text = carried_over(item.text, item.name, there.refresh)
            item = replace(item, text=text)
        found.append(item)
    return tuple(found)


def render_objects(releases: Iterable[Release], *, helm: HelmEngine) -> dict[str, Objects]:
    """The Kubernetes objects of each release, by its directory.

    Raises:
        InvalidDocument: they are not all that a release needs.
    """
    return _with_helm(releases, helm.template, faults_of_objects)


def render_manifests(releases: Iterable[Release], *, helm: HelmEngine) -> dict[str, bytes]:
    """The ``manifest.yaml`` of each release, by its directory.

    Raises:
        InvalidDocument: it does not hold all that a release needs.
    """
    texts = _with_helm(releases, helm.manifest, faults_of_text)
    return {directory: text.encode() for directory, text in texts.items()}


def _with_helm(
    releases: Iterable[Release],
    render: Callable[..., Made],
    faults_of: Callable[[Mapping[str, Any], Made], tuple[str, ...]],
) -> dict[str, Made]:
    def made(item: Release) -> tuple[Made, tuple[str, ...]]:
        values = json.loads(item.text.data)
        rendered = render(
            chart_path(item.chart.name), release=item.name, namespace=item.namespace, values=values
        )
        return rendered, faults_of(values, rendered)

    releases = tuple(releases)
    # Helm works outside of Python's lock, or in a process of its own: threads do help.
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, len(releases) or 1)) as pool:
        found = dict(
            zip((item.directory for item in releases), pool.map(made, releases), strict=True)
        )
    refuse_faults({directory: faults for directory, (_, faults) in found.items()})
    return {directory: rendered for directory, (rendered, _) in found.items()}


def refuse_faults(faults: Mapping[str, Iterable[str]]) -> None:
    """What is not a whole release is not committed: Argo CD would delete what is missing.

    Raises:
        InvalidDocument: there is a fault, by directory of the release.
    """
    problems = [
        Problem(
            f"{directory}/{layout.MANIFEST}",
            *(0, 0, ""),
            f"{fault}. Argo CD deletes what is missing, so nothing is committed; annotations and "
            "labels that Helm or Argo CD act on are the usual cause: remove them",
            rule="whole",
        )
        for directory, found in faults.items()
        for fault in found
    ]
    if problems:
        raise InvalidDocument(problems)


def changes_against(
    standing: RepositoryState, snapshot: GitSnapshot, files: Iterable[RenderedFile]
) -> tuple[Change, ...]:
    """The files that differ from what stands there.

    Raises:
        RepositoryMoved: a base chart of this version stands there with other content. Versions are
            immutable, as releases that were reviewed point at them.
    """
    wanted = tuple(files)
    different = [file for file in wanted if not standing.has(file)]
    before = snapshot.read(file.path for file in different if file.path in standing.blob_ids)
    changed = {path for path in before if layout.chart_of(path)}
    if altered := sorted(changed | _added_to_charts(standing, wanted)):
        raise RepositoryMoved(
            f"{altered[0]} in the GitOps repository is not what this version of gitops-ml "
            "carries, and a chart version never changes: restore the folder from its history, or "
            "use the version of gitops-ml that wrote it"
        )
    return tuple(Change(f.path, before.get(f.path), f.content) for f in different)


def _added_to_charts(standing: RepositoryState, files: Iterable[RenderedFile]) -> set[str]:
    """Files in the folders of our charts that are not ours: a template more is another chart."""
    ours = {file.path for file in files if layout.chart_of(file.path)}
    folders = {layout.chart_of(path) for path in ours}
    return {path for path in standing.blob_ids if layout.chart_of(path) in folders} - ours


def refuse_others(standing: RepositoryState, project: str, releases: Iterable[Release]) -> None:
    """Two projects that share a GitOps repository do not share releases.

    Raises:
        RepositoryMoved: the release of another project stands where one of ours would go.
    """
    for item in releases:
        content = standing.releases.get(f"{item.directory}/{layout.RELEASE}")
        owner = project_of(content.decode(errors="replace")) if content else None
        if owner not in (None, project):
            raise RepositoryMoved(
                f"{item.directory} in the GitOps repository belongs to the project {owner!r}, and "
                f"this is {project!r}: give the API or the environment another name"
            )


def refuse_taken_routes(
    made: Iterable[tuple[Manifest, Release]],
    standing: RepositoryState,
    snapshot: GitSnapshot | None,
    *,
    gone: Iterable[str] = (),
) -> None:
    """A host and path have one owner; what a release has already is not asked for again.

    ``gone`` are the directories of releases that the same change removes.

    Raises:
        InvalidDocument: a release asks for what another one has, of any project.
    """
    pairs = {item.directory: (manifest, item) for manifest, item in made}
    routes = {directory: _route(item) for directory, (_, item) in pairs.items()}
    problems = [
        pairs[directory][0].problem(
            error(("networking", "endpoint"), sentence, rule="unique"),
            environment=pairs[directory][1].environment,
        )
        for directory, sentence in taken_routes(routes, standing, snapshot, gone=gone)
    ]
    if problems:
        raise InvalidDocument(problems)


def taken_routes(
    routes: Mapping[str, Route | None],
    standing: RepositoryState,
    snapshot: GitSnapshot | None,
    *,
    gone: Iterable[str] = (),
) -> list[tuple[str, str]]:
    """Which new routes another release has, by directory of the release, in a sentence."""
    before = _standing_routes(standing, snapshot, routes)
    new = {at: route for at, route in routes.items() if route and before.get(at) != route}
    if not new:
        return []
    servers, elsewhere = {route.server for route in new.values()}, {*routes, *gone}
    rest = [
        directory
        for path, content in standing.releases.items()
        if (directory := path.removesuffix(f"/{layout.RELEASE}")) not in elsewhere
        and (destination := destination_of(content.decode(errors="replace")))
        and destination[1][0] in servers
    ]
    others = (*_standing_routes(standing, snapshot, rest).values(), *filter(None, routes.values()))
    return [(at, sentence) for at, route in new.items() for sentence in conflicts(route, others)]


def refuse_mass_removal(workspace: Workspace, gone: Iterable[str], *, most: int | None) -> None:
    """A file that vanished, or a wrong folder, does not empty an environment.

    ``most`` is what the GitOps repository's own policy says beside the project's.

    Raises:
        UsageError: more releases would be removed at a time than the policy lets `--prune` remove.
    """
    gone = tuple(gone)
    for name in workspace.environments:
        prefix = f"{layout.RELEASES}/{name}/"
        going = [each.removeprefix(prefix) for each in gone if each.startswith(prefix)]
        policies = workspace.project.environments[name].policies
        limits = [each.prune_at_most for each in policies]
        limit = min(limits + ([] if most is None else [most]), default=len(going))
        # Without any manifest that was read, it is all that the project has.
        is_emptied = len(going) > 1 and not workspace.releases
        if len(going) <= limit and not is_emptied:
            continue
        what = f"all {len(going)}" if is_emptied else str(len(going))
        raise UsageError(
            f"--prune would remove {what} releases of this project from {name}, more than "
            f"policy.prune_at_most ({limit}) or all that there are; are manifests missing here? If "
            f"they should go, name them: `gitops-ml delete {' '.join(going)} -e {name}`"
        )


def _route(item: Release) -> Route | None:
    return route_of(item.directory, facts=item.text.facts, values=item.text.values)


def _standing_routes(
    standing: RepositoryState, snapshot: GitSnapshot | None, directories: Iterable[str]
) -> dict[str, Route]:
    """The routes of releases as they stand, by directory."""
    if snapshot is None:
        return {}
    paths = {f"{each}/{layout.VALUES}": each for each in directories}
    values = snapshot.read(path for path in paths if path in standing.blob_ids)
    found = {}
    for path, content in values.items():
        directory = paths[path]
        facts = standing.releases.get(f"{directory}/{layout.RELEASE}", b"")
        route = route_of(
            directory, facts=facts.decode(errors="replace"), values=content.decode(errors="replace")
        )
        if route is not None:
            found[directory] = route
    return found


def left_behind(
    standing: RepositoryState, workspace: Workspace, releases: Iterable[Release]
) -> tuple[str, ...]:
    """Directories of releases that are this project's and that no manifest describes any more."""
    if not workspace.covers_project:
        return ()
    current = {item.directory for item in releases}
    prefixes = tuple(f"{layout.RELEASES}/{name}/" for name in workspace.environments)
    return tuple(
        sorted(
            directory
            for path, content in standing.releases.items()
            if path.startswith(prefixes)
            and (directory := path.removesuffix(f"/{layout.RELEASE}")) not in current
            and project_of(content.decode(errors="replace")) == workspace.project.name
        )
    )


def removals(
    standing: RepositoryState, snapshot: GitSnapshot, directories: Iterable[str]
) -> tuple[Change, ...]:
    """Every file of the directories, deleted."""
    prefixes = tuple(f"{directory}/" for directory in directories)
    if not prefixes:
        return ()
    contents = snapshot.read(path for path in standing.blob_ids if path.startswith(prefixes))
    return tuple(Change(path, content, None) for path, content in sorted(contents.items()))


def stale_manifests(
    standing: RepositoryState, snapshot: GitSnapshot, releases: Iterable[Release]
) -> tuple[Change, ...]:
    """The ``manifest.yaml`` files that mode ``manifests`` left behind in these releases, deleted."""
    paths = [f"{item.directory}/{layout.MANIFEST}" for item in releases]
    there = snapshot.read(path for path in paths if path in standing.blob_ids)
    return tuple(Change(path, content, None) for path, content in sorted(there.items()))


def without_manifest(standing: RepositoryState, releases: Iterable[Release]) -> tuple[str, ...]:
    """Directories of other releases that stand there without what mode ``manifests`` syncs."""
    current = {item.directory for item in releases}
    directories = (path.removesuffix(f"/{layout.RELEASE}") for path in standing.releases)
    return tuple(
        sorted(
            directory
            for directory in directories
            if directory not in current
            and f"{directory}/{layout.MANIFEST}" not in standing.blob_ids
        )
    )


def named_by_tag(releases: Iterable[Release]) -> tuple[ImageRef, ...]:
    """Images without a digest."""
    return tuple(sorted({r.image for r in releases if r.image.digest is None}, key=str))
