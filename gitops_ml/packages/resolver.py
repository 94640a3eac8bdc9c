"""Resolve requirements with uv, for another Python or machine.

pip evaluates markers for the Python that it runs on, uv for the requested one. Failures of uv become
messages that name a package and the remedies.
"""

from __future__ import annotations

import functools
import os
import posixpath
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.pylock import Package, PackageWheel, PylockValidationError
from packaging.tags import compatible_tags, cpython_tags, create_compatible_tags_selector
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from gitops_ml.errors import GitopsMlError, ProgramFailed, ServerFailed
from gitops_ml.http.urls import is_protected
from gitops_ml.packages.index import IndexSettings, PackageFile, web_address
from gitops_ml.packages.lock_file import GLIBC, MACHINES, read_pylock
from gitops_ml.packages.requirement_files import local_path, requirements_text, wheel_name
from gitops_ml.system import process
from gitops_ml.system.process import redacted

if TYPE_CHECKING:
    from packaging.tags import Tag

_SECONDS = 600
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)")
_NAMED_WHEEL = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+) @ (?P<url>https?://\S+?\.whl)(?:#\S*)?(?: ;.*)?"
)
_NO_WHEEL = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?P<version>(?:[=<>!~]=?\S+)?) ha(?:s|ve) no (?:usable )?wheels"
)
_NO_PACKAGE = re.compile(r"(?P<name>[A-Za-z0-9._-]+) was not found in the p")
_ASKED = r"and you require (?P<name>[A-Za-z0-9._-]+)(?P<asked>[=<>!~]\S+), we can conclude"
_NO_VERSION = re.compile(rf"Because there (?:is|are) no versions? of \S+ {_ASKED}")
_OTHER_VERSIONS = re.compile(rf"Because (?P<there>only [^,]+? available[^,]*?) {_ASKED}")
_NOT_UTF_8 = re.compile(r"failed to decode file `(?P<file>[^`]+)`")
_YANKED = re.compile(
    r'^warning: `(?P<name>[^`=]+)==[^`]+` is yanked(?: \(reason: "(?P<why>.*)"\))?', re.MULTILINE
)
_SECOND_WAY = "put a wheel into the project and name it in the requirements as ./wheels/<file>.whl"
_NOT_PINNED = (
    "only packages of an index and wheels of the project can enter an image by hash. Ask for a "
    f"released version, {_SECOND_WAY}, or set image.builder to docker"
)

_OLDEST_GLIBC = 5
_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}


@dataclass(frozen=True, slots=True, order=True)
class Pin:
    """One line of the result: a version, or a wheel by its path in the project or its address."""

    name: str
    version: str
    path: str = ""
    url: str = ""
    """The address of a wheel that the requirements name."""
    required_by: tuple[str, ...] = field(default=(), compare=False)
    """Names of packages and files, as uv lists them."""

    @property
    def requirement(self) -> str:
        return f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True)
