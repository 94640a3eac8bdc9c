"""uv as the resolver: which versions a set of requirements comes to, on another Python or machine.

pip evaluates the markers of requirements for the Python that it runs on, uv for the one that is
asked for. What uv says when it finds no answer is put into words that name a package and a way out.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gitops_ml.errors import GitopsMlError, ProgramFailed, ServerFailed
from gitops_ml.http.secret_destinations import is_protected
from gitops_ml.packages.lock_file import GLIBC, MACHINES
from gitops_ml.system import process

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gitops_ml.packages.index import IndexSettings

_SECONDS = 600
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)")
_NO_WHEEL = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?P<version>(?:[=<>!~]=?\S+)?) ha(?:s|ve) no (?:usable )?wheels"
)
_NO_PACKAGE = re.compile(r"(?P<name>[A-Za-z0-9._-]+) was not found in the p")
_ASKED = r"and you require (?P<name>[A-Za-z0-9._-]+)(?P<asked>[=<>!~]\S+), we can conclude"
_NO_VERSION = re.compile(rf"Because there (?:is|are) no versions? of \S+ {_ASKED}")
_OTHER_VERSIONS = re.compile(rf"Because (?P<there>only [^,]+? available[^,]*?) {_ASKED}")
_SECOND_WAY = "put a wheel into the project and name it in the requirements as ./wheels/<file>.whl"
_NOT_PINNED = (
    "only packages of an index and wheels of the project can enter an image by hash. Ask for a "
    f"released version, {_SECOND_WAY}, or set image.builder to docker"
)


@dataclass(frozen=True, slots=True, order=True)
class Pin:
    """One line of an answer: a version, or a wheel of the project by its path."""

    name: str
    version: str
    path: str = ""
    required_by: tuple[str, ...] = field(default=(), compare=False)
    """What uv says about it: names of packages, and files."""


def resolve(
    requirements: Sequence[Path],
    *,
    project: Path,
    python: str,
    platform: str,
    settings: IndexSettings,
    preferred: Iterable[tuple[str, str]] = (),
) -> tuple[Pin, ...]:
    """The versions that satisfy all of ``requirements`` together on one platform.

    ``preferred`` versions are kept where they can be. Nothing is built or run.

    Raises:
        GitopsMlError: there is no answer; the message says why, and the ways out.
        ServerFailed: an index does not answer.
        ProgramFailed: uv is not installed, or failed in another way.
    """
    with tempfile.TemporaryDirectory(prefix="gitops-ml-") as folder:
        output = Path(folder) / "pins.txt"
        output.write_text("".join(f"{name}=={version}\n" for name, version in preferred))
        command = _command(requirements, python=python, platform=platform, output=output)
        try:
            env = {**_ours(os.environ), **_environ(settings), **_logins(settings, Path(folder))}
            # Without our own environment: uv replaces each ${NAME} of a requirements file.
            process.run(command, cwd=project, environ=env, timeout=_SECONDS)
        except ProgramFailed as error:
            if missing := _missing(error, requirements, where=f"for Python {python} on {platform}"):
                raise missing from error
            raise _in_our_words(error, python=python, platform=platform) from error
        return _pins(output.read_text("utf-8"))


def _command(
    requirements: Iterable[Path], *, python: str, platform: str, output: Path
) -> list[str]:
    glibc = "_".join(map(str, GLIBC))
    return [
        _uv(), "pip", "compile", *map(str, requirements),
        "--python-version", python, "--python-platform", f"{MACHINES[platform]}-manylinux_{glibc}",
        "--python", sys.executable, "--no-python-downloads",
        "--only-binary", ":all:", "--index-strategy", "unsafe-best-match",
        "--no-header", "--annotation-style", "line", "--no-config", "--quiet", "--color", "never",
        "--output-file", str(output),
    ]  # fmt: skip


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
"""What uv may know of the environment: how it works here, and no secret."""


def _ours(environ: Mapping[str, str]) -> Mapping[str, str]:
    passed = {name: value for name, value in environ.items() if _PASSED_ON.fullmatch(name)}
    return {**passed, "PATH": process.absolute_path(environ)}


def _logins(settings: IndexSettings, folder: Path) -> Mapping[str, str]:
    """A netrc in ``folder`` with the logins of the indexes: uv would use its entry for any host."""
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
    """The index settings in uv's variables: addresses may hold passwords."""
    main, *more = settings.indexes or ("",)
    values = {
        "UV_DEFAULT_INDEX": main,
        "UV_INDEX": " ".join(more),
        "UV_FIND_LINKS": ",".join(settings.find_links),
        "UV_INSECURE_HOST": " ".join(settings.trusted_hosts),
        "UV_NO_INDEX": "" if main else "1",
        "SSL_CERT_FILE": settings.ca_bundle or "",
        "HTTPS_PROXY": settings.proxy or "",
        "HTTP_PROXY": settings.proxy or "",
    }
    return {name: value for name, value in values.items() if value}


