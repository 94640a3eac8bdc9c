"""Plan a deploy: find or build images, render releases, compare them with the repository."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gitops_ml.delivery.change import ChangeOptions
from gitops_ml.delivery.images import (
    built_images,
    finished_image_check,
    image_warnings,
    lock_warnings,
    make_image,
    source_of,
    with_digests,
)
from gitops_ml.delivery.modes import environment_modes
from gitops_ml.delivery.push import CommitPlan
from gitops_ml.delivery.refusals import prune_limit
from gitops_ml.delivery.release_changes import (
    ReleaseChanges,
    left_behind,
    refuse_what_helm_refuses,
    release_changes,
    wanted_releases,
    wants_manifests,
)
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.documents.findings import few
from gitops_ml.errors import GitopsMlError, Refused, ServerFailed, UsageError
from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.commit_message import commit_message
from gitops_ml.gitops.release_files import Release
from gitops_ml.gitops.release_yaml import Provenance
from gitops_ml.image.planner import PlannedImage
from gitops_ml.image.recipe import BuilderChoice
from gitops_ml.packages.locking import Locks
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace

_MOST_NAMED = 3
"""Images that are named one by one."""


def tag_warnings(releases: Iterable[Release]) -> tuple[str, ...]:
    """About images that are named by tag."""
    images = sorted({str(item.image) for item in releases if item.image.digest is None})
    if len(images) > _MOST_NAMED:
        images = [f"{images[0]} and {len(images) - 1} other images"]
    return tuple(
        f"{image} {'have' if ' and ' in image else 'has'} no digest yet; the deployment id will be "
        "another one once it is built"
        for image in images
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployOptions(ChangeOptions):
    prune: bool = False
    by_tag: bool = False
    """Whether a content-hash tag may name an image that has no digest yet."""
    build: bool = True
    frozen: bool = False
    """Whether a lock that is not up to date is an error, as in CI."""
    allow_dirty: bool = False
    """Whether files that no commit holds may be deployed to a protected environment."""

    def may_build(self) -> bool:
        return self.build and not (self.dry_run or self.by_tag)


def left_warnings(left: Iterable[str]) -> tuple[str, ...]:
    return tuple(
        f"{directory} is in the GitOps repository, but no manifest describes it any more; "
        "`gitops-ml deploy --prune` removes it"
        for directory in left
    )


def uncommitted(
    workspace: Workspace, provenance: Provenance, options: DeployOptions, clients: Clients
) -> tuple[str, ...]:
    """A note about files that no commit holds; where they are deployed, the caller is warned at once.

    Packaged code of a session is in no checkout.
    """
    if not provenance.is_dirty or workspace.packaged:
        return ()
    known = workspace.project.protected
    protected = [name for name in workspace.environments if name in known]
    files = few(provenance.changed) or "files of the project"
    text = f"no commit holds {files} as deployed: no reviewer can see them, and this release cannot be rebuilt"
    if protected and not (options.allow_dirty or options.dry_run):
        raise UsageError(
            f"{text}, and {', '.join(protected)} is protected. Commit first, or allow it with --allow-dirty"
        )
    if options.dry_run:
        return (text,)
    clients.warn(text)
    return ()


def locks_for(options: DeployOptions, clients: Clients) -> Locks:
    """How stale locks are treated: requirements are resolved only where an image may be built."""
    if options.frozen:
        return Locks.FROZEN
    return Locks.MADE if options.may_build() and clients.registry is not None else Locks.KNOWN


@dataclass(frozen=True, slots=True)
class Made:
    """An image that was built and pushed on the way."""

    image: str
    """With its digest."""
    choice: BuilderChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployPlan(CommitPlan):
    """The releases rendered on top of one snapshot."""

    releases: tuple[Release, ...]
    left: tuple[str, ...]
    """Directories of this project's releases that no manifest describes any more."""

    def changed_releases(self) -> tuple[Release, ...]:
        return _touched(self.releases, self.changes)


def _touched(releases: Iterable[Release], changes: Iterable[Change]) -> tuple[Release, ...]:
    touched = {change.path.rpartition("/")[0] for change in changes}
    return tuple(item for item in releases if item.directory in touched)


