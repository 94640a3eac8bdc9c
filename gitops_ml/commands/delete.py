"""Remove releases from the GitOps repository."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gitops_ml.delivery.change import ChangeOptions, ChangePlan, ChangeResult, ReleaseChange, change
from gitops_ml.delivery.release_changes import removals
from gitops_ml.delivery.releases import Selection, selected, topic_of
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.gitops.commit_message import names_in_short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_ml.git.repository import GitSnapshot
    from gitops_ml.gitops.release_yaml import ReleaseRecord
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace


def delete(
    workspace: Workspace,
    selection: Selection,
    *,
    environment: str,
    tools: Clients,
    options: ChangeOptions = ChangeOptions(),  # noqa: B008 - frozen
) -> ChangeResult:
    """Remove everything below the releases' directories; Argo CD deletes the objects.

    In a protected environment Argo CD keeps them; warnings list what is left to do.

    Raises:
        RepositoryMoved: a release belongs to another project, or the branch moved at each attempt.
    """
    plan = partial(_plan, workspace, selection, environment)
    topic = topic_of(selection, workspace.project.name)
    return change(
        workspace, tools, options, plan, action="delete", environment=environment, topic=topic
    )


def _plan(
    workspace: Workspace, selection: Selection, environment: str, snapshot: GitSnapshot
) -> ChangePlan:
    releases = selected(
        snapshot, selection, environment=environment, project=workspace.project.name
    )
    return ChangePlan(
        releases=tuple(ReleaseChange.of(release, after=None) for release in releases),
        changes=removals(RepositoryState.of(snapshot), [each.directory for each in releases]),
        subject=f"Remove {names_in_short(each.api for each in releases)} from {environment}",
        why=_what_goes(workspace, environment),
        warnings=_left_to_do(workspace, environment, releases),
    )


def _what_goes(workspace: Workspace, environment: str) -> str:
    if workspace.project.environments[environment].protected:
        return "Argo CD keeps what runs: the environment is protected."
    return "Argo CD deletes the Applications and all of their objects."


def _left_to_do(
    workspace: Workspace, environment: str, releases: Iterable[ReleaseRecord]
) -> tuple[str, ...]:
    """Argo CD keeps the Applications of a protected environment: an administrator deletes them."""
    if not workspace.project.environments[environment].protected:
        return ()
    gitops = workspace.project.gitops
    namespace = gitops.argocd_namespace if gitops else "argocd"
    commands = "\n".join(
        f"  argocd app delete {namespace}/{release.api}-{environment} --cascade"
        for release in releases
    )
    return (
        f"{environment} is protected: Argo CD keeps these Applications and all that runs "
        "(applicationsSync: create-update). Once the commit is on the branch, an administrator "
        f"removes them:\n{commands}",
    )