class IndexedPackage:
    """One version of a package, as the indexes have it."""

    version: str
    wheels: tuple[PackageFile, ...]
    """Those for the platform, each with its sha256."""
    yanked: str | None = None
    """The reason why it was withdrawn, which may be empty; ``None`` where it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """uv, for one Python and platform; it builds and executes nothing."""

    project: Path
    python: str
    platform: str
    settings: IndexSettings

    @property
    def _where(self) -> str:
        return f"for Python {self.python} on {self.platform}"

    def resolve(
        self, requirements: Sequence[Path], *, preferred: Iterable[tuple[str, str]] = ()
    ) -> tuple[Pin, ...]:
        """The versions that satisfy all of ``requirements`` together.

        ``preferred`` versions are kept where that is possible.

        Raises:
            GitopsMlError: there is no solution; the message has the reason and the remedies.
            Refused: a password would travel in plain text.
            ServerFailed: an index does not answer.
            ProgramFailed: uv failed in another way.
        """
        with tempfile.TemporaryDirectory(prefix="gitops-ml-") as folder:
            output = Path(folder) / "pins.txt"
            output.write_text("".join(f"{name}=={version}\n" for name, version in preferred))
            self._compile(requirements, output, "--annotation-style", "line", "--quiet")
            return _pins(output.read_text("utf-8"))

    def wheels_of(self, requirements: Iterable[str]) -> Mapping[str, IndexedPackage]:
        """What the indexes have of each of ``requirements``, by name; no dependencies of them.

        Raises:
            GitopsMlError: as `resolve`.
        """
        with tempfile.TemporaryDirectory(prefix="gitops-ml-") as folder:
            wanted, output = Path(folder) / "wanted.txt", Path(folder) / "pylock.toml"
            wanted.write_text("".join(f"{line}\n" for line in requirements))
            log = self._compile([wanted], output, "--no-deps", "--format", "pylock.toml")
            try:
                found = read_pylock(output.read_text("utf-8"))
            except (ValueError, PylockValidationError) as error:
                raise GitopsMlError(f"uv wrote a lock that cannot be read: {error}") from error
        yanked = {match["name"]: match["why"] or "" for match in _YANKED.finditer(log)}
        return {
            package.name: IndexedPackage(
                version=str(package.version),
                wheels=tuple(map(self._file, package.wheels or _as_wheels(package))),
                yanked=yanked.get(package.name),
            )
            for package in found.packages
        }

    def no_wheel(self, name: str, version: str) -> str:
        """The problem of a version without a wheel, with the remedies."""
        return (
            f"{name} {version}".strip() + f" has no wheel {self._where}, "
            "and an image without a build can use nothing else. Ask for a version that has "
            f"one; or build it (`pip wheel --no-deps {name}`) and {_SECOND_WAY}; or set "
            "image.builder to docker, which can compile"
        )

    def _compile(self, requirements: Sequence[Path], output: Path, *options: str) -> str:
        """Run `uv pip compile`, and return its messages."""
        self.settings.check_protected()
        # Not the whole environment: uv replaces each ${NAME} of a requirements file.
        environ = {
            **_inherited(os.environ),
            **_environ(self.settings),
            **_logins(self.settings, output.parent),
        }
        command = [
            _uv(), "pip", "compile", *map(str, requirements), *options,
            "--python-version", self.python,
            "--python-platform", f"{MACHINES[self.platform]}-manylinux_{'_'.join(map(str, GLIBC))}",
            "--python", sys.executable, "--no-python-downloads",
            "--only-binary", ":all:", "--index-strategy", "unsafe-best-match",
            "--no-header", "--no-config", "--color", "never", "--output-file", str(output),
        ]  # fmt: skip
        try:
            return process.run(command, cwd=self.project, environ=environ, timeout=_SECONDS).stderr
        except ProgramFailed as error:
            own = [path for path in requirements if path.parent != output.parent]
            raise self._translated(error, own) from error

    def _file(self, wheel: PackageWheel) -> PackageFile:
        """A wheel of an index; a file of this machine only if it is of a ``find-links`` folder."""
        name, url = wheel.filename, wheel.url or ""
        try:
            if not self._is_in_folder(url):
                web_address(url)
            sha256, size = wheel.hashes["sha256"], max(0, wheel.size or 0)
            return PackageFile(filename=_plain(name), url=url, sha256=sha256, size=size)
        except (ValueError, KeyError) as error:
            raise ServerFailed(
                f"a package index has a file that cannot be used: {redacted(str(error))}"
            ) from error

    def _is_in_folder(self, url: str) -> bool:
        path = Path(unquote(urlsplit(url).path))
        folders = (
            self.project / unquote(link.removeprefix("file://"))
            for link in self.settings.find_links
        )
        return url.startswith("file:") and path.parent in [folder.absolute() for folder in folders]

    def _translated(self, error: ProgramFailed, requirements: Iterable[Path]) -> GitopsMlError:
        """The failure of uv as a message that names a package and the remedies."""
        text = error.stderr.strip()
        reports = f"uv reports:\n{_indented(text)}"
        missing = self._missing(text, requirements)
        if (missing or "Invalid URL in" in text) and (links := self.settings.named_folders):
            folders = redacted(", ".join(links))
            missing = (
                f"{missing or 'the requirements cannot be read'}; --find-links ({folders}) is for pip: "
                f"{_SECOND_WAY}, or set image.builder to docker"
            )
        if missing:
            return GitopsMlError(f"{missing}. {reports}")
        if error.returncode == 127:
            return GitopsMlError(
                "uv, which resolves dependencies, is not installed: `pip install uv`"
            )
        if match := _NO_WHEEL.search(text):
            problem = self.no_wheel(match["name"], match["version"].lstrip("="))
            return GitopsMlError(f"{problem}. {reports}")
        if "No solution found" in text:
            return GitopsMlError(
                f"the requirements contradict each other {self._where}: change one of those that uv "
                "names (predictor_base's own are the runtime's, and only gitops-ml can change "
                f"them):\n{_indented(text)}"
            )
        if match := _NOT_UTF_8.search(text):
            return GitopsMlError(
                f"{match['file']} is not in UTF-8, which is what uv reads (or UTF-16 with its mark): save "
                "it as UTF-8"
            )
        if "Git operation failed" in text:
            return GitopsMlError(f"{_NOT_PINNED}. {reports}")
        if re.search(r"error sending request|Failed to fetch|status code|timed out", text):
            return ServerFailed(f"a package index does not answer:\n{_indented(text)}")
        return error

    def _missing(self, stderr: str, requirements: Iterable[Path]) -> str:
        """The problem where no index has such a package, or such a version of it."""
        text = " ".join(stderr.split())
        if match := _NO_PACKAGE.search(text):
            what, after = f"there is no package {match['name']}", "no index has it"
        elif match := _NO_VERSION.search(text) or _OTHER_VERSIONS.search(text):
            what = (
                f"{match['name']} has no version {match['asked'].removeprefix('==')} {self._where}"
            )
            after = match.groupdict().get("there") or "ask for another one"
        else:
            return ""
        return f"{what}{_named_in(requirements, match['name'])}; {after}"


def _uv() -> str:
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("uv", path=process.absolute_path(os.environ)) or "uv"


_PASSED_ON = re.compile(
    r"PATH|HOME|TMPDIR|LANG|LC_ALL|XDG_[A-Z]+_HOME|SSL_CERT_(FILE|DIR)|(HTTPS?|ALL|NO)_PROXY"
    r"|UV_(CACHE_DIR|NO_CACHE|OFFLINE|HTTP_[A-Z]+|CONCURRENT_[A-Z]+|NATIVE_TLS|SYSTEM_CERTS|LINK_MODE)",
    re.IGNORECASE,
)
"""The variables that uv may read: settings of this machine, and no secret."""


def _inherited(environ: Mapping[str, str]) -> Mapping[str, str]:
    passed = {name: value for name, value in environ.items() if _PASSED_ON.fullmatch(name)}
    return {**passed, "PATH": process.absolute_path(environ)}


def _logins(settings: IndexSettings, folder: Path) -> Mapping[str, str]:
    """A netrc with the logins of the indexes only: uv would use a ``default`` entry for any host."""
    lines = []
    for index in settings.indexes:
        host = urlsplit(index).hostname or ""
        login = settings.logins.get(host)
        if login and is_protected(index) and not re.search(r"[\s\"'\\]", "".join(login)):
            lines.append(f"machine {host} login {login[0]} password {login[1]}\n")
    file = folder / "netrc"
    file.touch(mode=0o600)
    file.write_text("".join(lines), "utf-8")
    return {"NETRC": str(file), **settings.variables}


def _environ(settings: IndexSettings) -> Mapping[str, str]:
    """The index settings as variables of uv: addresses may hold passwords."""
    main, *more = settings.indexes or ("",)
    values = {
        "UV_DEFAULT_INDEX": main,
        "UV_INDEX": " ".join(more),
        "UV_FIND_LINKS": ",".join((*settings.find_links, *settings.named_pages)),
        "UV_INSECURE_HOST": " ".join(settings.trusted_hosts),
        "UV_NO_INDEX": "" if main else "1",
        "SSL_CERT_FILE": settings.ca_bundle or "",
        "HTTPS_PROXY": settings.proxy or "",
        "HTTP_PROXY": settings.proxy or "",
    }
    return {name: value for name, value in values.items() if value}


def read_pins(text: str) -> tuple[Pin, ...]:
    """The versions in a constraints file, without their markers and hashes."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(
        Pin(canonicalize_name(match["name"]), match["version"])
        for line in lines
        if (match := _PIN.match(line))
    )


