"""The verbs of gitops-ml, each told once from start to end.

What a verb needs from the outside comes in as `Tools`; what it found goes out as a value. Nothing is
printed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.adapters import resources, scaffold
from gitops_ml.adapters.files import write_files
from gitops_ml.adapters.serve import serve_predictor
from gitops_ml.adapters.source import read_author
from gitops_ml.core import layout
from gitops_ml.core.differences import ObjectChange, object_changes
from gitops_ml.core.message import summary_of
from gitops_ml.core.render import Release, objects_text
from gitops_ml.delivery import deliver
from gitops_ml.errors import GitopsMlError, ProgramFailed, UsageError
from gitops_ml.images import PlannedImage, build_image, look_up
from gitops_ml.rendering import (
    Objects,
    Standing,
    make_releases,
    render_files,
    render_objects,
)
from gitops_ml.target import (
    DeployOptions,
    Step,
    Target,
    Tools,
    context_warnings,
    left_warnings,
    mode_manifests,
    own_images,
    plan_images,
    provenance_of,
    tag_warnings,
    with_digests,
)
from gitops_ml.workspace import Planned, Workspace, checked, read_workspace, read_workspaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from gitops_ml.core.changes import Change, RenderedFile
    from gitops_ml.ports import (
        GitopsRepository,
        Snapshot,
    )

__all__ = ["DeployOptions", "Tools", "objects_text"]


# -- documents -------------------------------------------------------------------------------------


def schema(document: str) -> str:
    """The JSON Schema of ``api`` or ``project``, as text."""
    return resources.schema_text(document)


def init(
    directory: Path, *, name: str | None, image_repository: str, gitops_repository: str
) -> scaffold.Scaffolded:
    """A project that passes everything, beside whatever is there already.

    Raises:
        UsageError: the name is not one that an API can have.
    """
    return scaffold.write_scaffold(
        directory,
        name=name,
        image_repository=image_repository,
        gitops_repository=gitops_repository,
    )


def validate(
    paths: Sequence[Path],
    *,
    project_file: Path | None = None,
    environments: Iterable[str] = (),
    apis: Iterable[str] = (),
) -> tuple[Workspace, ...]:
    """The projects below ``paths`` with everything that is wrong in their documents.

    Raises:
        UsageError: a path, an environment or an API does not exist.
    """
    return read_workspaces(paths, project_file=project_file, environments=environments, apis=apis)


def open_project(
    paths: Sequence[Path],
    *,
    project_file: Path | None = None,
    environments: Iterable[str] = (),
    apis: Iterable[str] = (),
) -> Workspace:
    """The one project that the paths are about; what is wrong in it is told by the verbs.

    Raises:
        UsageError: a path, an environment or an API does not exist, or there are several projects.
    """
    return read_workspace(paths, project_file=project_file, environments=environments, apis=apis)


# -- images ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one image."""

    apis: tuple[str, ...]
    image: str
    """Repository and tag."""
    content_hash: str
    digest: str | None
    state: str
    """``exists`` (in the registry already), ``built`` (and pushed), ``local`` or ``to build``."""


def build(
    workspace: Workspace, *, tools: Tools, push: bool = True, dry_run: bool = False
) -> tuple[Built, ...]:
    """Build and push what the registry lacks.

    Raises:
        InvalidDocument: the documents or the files of a project are wrong.
        EngineFailed: no engine answers, or a build failed.
        Refused: the registry said no.
    """
    images = plan_images(checked(workspace), tools)
    if push and images and workspace.project.image.repository is None:
        raise UsageError(
            "where should images go? Set image.repository in gitops-ml.yaml (for example "
            "ghcr.io/<you>/ml), or build with --no-push"
        )
    registry = tools.registry() if tools.registry and push else None
    digests = look_up(images.values(), known={}, registry=registry)
    return tuple(
        _build(apis, image, digests, tools=tools, push=push, dry_run=dry_run)
        for apis, image in own_images(images)
    )


def _build(
    apis: tuple[str, ...],
    image: PlannedImage,
    digests: Mapping[str, str],
    *,
    tools: Tools,
    push: bool,
    dry_run: bool,
) -> Built:
    name = str(image.ref)
    content_hash = image.content_hash.hex if image.content_hash else ""
    if digest := digests.get(name):
        return Built(apis, name, content_hash, digest, "exists")
    if dry_run:
        return Built(apis, name, content_hash, None, "to build")
    result = build_image(image, builder=tools.builder(), push=push, progress=tools.progress)
    return Built(apis, name, content_hash, result, "built" if push else "local")


