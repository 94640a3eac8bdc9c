"""Refuse changes to what belongs to other releases of the GitOps repository: directories, routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml.documents.findings import error
from gitops_ml.errors import InvalidDocument, RepositoryMoved
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_files import destination_of, project_of
from gitops_ml.gitops.routes import Route, conflicts, route_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitops_ml.delivery.repository_state import RepositoryState
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.manifest.model import Manifest


def refuse_others(state: RepositoryState, project: str, directories: Iterable[str]) -> None:
    """Two projects that share a GitOps repository do not share releases.

    Raises:
        RepositoryMoved: one of the directories holds a release of another project.
    """
    for directory in directories:
        content = state.release_yaml(directory)
        owner = project_of(content.decode(errors="replace")) if content else None
        if owner not in (None, project):
            raise RepositoryMoved(
                f"{directory} in the GitOps repository belongs to the project {owner!r}, and "
                f"this is {project!r}: give the API or the environment another name"
            )


def refuse_taken_routes(
    made: Iterable[tuple[Manifest, Release]], state: RepositoryState, *, gone: Iterable[str] = ()
) -> None:
    """A host and path have one owner; a route that a release has already is not checked again.

    ``gone`` are the directories of releases that the same change removes.

    Raises:
        InvalidDocument: a release asks for the route of another one, of any project.
    """
    pairs = {item.directory: (manifest, item) for manifest, item in made}
    routes = {
        directory: route_of(directory, facts=item.text.facts, values=item.text.values)
        for directory, (_, item) in pairs.items()
    }
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
    before = _current_routes(state, routes)
    new = {at: route for at, route in routes.items() if route and before.get(at) != route}
    if not new:
        return []
    servers, elsewhere = {route.server for route in new.values()}, {*routes, *gone}
    rest = [
        directory
        for directory, content in state.directories()
        if directory not in elsewhere
        and (destination := destination_of(content.decode(errors="replace")))
        and destination[1][0] in servers
    ]
    others = (*_current_routes(state, rest).values(), *filter(None, routes.values()))
    return [(at, sentence) for at, route in new.items() for sentence in conflicts(route, others)]


def _current_routes(state: RepositoryState, directories: Iterable[str]) -> dict[str, Route]:
    """The routes of current releases, by directory."""
    paths = {f"{each}/{layout.VALUES}": each for each in directories}
    found = {}
    for path, content in state.read(paths).items():
        directory = paths[path]
        facts = state.release_yaml(directory) or b""
        route = route_of(
            directory, facts=facts.decode(errors="replace"), values=content.decode(errors="replace")
        )
        if route is not None:
            found[directory] = route
    return found
