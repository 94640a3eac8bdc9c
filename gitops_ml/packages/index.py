"""Python package indexes: the settings of pip, and downloads of files. uv lists what an index has."""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from os.path import commonpath
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from gitops_ml.errors import Refused, ServerFailed, UsageError
from gitops_ml.http.client import HttpClient
from gitops_ml.http.deadlines import Limits
from gitops_ml.http.response import HttpResponse, RequestFailed, RetryPolicy
from gitops_ml.http.secret_destinations import expanded, variables_in
from gitops_ml.http.urls import is_protected
from gitops_ml.packages.build_settings import ca_bundle, pip_configurations, pip_options
from gitops_ml.packages.local_files import index_options, link_folders, requirement_lines
from gitops_ml.packages.requirement_files import requirements_text
from gitops_ml.system.files import written
from gitops_ml.system.process import redacted
from gitops_ml.system.project_files import LARGEST_TEXT, is_file, read_file
from gitops_ml.user.secret_owner import SecretOwner, netrc_logins

PYPI = urlunsplit(("https", ".".join(("pypi", "org")), "simple", "", ""))
"""The default index of pip."""
_UNPACKED = {"Accept-Encoding": "identity"}
_PATIENCE = RetryPolicy(attempts=4, first_wait=0.1)
_LARGEST_FILE = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """Where packages come from, as the user's pip is configured."""

    indexes: tuple[str, ...] = (PYPI,)
    """May hold credentials: never shown, never on a command line."""
    find_links: tuple[str, ...] = ()
    named_pages: tuple[str, ...] = ()
    """The addresses of pages with wheels that the project's requirement files name."""
    named_folders: tuple[str, ...] = ()
    """Those of folders; pip alone reads them."""
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
        found = pip_options(pip_configurations(environ), environ=environ)
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
            settings = settings._with_links(link_folders(requirements_text(content)))
            for line in requirement_lines(requirements_text(content)):
                settings = settings._with_line(line, owner, place=path)
        settings._check_trusted(settings.trusted_hosts[len(own.trusted_hosts) :])
        return settings

    def _with_links(self, links: Iterable[str]) -> IndexSettings:
        """The settings with what ``--find-links`` names; uv separates addresses by a comma."""
        links = tuple(links)
        pages = tuple(link for link in links if re.match("https?://[^,]+$", link))
        folders = tuple(link for link in links if link not in pages)
        return replace(
            self,
            named_pages=(*self.named_pages, *pages),
            named_folders=(*self.named_folders, *folders),
        )

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFile:
    """One file of a package in an index."""

    filename: str
    url: str
    sha256: str = ""
    """Hex, as the index or uv states it."""
    size: int = 0
    """Bytes; 0 where the index does not state them."""


class PackageIndex:
    """Downloads from the indexes of the settings."""

    def __init__(self, settings: IndexSettings, *, limits: Limits | None = None) -> None:
        self._settings = settings
        self._limits = limits or Limits.from_environ(os.environ)
        proxy = settings.proxy
        self._client = HttpClient(
            {**os.environ, **({"http_proxy": proxy, "https_proxy": proxy} if proxy else {})},
            bundle_of=lambda _: settings.ca_bundle,
            unchecked=settings.trusted_hosts,
        )

    def download(self, file: PackageFile, folder: Path) -> Path:
        """Write the file into ``folder``; its bytes are not checked."""
        target = folder / file.filename
        if file.url.startswith("file:"):
            with (
                Path(unquote(urlsplit(file.url).path)).open("rb") as source,
                written(target) as out,
            ):
                shutil.copyfileobj(source, out)
            return target
        url, headers = self._login(self._with_credentials(file.url))
        doing = f"during the download of {file.filename}"
        watch = self._limits.download(_host(url), doing, size=_LARGEST_FILE)

        def fetch() -> HttpResponse:
            with self._client.send("GET", url, headers=headers, stream=True, watch=watch) as answer:
                if answer.ok:
                    with written(target) as out:
                        out.writelines(answer.pieces(1 << 18))
                return answer

        try:
            answer = _PATIENCE.retried(fetch, watch=watch)
        except RequestFailed as error:
            reason = redacted(str(error))
            raise ServerFailed(f"{file.filename} cannot be fetched: {reason}") from error
        _check(answer, file)
        return target

    def _with_credentials(self, url: str) -> str:
        """A file's address with the credentials of the nearest index, if both are on one server."""
        own = urlsplit(url)
        with_login = (each for each in map(urlsplit, self._settings.indexes) if "@" in each.netloc)
        near = [
            index
            for index in with_login
            if (index.scheme, index.netloc.rpartition("@")[2]) == (own.scheme, own.netloc)
        ]
        if not near:
            return url
        nearest = max(near, key=lambda index: len(commonpath([index.path or "/", own.path])))
        return urlunsplit(own._replace(netloc=nearest.netloc))

    def _login(self, url: str) -> tuple[str, Mapping[str, str]]:
        """The address without credentials, and the headers with them.

        Raises:
            Refused: the credentials would travel in plain text.
        """
        parts = urlsplit(url)
        userinfo, at, server = parts.netloc.rpartition("@")
        user, _, password = userinfo.partition(":")
        login = (unquote(user), unquote(password)) if at else self._settings.logins.get(
            parts.hostname or "")  # fmt: skip
        url = urlunsplit(parts._replace(netloc=server))
        if login is None:
            return url, _UNPACKED
        _check_protected(url)
        pair = base64.b64encode(":".join(login).encode()).decode()
        return url, {**_UNPACKED, "Authorization": f"Basic {pair}"}


def _check(answer: HttpResponse, file: PackageFile) -> None:
    host = _host(file.url)
    if answer.status in (401, 403):
        raise Refused(
            f"the package index {host} refused the credentials ({answer.status}): "
            "put them into netrc, or into index-url of pip.conf"
        )
    if not answer.ok:
        raise ServerFailed(
            f"{file.filename} cannot be fetched: the package index {host} answered {answer.status}"
        )


def _check_protected(url: str) -> None:
    if not is_protected(url):
        raise Refused(
            f"the password for the package index {_host(url)} would travel in plain text: use https"
        )


def web_address(url: str) -> str:
    """An address from the index: HTTP or HTTPS, never a file of this machine.

    Raises:
        ValueError: it has another scheme, or no host.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError(f"the address is {redacted(url[:80])!r}")
    return url


def _host(url: str) -> str:
    """The server, for messages: an address may hold a password."""
    return urlsplit(url).hostname or "this machine"
