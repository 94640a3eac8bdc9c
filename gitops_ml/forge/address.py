"""Find the forge of a repository, and the address of its API."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from gitops_ml.errors import UsageError
from gitops_ml.http.urls import Destination
from gitops_ml.project.project import ForgeSpec

_KNOWN_HOSTS = {
    "github.com": "github",
    "gitlab.com": "gitlab",
    "codeberg.org": "gitea",
    "gitea.com": "gitea",
}
_KNOWN_STARTS = {
    "gitlab.": "gitlab",
    "gitea.": "gitea",
    "forgejo.": "gitea",
    "bitbucket.": "bitbucket",
}
_SSH_DOORS = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}
"""Hosts for SSH over port 443, and the host of the forge itself."""
_API_PATHS = {"github": "/api/v3", "gitlab": "/api/v4", "gitea": "/api/v1", "bitbucket": "/rest"}
_UNSUPPORTED = {"bitbucket.org": "Bitbucket Cloud"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeAddress:
    """One repository at one forge."""

    type: str
    """``github``, ``gitlab``, ``gitea`` or ``bitbucket``."""
    api_url: str
    """Without a trailing slash."""
    repository: str
    """``owner/name``; GitLab's groups may be nested."""
    host: str
    """``host[:port]`` of the forge, to which its tokens belong: ``github.com``."""


def forge_address(
    spec: ForgeSpec, *, scheme: str, server: str, path: str, section: str = "gitops"
) -> ForgeAddress | None:
    """The forge of a repository; ``None`` where there is none, and a branch is pushed instead.

    ``scheme``, ``server`` (``host[:port]``) and ``path`` are parts of the repository's address.
    """
    host = _forge_host(scheme, server)
    kind = _kind(spec, host, section)
    if kind == "none":
        return None
    if not (host or spec.api_url):
        raise UsageError(
            f"{section}.repository is a path on this machine: set {section}.forge.api_url as well, "
            f"or {section}.forge.type to none"
        )
    api_url = (spec.api_url or _api_url(kind, scheme, host)).rstrip("/")
    try:
        api = Destination.of(api_url)
    except ValueError as error:
        raise UsageError(f"{section}.forge.api_url: {error}") from error
    if "@" in urlsplit(api_url).netloc:
        raise UsageError(f"{section}.forge.api_url: the address contains a user name; remove it")
    if not api.is_protected:
        raise UsageError(f"{api_url}: the token would be sent in plain text; use https")
    repository = spec.repository or _repository(path, kind, api_url)
    parts = repository.split("/")
    if len(parts) < 2 or (len(parts) > 2 and kind != "gitlab") or not all(parts):
        raise UsageError(
            f"{repository!r} is not a repository at {api.server}: expected owner/name; set "
            f"{section}.forge.repository"
        )
    return ForgeAddress(type=kind, api_url=api_url, repository=repository, host=api.owner)


def kind_of(host: str) -> str | None:
    """The type of the forge at a host, where the host's name shows it."""
    name = host.rpartition(":")[0] or host
    if name.endswith(".ghe.com"):
        return "github"
    found = (kind for start, kind in _KNOWN_STARTS.items() if name.startswith(start))
    return _KNOWN_HOSTS.get(name) or next(found, None)


def _kind(spec: ForgeSpec, host: str, section: str) -> str:
    if host in _UNSUPPORTED and spec.type in ("auto", "bitbucket"):
        raise UsageError(
            f"pull requests at {_UNSUPPORTED[host]} are not supported; set {section}.forge.type to "
            "none, which pushes the branch and prints the page that opens one"
        )
    if spec.type != "auto":
        return spec.type
    if not host:
        return "none"
    if (kind := kind_of(host)) is None:
        raise UsageError(
            f"the name {host} does not show which forge it is: set {section}.forge.type to "
            "github, gitlab, gitea (also for Forgejo), bitbucket, or none"
        )
    return kind


def _forge_host(scheme: str, server: str) -> str:
    if scheme not in ("http", "https"):
        # The port is the one of SSH.
        name, colon, port = server.rpartition(":")
        server = name if colon and port.isdecimal() else server
    return _SSH_DOORS.get(server, server)


def _api_url(kind: str, scheme: str, host: str) -> str:
    if kind == "github" and (host == "github.com" or host.endswith(".ghe.com")):
        return f"https://api.{host}"
    return f"{'http' if scheme == 'http' else 'https'}://{host}{_API_PATHS[kind]}"


def _repository(path: str, kind: str, api_url: str) -> str:
    path = path.strip("/").removeprefix("~/").removesuffix(".git").strip("/")
    # A forge below a path of its host has its repositories below that path, too.
    context = urlsplit(api_url).path.partition(_API_PATHS[kind])[0].strip("/")
    if context:
        path = path.removeprefix(f"{context}/")
    return path.removeprefix("scm/") if kind == "bitbucket" else path
