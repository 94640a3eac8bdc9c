"""May this secret go there? The decision about environment variables and servers, without any I/O.

The documents of a pull request (project file, requirements) name variables and servers freely. Which
server may get which variable is decided outside of them: the usual variables of a forge belong to its
own hosts, and every other variable needs its owner's word, in ``GITOPS_ML_TOKEN_HOSTS`` or in the
owner's own configuration. Nothing travels in plain text, except to this machine itself.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_ml.http.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


_PORTS = {"http": 80, "https": 443}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLES = re.compile(r"\$\{([A-Z0-9_]+)\}")
# Neither "\d" nor IGNORECASE: both match letters and digits outside of ASCII.
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
                   r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*")  # fmt: skip
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_CONFUSING = re.compile(r"[\s\\\x00-\x20\x7f-\xa0]")
"""Some clients drop or replace these, others do not, so that they would ask different servers."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The server of a URL in the one form that is compared."""

    scheme: str
    host: str
    """In lower case; an IPv6 address in its short form, without brackets."""
    port: int | None = None
    """``None`` for the scheme's own."""

    @classmethod
    def of(cls, url: str) -> Destination:
        """The server that every client would ask for ``url``.

        Raises:
            ValueError: it is no http(s) URL, or clients could differ about its server. The message
                holds nothing of the URL, which may hold a secret.
        """
        scheme, found, rest = url.partition("://")
        scheme = scheme.lower()
        if not found or scheme not in _PORTS:
            raise ValueError("the address does not begin with https:// or http://")
        if _CONFUSING.search(url):
            raise ValueError("the address holds a space, a backslash or a control character")
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        if authority.count("@") > 1:
            raise ValueError("the address holds several @")
        host, port = _host_and_port(authority.rpartition("@")[2])
        return cls(scheme, host, None if port == _PORTS[scheme] else port)

    @property
    def server(self) -> str:
        """``host[:port]``, as people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there stays on this machine, whatever a name server says."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_protected(self) -> bool:
        return self.scheme == "https" or self.is_loopback

    @property
    def owner(self) -> str:
        """The server that people name: a token for ``github.com`` is shown to ``api.github.com``."""
        is_api = self.server == "api.github.com" or re.fullmatch(r"api\..+\.ghe\.com", self.server)
        return self.server.removeprefix("api.") if is_api else self.server


def _host_and_port(text: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::([0-9]{1,5}))?", text)
    if match is None:
        raise ValueError("the host or the port of the address cannot be read")
    host, port = match[1], int(match[2]) if match[2] else None
    if port is not None and not 0 < port < 1 << 16:
        raise ValueError("the port of the address is none")
    if host.startswith("["):
        return str(_address(ipaddress.IPv6Address, host[1:-1])), port
    if not host.isascii():
        raise ValueError("the host has letters outside of ASCII: write it as xn--…")
    if host.endswith("."):
        raise ValueError("the host ends with a dot: write it without")
    if not _NAME.fullmatch(host):
        raise ValueError("the host of the address cannot be read")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        # Clients read 127.1, 0x7f000001 and 017700000001 as an address, each in its own way.
        return str(_address(ipaddress.IPv4Address, host)), port
    return host.lower(), port


def _address(kind: Callable[[str], object], text: str) -> object:
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError("the host is a number, and no address") from error


@dataclass(frozen=True, slots=True)
class Usual:
    """A variable that tools of a forge read, and the host that its token belongs to."""

    variable: str
    hosts: tuple[str, ...]
    """Those it belongs to where nothing else is said."""
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
"""What is looked for at a forge of each kind."""
_NAMED_ONLY = (Usual("CI_JOB_TOKEN", (), ("CI_SERVER_URL", "CI_SERVER_HOST")),)
"""For git and package indexes; it opens no pull requests, so that nothing looks for it by itself."""


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
    """Which servers may get which variable, as their owner says."""

    hosts: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> TokenHosts:
        """What ``GITOPS_ML_TOKEN_HOSTS`` says.

        >>> TokenHosts.parse("GITOPS_TOKEN=github.com,git.acme.example;P=[::1]:8443").hosts["P"]
        frozenset({'[::1]:8443'})

        Raises:
            ValueError: it cannot be read; says which part, and why.
        """
        entries = []
        for entry in filter(None, map(str.strip, re.split(r"[;\r\n]", text))):
            variable, _, hosts = entry.partition("=")
            entries.append((variable.strip(), [host.strip() for host in hosts.split(",")]))
        return cls.of(entries)

    @classmethod
    def of(cls, entries: Iterable[tuple[str, Iterable[str]]]) -> TokenHosts:
        """Pairs of a variable and its servers, ``host`` or ``host:port``.

        Raises:
            ValueError: one of them is no variable or no server.
        """
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
    """Why variables do not go to a server, and what their owner can do about it."""

    variables: tuple[str, ...]
    destination: Destination
    belongs: tuple[str, ...] = ()
    """The servers that may get them."""

    @property
    def setting(self) -> str:
        """What allows it, as a part of ``GITOPS_ML_TOKEN_HOSTS``."""
        return ";".join(f"{name}={self.destination.owner}" for name in self.variables)

    def __str__(self) -> str:
        names, server = ", ".join(self.variables), self.destination.server
        if not self.destination.is_protected:
            return f"{names} is not sent to http://{server}: it would travel in plain text; use https://"
        known = f" (it belongs to {', '.join(self.belongs)})" if self.belongs else ""
        return (
            f"{names} is not sent to {server}: its owner has not said that it may go there{known}"
        )


def refusal(
    variables: Iterable[str], url: str, *, hosts: TokenHosts, environ: Mapping[str, str]
) -> Refusal | None:
    """Why the values of ``variables`` may not go to the server of ``url``; ``None`` where they may.

    This machine may have every variable: who listens on its loopback runs programs here already.

    Raises:
        ValueError: it cannot be known which server that is.
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

    `docker login` is the owner's word for the registry, and the registry names its token server (that
    of GitLab has another name): over TLS, or both on this machine.
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
    """``url`` with the values of its variables, at the same server as without them.

    Raises:
        ValueError: a variable is part of the server's name, or its value would change the server.
    """
    values = {name: environ[name] for name in variables_in(url) if name in environ}
    if not values:
        return url
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    if variables_in(authority.rpartition("@")[2]):
        raise ValueError("a variable is part of the server's name: write the server out")
    full = _VARIABLES.sub(lambda match: values.get(match[1], match[0]), url)
    if not _is_one_server(_VARIABLES.sub("x", url), full):
        names = ", ".join(values)
        raise ValueError(
            f"the value of {names} has characters that mean something in an address: "
            "percent-encode them"
        )
    return full


def _is_one_server(url: str, other: str) -> bool:
    try:
        return Destination.of(url) == Destination.of(other)
    except ValueError:
        return False


def is_protected(url: str) -> bool:
    """Whether a token may be sent there: over TLS, or without leaving this machine."""
    try:
        return Destination.of(url).is_protected
    except ValueError:
        return False