# -- files -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rendering:
    """What would be in the GitOps repository."""

    releases: tuple[Release, ...]
    files: tuple[RenderedFile, ...]
    objects: tuple[tuple[Release, Objects], ...]
    """The Kubernetes objects, where they were asked for."""
    warnings: tuple[str, ...]


def render(workspace: Workspace, *, tools: Tools, with_objects: bool = False) -> Rendering:
    """The files of every release, as if the GitOps repository were empty.

    Raises:
        InvalidDocument: the documents or the files of a project are wrong.
    """
    planned = checked(workspace).releases
    unanswered: list[GitopsMlError] = []
    images = with_digests(plan_images(workspace, tools), {}, tools, unanswered.append)
    releases = make_releases(planned, images, workspace)
    objects = render_objects(releases, helm=tools.helm()) if with_objects else {}
    files = render_files(
        releases,
        workspace,
        provenance=provenance_of(workspace),
        standing=Standing.nothing(),
        manifests=mode_manifests(releases, workspace, tools),
    )
    shown = tuple((item, objects[item.directory]) for item in releases) if with_objects else ()
    warnings = (
        *context_warnings(images.values()),
        *map(str, unanswered),
        *tag_warnings(releases),
    )
    return Rendering(releases, files, shown, warnings)


def write(rendering: Rendering, folder: Path) -> tuple[str, ...]:
    """The rendering's files in ``folder``; returns the paths of those that were not equal already."""
    return write_files(folder, rendering.files)


# -- the GitOps repository -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Differences:
    """What `deploy` would change."""

    changed: tuple[Release, ...]
    """The releases whose files would change."""
    changes: tuple[Change, ...]
    objects: tuple[tuple[str, tuple[ObjectChange, ...]], ...]
    """By release directory, where objects were asked for."""
    left: tuple[str, ...]
    """Releases of this project that no manifest describes any more."""
    warnings: tuple[str, ...]

    def own_changes(self) -> tuple[Change, ...]:
        """The changes without base charts, which come with gitops-ml and hold nothing of the project."""
        return tuple(change for change in self.changes if layout.chart_of(change.path) is None)

    def new_charts(self) -> tuple[tuple[str, int], ...]:
        """Folders of base charts that would be added, with their number of files."""
        charts = [layout.chart_of(change.path) for change in self.changes]
        return tuple((chart, charts.count(chart)) for chart in sorted({c for c in charts if c}))

    def summary(self) -> str:
        return summary_of(self.changes)


def diff(workspace: Workspace, *, tools: Tools, with_objects: bool = False) -> Differences:
    """Compare with the GitOps repository.

    Raises:
        InvalidDocument: the documents or the files of a project are wrong.
        Refused, ServerFailed: the GitOps repository cannot be read.
        RepositoryMoved: it holds what we did not write.
    """
    checked(workspace)
    snapshot = _repository(workspace, tools).fetch()
    images = plan_images(workspace, tools)
    options = DeployOptions(by_tag=True, build=False)
    target = Target(workspace, images, options, tools, provenance_of(workspace))
    step = target.against(snapshot)
    objects: tuple[tuple[str, tuple[ObjectChange, ...]], ...] = ()
    if with_objects:
        objects = _object_differences(step, snapshot, tools)
    return Differences(
        changed=step.changed_releases(),
        changes=step.changes,
        objects=objects,
        left=step.left,
        warnings=(*target.warnings(step), *left_warnings(step.left)),
    )


