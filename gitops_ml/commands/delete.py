"""Remove releases from the GitOps repository."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from gitops_ml.delivery.change import ChangeContext, ChangePlan, ChangeResult, ReleaseChange, change
from gitops_ml.delivery.release_changes import removals
from gitops_ml.delivery.releases import Selection, selected, topic_of
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops.commit_message import names_in_short
from gitops_ml.gitops.release_yaml import ReleaseRecord
from gitops_ml.project.project import Project


def delete(context: ChangeContext, selection: Selection) -> ChangeResult:
    """Remove everything below the releases' directories; Argo CD deletes the objects.

    In a protected environment Argo CD keeps them; warnings list what is left to do.
    """
    if context.project.environments[context.environment].protected:
        # Argo CD keeps what runs, so no cluster is asked.
        context = replace(context, options=replace(context.options, wait=False))
    plan = partial(_plan, context, selection)
    topic = topic_of(selection, context.project.name)
    return change(context, plan, action="delete", environment=context.environment, topic=topic)


def _plan(context: ChangeContext, selection: Selection, snapshot: GitSnapshot) -> ChangePlan:
    environment, project = context.environment, context.project
    releases = selected(snapshot, selection, environment=environment, project=project.name)
    return ChangePlan(
        releases=tuple(ReleaseChange.of(release, after=None) for release in releases),
        changes=removals(RepositoryState.of(snapshot), [each.directory for each in releases]),
        subject=f"Remove {names_in_short(each.api for each in releases)} from {environment}",
        why=_what_goes(project, environment),
        warnings=_left_to_do(project, environment, releases),
    )


def _what_goes(project: Project, environment: str) -> str:
    if project.environments[environment].protected:
        return "Argo CD keeps what runs: the environment is protected."
    return "Argo CD deletes the Applications and all of their objects."


def _left_to_do(
    project: Project, environment: str, releases: Iterable[ReleaseRecord]
) -> tuple[str, ...]:
    """Argo CD keeps the Applications of a protected environment: an administrator deletes them."""
    if not project.environments[environment].protected:
        return ()
    gitops = project.gitops
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
