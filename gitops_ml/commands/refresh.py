"""Roll current releases out again; nothing but the deployment id changes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from gitops_ml.delivery.change import ChangeContext, ChangePlan, ChangeResult, ReleaseChange, change
from gitops_ml.delivery.derive import FILES, Origin, restored_changes
from gitops_ml.delivery.modes import mode_of
from gitops_ml.delivery.releases import Selection, selected, topic_of
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.errors import RepositoryMoved
from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops.commit_message import names_in_short
from gitops_ml.gitops.current_objects import render_manifest
from gitops_ml.gitops.release_files import with_provenance
from gitops_ml.gitops.release_yaml import ReleaseRecord


def refresh(context: ChangeContext, selection: Selection) -> ChangeResult:
    """Roll the current releases out again: only the deployment id changes.

    Raises:
        InvalidDocument: today's policies forbid a release, or it is not whole.
    """
    plan = partial(_plan, context, selection)
    topic = topic_of(selection, context.project.name)
    return change(context, plan, action="refresh", environment=context.environment, topic=topic)


def _plan(context: ChangeContext, selection: Selection, snapshot: GitSnapshot) -> ChangePlan:
    environment, project = context.environment, context.project
    releases = selected(snapshot, selection, environment=environment, project=project.name)
    return ChangePlan(
        releases=tuple(
            ReleaseChange.of(release, after=release.next_refresh.deployment_id)
            for release in releases
        ),
        changes=_refresh_changes(context, releases, snapshot),
        subject=f"Refresh {names_in_short(each.api for each in releases)} in {environment}",
        why="Nothing changes but the deployment id: the pods are replaced, one after the other.",
    )


def _refresh_changes(
    context: ChangeContext, releases: Iterable[ReleaseRecord], snapshot: GitSnapshot
) -> tuple[Change, ...]:
    state = RepositoryState.of(snapshot)
    mode = mode_of(state, context.project, context.environment)
    changes = [
        each
        for release in releases
        for each in restored_changes(
            release,
            _refreshed(context, release, snapshot, mode=mode),
            state,
            context.project,
            way_out=f"deploy {release.api} with a manifest that the policy allows",
        )
    ]
    return tuple(sorted(changes))


def _refreshed(
    context: ChangeContext, release: ReleaseRecord, snapshot: GitSnapshot, *, mode: str
) -> dict[str, bytes]:
    """The files of a release with the id of its next refresh; nothing else changes in them."""
    facts, values, manifest = (f"{release.directory}/{name}" for name in FILES)
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
    if mode == "manifests":
        rendered = render_manifest(snapshot, release, new_values, helm=context.clients.helm)
        wanted[manifest] = rendered.encode()
    return wanted
