"""The lock file: the wheels of an image, by hash, for each of its platforms.

It is a standard lock (`PEP 751`_) beside the requirements file, which pip, uv and scanners read, too::

    # Written by `gitops-ml lock` from the requirements of the project and the runtime: commit it.
    lock-version = "1.0"
    environments = ["platform_machine == 'x86_64' and sys_platform == 'linux'"]
    requires-python = "==3.11.*"
    created-by = "gitops-ml"

    [tool.gitops-ml]
    format = 2
    inputs = "6f1d…"

    [[packages]]
    name = "uvicorn"
    version = "0.35.0"
    dependencies = [{ name = "click" }, { name = "h11" }]
    wheels = [{ url = "https://…/uvicorn-0.35.0-py3-none-any.whl", size = 66406, hashes = { sha256 = "0a1b…" } }]

A package has the one wheel that is installed; where it is for one platform only, ``marker`` names the
machine. ``dependencies`` let `gitops_ml.packages.lock_check` find a superfluous or missing package
without an index. The address of a wheel is for other tools: gitops-ml asks the configured indexes for
a file with the hash, so that it sends nothing to a server which only a lock names, and mirrors work.
A wheel whose address is private, or a file of this machine, has its bare name as ``path``.

.. _PEP 751: https://packaging.python.org/en/latest/specifications/pylock-toml/
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import lru_cache
from itertools import zip_longest
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from packaging.markers import Marker
from packaging.pylock import Package, Pylock, PylockValidationError
from packaging.utils import is_normalized_name

from gitops_ml.system.memory import Memory
from gitops_ml.system.memory import key as memory_key
from gitops_ml.system.process import redacted

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


FORMAT = 2
GLIBC = (2, 28)
"""The newest C library that wheels may need: that of Debian 10, RHEL 8 and later ones."""
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
"""The platforms of locks, and Python's names of their machines."""

_WRITE_AGAIN = "`gitops-ml lock` writes it again"
_CREATED_BY = 'created-by = "gitops-ml"'
_OLD_HEAD = "# gitops-ml lock"
_STRING = re.compile(r'"[^"\\]*"')
_PLAIN = re.compile(r"#.*|\[\[packages\]\]|\[tool\.gitops-ml\]|[\w\s=,{}-]*(?:\[[\w\s=,{}-]*)?\]?")
"""A line without its strings. TOML readers need minutes for keys of many dots, so there are none."""
_MACHINE = re.compile(r"platform_machine == '(\w+)'")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LINE = re.compile(r"\(at line (\d+)")
_PLACE = re.compile(r"packages\[(\d+)\]")


class BadLock(ValueError):
    """A lock file that `gitops-ml lock` did not write; ``line`` counts from 1, 0 is the whole file."""

    def __init__(self, message: str, *, line: int = 0) -> None:
        self.line = line
        super().__init__(message)


