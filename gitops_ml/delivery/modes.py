"""The mode of an environment: one for all of its releases, whichever project they are of.

The ApplicationSet in the GitOps repository has the mode of its environment; ``gitops.mode`` of a project
file is the wish for it. A project with releases there switches the mode for everybody by deploying with
the other one, and from then on decides it: two project files that disagree do not take turns.

In mode ``manifests`` each release has a ``manifest.yaml``, in mode ``chart`` none has one. What a switch
needs for releases that it does not deploy is in the repository: chart, values and names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.documents.findings import few
from gitops_ml.errors import GitopsMlError, RepositoryMoved
from gitops_ml.git.commits import Change, RenderedFile
from gitops_ml.gitops import layout
from gitops_ml.gitops.argo import mode_in
from gitops_ml.gitops.current_objects import rendered_manifests
from gitops_ml.gitops.release_yaml import project_of
from gitops_ml.project.project import Project
from gitops_ml.workspace.clients import Clients


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentMode:
    """The mode of one environment, before and after a change."""

    environment: str
    before: str | None
    """`None` where the repository has no ApplicationSet of the environment."""
    after: str
    decided_by: str | None
    """The project that decides it; `None` where it was never switched for several projects."""

    @property
    def is_switch(self) -> bool:
        return self.before not in (None, self.after)


@dataclass(frozen=True, slots=True)
class CarriedAlong:
    """What the mode of environments changes in releases that are not deployed with it."""

    files: tuple[RenderedFile, ...]
    removed: tuple[Change, ...]
    warnings: tuple[str, ...]


def environment_modes(
    state: RepositoryState, project: Project, environments: Iterable[str]
) -> tuple[EnvironmentMode, ...]:
    """The modes of the environments; none without a GitOps repository."""
    if project.gitops is None:
        return ()
    wanted, paths = project.gitops.mode, {layout.application_set_path(e): e for e in environments}
    found = state.read(paths)
    return tuple(
        _environment_mode(state, project.name, environment, found.get(path), wanted)
        for path, environment in sorted(paths.items())
    )


def mode_of(state: RepositoryState, project: Project, environment: str) -> str:
    """The mode that Argo CD syncs the environment in now; the project's, where nothing is there yet."""
    path = layout.application_set_path(environment)
    found = mode_in(state.read([path]).get(path, b""))
    return found[0] if found else project.gitops.mode if project.gitops else "chart"


def _environment_mode(
    state: RepositoryState, project: str, environment: str, content: bytes | None, wanted: str
) -> EnvironmentMode:
    before, decider = mode_in(content or b"") or (None, None)
    mode = EnvironmentMode(environment=environment, before=before, after=wanted, decided_by=decider)
    if not mode.is_switch:
        return mode
    places = (content for at, content in state.directories() if _is_in(environment, at))
    owners = set(map(project_of, places))
    others = owners - {None, project}
    if others:
        _refuse_disagreement(mode, project, owners)
    return replace(mode, decided_by=project if others else None)


def _is_in(environment: str, directory: str) -> bool:
    return directory.rpartition("/")[0] == f"{layout.RELEASES}/{environment}"


def _refuse_disagreement(mode: EnvironmentMode, project: str, owners: set[str | None]) -> None:
    """One project does not revert what another one decided, nor decides where it has no release."""
    decider = mode.decided_by if mode.decided_by in owners else None
    # A release without a project is an old one of the project that deploys it.
    if decider == project or (decider is None and owners & {None, project}):
        return
    others = ", ".join(repr(each) for each in sorted(filter(None, owners - {project})))
    why = (
        f"the project {decider!r} decided that"
        if decider
        else f"{project!r} has no release there, and {others} has"
    )
    raise RepositoryMoved(
        f"{layout.application_set_path(mode.environment)} in the GitOps repository syncs "
        f"{mode.environment} in mode `{mode.before}` ({why}), and the project file of {project!r} "
        f"has `{mode.after}`: an environment has one mode. Set gitops.mode to `{mode.before}`; to "
        f"switch the environment, deploy from {repr(decider) if decider else others} with gitops.mode "
        f"`{mode.after}`; or use an environment of your own"
    )


