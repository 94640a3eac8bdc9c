"""Find conflicts of routes: a path on a host has one owner in the GitOps repository.

Of two routes with the same host and path the older one wins, so the newer one is refused. A path below
another one (``/iris/admin`` below ``/iris``) is legal and takes requests away from it, so both have to
belong to the same project and team. The same holds for a host below a wildcard.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml

from gitops_ml.documents.yaml_reader import load_yaml
from gitops_ml.gitops.release_yaml import destination_of, own_text, project_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The host and path of one release."""

    directory: str
    """Of the release, ``releases/<environment>/<api>``."""
    project: str
    team: str
    server: str
    """The cluster."""
    gateway: tuple[str, ...]
    """Type, name and, of a Gateway, namespace and listener (empty: any)."""
    hosts: tuple[str, ...]
    """Empty: all."""
    path: str

    @property
    def api(self) -> str:
        return self.directory.rpartition("/")[2]


_BLOCK = re.compile(r"^route:\n(?:[ \t].*\n|\n)*", re.M)


def route_of(
    directory: str, *, facts: bytes | str | None, values: bytes | str | None
) -> Route | None:
    """The route of a release, given its ``release.yaml`` and ``values.yaml``; `None` without one.

    Only the block of the route is parsed as YAML, since there may be thousands of releases.
    """
    destination, block = destination_of(facts), _BLOCK.search(own_text(values))
    if destination is None or block is None:
        return None
    try:
        fields = load_yaml(block[0])["route"]
        return _route(directory, facts, destination, fields) if fields["type"] != "none" else None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None


def _route(directory: str, facts: bytes | str | None, destination: Any, fields: Any) -> Route:
    team, (server, _) = destination
    if fields["type"] == "ingress":
        gateway: tuple[str, ...] = ("ingress", fields["ingress"]["className"])
    else:
        parent = fields["gateway"]
        section = parent.get("sectionName") or ""
        gateway = ("gateway", parent["name"], parent["namespace"], section)
    return Route(
        directory=directory,
        project=project_of(facts) or "",
        team=team,
        server=server,
        gateway=gateway,
        hosts=tuple(map(str, fields.get("hosts") or ())),
        path=str(fields["path"]),
    )


def conflict(own: Route, other: Route) -> str | None:
    """Why a release cannot have this route beside the ``other`` one; `None` where it can."""
    if own.directory == other.directory or not _share_gateway(own, other):
        return None
    pairs = [
        (mine, theirs)
        for mine in own.hosts or ("*",)
        for theirs in other.hosts or ("*",)
        if _is_within(mine, theirs) or _is_within(theirs, mine)
    ]
    if not pairs:
        return None
    if own.path == other.path and any(mine == theirs for mine, theirs in pairs):
        # One API in several environments of its project is not a conflict between projects.
        is_itself = (own.project, own.api) == (other.project, other.api)
        return None if is_itself else _sentence(own, other, "already belongs to")
    is_nested = _is_below(own.path, other.path) or _is_below(other.path, own.path)
    if not is_nested or (own.project, own.team) == (other.project, other.team):
        return None
    if _is_below(own.path, other.path):
        return _sentence(own, other, f"is within {_place(other)}, which belongs to")
    return _sentence(own, other, f"has {_place(other)} within it, which belongs to")


class RouteIndex:
    """Many routes, in which the conflicts of one are found without a look at each of them."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._numbers: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for number, route in enumerate(routes):
            for key in product([_gateway(route)], *_exact_and_above(route)):
                self._numbers[key].append(number)

    def conflicts(self, own: Route) -> Iterator[str]:
        """As `conflict` with each of the routes, in their order."""
        # one of two hosts and one of two paths is at or above the other one
        flipped = (
            [(not is_exact, text) for is_exact, text in each] for each in _exact_and_above(own)
        )
        keys = product([_gateway(own)], *flipped)
        for number in sorted({n for key in keys for n in self._numbers.get(key, ())}):
            if (sentence := conflict(own, self._routes[number])) is not None:
                yield sentence


def _gateway(route: Route) -> tuple[object, ...]:
    return route.server, route.gateway[:3]


def _exact_and_above(route: Route) -> tuple[set[tuple[bool, str]], set[tuple[bool, str]]]:
    """The hosts and the path of a route, and those that are at or above them: exact, or not."""
    hosts = {(True, host) for host in route.hosts or ("*",)}
    for _, host in tuple(hosts):
        wildcards = (f"*{host[at:]}" for at, letter in enumerate(host) if letter == ".")
        hosts.update((False, wider) for wider in (host, "*", *wildcards))
    path = f"{route.path}/"
    above = {(False, path[:at]) for at, letter in enumerate(path) if letter == "/"}
    return hosts, {(True, route.path.rstrip("/")), *above}


def _share_gateway(own: Route, other: Route) -> bool:
    if own.server != other.server or own.gateway[:3] != other.gateway[:3]:
        return False
    listeners = {*own.gateway[3:], *other.gateway[3:]} - {""}
    return len(listeners) < 2


def _is_within(host: str, wider: str) -> bool:
    return host == wider or wider == "*" or (wider[:2] == "*." and host.endswith(wider[1:]))


def _is_below(path: str, above: str) -> bool:
    """Whether a prefix match of ``above`` has ``path``, by whole segments."""
    return path == above or f"{path}/".startswith(f"{above.rstrip('/')}/")


def _place(route: Route) -> str:
    return f"{route.hosts[0] if route.hosts else '*'}{route.path}"


def _sentence(own: Route, other: Route, what: str) -> str:
    return (
        f"{_place(own)} {what} {other.directory} (project {other.project or 'unknown'}, team "
        f"{other.team}); choose another endpoint or host, or agree with that team"
    )
