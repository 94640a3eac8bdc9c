"""Which forge a repository is at, and where its API is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gitops_ml.errors import UsageError
from gitops_ml.http.urls import Destination

if TYPE_CHECKING:
    from gitops_ml.project.model import ForgeSpec

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
"""Where SSH is reached through port 443; the forge itself is called otherwise."""
_API_PATHS = {"github": "/api/v3", "gitlab": "/api/v4", "gitea": "/api/v1", "bitbucket": "/rest"}
_NOT_OURS = {"bitbucket.org": "Bitbucket Cloud"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeAddress:
    """One repository at one forge."""

    type: str
    """``github``, ``gitlab``, ``gitea`` or ``bitbucket``."""
    api_url: str
    """Without a slash at its end."""
    repository: str
    """``owner/name``; GitLab's groups may be nested."""
    host: str
    """``host[:port]`` of the forge itself, to which its tokens belong: ``github.com``."""


def forge_address(
    spec: ForgeSpec, *, scheme: str, server: str, path: str, section: str = "gitops"
) -> ForgeAddress | None:
    """Where the pull requests of a repository are; ``None`` where it has a branch and no forge.

    ``scheme``, ``server`` (``host[:port]``) and ``path`` are those of the repository's address.

    Raises:
        UsageError: it cannot be known which forge that is, or which repository there.
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
        raise UsageError(f"{section}.forge.api_url: the address names a user; take that out")
    if not api.is_protected:
        raise UsageError(f"{api_url}: a token would travel in plain text; use https")
    repository = spec.repository or _repository(path, kind, api_url)
    parts = repository.split("/")
    if len(parts) < 2 or (len(parts) > 2 and kind != "gitlab") or not all(parts):
        raise UsageError(
            f"{repository!r} is no repository at {api.server}, where they are called "
            f"owner/name; set {section}.forge.repository"
        )
    return ForgeAddress(type=kind, api_url=api_url, repository=repository, host=api.owner)


def kind_of(host: str) -> str | None:
    """Whose API a host speaks, where its name tells."""
    name = host.rpartition(":")[0] or host
    if name.endswith(".ghe.com"):
        return "github"
    found = (kind for start, kind in _KNOWN_STARTS.items() if name.startswith(start))
    return _KNOWN_HOSTS.get(name) or next(found, None)


def _kind(spec: ForgeSpec, host: str, section: str) -> str:
    if host in _NOT_OURS and spec.type in ("auto", "bitbucket"):
        raise UsageError(
            f"pull requests at {_NOT_OURS[host]} are not supported; set {section}.forge.type to "
            "none, which pushes the branch and names the page that opens one"
        )
    if spec.type != "auto":
        return spec.type
    if not host:
        return "none"
    if (kind := kind_of(host)) is None:
        raise UsageError(
            f"it cannot be told from its name which forge {host} is: set {section}.forge.type to "
            "github, gitlab, gitea (Forgejo as well), bitbucket, or none"
        )
    return kind


def _forge_host(scheme: str, server: str) -> str:
    if scheme not in ("http", "https"):
        # The port is that of SSH.
        name, colon, port = server.rpartition(":")
        server = name if colon and port.isdecimal() else server
    return _SSH_DOORS.get(server, server)


def _api_url(kind: str, scheme: str, host: str) -> str:
    if kind == "github" and (host == "github.com" or host.endswith(".ghe.com")):
        return f"https://api.{host}"
    return f"{'http' if scheme == 'http' else 'https'}://{host}{_API_PATHS[kind]}"


def _repository(path: str, kind: str, api_url: str) -> str:
    path = path.strip("/").removeprefix("~/").removesuffix(".git").strip("/")
    # Where the forge does not live at the root of its host, neither do its repositories.
    context = urlsplit(api_url).path.partition(_API_PATHS[kind])[0].strip("/")
    if context:
        path = path.removeprefix(f"{context}/")
    return path.removeprefix("scm/") if kind == "bitbucket" else path
