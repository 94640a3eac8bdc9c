"""Change the configuration of a current release; its image stays as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from gitops_ml.delivery.change import (
    ChangeContext,
    ChangePlan,
    ChangeResult,
    ReleaseChange,
    change,
    changed_values,
)
from gitops_ml.delivery.derive import Origin, derive_release, derived_changes, refuse_taken
from gitops_ml.delivery.releases import Selection, current_releases, release_values, selected
from gitops_ml.errors import UsageError
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops.release_files import Release
from gitops_ml.gitops.release_yaml import ReleaseRecord
from gitops_ml.manifest.merge_patch import patched


def patch(context: ChangeContext, api: str, fields: Mapping[str, Any]) -> ChangeResult:
    """Merge ``fields`` into the manifest of the current release; its image stays as it is.

    Every rule is checked. `null` removes a field. The manifest in the work tree does not change, so the
    next `deploy` reverts the patch; a warning says so.

    Raises:
        UsageError: there is no such release, or the patch would need another image.
        InvalidDocument: the patched manifest breaks a rule.
    """
    if not fields:
        raise UsageError(f"{api}: what should be changed? Name the fields and their values")
    plan = partial(_plan, context, api, fields)
    return change(context, plan, action="patch", environment=context.environment, topic=api)


def _plan(
    context: ChangeContext, api: str, fields: Mapping[str, Any], snapshot: GitSnapshot
) -> ChangePlan:
    environment, project, clients = context.environment, context.project, context.clients
    (release,) = selected(
        snapshot, Selection(apis=(api,)), environment=environment, project=project.name
    )
    manifest = patched(release.manifest, fields, environment=environment)
    origin = Origin(release=release, by="patch")
    made = derive_release(origin, project, environment, clients=clients, manifest=manifest)
    if "networking" in made.planned.manifest.body:
        # Reading every manifest takes a second where there are thousands.
        every = current_releases(snapshot, [environment])
        beside = [each for each in every if each.project == release.project and each.api != api]
        refuse_taken(made, beside)
    changed = derived_changes([made], snapshot, context.workspace, clients)
    return ChangePlan(
        releases=(_release_change(snapshot, release, changed.releases[0]),),
        changes=changed.changes,
        subject=f"Patch {api} in {environment}",
        warnings=(*changed.warnings, *_source_warning(release, bool(changed.changes))),
    )


def _release_change(snapshot: GitSnapshot, before: ReleaseRecord, after: Release) -> ReleaseChange:
    return replace(
        ReleaseChange.of(before, after=after.deployment_id),
        image=after.image,
        fields=changed_values(release_values(snapshot, before), json.loads(after.text.data)),
    )


def _source_warning(release: ReleaseRecord, is_changed: bool) -> tuple[str, ...]:
    if not is_changed:
        return ()
    return (
        f"{release.manifest_file} of {release.project or 'the project'} has other values: change "
        "them there as well, or the next deploy reverts the patch",
    )
