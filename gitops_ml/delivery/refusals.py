"""Refuse what a project may not change in the GitOps repository: what others have there, what its policy forbids.

Others have directories, routes and roles. ``policy.yaml`` at the root of the repository has the shape of ``policy`` in
the project file, and no project file of a pull request can widen it. Releases have to keep to both, whatever project
file or Python code they come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.documents.findings import error
from gitops_ml.documents.yaml_reader import Document, read_yaml
from gitops_ml.errors import InvalidDocument, Problem, RepositoryMoved
from gitops_ml.git.commits import RenderedFile
from gitops_ml.gitops import layout
from gitops_ml.gitops.argo import roles_in
from gitops_ml.gitops.release_files import Release
from gitops_ml.gitops.release_yaml import destination_of, project_of
from gitops_ml.gitops.routes import Route, RouteIndex, route_of
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.project.reader import narrowed
from gitops_ml.release.rules.policy_requests import policy_findings
from gitops_ml.workspace.workspace import PlannedRelease


def refuse_others(state: RepositoryState, project: str, directories: Iterable[str]) -> None:
    """Two projects that share a GitOps repository do not share releases."""
    for directory in directories:
        owner = project_of(state.release_yaml(directory))
        if owner not in (None, project):
            raise RepositoryMoved(
                f"{directory} in the GitOps repository belongs to the project {owner!r}, and "
                f"this is {project!r}: give the API or the environment another name"
            )


def refuse_role_changes(
    state: RepositoryState, project: str, files: Iterable[RenderedFile]
) -> None:
    """One project does not decide who may sync the releases of another one of the same team."""
    changed = {file.path: file.content for file in files if not state.has(file)}
    for team, others in _projects_by_team(state).items():
        path = layout.app_project_path(team)
        if path not in changed or not (shared_with := others - {project}):
            continue
        if roles_in(state.read([path]).get(path, b"")) != roles_in(changed[path]):
            raise RepositoryMoved(
                f"{path} in the GitOps repository would get other roles, and the project "
                f"{min(shared_with)!r} has releases of team {team!r}, too: set the groups of `teams` "
                f"in this project file to those in {path}, change them there first, or use another "
                "team"
            )


def _projects_by_team(state: RepositoryState) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for _, content in state.directories():
        destination, owner = destination_of(content), project_of(content)
        if destination is not None and owner is not None:
            found.setdefault(destination[0], set()).add(owner)
    return found


def refuse_taken_routes(
    made: Iterable[tuple[Manifest, Release]], state: RepositoryState, *, gone: Iterable[str] = ()
) -> None:
    """A host and path have one owner; a route that a release has already is not checked again.

    ``gone`` are the directories of releases that the same change removes.
    """
    pairs = {item.directory: (manifest, item) for manifest, item in made}
    altered = _routes_of(item for _, item in pairs.values() if not _is_routed_alike(item, state))
    if not _new_routes(altered, state):
        return
    routes = _routes_of(item for _, item in pairs.values())
    problems = [
        pairs[directory][0].problem(
            error(("networking", "endpoint"), sentence, rule="unique"),
            environment=pairs[directory][1].environment,
        )
        for directory, sentence in taken_routes(routes, state, gone=gone)
    ]
    if problems:
        raise InvalidDocument(problems)


def taken_routes(
    routes: Mapping[str, Route | None], state: RepositoryState, *, gone: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """Which new routes another release has, by directory of the release, in a sentence."""
    new = _new_routes(routes, state)
    if not new:
        return []
    servers, elsewhere = {route.server for route in new.values()}, {*routes, *gone}
    rest = [
        directory
        for directory, content in state.directories()
        if directory not in elsewhere
        and (destination := destination_of(content))
        and destination[1][0] in servers
    ]
    others = RouteIndex([*_current_routes(state, rest).values(), *filter(None, routes.values())])
    return [(at, sentence) for at, route in new.items() for sentence in others.conflicts(route)]


def _routes_of(releases: Iterable[Release]) -> dict[str, Route | None]:
    return {
        item.directory: route_of(item.directory, facts=item.text.facts, values=item.text.values)
        for item in releases
    }


def _is_routed_alike(item: Release, state: RepositoryState) -> bool:
    """Whether the current release has everything that its route is made from; nothing is parsed."""
    values = RenderedFile(f"{item.directory}/{layout.VALUES}", item.text.values.encode())
    facts, before = item.text.facts, state.release_yaml(item.directory)
    return (
        state.has(values)
        and destination_of(facts) == destination_of(before)
        and project_of(facts) == project_of(before)
    )


def _new_routes(routes: Mapping[str, Route | None], state: RepositoryState) -> dict[str, Route]:
    """Those that differ from the current ones."""
    before = _current_routes(state, routes)
    return {at: route for at, route in routes.items() if route and before.get(at) != route}


def _current_routes(state: RepositoryState, directories: Iterable[str]) -> dict[str, Route]:
    """The routes of current releases, by directory."""
    paths = {f"{each}/{layout.VALUES}": each for each in directories}
    found = {}
    for path, content in state.read(paths).items():
        directory = paths[path]
        route = route_of(directory, facts=state.release_yaml(directory), values=content)
        if route is not None:
            found[directory] = route
    return found


# -- the policy of the GitOps repository -----------------------------------------------------------


def refuse_beyond_policy(planned: Iterable[PlannedRelease], state: RepositoryState) -> None:
    """Check releases against the ``policy.yaml`` of the GitOps repository, where it has one.

    Only then is a release resolved.
    """
    if (document := _document(state)) is None:
        return
    if problems := [problem for plan in planned for problem in _beyond(plan, document)]:
        raise InvalidDocument(problems)


def refuse_forbidden(plan: PlannedRelease, state: RepositoryState, *, way_out: str) -> None:
    """Check a release whose files are taken over as they are against both policies of today.

    Raises:
        InvalidDocument: a policy does not allow it; the messages end with ``way_out``.
    """
    found = policy_findings(plan.spec, plan.cluster, plan.environment)
    problems = [plan.manifest.problem(each, environment=plan.environment.name) for each in found]
    if (document := _document(state)) is not None:
        problems += _beyond(plan, document)
    if problems:
        raise InvalidDocument(
            replace(each, message=f"{each.message}. {way_out}") for each in problems
        )


def _beyond(plan: PlannedRelease, document: Document) -> Iterator[Problem]:
    environment, wrong = narrowed(plan.environment, document)
    if environment is None:
        raise InvalidDocument(wrong)
    for finding in policy_findings(plan.spec, plan.cluster, environment):
        message = finding.message.replace(
            "of the project file", "of policy.yaml in the GitOps repository"
        )
        yield plan.manifest.problem(
            replace(finding, message=message), environment=plan.environment.name
        )


def prune_limit(state: RepositoryState) -> int | None:
    """``prune_at_most`` of the GitOps repository; `None` where it has none."""
    document = _document(state)
    found = (
        document.data.get("prune_at_most") if document and isinstance(document.data, dict) else None
    )
    return found if isinstance(found, int) else None


def _document(state: RepositoryState) -> Document | None:
    content = state.read([layout.POLICY]).get(layout.POLICY)
    return None if content is None else read_yaml(content, file=layout.POLICY)
