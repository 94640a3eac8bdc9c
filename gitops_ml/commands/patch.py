"""Change current releases in place: patched manifests, or a rollout that changes nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gitops_ml.delivery.change import (
    ChangeOptions,
    ChangePlan,
    ChangeResult,
    ReleaseChange,
    change,
    fields_without,
)
from gitops_ml.delivery.derive import (
    DerivedRelease,
    Origin,
    derive_release,
    derived_changes,
    refuse_taken,
)
from gitops_ml.delivery.release_changes import wants_manifests
from gitops_ml.delivery.releases import (
    Selection,
    current_release,
    current_releases,
    refuse_other,
    selected,
    topic_of,
    values_of,
)
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.delivery.restoration import restored_changes
from gitops_ml.errors import RepositoryMoved, UsageError
from gitops_ml.gitops import layout
from gitops_ml.gitops.commit_message import names_in_short
from gitops_ml.gitops.current_objects import render_manifest
from gitops_ml.gitops.differences import field_changes
from gitops_ml.gitops.release_files import with_provenance
from gitops_ml.manifest.merge_patch import patched

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from gitops_ml.git.model import Change
    from gitops_ml.git.repository import GitSnapshot
    from gitops_ml.gitops.release_yaml import ReleaseRecord
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace


def patch(
    workspace: Workspace,
    api: str,
    fields: Mapping[str, Any],
    *,
    environment: str,
    tools: Clients,
    options: ChangeOptions = ChangeOptions(),  # noqa: B008 - frozen
) -> ChangeResult:
    """Merge ``fields`` into the manifest of the current release; its image stays as it is.

    Every rule is checked. `null` removes a field. The manifest in the work tree does not change, so the
    next `deploy` reverts the patch; a warning says so.

    Raises:
        UsageError: there is no such release, or the patch would need another image.
        InvalidDocument: the patched manifest breaks a rule.
    """
    if not fields:
        raise UsageError("what should be changed? Name the fields and their values")

    def plan(snapshot: GitSnapshot) -> ChangePlan:
        release = current_release(snapshot, api, environment)
        refuse_other(release, workspace.project.name)
        made = derive_release(
            Origin(release=release, by="patch"),
            workspace.project,
            environment,
            tools=tools,
            manifest=patched(release.manifest, fields, environment=environment),
        )
        if "networking" in made.planned.manifest.body:
            # Reading every manifest takes a second where there are thousands.
            refuse_taken(made, _beside(snapshot, release))
        return _patch_plan(made, snapshot, workspace, tools)

    return change(
        workspace,
        plan,
        tools=tools,
        options=options,
        action="patch",
        topic=f"{environment}/{api}",
        environments=(environment,),
    )


def _patch_plan(
    made: DerivedRelease, snapshot: GitSnapshot, workspace: Workspace, tools: Clients
) -> ChangePlan:
    release = made.origin.release
    changed = derived_changes([made], snapshot, workspace, tools)
    (after,) = changed.releases
    before = values_of(snapshot, [release.directory]).get(release.directory, {})
    now = json.loads(after.text.data)
    patched_release = ReleaseChange(
        api=release.api,
        environment=release.environment,
        before=release.deployment_id,
        after=after.deployment_id,
        image=after.image,
        fields=field_changes(fields_without(before), fields_without(now)),
    )
    return ChangePlan(
        releases=(patched_release,),
        changes=changed.changes,
        subject=f"Patch {release.api} in {release.environment}",
        warnings=(*changed.warnings, *_source_warning(release, bool(changed.changes))),
    )


def _beside(snapshot: GitSnapshot, release: ReleaseRecord) -> list[ReleaseRecord]:
    return [
        other
        for other in current_releases(snapshot, [release.environment])
        if other.project == release.project and other.api != release.api
    ]


def _source_warning(release: ReleaseRecord, is_changed: bool) -> tuple[str, ...]:
    if not is_changed:
        return ()
    return (
        f"{release.manifest_file} of {release.project or 'the project'} has other values: change "
        "them there as well, or the next deploy reverts the patch",
    )


def refresh(
    workspace: Workspace,
    selection: Selection,
    *,
    environment: str,
    tools: Clients,
    options: ChangeOptions = ChangeOptions(),  # noqa: B008 - frozen
) -> ChangeResult:
    """Roll the current releases out again: only the deployment id changes.

    Raises:
        UsageError: there is no such release.
        InvalidDocument: today's policies forbid a release, or it is not whole.
    """

    def plan(snapshot: GitSnapshot) -> ChangePlan:
        releases = selected(
            snapshot, selection, environment=environment, project=workspace.project.name
        )
        return ChangePlan(
            releases=tuple(
                ReleaseChange(
                    api=release.api,
                    environment=environment,
                    before=release.deployment_id,
                    after=release.next_refresh.deployment_id,
                    image=release.image,
                )
                for release in releases
            ),
            changes=_refresh_changes(releases, snapshot, workspace, tools),
            subject=f"Refresh {names_in_short(r.api for r in releases)} in {environment}",
            why="Nothing changes but the deployment id: the pods are replaced, one after the other.",
        )

    return change(
        workspace,
        plan,
        tools=tools,
        options=options,
        action="refresh",
        topic=f"{environment}/{topic_of(selection, workspace.project.name)}",
        environments=(environment,),
    )


def _refresh_changes(
    releases: Iterable[ReleaseRecord], snapshot: GitSnapshot, workspace: Workspace, tools: Clients
) -> tuple[Change, ...]:
    state = RepositoryState.of(snapshot)
    changes = [
        each
        for release in releases
        for each in restored_changes(
            release,
            _refreshed(release, snapshot, workspace, tools),
            state,
            workspace.project,
            way_out=f"deploy {release.api} with a manifest that the policy allows",
        )
    ]
    return tuple(sorted(changes))


def _refreshed(
    release: ReleaseRecord, snapshot: GitSnapshot, workspace: Workspace, tools: Clients
) -> dict[str, bytes]:
    """The files of a release with the id of its next refresh; nothing else changes in them."""
    facts, values, manifest = (
        f"{release.directory}/{name}" for name in (layout.RELEASE, layout.VALUES, layout.MANIFEST)
    )
    there = snapshot.read([facts, values, manifest])
    new, before = release.next_refresh, release.deployment_id
    text = there.get(values, b"").decode(errors="replace")
    new_values = new.values(text, before=before)
    head = new.facts(release.text, before=before)
    if new_values == text or head == release.text:
        raise RepositoryMoved(
            f"{values} and {facts} in the GitOps repository do not name the same deployment: "
            "deploy the API again"
        )
    origin = Origin(release=release, by="refresh")
    wanted = {
        facts: with_provenance(head, origin.provenance()).encode(),
        values: new_values.encode(),
    }
    if wants_manifests(workspace):
        rendered = render_manifest(snapshot, release, new_values, helm=tools.helm)
        wanted[manifest] = rendered.encode()
    return wanted