@dataclass(slots=True)
class DeployPlanner:
    """Plans the same deploy on top of any snapshot."""

    workspace: Workspace
    images: dict[str, PlannedImage]
    options: DeployOptions
    clients: Clients
    provenance: Provenance
    """Read once, not for each attempt."""
    notes: tuple[str, ...] = ()
    """Warnings that do not depend on the snapshot."""
    digests: dict[str, str] = field(default_factory=dict)
    """Of images that were built, by ``repository:tag``: a retry does not build them again."""
    unanswered: list[GitopsMlError] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    def against(self, snapshot: GitSnapshot) -> DeployPlan:
        """What has to change in ``snapshot``."""
        workspace, state = self.workspace, RepositoryState.of(snapshot)
        # Before images are built.
        environment_modes(
            state, workspace.project, {r.environment.name for r in workspace.releases}
        )
        if wants_manifests(workspace):
            _ = self.clients.helm
        images = self._resolved_images(state)
        left = left_behind(state, workspace, workspace.directories())
        gone = left if self.options.prune else ()
        refuse_mass_removal(workspace, gone, most=prune_limit(state) if gone else None)
        wanted = wanted_releases(workspace, images, self.provenance)
        made = release_changes(wanted, state, workspace, self.clients, gone=gone)
        refuse_what_helm_refuses(made, workspace, self.clients)
        message = commit_message(
            _touched(made.releases, made.changes),
            removed=gone,
            subject=self.options.message or made.subject,
            source_commit=self.provenance.commit,
        )
        return DeployPlan(
            changes=made.changes,
            message=message,
            warnings=self._warnings(made),
            releases=made.releases,
            left=left,
        )

    def _warnings(self, made: ReleaseChanges) -> tuple[str, ...]:
        return (
            *image_warnings(self.images.values(), self.workspace.packaged),
            *dict.fromkeys(map(str, self.unanswered)),
            *tag_warnings(made.releases),
            *made.warnings,
            *self.notes,
        )

    def _resolved_images(self, state: RepositoryState) -> dict[str, PlannedImage]:
        known = state.digests() | self.digests
        trusted = (
            {"is_trusted": finished_image_check(self.clients)} if self.options.may_build() else {}
        )
        images = with_digests(self.images, known, self.clients, self._on_no_answer, **trusted)
        # Without a registry it is unknown whether an image has to be built.
        if self.options.may_build() and self.clients.registry is not None:
            for _, image in built_images(images):
                if image.ref.digest is None:
                    self._build(image)
        images = {
            key: image.with_digest(self.digests.get(str(image.ref)))
            for key, image in images.items()
        }
        self._refuse_without_digest(images.values())
        return images

    def _on_no_answer(self, error: GitopsMlError) -> None:
        """A registry did not answer: a warning with ``by_tag``, else the end."""
        if self.options.by_tag:
            self.unanswered.append(error)
            return
        if isinstance(error, ServerFailed):
            raise ServerFailed(
                f"{error}; check image.repository of gitops-ml.yaml and the network, or name images by "
                "their tags, with --by-tag"
            ) from error
        raise error

    def _build(self, image: PlannedImage) -> None:
        digest = make_image(
            image, self.clients, push=True, source=lambda: source_of(self.provenance)
        )
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
                    if self.clients.registry
                    else "no digest is known"
                )
                + ", and a release names its image by digest. Build it first (`gitops-ml build`), "
                "or name it by its tag with --by-tag"
                + "".join(f"\n{warning}" for warning in lock_warnings(nameless))
            )


def refuse_mass_removal(workspace: Workspace, gone: Iterable[str], *, most: int | None) -> None:
    """A file that vanished, or a wrong folder, does not empty an environment.

    ``most`` is the limit of the GitOps repository's own policy.
    """
    gone = tuple(gone)
    for name in workspace.environments:
        prefix = f"{layout.RELEASES}/{name}/"
        going = [each.removeprefix(prefix) for each in gone if each.startswith(prefix)]
        policies = workspace.project.environments[name].policies
        limits = [each.prune_at_most for each in policies]
        limit = min(limits + ([] if most is None else [most]), default=len(going))
        # Without any manifest that was read, these are all releases of the project.
        is_emptied = len(going) > 1 and not workspace.releases
        if len(going) <= limit and not is_emptied:
            continue
        what = f"all {len(going)}" if is_emptied else str(len(going))
        raise UsageError(
            f"--prune would remove {what} releases of this project from {name}, more than "
            f"policy.prune_at_most ({limit}) or all that there are; are manifests missing here? If "
            f"they should go, name them: `gitops-ml delete {' '.join(going)} -e {name}`"
        )