def _pins(text: str) -> tuple[Pin, ...]:
    found = []
    for written in text.splitlines():
        line, _, comment = (part.strip() for part in written.partition(" #"))
        required_by = tuple(map(str.strip, comment.removeprefix("via ").split(",")))
        if match := _PIN.fullmatch(line):
            name, version = canonicalize_name(match["name"]), match["version"]
            found.append(Pin(name, version, required_by=required_by))
        elif line.endswith(".whl") and "://" not in line:
            path = posixpath.normpath(local_path(line.rpartition(" @ ")[2]))
            distribution, version = path.rpartition("/")[2].split("-")[:2]
            name, version = canonicalize_name(distribution), str(Version(version))
            found.append(Pin(name, version, path, required_by=required_by))
        elif (wheel := _NAMED_WHEEL.fullmatch(line)) and (version := _version_at(wheel["url"])):
            name = canonicalize_name(wheel["name"])
            found.append(Pin(name, version, url=wheel["url"], required_by=required_by))
        elif line and not line.startswith(("#", "-")):
            raise GitopsMlError(f"`{line}` cannot be locked: {_NOT_PINNED}")
    return tuple(sorted(found))


def _version_at(url: str) -> str:
    """The version in the name of a wheel; empty where that is no valid one."""
    try:
        return str(parse_wheel_filename(wheel_name(url))[1])
    except InvalidWheelFilename:
        return ""


