"""Python package indexes: what they have of a package, and its files, checked by hash.

The simple repository API in both its forms (PEP 503 and 691), directories of wheels
(``find-links``), and the index settings that pip has.
"""

from __future__ import annotations

import hashlib
import html.parser
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from gitops_ml.adapters.build_settings import _pip_files
from gitops_ml.adapters.project_files import LARGEST_TEXT, is_file, read_file
from gitops_ml.adapters.whole_files import written
from gitops_ml.core.local_files import index_options
from gitops_ml.core.package_choice import PackageFile
from gitops_ml.core.pip_settings import pip_settings
from gitops_ml.errors import GitopsMlError, Refused, ServerFailed
from gitops_ml.process import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import requests

PYPI = urlunsplit(("https", ".".join(("pypi", "org")), "simple", "", ""))
"""What pip asks where nobody says otherwise."""
_ACCEPT = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.2, "
    "text/html; q=0.1"
)
_TIMEOUT = (15, 60)
_ATTEMPTS = 4
_CA = ("GITOPS_ML_CA_BUNDLE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """Where packages come from, as the user's pip has it."""

    indexes: tuple[str, ...] = (PYPI,)
    """May hold credentials: never shown, never on a command line."""
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    ca_bundle: str | None = None
    proxy: str | None = field(default=None, repr=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> IndexSettings:
        """The settings of ``pip.conf`` and of ``PIP_…`` variables, which win."""
        import configparser

        parser = configparser.RawConfigParser()
        parser.read_string(pip_settings(_pip_files(environ), environ=environ))
        found = dict(parser["global"])
        main = () if found.get("no-index") else (found.get("index-url") or PYPI,)
        bundle = next((environ[name] for name in _CA if environ.get(name)), None)
        return cls(
            indexes=(*main, *(found.get("extra-index-url") or "").split()),
            find_links=tuple(environ.get("PIP_FIND_LINKS", "").split()),
            trusted_hosts=tuple((found.get("trusted-host") or "").split()),
            ca_bundle=bundle,
            proxy=found.get("proxy") or None,
        )

    @classmethod
    def of_project(
        cls, environ: Mapping[str, str], project: Path, files: Iterable[str]
    ) -> IndexSettings:
        """The same, and the indexes that the project's requirement ``files`` name."""
        settings = cls.from_environ(environ)
        for path in files:
            if path.endswith(".whl") or not is_file(project / path):
                continue
            content = read_file(project / path, limit=LARGEST_TEXT, inside=(project,))
            text = content.decode("utf-8", "replace")
            for option, value in index_options(text):
                settings = settings._with(option, _expanded(value, environ))
        return settings

    def _with(self, option: str, value: str) -> IndexSettings:
        match option:
            case "--index-url":
                return replace(self, indexes=(value, *self.indexes[1:]))
            case "--extra-index-url":
                return replace(self, indexes=(*self.indexes, value))
            case _:
                return replace(self, trusted_hosts=(*self.trusted_hosts, value))


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    """``${NAME}`` replaced as pip does it, so that a file need not hold a password."""
    return re.sub(r"\$\{([A-Z0-9_]+)\}", lambda match: environ.get(match[1], match[0]), text)


class PackageIndex:
    """All indexes of the settings as one; what was asked is remembered."""

    def __init__(self, settings: IndexSettings) -> None:
        self._settings = settings
        self._known: dict[str, tuple[PackageFile, ...]] = {}
        self._session: requests.Session | None = None

    def files(self, name: str) -> tuple[PackageFile, ...]:
        """What the indexes have of a package, whose name is normalised.

        Raises:
            Refused, ServerFailed: an index said no, or did not answer.
        """
        if name not in self._known:
            found = [file for link in self._settings.find_links for file in _in_folder(link)]
            for index in self._settings.indexes:
                found += self._listing(index, name)
            self._known[name] = tuple(found)
        return self._known[name]

    def download(self, file: PackageFile, folder: Path) -> tuple[Path, str]:
        """The file in ``folder``, and the sha256 hex of its bytes.

        Raises:
            ServerFailed: it cannot be had.
            GitopsMlError: it cannot be written.
        """
        target = folder / file.filename
        for attempt in range(_ATTEMPTS):
            try:
                return target, self._fetched(file, target)
            except _Again as error:
                if attempt + 1 == _ATTEMPTS:
                    raise ServerFailed(f"{file.filename} cannot be fetched: {error}") from error
        raise AssertionError("the last attempt returns or raises")

    def _fetched(self, file: PackageFile, target: Path) -> str:
        import requests
        from urllib3.exceptions import HTTPError

        digest = hashlib.sha256()
        with written(target) as out:
            if file.url.startswith("file:"):
                with Path(unquote(urlsplit(file.url).path)).open("rb") as source:
                    _copy(iter(lambda: source.read(1 << 20), b""), out, digest)
            else:
                try:
                    with self._get(_with_credentials(file), headers={}) as answer:
                        _copy(answer.iter_content(1 << 18), out, digest)
                except (requests.RequestException, HTTPError) as error:
                    raise _Again(redacted(str(error))) from error
        return digest.hexdigest()

    def _listing(self, index: str, name: str) -> tuple[PackageFile, ...]:
        page = f"{index.rstrip('/')}/{name}/"
        for attempt in range(_ATTEMPTS):
            try:
                with self._get(page, headers={"Accept": _ACCEPT}) as answer:
                    found = _read_listing(answer)
                return tuple(replace(file, index=index) for file in found)
            except _NotThere:
                return ()
            except _Again as error:
                if attempt + 1 == _ATTEMPTS:
                    raise ServerFailed(str(error)) from error
        raise AssertionError("the last attempt returns or raises")

    def _get(self, url: str, *, headers: Mapping[str, str]) -> requests.Response:
        import requests

        host = urlsplit(url).hostname or url
        is_trusted = host in self._settings.trusted_hosts
        try:
            answer = self._client().get(
                url, headers=dict(headers), stream=True, timeout=_TIMEOUT,
                verify=not is_trusted and (self._settings.ca_bundle or True),
            )  # fmt: skip
        except requests.RequestException as error:
            raise _Again(f"the package index {host} cannot be reached: {_cause(error)}") from error
        if answer.status_code == 404:
            raise _NotThere
        if answer.status_code in (401, 403):
            raise Refused(
                f"the package index {host} wants other credentials ({answer.status_code}): "
                "put them into netrc, or into index-url of pip.conf"
            )
        if not answer.ok:
            raise _Again(f"the package index {host} answered {answer.status_code}")
        return answer

    def _client(self) -> requests.Session:
        if self._session is None:
            import requests

            self._session = requests.Session()
            if self._settings.proxy:
                proxy = self._settings.proxy
                self._session.proxies = {"http": proxy, "https": proxy}
        return self._session


class _Again(GitopsMlError):
    """What may succeed when it is tried once more."""


class _NotThere(GitopsMlError):
    """The index does not know the package."""


def _copy(pieces: Iterator[bytes], out: Any, digest: hashlib._Hash) -> None:
    for piece in pieces:
        digest.update(piece)
        out.write(piece)


def _in_folder(link: str) -> Iterator[PackageFile]:
    folder = Path(unquote(urlsplit(link).path) if link.startswith("file:") else link)
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.name.endswith((".whl", ".tar.gz")):
                yield PackageFile(filename=path.name, url=path.absolute().as_uri())


def _read_listing(answer: requests.Response) -> Iterator[PackageFile]:
    kind = answer.headers.get("Content-Type", "")
    try:
        if "json" in kind:
            return iter([_from_json(entry, answer.url) for entry in answer.json()["files"]])
        page = _Page()
        page.feed(answer.text)
    except (ValueError, KeyError, TypeError) as error:
        raise _Again(f"{urlsplit(answer.url).hostname} sent no list of files") from error
    return (_from_link(link, answer.url) for link in page.links if link.get("href"))


def _from_json(entry: Mapping[str, Any], page: str) -> PackageFile:
    yanked = entry.get("yanked", False)
    return PackageFile(
        filename=str(entry["filename"]),
        url=urljoin(page, str(entry["url"])),
        sha256=str((entry.get("hashes") or {}).get("sha256", "")),
        yanked=None if yanked is False else "" if yanked is True else str(yanked),
    )


def _from_link(link: Mapping[str, str | None], page: str) -> PackageFile:
    parts = urlsplit(urljoin(page, str(link["href"])))
    name, _, value = parts.fragment.partition("=")
    yanked = link.get("data-yanked") or "" if "data-yanked" in link else None
    return PackageFile(
        filename=unquote(parts.path.rpartition("/")[2]),
        url=urlunsplit(parts._replace(fragment="")),
        sha256=value if name == "sha256" else "",
        yanked=yanked,
    )


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[Mapping[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links.append(dict(attrs))


def _with_credentials(file: PackageFile) -> str:
    """A file's address with its index's credentials, where both are on one server."""
    index, own = urlsplit(file.index), urlsplit(file.url)
    if "@" in index.netloc and "@" not in own.netloc:
        userinfo, _, server = index.netloc.rpartition("@")
        if (server, index.scheme) == (own.netloc, own.scheme):
            return urlunsplit(own._replace(netloc=f"{userinfo}@{server}"))
    return file.url


def _cause(error: BaseException) -> str:
    while inner := error.__cause__ or error.__context__:
        error = inner
    return redacted(str(error))