@dataclass(frozen=True, slots=True, order=True)
class LockedPackage:
    """One version of one package."""

    name: str
    """Normalised: ``scikit-learn``."""
    version: str
    sha256: str
    """Hex, of its wheel."""
    machine: str = ""
    """The only machine that gets it, by Python's name; empty for all machines."""
    path: str = ""
    """The wheel, if it is a file of the project, relative to its root."""
    file: str = field(default="", compare=False)
    """Else the wheel's address, or its bare name where the address is not for others."""
    requires: tuple[str, ...] = field(default=(), compare=False)
    """Names of packages; those for one machine only as ``greenlet (x86_64)``."""
    line: int = field(default=0, compare=False)
    """The line of the lock file where its entry begins."""
    size: int = field(default=0, compare=False)
    """Bytes of the wheel, for people; 0 where the index does not state them."""

    def requires_on(self, platform: str) -> tuple[str, ...]:
        """The names of the packages that it requires on one platform."""
        pairs = (text.partition(" (") for text in self.requires)
        return tuple(
            name for name, _, machine in pairs if machine.rstrip(")") in ("", MACHINES[platform])
        )

    def is_for(self, platform: str) -> bool:
        return self.machine in ("", MACHINES[platform])

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The content of a lock file."""

    python: str
    """``3.11``"""
    platforms: tuple[str, ...]
    inputs: str
    """The `inputs_fingerprint` that it was made from."""
    packages: tuple[LockedPackage, ...]

    def packages_for(self, platform: str) -> tuple[LockedPackage, ...]:
        return tuple(package for package in self.packages if package.is_for(platform))

    def fingerprint(self, platform: str) -> str:
        """sha256 hex of the packages of one platform: the name of their layer in the cache."""
        chosen = [[p.name, p.version, p.sha256] for p in self.packages_for(platform)]
        return _sha256([FORMAT, self.python, platform, chosen])


def lock_path(requirements: str | None) -> str:
    """The path of the lock of a requirements file.

    >>> lock_path("deps/requirements.txt"), lock_path("gpu.v2.txt"), lock_path(None)
    ('deps/pylock.toml', 'pylock.gpu-v2.toml', 'pylock.toml')
    """
    folder, file = posixpath.split(requirements or "requirements.txt")
    stem = posixpath.splitext(file)[0].replace(".", "-")
    return posixpath.join(
        folder, "pylock.toml" if stem == "requirements" else f"pylock.{stem}.toml"
    )


def old_lock_path(requirements: str | None) -> str:
    """The path of the lock that versions before format 2 wrote.

    >>> old_lock_path("deps/requirements.txt")
    'deps/requirements.lock'
    """
    return f"{posixpath.splitext(requirements or 'requirements.txt')[0]}.lock"


def inputs_fingerprint(
    *, python: str, platforms: Iterable[str], files: Mapping[str, str], runtime: Iterable[str]
) -> str:
    """The sha256 hex of everything that a lock depends on.

    ``files`` are the sha256 of the project's requirement files and wheels by path, ``runtime``
    those of predictor_base's requirement files.
    """
    glibc = ".".join(map(str, GLIBC))
    return _sha256([FORMAT, python, glibc, sorted(platforms), dict(files), list(runtime)])


def is_lock(text: str) -> bool:
    """Whether a file is a lock of `gitops-ml lock`."""
    return _CREATED_BY in _lines(text)


def _lines(text: str) -> list[str]:
    """The lines as TOML counts them."""
    return text.replace("\r\n", "\n").split("\n")


def is_old_lock(text: str) -> bool:
    """Whether a file is a lock of a version before format 2."""
    return text.startswith(_OLD_HEAD)


def render_lock(lock: Lock, *, requirements: str | None) -> str:
    """The text of the lock of a requirements file."""
    folder = posixpath.dirname(requirements or "")
    lines = [
        "# Written by `gitops-ml lock` from the requirements of the project and the runtime: commit it.",
        'lock-version = "1.0"',
        "environments = [",
        *(f'    "{_environment(platform)}",' for platform in lock.platforms),
        "]",
        f'requires-python = "=={lock.python}.*"',
        _CREATED_BY,
        *([] if lock.packages else ["packages = []"]),
        "",
        "[tool.gitops-ml]",
        f"format = {FORMAT}",
        f'inputs = "{lock.inputs}"',
    ]
    for package in sorted(lock.packages, key=lambda p: (p.name, p.machine, p.version)):
        lines += ["", "[[packages]]", *_rendered(package, folder)]
    return "\n".join(lines) + "\n"


def _rendered(package: LockedPackage, folder: str) -> Iterable[str]:
    yield f'name = "{package.name}"'
    yield f'version = "{package.version}"'
    if package.machine:
        yield f"marker = \"platform_machine == '{package.machine}'\""
    if package.requires:
        tables = ", ".join(map(_dependency, package.requires))
        yield f"dependencies = [{tables}]"
    if package.path:
        path = posixpath.relpath(package.path, folder or ".")
        place = f"path = {_toml(path if '/' in path else f'./{path}')}"
    else:
        place = f"{'url' if '://' in package.file else 'path'} = {_toml(package.file)}"
    size = f"size = {package.size}, " if package.size else ""
    yield f'wheels = [{{ {place}, {size}hashes = {{ sha256 = "{package.sha256}" }} }}]'


def _dependency(required: str) -> str:
    name, _, machine = required.rstrip(")").partition(" (")
    marker = f", marker = \"platform_machine == '{machine}'\"" if machine else ""
    return f'{{ name = "{name}"{marker} }}'


def _environment(platform: str) -> str:
    return f"platform_machine == '{MACHINES[platform]}' and sys_platform == 'linux'"


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def read_pylock(text: str) -> Pylock:
    """A standard lock of any tool.

    Raises:
        ValueError, RecursionError, PylockValidationError: it is not valid.
    """
    return Pylock.from_dict(tomllib.loads(text))


@lru_cache(maxsize=16)
def known_lock(text: str, *, requirements: str | None, memory: Memory) -> Lock:
    """As `parse_lock`, from the memory where an earlier call parsed this text.

    Raises:
        BadLock: as `parse_lock`; that is not remembered.
    """
    key = memory_key("lock", text, requirements)
    if known := memory.recall([key]).get(key):
        python, platforms, inputs, packages = json.loads(known)
        found = (
            LockedPackage(name, version, sha256, machine, path, file, tuple(requires), line, size)
            for name, version, sha256, machine, path, file, requires, line, size in packages
        )
        return Lock(python=python, platforms=tuple(platforms), inputs=inputs, packages=tuple(found))
    lock = parse_lock(text, requirements=requirements)
    memory.keep({key: json.dumps(astuple(lock))})
    return lock


def parse_lock(text: str, *, requirements: str | None = None) -> Lock:
    """The lock of a requirements file that ``text`` spells.

    Raises:
        BadLock: `gitops-ml lock` did not write exactly this; the message has the line.
    """
    if not is_lock(text):
        raise BadLock(
            "it is another tool's lock, which `gitops-ml lock` would overwrite: give it another "
            "name, or set image.builder to docker",
            line=1,
        )
    lines = _lines(text)
    for number, line in enumerate(lines, start=1):
        if not _PLAIN.fullmatch(_STRING.sub("", line)):
            raise _unlike(line, number)
    starts = [number for number, line in enumerate(lines, start=1) if line == "[[packages]]"]
    found = _standard(text, starts)
    folder = posixpath.dirname(requirements or "")
    lock = Lock(
        python=str(found.requires_python)[len("==") : -len(".*")],
        platforms=tuple(
            each for each in MACHINES if Marker(_environment(each)) in (found.environments or ())
        ),
        inputs=_inputs(found),
        packages=tuple(
            _package(package, line=line, folder=folder)
            for package, line in zip(found.packages, starts, strict=False)
        ),
    )
    right = _lines(render_lock(lock, requirements=requirements))
    for number, (line, expected) in enumerate(zip_longest(lines, right), start=1):
        if line != expected:
            raise _unlike(line or "", number)
    return lock


def _unlike(text: str, line: int) -> BadLock:
    shown = redacted(text)[:200]
    return BadLock(f"`{shown}` is not as `gitops-ml lock` writes it", line=line)


def _standard(text: str, starts: Sequence[int]) -> Pylock:
    """The content as a standard lock, whose packages begin at the lines ``starts``."""
    try:
        return read_pylock(text)
    except (ValueError, RecursionError) as error:
        at = _LINE.search(str(error))
        message = f"it is not valid TOML ({str(error)[:200]}): {_WRITE_AGAIN}"
        raise BadLock(message, line=int(at[1]) if at else 0) from error
    except PylockValidationError as error:
        at = _PLACE.match(error.context or "")
        message = f"it is not valid ({redacted(str(error))[:200]}): {_WRITE_AGAIN}"
        raise BadLock(message, line=starts[int(at[1])] if at and starts else 0) from error


def _inputs(found: Pylock) -> str:
    own = (found.tool or {}).get("gitops-ml")
    if not isinstance(own, dict) or own.get("format") != FORMAT:
        raise BadLock(f"it is not of format {FORMAT}: {_WRITE_AGAIN}")
    return str(own.get("inputs"))


def _package(package: Package, *, line: int, folder: str) -> LockedPackage:
    """A package as far as `gitops-ml lock` writes it; what is left out differs when it is written."""
    wheel = next(iter(package.wheels or ()), None)
    sha256 = str(wheel.hashes.get("sha256")) if wheel else ""
    if wheel is None or not _SHA256.fullmatch(sha256):
        raise BadLock(f"{package.name} has no wheel with a sha256: {_WRITE_AGAIN}", line=line)
    path, file = "", bare_address(wheel.url) if wheel.url else str(wheel.path)
    if not wheel.url and "/" in file:
        path, file = posixpath.normpath(posixpath.join(folder, file)), ""
        if path.startswith(("/", "../")):
            raise BadLock(f"{path[:200]} leaves the project: {_WRITE_AGAIN}", line=line)
    return LockedPackage(
        package.name,
        str(package.version),
        sha256,
        machine=_machine(package.marker),
        path=path,
        file=file,
        requires=tuple(map(_required, package.dependencies or ())),
        line=line,
        size=max(0, wheel.size or 0),
    )


def _machine(marker: object) -> str:
    """The machine that a marker of the lock names; empty for all machines, and for other markers."""
    match = _MACHINE.fullmatch(str(marker).replace('"', "'"))
    return match[1] if match and match[1] in MACHINES.values() else ""


def _required(table: Mapping[str, Any]) -> str:
    name, machine = str(table.get("name")), _machine(table.get("marker"))
    if not is_normalized_name(name):
        return ""
    return f"{name} ({machine})" if machine else name


def bare_address(url: str) -> str:
    """An address without credentials, query and fragment; empty where it is not of the web."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return ""
    server = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, server, parts.path, "", ""))


def _sha256(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