def carried_along(
    modes: Iterable[EnvironmentMode],
    state: RepositoryState,
    clients: Clients,
    *,
    made: Collection[str],
    gone: Collection[str] = (),
) -> CarriedAlong:
    """What every other release of the environments needs for the mode.

    ``made`` are the directories of releases whose files are written anyway, ``gone`` those that are
    removed.
    """
    files: list[RenderedFile] = []
    removed: list[Change] = []
    warnings: list[str] = []
    for mode in modes:
        there = {each for each, _ in state.directories() if _is_in(mode.environment, each)}
        rest = there - {*gone}
        if mode.is_switch:
            warnings.append(_switch_warning(mode, state, rest))
        if mode.after == "chart":
            removed += _without_manifests(state, rest)
            continue
        rendered, lacking = _with_manifests(mode, state, clients, sorted(rest - {*made}))
        files += rendered
        warnings += lacking
    return CarriedAlong(tuple(files), tuple(removed), tuple(warnings))


def _switch_warning(
    mode: EnvironmentMode, state: RepositoryState, directories: Collection[str]
) -> str:
    owners = sorted(
        {owner for each in directories if (owner := project_of(state.release_yaml(each)))}
    )
    count = f"{len(directories)} releases" if len(directories) != 1 else "1 release"
    return (
        f"{layout.application_set_path(mode.environment)}: {mode.environment} switches from mode "
        f"`{mode.before}` to `{mode.after}`, with all of its {count} (projects: "
        f"{few(owners)}). Argo CD gets the same objects from another source: the switch "
        "restarts no pod"
    )


def _without_manifests(state: RepositoryState, directories: Iterable[str]) -> list[Change]:
    contents = state.read(f"{each}/{layout.MANIFEST}" for each in directories)
    return [Change(path, content, None) for path, content in contents.items()]


def _with_manifests(
    mode: EnvironmentMode, state: RepositoryState, clients: Clients, directories: Iterable[str]
) -> tuple[list[RenderedFile], list[str]]:
    """The ``manifest.yaml`` of other releases: of all at a switch, else of those that lack one."""
    wanted = [
        each
        for each in directories
        if mode.is_switch or f"{each}/{layout.MANIFEST}" not in state.blob_ids
    ]
    if not wanted or state.snapshot is None:
        return [], []
    found = rendered_manifests(state.snapshot, wanted, helm=clients.helm)
    failures = {each: made for each, made in found.items() if isinstance(made, GitopsMlError)}
    if failures and mode.is_switch:
        raise _cannot_switch(mode, failures)
    files = [
        RenderedFile(f"{each}/{layout.MANIFEST}", made)
        for each, made in found.items()
        if isinstance(made, bytes)
    ]
    return files, _repair_warnings(mode, files, failures)


def _cannot_switch(mode: EnvironmentMode, failures: Mapping[str, GitopsMlError]) -> RepositoryMoved:
    reasons = "".join(f"\n* {failure}" for failure in [*failures.values()][:3])
    return RepositoryMoved(
        f"{mode.environment} cannot switch to mode `{mode.after}`: {len(failures)} of its releases "
        f"cannot be rendered from the GitOps repository. Deploy or delete them first.{reasons}"
    )


def _repair_warnings(
    mode: EnvironmentMode,
    files: Iterable[RenderedFile],
    failures: Mapping[str, GitopsMlError],
) -> list[str]:
    if mode.is_switch:
        return []
    repaired = [
        f"{file.path} was missing, and Argo CD syncs nothing else in mode `manifests`: it is rendered"
        for file in files
    ]
    return repaired + [
        f"{each} has no manifest.yaml, and Argo CD syncs nothing else in mode `manifests`: {failure}"
        for each, failure in failures.items()
    ]
