"""Decide which server may get the value of which environment variable, without I/O.

The documents of a pull request (project file, requirements) can name any variable and any server. So
the decision is made outside of them: the usual variables of a forge belong to its own hosts, and the
owner of every other variable lists its servers in ``GITOPS_ML_TOKEN_HOSTS`` or in the configuration
file. Nothing is sent in plain text, except to this machine. What cannot be read is a `ValueError`, whose message names
the part and the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gitops_ml.http.urls import Destination, is_loopback, is_same_server

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLES = re.compile(r"\$\{([A-Z0-9_]+)\}")


@dataclass(frozen=True, slots=True)
class Usual:
    """A variable that tools of a forge read, and the hosts that its token belongs to."""

    variable: str
    hosts: tuple[str, ...]
    """The hosts if no host variable is set."""
    host_variables: tuple[str, ...] = ()
    """Variables that name its host (or URL) instead."""

    def hosts_in(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """The hosts that its token belongs to here."""
        named = [environ[name] for name in self.host_variables if environ.get(name)]
        return tuple(filter(None, map(_canonical, named))) if named else self.hosts


_GITHUB = ("GITHUB_SERVER_URL", "GH_HOST")
_GITLAB = ("GITLAB_HOST", "GL_HOST", "CI_SERVER_URL")
_GITEA = ("GITEA_SERVER_URL", "GITEA_INSTANCE_URL", "FORGEJO_URL")
USUAL: Mapping[str, tuple[Usual, ...]] = {
    "github": (
        Usual("GH_TOKEN", ("github.com",)),
        Usual("GITHUB_TOKEN", ("github.com",), ("GITHUB_SERVER_URL",)),
        Usual("GH_ENTERPRISE_TOKEN", (), _GITHUB),
        Usual("GITHUB_ENTERPRISE_TOKEN", (), _GITHUB),
    ),
    "gitlab": (
        Usual("GITLAB_TOKEN", ("gitlab.com",), _GITLAB),
        Usual("GITLAB_ACCESS_TOKEN", ("gitlab.com",), _GITLAB),
    ),
    "gitea": (
        Usual("GITEA_TOKEN", ("gitea.com", "codeberg.org"), (*_GITEA, "GITHUB_SERVER_URL")),
        Usual("FORGEJO_TOKEN", ("codeberg.org",), (*_GITEA, "GITHUB_SERVER_URL")),
    ),
    "bitbucket": (Usual("BITBUCKET_TOKEN", (), ("BITBUCKET_URL", "BITBUCKET_SERVER_URL")),),
}
"""The variables of each kind of forge."""
_NAMED_ONLY = (Usual("CI_JOB_TOKEN", (), ("CI_SERVER_URL", "CI_SERVER_HOST")),)
"""For git and package indexes; it cannot open pull requests, so it is used only if named."""


def usual_hosts(variable: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The hosts that a usual variable belongs to; none for every other variable."""
    everything = (*_NAMED_ONLY, *(usual for kind in USUAL.values() for usual in kind))
    return tuple(
        host for usual in everything if usual.variable == variable
        for host in usual.hosts_in(environ)
    )  # fmt: skip


def _canonical(text: str) -> str | None:
    """The server in the URL or host that a variable of the environment holds."""
    text = text.strip()
    try:
        return Destination.of(text if "://" in text else f"https://{text.strip('/')}").owner
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class TokenHosts:
    """The servers that may get each variable, as its owner lists them."""

    hosts: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> TokenHosts:
        """Parse the value of ``GITOPS_ML_TOKEN_HOSTS``.

        >>> TokenHosts.parse("GITOPS_TOKEN=github.com,git.acme.example;P=[::1]:8443").hosts["P"]
        frozenset({'[::1]:8443'})
        """
        entries = []
        for entry in filter(None, map(str.strip, re.split(r"[;\r\n]", text))):
            variable, _, hosts = entry.partition("=")
            entries.append((variable.strip(), [host.strip() for host in hosts.split(",")]))
        return cls.of(entries)

    @classmethod
    def of(cls, entries: Iterable[tuple[str, Iterable[str]]]) -> TokenHosts:
        """Pairs of a variable and its servers, ``host`` or ``host:port``."""
        found: dict[str, frozenset[str]] = {}
        for variable, hosts in entries:
            if not _VARIABLE.fullmatch(variable):
                raise ValueError(f"{variable!r} is not the name of an environment variable")
            servers = frozenset(_listed(variable, host) for host in hosts)
            found[variable] = found.get(variable, frozenset()) | servers
        return cls(found)

    def __or__(self, other: TokenHosts) -> TokenHosts:
        return TokenHosts.of((*self.hosts.items(), *other.hosts.items()))


