"""Where the GitOps repository should go: images found or built, and the changes on top of a snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from gitops_ml.delivery.images import (
    built_images,
    finished_image_check,
    image_warnings,
    lock_warnings,
    make_image,
    source_of,
    with_digests,
)
from gitops_ml.delivery.rendering import (
    RepositoryState,
    changes_against,
    left_behind,
    make_releases,
    named_by_tag,
    refuse_mass_removal,
    refuse_others,
    refuse_taken_routes,
    removals,
    render_files,
    render_manifests,
    stale_manifests,
    with_refreshes,
    without_manifest,
)
from gitops_ml.delivery.repository_policy import prune_limit, refuse_beyond_policy
from gitops_ml.errors import GitopsMlError, Refused
from gitops_ml.gitops.commit_message import commit_message
from gitops_ml.packages.locking import Locks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_ml.git.model import Change
    from gitops_ml.git.repository import GitSnapshot
    from gitops_ml.gitops.provenance import Provenance
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.image.planner import PlannedImage
    from gitops_ml.image.recipe import BuilderChoice
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace


def wants_manifests(workspace: Workspace) -> bool:
    gitops = workspace.project.gitops
    return gitops is not None and gitops.mode == "manifests"


def mode_manifests(
    releases: tuple[Release, ...], workspace: Workspace, tools: Clients
) -> dict[str, bytes] | None:
    """Helm's text for each release in mode ``manifests``; in mode ``chart`` Argo CD renders."""
    if not wants_manifests(workspace):
        return None
    return render_manifests(releases, helm=tools.helm())


_MOST_NAMED = 3
"""Images that are named one by one."""


def tag_warnings(releases: Iterable[Release]) -> tuple[str, ...]:
    images = [*map(str, named_by_tag(releases))]
    if len(images) > _MOST_NAMED:
        images = [f"{images[0]} and {len(images) - 1} other images"]
    return tuple(
        f"{image} {'have' if ' and ' in image else 'has'} no digest yet; the deployment id will be "
        "another one once it is built"
        for image in images
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


def locks_for(options: DeployOptions, tools: Clients) -> Locks:
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
class DeployPlan:
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
class DeployPlanner:
    """Where the GitOps repository should go, whatever snapshot it starts from."""

    workspace: Workspace
    images: dict[str, PlannedImage]
    options: DeployOptions
    tools: Clients
    provenance: Provenance
    """Asked of Git once, and not for each attempt."""
    digests: dict[str, str] = field(default_factory=dict)
    """What was built already, by ``repository:tag``: a retry does not do it again."""
    unanswered: list[GitopsMlError] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    def against(self, snapshot: GitSnapshot) -> DeployPlan:
        """What has to change in ``snapshot``."""
        workspace = self.workspace
        standing = RepositoryState.read(snapshot)
        images = self._resolved_images(standing)
        releases = make_releases(workspace.releases, images, workspace)
        releases = with_refreshes(releases, standing)
        refuse_others(standing, workspace.project.name, releases)
        left = left_behind(standing, workspace, releases)
        gone = left if self.options.prune else ()
        refuse_mass_removal(workspace, gone, most=prune_limit(snapshot) if gone else None)
        made = [(p.manifest, item) for p, item in zip(workspace.releases, releases, strict=True)]
        refuse_taken_routes(made, standing, snapshot, gone=gone)
        specs = ((plan.manifest, partial(getattr, plan, "spec")) for plan in workspace.releases)
        refuse_beyond_policy(specs, workspace.project, snapshot)
        manifests = mode_manifests(releases, workspace, self.tools)
        files = render_files(
            releases,
            workspace,
            provenance=self.provenance,
            standing=standing,
            manifests=manifests,
        )
        changes = changes_against(standing, snapshot, files)
        if manifests is None:
            changes += stale_manifests(standing, snapshot, releases)
        changes += removals(standing, snapshot, gone)
        return DeployPlan(
            releases,
            tuple(sorted(changes, key=lambda change: change.path)),
            left,
            () if manifests is None else without_manifest(standing, releases),
        )

    def message(self, step: DeployPlan) -> str:
        return commit_message(
            step.changed_releases(),
            removed=step.left if self.options.prune else (),
            subject=self.options.message,
            source_commit=self.provenance.commit,
        )

    def warnings(self, step: DeployPlan) -> tuple[str, ...]:
        return (
            *image_warnings(self.images.values(), self.workspace.packaged),
            *dict.fromkeys(map(str, self.unanswered)),
            *tag_warnings(step.releases),
            *manifest_warnings(step.without_manifest),
        )

    def _resolved_images(self, standing: RepositoryState) -> dict[str, PlannedImage]:
        known = standing.digests() | self.digests
        # Where a tag will do, a registry that gives no answer is told and not an end.
        unanswered = self.unanswered.append if self.options.by_tag else None
        may_build = self.options.build and not (self.options.dry_run or self.options.by_tag)
        trusted = {"is_trusted": finished_image_check(self.tools)} if may_build else {}
        images = with_digests(self.images, known, self.tools, unanswered, **trusted)
        for _, image in built_images(images):
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
        digest = make_image(image, self.tools, push=True, source=lambda: source_of(self.provenance))
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
