"""Where the GitOps repository should go: images found or built, and the changes on top of a snapshot."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gitops_ml._version import __version__
from gitops_ml.adapters.source import read_provenance
from gitops_ml.core.message import commit_message
from gitops_ml.errors import GitopsMlError, Refused
from gitops_ml.images import (
    Builders,
    ImagePlanner,
    PlannedImage,
    Unlocked,
    build_image,
    look_up,
)
from gitops_ml.locking import LockOutcome, Locks
from gitops_ml.rendering import (
    Standing,
    changes_against,
    left_behind,
    make_releases,
    named_by_tag,
    refuse_others,
    removals,
    render_files,
    render_manifests,
    stale_manifests,
    with_refreshes,
    without_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence
    from pathlib import Path

    from gitops_ml.core.changes import Change
    from gitops_ml.core.image_recipe import BuilderChoice
    from gitops_ml.core.render import Provenance, Release
    from gitops_ml.oci_images import OciTools
    from gitops_ml.ports import (
        Cluster,
        Forge,
        GitopsRepository,
        HelmEngine,
        ImageBuilder,
        ModelStore,
        Progress,
        Registry,
        Snapshot,
    )
    from gitops_ml.workspace import Workspace


def _silent(_: str) -> None:
    """Nobody watches."""


def _branch_alone() -> None:
    """There is no forge."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The neighbours that verbs ask; each is made when it is first needed."""

    registry: Callable[[], Registry] | None
    """`None`: no registry is asked."""
    builder: Callable[[], ImageBuilder]
    oci: Callable[[], OciTools]
    repository: Callable[[], GitopsRepository]
    helm: Callable[[], HelmEngine]
    models: Callable[[], ModelStore]
    cluster: Callable[[str], Cluster]
    """By its name in the project file."""
    argo_cd: Callable[[], Cluster]
    """The cluster that Argo CD runs in, which may be none of those that APIs run in."""
    forge: Callable[[], Forge | None] = _branch_alone
    """Where pull requests to the GitOps repository are opened; `None` where branches have to do."""
    source_repository: Callable[[], GitopsRepository] | None = None
    """The repository that notebooks send code to; `None` where the project names none."""
    source_forge: Callable[[], Forge | None] = _branch_alone
    progress: Progress = _silent


def plan_images(
    workspace: Workspace, tools: Tools, locks: Locks = Locks.KNOWN
) -> dict[str, PlannedImage]:
    """The image of each release, by the release's directory."""
    planner = ImagePlanner(
        workspace,
        registry=tools.registry() if tools.registry else None,
        locks=locks,
        progress=tools.progress,
    )
    return {planned.directory: planner.plan(planned) for planned in workspace.releases}


def own_images(
    images: Mapping[str, PlannedImage],
) -> list[tuple[tuple[str, ...], PlannedImage]]:
    """Each image that we build, once, with the APIs that run it."""
    by_name: dict[str, tuple[set[str], PlannedImage]] = {}
    for directory, image in images.items():
        if image.content_hash:
            users, _ = by_name.setdefault(str(image.ref), (set(), image))
            users.add(directory.rpartition("/")[2])
    return [(tuple(sorted(users)), image) for users, image in by_name.values()]


def with_digests(
    images: Mapping[str, PlannedImage],
    known: Mapping[str, str],
    tools: Tools,
    unanswered: Callable[[GitopsMlError], None] | None = None,
) -> dict[str, PlannedImage]:
    registry = tools.registry() if tools.registry else None
    digests = look_up(images.values(), known=known, registry=registry, unanswered=unanswered)
    return {key: image.with_digest(digests.get(str(image.ref))) for key, image in images.items()}


def provenance_of(workspace: Workspace) -> Provenance:
    provenance = read_provenance(workspace.root, tool_version=__version__)
    return replace(provenance, origin=workspace.origin)


def make_image(
    image: PlannedImage,
    tools: Tools,
    *,
    push: bool,
    provenance: Callable[[], Provenance],
) -> str:
    """See `build_image`."""

    def source() -> dict[str, str] | None:
        found = provenance()
        if not found.repository:
            return None
        # what no commit holds is not at the commit
        is_there = found.commit and not found.is_dirty
        return {"uri": found.repository, **({"commit": found.commit or ""} if is_there else {})}

    builders = Builders(docker=tools.builder, oci=tools.oci, source=source)
    return build_image(image, builders, push=push, progress=tools.progress)