def _as_wheels(package: Package) -> tuple[PackageWheel, ...]:
    """The wheel of an address, which uv lists as an archive."""
    archive = package.archive
    if archive is None or not archive.url:
        return ()
    return (
        PackageWheel(
            name=wheel_name(archive.url), url=archive.url, size=archive.size, hashes=archive.hashes
        ),
    )


def _named_in(requirements: Iterable[Path], name: str) -> str:
    """The files whose own lines require a package, for messages."""
    wanted = re.compile(rf"{re.escape(name)}\s*(?:$|[=<>!~\[;@#])", re.IGNORECASE)
    files = [
        path.name
        for path in requirements
        if any(
            wanted.match(line.strip()) for line in requirements_text(path.read_bytes()).splitlines()
        )
    ]
    return f" (named in {', '.join(files)})" if files else ""


def _plain(name: str) -> str:
    """The name of a file, which becomes a file name in the cache.

    Raises:
        ValueError: it is a path, or not valid as a file name.
    """
    is_path = name != PurePosixPath(name).name or "\\" in name
    if is_path or not name.isprintable() or len(name) > 255:
        raise ValueError(f"a file has the name {name[:80]!r}")
    return name


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


@functools.cache
def supported_tags(python: str, platform: str) -> tuple[Tag, ...]:
    """Every tag that a platform's Python supports, the best first.

    ``python`` is ``3.11``, ``platform`` a key of `MACHINES`.
    """
    version = tuple(map(int, python.split(".")))[:2]
    platforms = [*_platforms(MACHINES[platform])]
    interpreter = f"cp{version[0]}{version[1]}"
    return (
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, interpreter, platforms),
    )


def _platforms(machine: str) -> Iterator[str]:
    for minor in range(GLIBC[1], _OLDEST_GLIBC - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if legacy := _LEGACY.get((2, minor)):
            yield f"{legacy}_{machine}"
    yield f"linux_{machine}"


def best_wheel(files: Iterable[PackageFile], *, python: str, platform: str) -> PackageFile | None:
    """The wheel of one version that a platform gets, or ``None`` where there is none.

    A build number wins over none, as the specification says; among equals the name decides.
    """
    select = create_compatible_tags_selector(supported_tags(python, platform))
    ordered = sorted(files, key=_build_order)
    return next(select((file, parse_wheel_filename(file.filename)[3]) for file in ordered), None)


def _build_order(file: PackageFile) -> tuple[int, str, str]:
    number, text = parse_wheel_filename(file.filename)[2] or (-1, "")
    return -number, text, file.filename