def _listed(variable: str, text: str) -> str:
    """A server of a list, in the form that is compared."""
    if not text or re.search(r"[/?#@*=]", text):
        raise ValueError(
            f"{variable}={text}: a server is written as host or host:port, without https://, path, "
            "user or wildcard, such as git.acme.example:8443"
        )
    try:
        return Destination.of(f"https://{text}").owner
    except ValueError as error:
        raise ValueError(f"{variable}={text}: {error}") from error


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why variables are not sent to a server, and how their owner can allow it."""

    variables: tuple[str, ...]
    destination: Destination
    belongs: tuple[str, ...] = ()
    """The servers that may get them."""

    @property
    def setting(self) -> str:
        """The entry of ``GITOPS_ML_TOKEN_HOSTS`` that allows it."""
        return ";".join(f"{name}={self.destination.owner}" for name in self.variables)

    def __str__(self) -> str:
        names, server = ", ".join(self.variables), self.destination.server
        if not self.destination.is_protected:
            return f"{names} is not sent to http://{server}: it would travel in plain text; use https://"
        known = f" (it belongs to {', '.join(self.belongs)})" if self.belongs else ""
        return f"{names} is not sent to {server}: its owner has not allowed that server{known}"


def refusal(
    variables: Iterable[str], url: str, *, hosts: TokenHosts, environ: Mapping[str, str]
) -> Refusal | None:
    """Why the values of ``variables`` may not go to the server of ``url``; ``None`` where they may.

    This machine may get every variable: a server on its loopback runs here already.
    """
    wanted, destination = tuple(variables), Destination.of(url)
    if destination.is_loopback or not wanted:
        return None
    if not destination.is_protected:
        return Refusal(wanted, destination)
    known = {name: tuple(_owners(name, hosts, environ)) for name in wanted}
    refused = [name for name, servers in known.items() if destination.owner not in servers]
    if not refused:
        return None
    belongs = dict.fromkeys(server for name in refused for server in known[name])
    return Refusal(tuple(refused), destination, tuple(belongs))


def may_get_login(url: str, *, registry: str) -> bool:
    """Whether the login for ``registry`` (``host[:port]``) may be shown at ``url``.

    `docker login` is the owner's permission for the registry, and the registry names its token server
    (GitLab's has another name): over TLS, or both on this machine.
    """
    try:
        place = Destination.of(url)
    except ValueError:
        return False
    return place.scheme == "https" or (is_loopback(place.server) and is_loopback(registry))


def _owners(variable: str, hosts: TokenHosts, environ: Mapping[str, str]) -> Iterator[str]:
    yield from usual_hosts(variable, environ)
    yield from sorted(hosts.hosts.get(variable, ()))


def variables_in(text: str) -> tuple[str, ...]:
    """The names in ``${NAME}``, as pip and uv expand them."""
    return tuple(dict.fromkeys(_VARIABLES.findall(text)))


def expanded(url: str, environ: Mapping[str, str]) -> str:
    """``url`` with the values of its variables, none of which may be part of the server's name or change it."""
    values = {name: environ[name] for name in variables_in(url) if name in environ}
    if not values:
        return url
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    if variables_in(authority.rpartition("@")[2]):
        raise ValueError(
            "a variable is part of the server's name: write the name without variables"
        )
    full = _VARIABLES.sub(lambda match: values.get(match[1], match[0]), url)
    if not is_same_server(_VARIABLES.sub("x", url), full):
        names = ", ".join(values)
        raise ValueError(
            f"the value of {names} has characters with a meaning in an address: percent-encode them"
        )
    return full