def wants_manifests(workspace: Workspace) -> bool:
    gitops = workspace.project.gitops
    return gitops is not None and gitops.mode == "manifests"


def mode_manifests(
    releases: tuple[Release, ...], workspace: Workspace, tools: Tools
) -> dict[str, bytes] | None:
    """Helm's text for each release in mode ``manifests``; in mode ``chart`` Argo CD renders."""
    if not wants_manifests(workspace):
        return None
    return render_manifests(releases, helm=tools.helm())


def image_warnings(
    images: Iterable[PlannedImage], packaged: Container[Path] = ()
) -> tuple[str, ...]:
    """What people should know about their images and the files that enter them, once each.

    ``packaged`` are folders of our cache: nobody commits a lock there.
    """
    chosen = [image for image in images if image.context is not None]
    found = {
        str(problem).replace("warning: ", "", 1)
        for image in chosen
        for problem in (image.context.warnings if image.context else ())
    }
    return (*sorted(found), *lock_warnings(chosen, packaged))


def lock_warnings(
    images: Iterable[PlannedImage], packaged: Container[Path] = ()
) -> tuple[str, ...]:
    """Which locks were written, which are missing, and which are of yesterday."""
    written: dict[str, LockOutcome] = {}
    unlocked: dict[str, set[str]] = {}
    for image in images:
        if image.lock is not None and image.lock.path.parent in packaged:
            continue
        if isinstance(image.lock, Unlocked):
            unlocked.setdefault(image.lock.reason, set()).add(_shown(image.lock.path))
        elif image.lock is not None and image.lock.is_written:
            written[_shown(image.lock.path)] = image.lock
    return (
        *(
            f"{path} was written ({len(written[path].lock.packages)} packages): commit it"
            for path in sorted(written)
        ),
        *(
            f"{_few(sorted(paths))} {reason}, so the image has another tag once `gitops-ml lock`, "
            "`build` or `deploy` has resolved them"
            for reason, paths in sorted(unlocked.items())
        ),
    )


def _shown(path: Path) -> str:
    """A path as people here would write it."""
    return os.path.relpath(path)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def tag_warnings(releases: Iterable[Release]) -> tuple[str, ...]:
    return tuple(
        f"{image} has no digest yet; the deployment id will be another one once it is built"
        for image in named_by_tag(releases)
    )


@dataclass(frozen=True, slots=True)
class DeployOptions:
    message: str | None = None
    prune: bool = False
    by_tag: bool = False
    """Whether a content-hash tag may stand in where no digest can be had."""
    build: bool = True
    frozen: bool = False
    """Whether a lock that is not up to date is an error, as CI wants it."""
    dry_run: bool = False
    pull_request: bool | None = None
    """Whether to propose the commit; ``None`` does what the environments of the project file say."""
    why: str = ""
    """Paragraphs for the reviewer, in Markdown."""


def manifest_warnings(directories: Iterable[str]) -> tuple[str, ...]:
    return tuple(
        f"{directory} has no manifest.yaml, and Argo CD syncs nothing else in mode `manifests`: "
        "deploy it as well"
        for directory in directories
    )


def left_warnings(left: Iterable[str]) -> tuple[str, ...]:
    return tuple(
        f"{directory} is in the GitOps repository, but no manifest describes it any more; "
        "`gitops-ml deploy --prune` removes it"
        for directory in left
    )


def locks_for(options: DeployOptions, tools: Tools) -> Locks:
    """What becomes of stale locks: only whoever may build an image resolves."""
    if options.frozen:
        return Locks.FROZEN
    may_build = options.build and not options.by_tag and not options.dry_run
    return Locks.MADE if may_build and tools.registry is not None else Locks.KNOWN


@dataclass(frozen=True, slots=True)
class Made:
    """An image that was built and pushed on the way."""

    image: str
    """With its digest."""
    choice: BuilderChoice


