"""The address of a repository, and its credentials, which are never written to disk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gitops_ml.errors import UsageError
from gitops_ml.http.urls import Destination
from gitops_ml.system.clean_text import without_credentials
from gitops_ml.user.secret_owner import SecretOwner, netrc_logins

_SSH = frozenset({"ssh", "git+ssh", "ssh+git"})
_SCHEMES = frozenset({"file", "git", "http", "https"}) | _SSH
_SCP_LIKE = re.compile(r"(?P<user>[^/@:]+@)?(?P<host>\[[^]/]+\]|[^/:]+):(?P<path>.+)", re.S)
_LOOKS_LIKE_A_TOKEN = re.compile(r"(gh[pousr]_|github_pat_|glpat-|gldt-|gltok-).+|.{40,}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Remote:
    """The address of a repository; ``url`` holds no secret and may be shown."""

    url: str
    scheme: str
    """``path``, ``file``, ``git``, ``http``, ``https`` or ``ssh``."""
    server: str
    """``host[:port]``; empty for a path or ``file://``."""
    user: str | None

    @classmethod
    def parse(cls, text: str, *, folder: Path, section: str = "gitops") -> Remote:
        """The address in ``text``; a relative path starts at ``folder``.

        ``section`` is the section of the project file that names it.
        """
        if not text.strip() or text.startswith("-") or re.search(r"[\0\r\n]", text):
            raise UsageError(
                f"{without_credentials(text)!r} is not the address of a git repository"
            )
        if "://" in text:
            return _parse_url(text, section)
        if match := _SCP_LIKE.fullmatch(text):
            if match["path"].startswith(":"):
                raise UsageError("remote helpers (`name::address`) are not supported")
            return cls(text, "ssh", match["host"], (match["user"] or "").rstrip("@") or None)
        return cls(str((folder / Path(text).expanduser()).absolute()), "path", "", None)

    @property
    def name(self) -> str:
        """A file name that is unique for this address."""
        last = re.sub(r"[^A-Za-z0-9]+", "-", self.url.rstrip("/").removesuffix(".git"))[-32:]
        return f"{last.strip('-')}-{hashlib.sha256(self.url.encode()).hexdigest()[:16]}"

    @property
    def path(self) -> str:
        """Where the repository is on its server."""
        if "://" in self.url:
            return unquote(urlsplit(self.url).path)
        match = _SCP_LIKE.fullmatch(self.url) if self.scheme == "ssh" else None
        return match["path"] if match else self.url

    @property
    def is_local(self) -> bool:
        return self.scheme in {"path", "file"}

    @property
    def is_http(self) -> bool:
        return self.scheme in {"http", "https"}

    def __str__(self) -> str:
        return self.url


def _parse_url(text: str, section: str) -> Remote:
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme not in _SCHEMES:
        known = ", ".join(f"{name}://" for name in sorted(_SCHEMES))
        raise UsageError(
            f"{scheme}:// is not a transport for the repository; use {known} or a path"
        )
    userinfo, at, _ = rest.split("/", 1)[0].rpartition("@")
    user, colon, _ = userinfo.partition(":")
    has_more = scheme in {"http", "https"} and re.search(r"[?#]", rest)
    if colon or has_more or _LOOKS_LIKE_A_TOKEN.fullmatch(unquote(user)):
        raise UsageError(
            f"the address in {section}.repository contains a password or token, which would end up "
            "in files and logs: remove it, put it in an environment variable and name that one in "
            f"{section}.token_env"
        )
    try:
        parts = urlsplit(text)
        port = parts.port
        if scheme in {"http", "https"}:
            server = Destination.of(text).server
            return Remote(text, scheme, server, user if at else None)
    except ValueError as error:
        raise UsageError(
            f"{without_credentials(text)} is not the address of a git repository: {error}"
        ) from error
    server = (parts.hostname or "") + (f":{port}" if port else "")
    return Remote(text, "ssh" if scheme in _SSH else scheme, server, user if at else None)


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Credentials for HTTP; without a token, git uses the user's credential helpers and netrc."""

    username: str | None = None
    token_env: str | None = None
    token: str | None = None
    section: str = "gitops"
    """The section of the project file that names them."""
    owner: SecretOwner | None = None
    """Decides which servers may get the token; set wherever there is a token."""

    @classmethod
    def from_environ(
        cls,
        environ: Mapping[str, str],
        *,
        folder: Path,
        username: str | None,
        token_env: str | None,
        section: str = "gitops",
    ) -> Credentials:
        """The credentials whose token is in the variable ``token_env``.

        ``folder`` is that of the project file, which does not decide where the token may go.
        """
        owner = SecretOwner(environ, folder)
        if token_env is None:
            return cls(username, section=section, owner=owner)
        if not _VARIABLE.fullmatch(token_env):
            raise UsageError(
                f"{section}.token_env is the name of an environment variable, never the token "
                "itself"
            )
        token = environ.get(token_env, "").strip()
        if re.search(r"[\0-\x1f]", token):
            raise UsageError(f"the environment variable {token_env} does not hold one line of text")
        return cls(username, token_env, token or None, section, owner)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.token,) if self.token else ()

    def options(self, remote: Remote) -> tuple[str, ...]:
        """Options for git that name a credential helper, which reads the variables of `environ`."""
        if not remote.is_http:
            return ()
        if not self.token:
            return self._options_without_token(Destination.of(remote.url))
        url = self._destination(remote)
        scope = f"credential.{url}.helper"
        helper = ("-c", f"{scope}=", "-c", f"{scope}={_HELPER}")
        # Plain HTTP is only allowed to this machine, which is not reached over a proxy.
        return (*helper, "-c", f"http.{url}.proxy=") if remote.scheme == "http" else helper

    def _options_without_token(self, place: Destination) -> tuple[str, ...]:
        """Options that keep stored credentials of the user from travelling in plain text."""
        if place.is_protected:
            return ()
        if self.owner is not None and place.host in netrc_logins(self.owner.environ):
            raise UsageError(
                f"{self.section}.repository: the password in your netrc for {place.host} would "
                "travel in plain text; use https://"
            )
        return ("-c", "credential.helper=")

    def environ(self, remote: Remote) -> dict[str, str]:
        """The variables that the credential helper reads."""
        if not (remote.is_http and self.token):
            return {}
        self._destination(remote)
        # GitHub requires this name with the token of an App; the other forges accept any.
        username = self.username or remote.user or "x-access-token"
        return {"GITOPS_ML_GIT_USERNAME": username, "GITOPS_ML_GIT_TOKEN": self.token}

    def _destination(self, remote: Remote) -> str:
        """The server that may get the token, as git writes it."""
        assert self.token_env is not None and self.owner is not None, "from_environ has set them"
        place = f"{self.section}.token_env"
        self.owner.check((self.token_env,), remote.url, place=place)
        return f"{remote.scheme}://{Destination.of(remote.url).server}"


# A shell function: the secret goes from the environment into a pipe, since `printf` is a builtin, so
# that no command line shows it. It is scoped to the server: a redirect does not get the token.
_HELPER = (
    '!f() { test "$1" = get && '
    'printf "username=%s\\npassword=%s\\n" "$GITOPS_ML_GIT_USERNAME" "$GITOPS_ML_GIT_TOKEN"; }; f'
)