def read_pins(path: Path) -> tuple[Pin, ...]:
    """The versions that a constraints file names."""
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return tuple(
        Pin(re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"])
        for line in lines
        if (match := _PIN.fullmatch(line))
    )


def _pins(text: str) -> tuple[Pin, ...]:
    found = []
    for written in text.splitlines():
        line, _, comment = (part.strip() for part in written.partition(" #"))
        required_by = tuple(map(str.strip, comment.removeprefix("via ").split(",")))
        if match := _PIN.fullmatch(line):
            name = re.sub(r"[-_.]+", "-", match["name"]).lower()
            found.append(Pin(name, match["version"], required_by=required_by))
        elif line.endswith(".whl") and "://" not in line:
            path = posixpath.normpath(line.rpartition(" @ ")[2].removeprefix("file:"))
            name, version = path.rpartition("/")[2].split("-")[:2]
            name = re.sub(r"[-_.]+", "-", name).lower()
            found.append(Pin(name, version, path, required_by))
        elif line and not line.startswith(("#", "-")):
            raise GitopsMlError(f"`{line}` cannot be locked: {_NOT_PINNED}")
    return tuple(sorted(found))


def _missing(
    error: ProgramFailed, requirements: Iterable[Path], *, where: str
) -> GitopsMlError | None:
    """What to say where the index has no such package, or no such version of it."""
    words = " ".join(error.stderr.split())
    if match := _NO_PACKAGE.search(words):
        what, after = f"there is no package {match['name']}", "no index that was asked has it"
    elif match := _NO_VERSION.search(words) or _OTHER_VERSIONS.search(words):
        what = f"{match['name']} has no version {match['asked'].removeprefix('==')} {where}"
        after = match.groupdict().get("there") or "ask for another one"
    else:
        return None
    files = _named_in(requirements, match["name"])
    return GitopsMlError(f"{what}{files}; {after}. uv says:\n{_indented(error.stderr.strip())}")


def _named_in(requirements: Iterable[Path], name: str) -> str:
    """The files whose own lines ask for a package, in words."""
    wanted = re.compile(rf"{re.escape(name)}\s*(?:$|[=<>!~\[;@#])", re.IGNORECASE)
    files = [
        path.name
        for path in requirements
        if any(wanted.match(line.strip()) for line in path.read_text("utf-8").splitlines())
    ]
    return f" (named in {', '.join(files)})" if files else ""


def _in_our_words(error: ProgramFailed, *, python: str, platform: str) -> GitopsMlError:
    words = error.stderr.strip()
    where = f"for Python {python} on {platform}"
    if error.returncode == 127:
        return GitopsMlError("uv, which resolves dependencies, is not installed: `pip install uv`")
    if match := _NO_WHEEL.search(words):
        return GitopsMlError(
            f"{match['name']} {match['version'].lstrip('=')}".strip() + f" has no wheel {where}, "
            "and an image without a build can use nothing else. Ask for a version that has "
            f"one; or build it (`pip wheel --no-deps {match['name']}`) and {_SECOND_WAY}; or set "
            f"image.builder to docker, which can compile. uv says:\n{_indented(words)}"
        )
    if "No solution found" in words:
        return GitopsMlError(
            f"the requirements contradict each other {where}: change one of those that uv names "
            f"(predictor_base's own are the runtime's, and only gitops-ml can change them):\n"
            f"{_indented(words)}"
        )
    if "Git operation failed" in words:
        return GitopsMlError(f"{_NOT_PINNED}. uv says:\n{_indented(words)}")
    if re.search(r"error sending request|Failed to fetch|status code|timed out", words):
        return ServerFailed(f"a package index does not answer as it should:\n{_indented(words)}")
    return error


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