def _object_differences(
    step: Step, snapshot: Snapshot, tools: Tools
) -> tuple[tuple[str, tuple[ObjectChange, ...]], ...]:
    """What Kubernetes would see of those releases whose values change."""
    from gitops_ml.adapters.standing import standing_objects

    changed = {change.path for change in step.changes}
    found = []
    for item in step.releases:
        if f"{item.directory}/{layout.VALUES}" not in changed:
            continue
        before = standing_objects(snapshot, item, helm=tools.helm())
        after = render_objects([item], helm=tools.helm())[item.directory]
        if fields := object_changes(before, after):
            found.append((item.directory, fields))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What became of the releases."""

    releases: tuple[Release, ...]
    """Those whose files changed."""
    changes: tuple[Change, ...]
    removed: tuple[str, ...]
    commit: str | None
    """`None` where nothing had to change, or nothing was to be pushed."""
    dry_run: bool
    warnings: tuple[str, ...]

    def summary(self) -> str:
        if not self.changes:
            return "nothing to change"
        if self.dry_run:
            return f"would commit: {summary_of(self.changes)}"
        return f"committed {(self.commit or '')[:12]}: {summary_of(self.changes)}"


def deploy(
    workspace: Workspace,
    *,
    tools: Tools,
    options: DeployOptions = DeployOptions(),  # noqa: B008 - frozen, and of another module
) -> Deployment:
    """Build what is missing, render, commit and push in one transaction.

    Where somebody else was faster, everything is rendered anew on top of theirs; nothing is forced.

    Raises:
        InvalidDocument: the documents or the files of a project are wrong.
        EngineFailed: an image has to be built, and no engine answers or the build failed.
        Refused, ServerFailed: the registry or the GitOps repository said no or cannot be reached.
        RepositoryMoved: the repository holds what we did not write, or somebody else was faster
            again and again.
    """
    checked(workspace)
    _refuse_pull_requests(workspace)
    repository = _repository(workspace, tools)
    images = plan_images(workspace, tools)
    target = Target(workspace, images, options, tools, provenance_of(workspace))
    steps: list[Step] = []

    def make_changes(snapshot: Snapshot) -> tuple[tuple[Change, ...], str]:
        steps.append(target.against(snapshot))
        return steps[-1].changes, target.message(steps[-1])

    if options.dry_run:
        make_changes(repository.fetch())
        commit = None
    else:
        author = read_author(workspace.root, workspace.project.gitops)
        commit = deliver(repository, make_changes, author=author).commit
    step = steps[-1]
    return Deployment(
        releases=step.changed_releases(),
        changes=step.changes,
        removed=step.left if options.prune else (),
        commit=commit,
        dry_run=options.dry_run,
        warnings=(
            *target.warnings(step),
            *(() if options.prune else left_warnings(step.left)),
        ),
    )


def _refuse_pull_requests(workspace: Workspace) -> None:
    environments = [workspace.project.environments[name] for name in workspace.environments]
    if named := [each.name for each in environments if each.delivery == "pull_request"]:
        raise UsageError(
            f"{', '.join(named)}: the project file says `delivery: pull_request`, and this version "
            "does not open pull requests yet; choose other environments with --environment, or set "
            "`delivery: push`"
        )


def _repository(workspace: Workspace, tools: Tools) -> GitopsRepository:
    if workspace.project.gitops is None:
        raise UsageError(
            "the project file does not say where the GitOps repository is: "
            "set gitops.repository in gitops-ml.yaml"
            if workspace.has_project_file
            else "there is no gitops-ml.yaml here or above, so the GitOps repository is unknown: "
            "`gitops-ml init` writes one"
        )
    return tools.repository()


# -- serving ---------------------------------------------------------------------------------------


def run(
    workspace: Workspace,
    *,
    host: str,
    port: int,
    reloads: bool,
    tell: Callable[[str], None],
) -> None:
    """Serve the one predictor of the workspace until it is told to stop.

    Raises:
        InvalidDocument: the documents are wrong.
        UsageError: there are several APIs, or this one has no predictor.
        ProgramFailed: the server ended badly; it has said why.
    """
    planned = _one_predictor(checked(workspace).releases)
    code = serve_predictor(
        planned.spec,
        directory=workspace.directory_of(planned.manifest),
        host=host,
        port=port,
        reloads=reloads,
        tell=tell,
    )
    if code:
        raise ProgramFailed((f"the predictor of {planned.name}",), code, "")


def _one_predictor(releases: tuple[Planned, ...]) -> Planned:
    names = sorted({planned.name for planned in releases})
    if len(names) != 1:
        known = f": {', '.join(names)}" if names else ""
        raise UsageError(f"there are {len(names)} APIs here{known}; choose one with --api")
    if releases[0].spec.predictor is None:
        raise UsageError(
            f"{names[0]} is a ready-made container: start it with "
            f"`docker run -p 8080:{releases[0].spec.container and releases[0].spec.container.port} "
            f"{releases[0].spec.container and releases[0].spec.container.image}`"
        )
    return releases[0]
