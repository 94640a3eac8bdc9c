"""What the verbs that change standing releases have in common: the way to a commit, and its account."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gitops_ml.delivery.land import Delivery, deliver_changes
from gitops_ml.delivery.plan import manifest_warnings, mode_manifests
from gitops_ml.delivery.rendering import (
    RepositoryState,
    changes_against,
    refuse_others,
    refuse_taken_routes,
    shared_files,
    stale_manifests,
    with_refreshes,
    without_manifest,
)
from gitops_ml.delivery.repository_policy import refuse_beyond_policy
from gitops_ml.forge.pull_request import review_place
from gitops_ml.gitops import layout
from gitops_ml.gitops.commit_message import action_message, summary_of
from gitops_ml.gitops.release_files import release_files

if TYPE_CHECKING:
    from gitops_ml.delivery.derive import DerivedRelease
    from gitops_ml.forge.pull_request import PullRequest
    from gitops_ml.git.model import Change
    from gitops_ml.git.repository import GitSnapshot
    from gitops_ml.gitops.differences import FieldChange
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.oci.reference import ImageRef
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOptions:
    """How a verb's changes should get to the branch."""

    message: str | None = None
    """The commit's subject."""
    dry_run: bool = False
    pull_request: bool | None = None
    """Whether to propose; ``None`` does what the environments of the project file say."""
    why: str = ""
    """Paragraphs for the reviewer, in Markdown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseChange:
    """What a verb did to one release."""

    api: str
    environment: str
    before: str | None
    """The deployment id that stood there."""
    after: str | None
    """The one that stands there now; `None` where it was removed."""
    image: ImageRef | None
    fields: tuple[FieldChange, ...] = ()
    """What changes in its values."""
    differs: tuple[FieldChange, ...] = ()
    """What a promoted release has otherwise than the one that it came from, besides the image."""

    @property
    def directory(self) -> str:
        return layout.release_directory(self.environment, self.api)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlan:
    """What a verb wants to change in one snapshot."""

    releases: tuple[ReleaseChange, ...]
    changes: tuple[Change, ...]
    subject: str
    why: str = ""
    """What a reviewer should know besides the changes, in Markdown."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeResult:
    """What became of a verb."""

    action: str
    releases: tuple[ReleaseChange, ...]
    changes: tuple[Change, ...]
    commit: str | None
    """`None` where nothing had to change, or nothing was to be pushed."""
    pull_request: PullRequest | None
    """Where the commit waits for its review."""
    dry_run: bool
    warnings: tuple[str, ...]

    def summary(self) -> str:
        if not self.changes:
            return "nothing to change"
        if self.dry_run:
            return f"would commit: {summary_of(self.changes)}"
        if self.pull_request:
            return f"{review_place(self.pull_request)}: {summary_of(self.changes)}"
        return f"committed {(self.commit or '')[:12]}: {summary_of(self.changes)}"


def change(
    workspace: Workspace,
    plan: Callable[[GitSnapshot], ChangePlan],
    *,
    tools: Clients,
    options: ChangeOptions,
    action: str,
    topic: str,
    environments: Iterable[str],
) -> ChangeResult:
    """Land what ``plan`` wants, planned anew as often as somebody else was faster."""
    plans: list[ChangePlan] = []

    def make_changes(snapshot: GitSnapshot) -> tuple[tuple[Change, ...], str]:
        plans.append(made := plan(snapshot))
        return made.changes, _message(action, made, options)

    landing = Delivery(
        topic=f"{action}/{topic}",
        environments=tuple(environments),
        pull_request=options.pull_request,
        dry_run=options.dry_run,
        why=lambda: "\n\n".join(filter(None, (options.why, plans[-1].why))),
        warnings=lambda: plans[-1].warnings,
    )
    delivered = deliver_changes(workspace, make_changes, tools=tools, landing=landing)
    last = plans[-1]
    return ChangeResult(
        action=action,
        releases=last.releases if last.changes else (),
        changes=last.changes,
        commit=delivered.commit,
        pull_request=delivered.pull_request,
        dry_run=options.dry_run,
        warnings=(*last.warnings, *delivered.warnings),
    )


def _message(action: str, plan: ChangePlan, options: ChangeOptions) -> str:
    touched = [item for item in plan.releases if item.before != item.after]
    lines = [
        f"{item.api} in {item.environment}: {item.after}"
        if item.after
        else f"{item.directory} removed"
        for item in touched
    ]
    ids = [item.after for item in touched if item.after]
    return action_message(action, options.message or plan.subject, lines=lines, deployment_ids=ids)


def rerendered_changes(
    rerendered: Iterable[DerivedRelease],
    snapshot: GitSnapshot,
    workspace: Workspace,
    tools: Clients,
) -> tuple[tuple[Release, ...], tuple[Change, ...], tuple[str, ...]]:
    """The releases with what stands there taken into account, the changes, and warnings."""
    made = tuple(rerendered)
    standing = RepositoryState.read(snapshot)
    releases = with_refreshes([item.release for item in made], standing)
    refuse_others(standing, workspace.project.name, releases)
    named = [(item.manifest, release) for item, release in zip(made, releases, strict=True)]
    refuse_taken_routes(named, standing, snapshot)
    specs = ((item.manifest, partial(getattr, item, "spec")) for item in made)
    refuse_beyond_policy(specs, workspace.project, snapshot)
    manifests = mode_manifests(releases, workspace, tools)
    files = shared_files(releases, workspace.project, standing)
    for item, release in zip(made, releases, strict=True):
        files += release_files(
            release,
            provenance=item.origin.provenance(),
            previous=standing.releases.get(f"{release.directory}/{layout.RELEASE}"),
            manifests=manifests[release.directory] if manifests is not None else None,
        )
    changes = changes_against(standing, snapshot, sorted(files))
    if manifests is None:
        changes += stale_manifests(standing, snapshot, releases)
    if not any(layout.is_release_file(change.path) for change in changes):
        # What else this version would write is no reason for a commit of its own.
        changes = ()
    warnings = [str(problem) for item in made for problem in item.problems.warnings]
    if manifests is not None:
        warnings += manifest_warnings(without_manifest(standing, releases))
    return (
        releases,
        tuple(sorted(changes, key=lambda change: change.path)),
        tuple(dict.fromkeys(warnings)),
    )


def fields_without(values: Mapping[str, object], *names: str) -> Mapping[str, object]:
    """The values without what is no news: the deployment id, and ``names`` of the section `api`."""
    api = values.get("api")
    if not isinstance(api, Mapping):
        return values
    return {
        **values,
        "api": {k: v for k, v in api.items() if k not in ("deploymentId", *names)},
    }
