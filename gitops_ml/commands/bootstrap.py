"""Prepare a GitOps repository: layout, Argo CD's objects, base charts, and files for people."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gitops_ml.delivery.change import ChangeContext, ChangeOptions, DeliveryResult, deliver_changes
from gitops_ml.delivery.modes import EnvironmentMode, carried_along, environment_modes
from gitops_ml.delivery.push import CommitPlan
from gitops_ml.delivery.refusals import refuse_role_changes
from gitops_ml.delivery.release_changes import changes_against
from gitops_ml.delivery.releases import current_releases, repository_of
from gitops_ml.delivery.rendering import predictor_chart
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.errors import RepositoryMoved, UsageError
from gitops_ml.forge.address import forge_address
from gitops_ml.git.commits import Change, RenderedFile
from gitops_ml.git.remote import Remote
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops import bootstrap_files, layout
from gitops_ml.gitops.argo import destinations_in, mode_in, root_file, teams_of
from gitops_ml.gitops.bootstrap_files import Block, Steps, fleet_dashboards, rights_file
from gitops_ml.gitops.commit_message import action_message
from gitops_ml.gitops.previews import CHART as PREVIEW_CHART
from gitops_ml.gitops.previews import PreviewPlace, previews_file, previews_owner
from gitops_ml.gitops.release_files import chart_files, environment_files
from gitops_ml.helm.charts import read_chart
from gitops_ml.project.project import GitopsSpec, Project
from gitops_ml.system.files import write_files
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace

Read = Callable[[str], "bytes | None"]
"""The content of a file by its path; `None` where it does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrapped(DeliveryResult):
    """What changed in the repository, and what is left for people."""

    kept: tuple[tuple[str, str], ...]
    """Files whose gitops-ml block people have edited, and the difference to the block as it would be."""
    steps: tuple[Steps, ...]
    """For an administrator of the clusters."""
    advice: tuple[str, ...]
    """For an administrator of the repository."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _BootstrapPlan(CommitPlan):
    kept: tuple[tuple[str, str], ...]


def bootstrap(context: ChangeContext) -> Bootstrapped:
    """Prepare the GitOps repository for the workspace's environments. A second call changes nothing.

    An empty repository gets its first commit by a push, whatever `delivery` its environments have.
    """
    workspace, gitops = context.workspace, _gitops(context.workspace, context.clients)
    options = context.options
    if options.pull_request is None and context.clients.repository.fetch().commit is None:
        options = replace(options, pull_request=False)
    delivered = deliver_changes(
        replace(context, options=options),
        partial(_plan, context, gitops, options),
        topic=f"bootstrap/{context.project.name}",
        environments=workspace.environments,
    )
    plan = delivered.plan
    return Bootstrapped(
        changes=plan.changes,
        kept=plan.kept,
        commit=delivered.commit,
        pull_request=delivered.pull_request,
        dry_run=options.dry_run,
        steps=_steps(workspace, gitops),
        advice=bootstrap_files.advice(context.project, gitops),
        warnings=(*_unreachable(gitops), *plan.warnings, *delivered.warnings),
    )


def _plan(
    context: ChangeContext, gitops: GitopsSpec, options: ChangeOptions, snapshot: GitSnapshot
) -> _BootstrapPlan:
    workspace, clients, state = context.workspace, context.clients, RepositoryState.of(snapshot)
    project = workspace.project
    teams = {r.team for r in current_releases(snapshot) if r.project == project.name}
    names = [path for path, _, _ in _blocks(project, gitops)]
    folders = ("argocd/projects/", "argocd/previews/")
    blobs = (path for folder in folders for path in snapshot.blob_ids(folder))
    current = state.read([*names, *blobs])
    modes = environment_modes(state, project, workspace.environments)
    files = _argo_files(workspace, teams, state, current.get, modes=modes)
    refuse_role_changes(state, project.name, files)
    others, kept = _peoples_files(project, gitops, current.get)
    rest = carried_along(modes, state, clients, made=())
    changes = (*changes_against(state, sorted([*files, *others, *rest.files])), *rest.removed)
    subject = options.message or f"Prepare the repository for {project.name}"
    lines = [f"environment {name}" for name in workspace.environments]
    return _BootstrapPlan(
        changes=tuple(sorted(changes, key=lambda change: change.path)),
        message=action_message("bootstrap", subject, lines=lines, deployment_ids=()),
        kept=kept,
        warnings=rest.warnings,
    )


def _unreachable(gitops: GitopsSpec) -> tuple[str, ...]:
    """About a repository that Argo CD cannot reach."""
    if "://" in gitops.argocd_url or "@" in gitops.argocd_url:
        return ()
    return (
        f"{gitops.argocd_url} is a folder on this machine, which Argo CD cannot reach: set the "
        "repository's URL in gitops.repository or gitops.argocd_repository",
    )


def bootstrap_folder(workspace: Workspace, folder: Path, *, clients: Clients) -> Bootstrapped:
    """Write the same files to a folder and change nothing else: to look at them or commit them by hand.

    Raises:
        UsageError: the project file names no GitOps repository, or the folder cannot be written to.
    """
    project, gitops = workspace.project, _gitops(workspace, clients)
    read = partial(_read, folder)
    modes = [_mode_in_folder(project, gitops, name, folder) for name in workspace.environments]
    others, kept = _peoples_files(project, gitops, read)
    argo = _argo_files(workspace, set(), RepositoryState.empty(), read, modes=modes)
    files = sorted([*argo, *others])
    before = {file.path: read(file.path) for file in files}
    write_files(folder, ((file.path, file.content) for file in files))
    changes = (Change(file.path, before[file.path], file.content) for file in files)
    return Bootstrapped(
        changes=tuple(change for change in changes if change.before != change.after),
        kept=kept,
        commit=None,
        pull_request=None,
        dry_run=False,
        steps=_steps(workspace, gitops),
        advice=bootstrap_files.advice(project, gitops),
    )


def _read(folder: Path, path: str) -> bytes | None:
    file = folder / path
    return file.read_bytes() if file.is_file() else None


def _mode_in_folder(
    project: Project, gitops: GitopsSpec, environment: str, folder: Path
) -> EnvironmentMode:
    """The mode of an environment in a folder, where nothing is rendered for a switch."""
    file = folder / layout.application_set_path(environment)
    before, decider = (mode_in(file.read_bytes()) if file.is_file() else None) or (None, None)
    mode = EnvironmentMode(
        environment=environment, before=before, after=gitops.mode, decided_by=decider
    )
    if mode.is_switch and (folder / layout.RELEASES / environment).is_dir():
        raise UsageError(
            f"{file} has mode `{before}`, and gitops.mode of {project.name} is `{gitops.mode}`: a "
            "switch changes the releases as well, which `bootstrap` does in the GitOps repository "
            "and not in a folder"
        )
    return mode


def _gitops(workspace: Workspace, clients: Clients) -> GitopsSpec:
    repository_of(workspace, clients)
    assert workspace.project.gitops is not None, "`repository_of` refuses a project without"
    return workspace.project.gitops


def _argo_files(
    workspace: Workspace,
    teams: set[str],
    state: RepositoryState,
    read: Read,
    *,
    modes: Iterable[EnvironmentMode],
) -> tuple[RenderedFile, ...]:
    project = workspace.project
    assert project.gitops is not None, "`repository_of` refuses a project without"
    used = teams_of(project, teams | (set() if project.teams else {project.default_team}))
    others = state.destinations(besides=project.name)
    # Another project may have prepared its environments for the same team: its destinations stay
    # until a deploy sees the releases.
    for team in used:
        content = read(layout.app_project_path(team))
        others.setdefault(team, set()).update(destinations_in(content or b""))
    return (
        *chart_files([predictor_chart()]),
        *_preview_files(workspace, read),
        # What an administrator applies, and nothing syncs.
        root_file(project.gitops),
        rights_file(),
        *fleet_dashboards(project, workspace.environments),
        *environment_files(
            project,
            workspace.environments,
            used,
            others=others,
            mode_of={mode.environment: mode.decided_by for mode in modes},
        ),
    )


def _preview_files(workspace: Workspace, read: Read) -> tuple[RenderedFile, ...]:
    """The previews of the environments that have them, and their chart."""
    project = workspace.project
    files = [
        _previews_file(preview_place(project, name, folder=workspace.root), read)
        for name in workspace.environments
        if project.environments[name].previews is not None
    ]
    return (*chart_files([read_chart(PREVIEW_CHART)]), *files) if files else ()


def preview_place(project: Project, environment: str, *, folder: Path) -> PreviewPlace:
    """The previews of an environment that has them."""
    spec, gitops = project.environments[environment], project.gitops
    assert spec.previews is not None, "the caller asks for environments with previews"
    assert gitops is not None, "only a project with a GitOps repository is bootstrapped"
    remote = Remote.parse(gitops.repository, folder=folder)
    forge = forge_address(
        gitops.forge, scheme=remote.scheme, server=remote.server, path=remote.path
    )
    if forge is None or forge.type == "bitbucket":
        which = "Bitbucket, whose pull requests have no labels" if forge else "no forge"
        raise UsageError(
            f"environments.{environment}.previews: the GitOps repository is at {which}. Previews need "
            "GitHub, GitLab, Gitea or Forgejo"
        )
    return PreviewPlace(
        environment=spec, previews=spec.previews, cluster=project.clusters[spec.cluster],
        gitops=gitops, forge=forge, project=project.name,
    )  # fmt: skip


def _previews_file(place: PreviewPlace, read: Read) -> RenderedFile:
    """The file of an environment, which several projects may have: the first one decides, and others agree."""
    own, name = previews_file(place), place.environment.name
    content = read(own.path)
    owner = previews_owner(content)
    if owner in (None, place.project):
        return own
    agreed = previews_file(replace(place, project=owner))
    if content != agreed.content:
        raise RepositoryMoved(
            f"{own.path} in the GitOps repository has the previews of the project {owner!r}, and "
            f"environments.{name}.previews or the cluster of {place.project!r} differ from them: use the same "
            f"fields in both project files, remove `previews` here (those of {owner!r} show the pull requests "
            "of all projects), or give the environment another name"
        )
    return agreed


def _blocks(project: Project, gitops: GitopsSpec) -> tuple[tuple[str, Block, bool], ...]:
    """Path, block, and whether it goes to the end: people's own rules take precedence."""
    return (
        (bootstrap_files.README, bootstrap_files.readme(project, gitops), True),
        (bootstrap_files.CODEOWNERS, bootstrap_files.codeowners(project, gitops), False),
        (bootstrap_files.GITATTRIBUTES, bootstrap_files.gitattributes(), False),
    )


def _peoples_files(
    project: Project, gitops: GitopsSpec, read: Read
) -> tuple[list[RenderedFile], tuple[tuple[str, str], ...]]:
    """The files with their gitops-ml block, and those whose block people have edited."""
    files, kept = [], []
    for path, block, at_the_end in _blocks(project, gitops):
        content = read(path)
        text = None if content is None else content.decode("utf-8", "surrogateescape")
        result = bootstrap_files.placed(text, block, at_the_end=at_the_end)
        if result.edited is None:
            files.append(RenderedFile(path, result.content.encode("utf-8", "surrogateescape")))
        else:
            kept.append((path, _difference(path, result.edited, block.text)))
    return files, tuple(kept)


def _difference(path: str, edited: str, block: str) -> str:
    lines = difflib.unified_diff(
        edited.splitlines(keepends=True),
        block.splitlines(keepends=True),
        fromfile=path,
        tofile="what gitops-ml would write",
    )
    return "".join(lines)


def _steps(workspace: Workspace, gitops: GitopsSpec) -> tuple[Steps, ...]:
    places = [workspace.project.environments[name] for name in workspace.environments]
    return bootstrap_files.steps(workspace.project, gitops, places)
