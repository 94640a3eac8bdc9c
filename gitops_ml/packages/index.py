"""Python package indexes: the settings of pip, and downloads of files. uv lists what an index has."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field, replace
from os.path import commonpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

from gitops_ml.errors import GitopsMlError, Refused, ServerFailed, UsageError
from gitops_ml.http.deadlines import Limits, gave_up, watching
from gitops_ml.http.retry import innermost
from gitops_ml.http.secret_destinations import expanded, variables_in
from gitops_ml.http.urls import is_loopback, is_protected, is_same_server
from gitops_ml.packages.build_settings import ca_bundle, pip_configurations, pip_settings
from gitops_ml.packages.local_files import index_options, requirement_lines
from gitops_ml.system.files import written
from gitops_ml.system.process import redacted
from gitops_ml.system.project_files import LARGEST_TEXT, is_file, read_file
from gitops_ml.user.secret_owner import SecretOwner, netrc_logins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import requests

    from gitops_ml.http.deadlines import Watch
    from gitops_ml.packages.wheel_choice import PackageFile

PYPI = urlunsplit(("https", ".".join(("pypi", "org")), "simple", "", ""))
"""The default index of pip."""
_UNPACKED = {"Accept-Encoding": "identity"}
_REDIRECTS = 10
_MOVED = frozenset({301, 302, 303, 307, 308})
_ATTEMPTS = 4
_Result = TypeVar("_Result")
_LARGEST_FILE = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """Where packages come from, as the user's pip is configured."""

    indexes: tuple[str, ...] = (PYPI,)
    """May hold credentials: never shown, never on a command line."""
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    ca_bundle: str | None = None
    proxy: str | None = field(default=None, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The variables that the project's files name in index addresses and may use there."""
    logins: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    """User and password of each host in the user's netrc; its ``default`` entry is not used."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> IndexSettings:
        """The settings of ``pip.conf`` and of ``PIP_…`` variables, which take precedence."""
        import configparser

        parser = configparser.RawConfigParser()
        parser.read_string(pip_settings(pip_configurations(environ), environ=environ))
        found = dict(parser["global"])
        main = () if found.get("no-index") else (found.get("index-url") or PYPI,)
        return cls(
            indexes=(*main, *(found.get("extra-index-url") or "").split()),
            find_links=tuple(environ.get("PIP_FIND_LINKS", "").split()),
            trusted_hosts=tuple((found.get("trusted-host") or "").split()),
            ca_bundle=ca_bundle(environ),
            proxy=found.get("proxy") or None,
            logins=netrc_logins(environ),
        )

    @classmethod
    def of_project(
        cls, environ: Mapping[str, str], project: Path, files: Iterable[str]
    ) -> IndexSettings:
        """The settings of the user, and the indexes that the project's requirement ``files`` name.

        Raises:
            UsageError: a file names a variable that its owner does not allow for that server, or
                that is outside of the address of an index.
        """
        settings = own = cls.from_environ(environ)
        owner = SecretOwner(environ, project)
        for path in files:
            if path.endswith(".whl") or not is_file(project / path):
                continue
            content = read_file(project / path, limit=LARGEST_TEXT, inside=(project,))
            for line in requirement_lines(content.decode("utf-8", "replace")):
                settings = settings._with_line(line, owner, place=path)
        settings._check_trusted(settings.trusted_hosts[len(own.trusted_hosts) :])
        return settings

    def _check_trusted(self, named: Iterable[str]) -> None:
        """Refuse a password for hosts whose certificate the project does not want to be checked.

        Raises:
            UsageError: any server could answer in the name of the host and get the password.
        """
        with_password = (urlsplit(index) for index in self.indexes)
        hosts = {parts.hostname for parts in with_password if "@" in parts.netloc}
        for host in named:
            name = (urlsplit(f"//{host}").hostname or "").lower()
            if name in hosts or name in self.logins:
                raise UsageError(
                    f"--trusted-host {host}: a password goes to this index, and its certificate "
                    "would not be checked: put trusted-host into your own pip.conf instead"
                )

    @property
    def passwords(self) -> tuple[str, ...]:
        """What must not be written into any file."""
        of_indexes = (unquote(urlsplit(index).password or "") for index in self.indexes)
        of_logins = (password for _, password in self.logins.values())
        return tuple(filter(None, (*of_indexes, *of_logins, *self.variables.values())))

    def check_protected(self) -> None:
        """Refuse passwords that would travel in plain text.

        Raises:
            Refused: an index has a password, and no TLS.
        """
        for index in self.indexes:
            parts = urlsplit(index)
            if "@" in parts.netloc or parts.hostname in self.logins:
                _check_protected(index)

    def _with_line(self, line: str, owner: SecretOwner, *, place: str) -> IndexSettings:
        """The settings with the index options of a line."""
        if re.match(r"(-r|-c|--requirement|--constraint)[\s=]*['\"]?https?:", line, re.IGNORECASE):
            raise UsageError(
                f"{place}: requirements on another server are not read, since they could name "
                "other indexes and variables: copy the file into the project"
            )
        names = variables_in(line)
        named = {
            name
            for option, value in index_options(line)
            if option != "--trusted-host"
            for name in variables_in(value)
        }
        if elsewhere := [name for name in names if name not in named]:
            raise UsageError(
                f"{place}: ${{{elsewhere[0]}}} is not expanded here: variables are allowed in the "
                "address of an index only (--index-url, --extra-index-url)"
            )
        settings = self
        for option, value in index_options(line):
            settings = settings._with(option, _checked(value, owner, place=place))
        values = {name: owner.environ[name] for name in named if name in owner.environ}
        return replace(settings, variables={**settings.variables, **values})

    def _with(self, option: str, value: str) -> IndexSettings:
        match option:
            case "--index-url":
                return replace(self, indexes=(value, *self.indexes[1:]))
            case "--extra-index-url":
                return replace(self, indexes=(*self.indexes, value))
            case _:
                return replace(self, trusted_hosts=(*self.trusted_hosts, value))


_SET_FOR_UV = re.compile(r"UV_.*|(HTTPS?|ALL|NO)_PROXY|NETRC|PIP_.*")
"""Variables that gitops-ml sets for uv, which would expand them although the user has not set them."""


def _checked(value: str, owner: SecretOwner, *, place: str) -> str:
    """An option's value, with ``${NAME}`` replaced as pip does, so that files need no passwords.

    Raises:
        UsageError: a variable may not go to that server.
    """
    names = variables_in(value)
    names = tuple(name for name in names if name in owner.environ or _SET_FOR_UV.fullmatch(name))
    if not names:
        return value
    try:
        found = expanded(value, owner.environ)
    except ValueError as error:
        raise UsageError(f"{place}: {error}") from error
    owner.check(names, value, place=place)
    return found


class PackageIndex:
    """Downloads from the indexes of the settings."""

    def __init__(self, settings: IndexSettings, *, limits: Limits | None = None) -> None:
        self._settings = settings
        self._limits = limits or Limits.from_environ(os.environ)
        self._session: requests.Session | None = None

    def download(self, file: PackageFile, folder: Path) -> tuple[Path, str]:
        """Write the file into ``folder``; its path, and the sha256 hex of its bytes."""
        target = folder / file.filename
        host, doing = _host(file.url), f"during the download of {file.filename}"
        watch = self._limits.download(host, doing, size=_LARGEST_FILE)
        try:
            return target, _retried(lambda: self._fetched(file, target, watch), watch)
        except _Again as error:
            raise ServerFailed(f"{file.filename} cannot be fetched: {error}") from error

    def _fetched(self, file: PackageFile, target: Path, watch: Watch) -> str:
        import requests
        from urllib3.exceptions import HTTPError

        digest = hashlib.sha256()
        with written(target) as out:
            if file.url.startswith("file:"):
                with Path(unquote(urlsplit(file.url).path)).open("rb") as source:
                    _copy(iter(lambda: source.read(1 << 20), b""), out, digest)
            else:
                try:
                    with self._get(self._with_credentials(file.url), watch) as got:
                        _copy(got.raw.stream(1 << 18, decode_content=False), out, digest)
                except (requests.RequestException, HTTPError) as error:
                    raise _again(error, f"{_host(file.url)} broke off: ") from error
        return digest.hexdigest()

    def _with_credentials(self, url: str) -> str:
        """A file's address with the credentials of the nearest index, if both are on one server."""
        own = urlsplit(url)
        near = [
            index
            for index in map(urlsplit, self._settings.indexes)
            if "@" in index.netloc and _bare_origin(index) == (own.scheme, own.netloc)
        ]
        if not near:
            return url
        nearest = max(near, key=lambda index: len(commonpath([index.path or "/", own.path])))
        return urlunsplit(own._replace(netloc=nearest.netloc))

    def _get(self, url: str, watch: Watch) -> requests.Response:
        import requests
        from urllib3.exceptions import HTTPError

        host = _host(url)
        try:
            with watching(watch):
                answer = self._redirected(url)
        except (requests.RequestException, HTTPError, UnicodeError) as error:
            raise _again(error, f"the package index {host} cannot be reached: ") from error
        if not answer.ok:
            answer.close()
        if answer.status_code in (401, 403):
            raise Refused(
                f"the package index {host} refused the credentials ({answer.status_code}): "
                "put them into netrc, or into index-url of pip.conf"
            )
        if not answer.ok:
            raise _Again(f"the package index {host} answered {answer.status_code}")
        return answer

    def _redirected(self, url: str) -> requests.Response:
        """The first answer that is not a redirect; another server gets no credentials.

        The loop of requests would unpack the bodies of redirects, however large they are.
        """
        first = url
        for _ in range(_REDIRECTS):
            host = _host(url)
            is_trusted = host in self._settings.trusted_hosts
            address, login = self._login(url, is_index=_is_one_server(url, first))
            answer = self._client().get(
                address, headers=_UNPACKED, auth=login, stream=True,
                timeout=(self._limits.connect, self._limits.idle),
                verify=not is_trusted and (self._settings.ca_bundle or True),
            )  # fmt: skip
            target = answer.headers.get("Location")
            if answer.status_code not in _MOVED or not target:
                return answer
            answer.close()
            url = _next_url(url, target)
        raise ServerFailed(f"the package index {_host(url)} redirects more than {_REDIRECTS} times")

    def _login(self, url: str, *, is_index: bool) -> tuple[str, Callable[[Any], Any]]:
        """The address without credentials, and what adds them to a request to the index itself.

        Raises:
            Refused: the credentials would travel in plain text.
        """
        from requests.auth import HTTPBasicAuth

        parts = urlsplit(url)
        userinfo, at, server = parts.netloc.rpartition("@")
        user, _, password = userinfo.partition(":")
        login = (unquote(user), unquote(password)) if at else self._settings.logins.get(
            parts.hostname or "")  # fmt: skip
        url = urlunsplit(parts._replace(netloc=server))
        if login is None or not is_index:
            # Without an explicit authentication, requests uses the user's netrc for any host.
            return url, lambda request: request
        _check_protected(url)
        return url, HTTPBasicAuth(*login)

    def _client(self) -> requests.Session:
        if self._session is None:
            from gitops_ml.http.watched_urllib3 import WatchedSession

            self._session = WatchedSession()
            if self._settings.proxy:
                proxy = self._settings.proxy
                self._session.proxies = {"http": proxy, "https": proxy}
        return self._session


def _retried(action: Callable[[], _Result], watch: Watch) -> _Result:
    """The result of ``action``, which is repeated while it may succeed and there is time."""
    for attempt in range(_ATTEMPTS):
        try:
            return action()
        except _Again:
            if attempt + 1 == _ATTEMPTS or watch.is_over:
                raise
    raise AssertionError("the last attempt returns or raises")


def _check_protected(url: str) -> None:
    if not is_protected(url):
        raise Refused(
            f"the password for the package index {_host(url)} would travel in plain text: use https"
        )


def _bare_origin(parts: SplitResult) -> tuple[str, str]:
    """Scheme and server, without credentials."""
    return parts.scheme, parts.netloc.rpartition("@")[2]


def _is_one_server(url: str, other: str) -> bool:
    return is_same_server(_bare(url), _bare(other))


def _bare(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class _Again(GitopsMlError):
    """A failure that may not occur again."""


def _again(error: Exception, prefix: str) -> _Again:
    """The error for a broken connection; the text of a deadline needs no ``prefix``."""
    given_up = gave_up(error)
    return _Again(str(given_up) if given_up else f"{prefix}{redacted(str(innermost(error)))}")


def _copy(pieces: Iterator[bytes], out: Any, digest: hashlib._Hash) -> None:
    for piece in pieces:
        digest.update(piece)
        out.write(piece)


def web_address(url: str) -> str:
    """An address from the index: HTTP or HTTPS, never a file of this machine.

    Raises:
        ValueError: it has another scheme, or no host.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError(f"the address is {redacted(url[:80])!r}")
    return url


def _next_url(url: str, target: str) -> str:
    """The target of a redirect, with the credentials of the index only on the same server.

    Raises:
        Refused: it leaves TLS, or is not an HTTP address.
    """
    try:
        found, before = urlsplit(web_address(urljoin(url, target))), urlsplit(url)
    except ValueError as error:
        raise Refused(
            f"the package index {_host(url)} redirects to an address that is not valid: {error}"
        ) from None
    if before.scheme == "https" != found.scheme and not is_loopback(found.netloc):
        raise Refused(f"the package index {_host(url)} redirects from TLS to plain HTTP")
    userinfo, _, server = before.netloc.rpartition("@")
    if userinfo and (server, before.scheme) == (found.netloc, found.scheme):
        found = found._replace(netloc=before.netloc)
    return urlunsplit(found)


def _host(url: str) -> str:
    """The server, for messages: an address may hold a password."""
    return urlsplit(url).hostname or "this machine"