@dataclass(frozen=True, slots=True)
class Step:
    """The releases rendered on top of one snapshot."""

    releases: tuple[Release, ...]
    changes: tuple[Change, ...]
    left: tuple[str, ...]
    without_manifest: tuple[str, ...]
    """Directories of releases that mode ``manifests`` cannot sync until they are deployed, too."""

    def changed_releases(self) -> tuple[Release, ...]:
        touched = {change.path.rpartition("/")[0] for change in self.changes}
        return tuple(item for item in self.releases if item.directory in touched)


@dataclass(slots=True)
class Target:
    """Where the GitOps repository should go, whatever snapshot it starts from."""

    workspace: Workspace
    images: dict[str, PlannedImage]
    options: DeployOptions
    tools: Tools
    provenance: Provenance
    """Asked of Git once, and not for each attempt."""
    digests: dict[str, str] = field(default_factory=dict)
    """What was built already, by ``repository:tag``: a retry does not do it again."""
    unanswered: list[GitopsMlError] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    def against(self, snapshot: Snapshot) -> Step:
        """What has to change in ``snapshot``."""
        workspace = self.workspace
        standing = Standing.read(snapshot)
        images = self._resolved_images(standing)
        releases = make_releases(workspace.releases, images, workspace)
        releases = with_refreshes(releases, standing)
        refuse_others(standing, workspace.project.name, releases)
        manifests = mode_manifests(releases, workspace, self.tools)
        files = render_files(
            releases,
            workspace,
            provenance=self.provenance,
            standing=standing,
            manifests=manifests,
        )
        left = left_behind(standing, workspace, releases)
        changes = changes_against(standing, snapshot, files)
        if manifests is None:
            changes += stale_manifests(standing, snapshot, releases)
        if self.options.prune:
            changes += removals(standing, snapshot, left)
        return Step(
            releases,
            tuple(sorted(changes, key=lambda change: change.path)),
            left,
            () if manifests is None else without_manifest(standing, releases),
        )

    def message(self, step: Step) -> str:
        return commit_message(
            step.changed_releases(),
            removed=step.left if self.options.prune else (),
            subject=self.options.message,
            source_commit=self.provenance.commit,
        )

    def warnings(self, step: Step) -> tuple[str, ...]:
        return (
            *image_warnings(self.images.values(), self.workspace.packaged),
            *dict.fromkeys(map(str, self.unanswered)),
            *tag_warnings(step.releases),
            *manifest_warnings(step.without_manifest),
        )

    def _resolved_images(self, standing: Standing) -> dict[str, PlannedImage]:
        known = standing.digests() | self.digests
        # Where a tag will do, a registry that gives no answer is told and not an end.
        unanswered = self.unanswered.append if self.options.by_tag else None
        images = with_digests(self.images, known, self.tools, unanswered)
        for _, image in own_images(images):
            if image.ref.digest is None and self.options.build:
                self._build(image)
        images = {
            key: image.with_digest(self.digests.get(str(image.ref)))
            for key, image in images.items()
        }
        self._refuse_without_digest(images.values())
        return images

    def _build(self, image: PlannedImage) -> None:
        # Whether an image has to be built cannot be known where no registry may be asked.
        if self.options.dry_run or self.options.by_tag or self.tools.registry is None:
            return
        digest = make_image(image, self.tools, push=True, provenance=lambda: self.provenance)
        self.digests[str(image.ref)] = digest
        assert image.choice, "only an image with inputs is built"
        self.made.append(Made(str(image.with_digest(digest).ref), image.choice))

    def _refuse_without_digest(self, images: Iterable[PlannedImage]) -> None:
        if self.options.by_tag or self.options.dry_run:
            return
        nameless = [image for image in images if image.ref.digest is None]
        if missing := sorted({str(image.ref) for image in nameless}):
            raise Refused(
                f"{', '.join(missing)}: "
                + (
                    "the registry has no such image"
                    if self.tools.registry
                    else "no digest is known"
                )
                + ", and a release names its image by digest. Build it first (`gitops-ml build`), "
                "or name it by its tag with --by-tag"
                + "".join(f"\n{warning}" for warning in lock_warnings(nameless))
            )
