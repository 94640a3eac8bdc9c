"""The lock file: the wheels of an image, by hash, for each of its platforms.

It is beside the requirements file (``requirements.lock`` beside ``requirements.txt``) and is a
requirements file itself, so that pip, uv, scanners and people read it too::

    # gitops-ml lock 1
    # Made from requirements.txt and the runtime's own requirements by `gitops-ml lock`: commit it.
    # python: 3.11
    # platforms: linux/amd64 linux/arm64
    # inputs: 6f1d…

    uvicorn==0.35.0 \\
        --hash=sha256:0a1b… # requires click, h11
    numpy==2.1.0 ; platform_machine == "aarch64" \\
        --hash=sha256:9c8d…
    numpy==2.1.0 ; platform_machine == "x86_64" \\
        --hash=sha256:5e6f…

Each entry has the hash of the one wheel that is installed, not of all files of the index. A comment
names what it requires, so that a superfluous or missing package is found without an index
(`gitops_ml.packages.lock_check`). The lock holds no addresses of indexes: any index that has these
bytes can be used.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FORMAT = 1
GLIBC = (2, 28)
"""The newest C library that wheels may need: that of Debian 10, RHEL 8 and later ones."""
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
"""The platforms of locks, and Python's names of their machines."""

_FIRST = f"# gitops-ml lock {FORMAT}"
_FACT = re.compile(r"# (python|platforms|inputs): (.*)")
_ENTRY = re.compile(
    r"(?:(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)==(?P<version>[A-Za-z0-9.!+_-]+)|\./(?P<path>\S+\.whl))"
    r'(?: ; platform_machine == "(?P<machine>[a-z0-9_]+)")? --hash=sha256:(?P<sha256>[0-9a-f]{64})'
)
_REQUIRED = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?: \([a-z0-9_]+\))?")


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
    requires: tuple[str, ...] = field(default=(), compare=False)
    """Names of packages; those for one machine only as ``greenlet (x86_64)``."""
    line: int = field(default=0, compare=False)
    """The line of the lock file where its entry begins."""

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

    >>> lock_path("deps/requirements.txt"), lock_path(None)
    ('deps/requirements.lock', 'requirements.lock')
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


def render_lock(lock: Lock, *, made_from: str | None) -> str:
    """The text of a lock file."""
    sources = f"{made_from} and " if made_from else ""
    lines = [
        _FIRST,
        f"# Made from {sources}the runtime's own requirements by `gitops-ml lock`: commit it.",
        f"# python: {lock.python}",
        f"# platforms: {' '.join(lock.platforms)}",
        f"# inputs: {lock.inputs}",
        "",
    ]
    for package in sorted(lock.packages, key=lambda p: (p.name, p.machine, p.version)):
        what = f"./{package.path}" if package.path else f"{package.name}=={package.version}"
        marker = f' ; platform_machine == "{package.machine}"' if package.machine else ""
        requires = f" # requires {', '.join(package.requires)}" if package.requires else ""
        lines.append(f"{what}{marker} \\\n    --hash=sha256:{package.sha256}{requires}")
    return "\n".join(lines) + "\n"


def parse_lock(text: str) -> Lock:
    """The lock that ``text`` spells.

    Raises:
        BadLock: `gitops-ml lock` did not write it; the message has the line and the remedy.
    """
    if not is_lock(text):
        raise BadLock(
            "it is another tool's lock, which `gitops-ml lock` would overwrite: give it another "
            "name, or set image.builder to docker",
            line=1,
        )
    if text.partition("\n")[0].strip() != _FIRST:
        raise BadLock(
            f"it does not begin with `{_FIRST}`: `gitops-ml lock` writes it again", line=1
        )
    facts = {m[1]: m[2].strip() for line in text.splitlines() if (m := _FACT.fullmatch(line))}
    for name in ("python", "platforms", "inputs"):
        if not facts.get(name):
            raise BadLock(f"it lacks the line `# {name}: …`: `gitops-ml lock` writes it again")
    platforms = tuple(facts["platforms"].split())
    if len(set(platforms)) != len(platforms):
        raise BadLock("it has a platform twice: `gitops-ml lock` writes it again")
    if unknown := [platform for platform in platforms if platform not in MACHINES]:
        raise BadLock(f"it is for {unknown[0][:200]}, which is not one of {', '.join(MACHINES)}")
    return Lock(
        python=facts["python"],
        platforms=platforms,
        inputs=facts["inputs"],
        packages=tuple(_package(line, entry) for line, entry in _entries(text)),
    )


def is_lock(text: str) -> bool:
    """Whether a file is a lock of `gitops-ml lock`, of any version."""
    return text.startswith("# gitops-ml lock")


def _entries(text: str) -> Iterator[tuple[int, str]]:
    """Each entry with the number of its first line, continuation lines joined."""
    first, entry = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        if not entry and (not line.strip() or line.startswith("#")):
            continue
        first = first or number
        entry += " " + line.strip().removesuffix("\\").strip()
        if not line.rstrip().endswith("\\"):
            yield first, entry.strip()
            first, entry = 0, ""
    if entry:
        yield first, entry.strip()


def _package(line: int, text: str) -> LockedPackage:
    entry, _, comment = text.partition(" # requires ")
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise BadLock(f"`{entry[:200]}` is not as `gitops-ml lock` writes it", line=line)
    path, machine = match["path"] or "", match["machine"] or ""
    name, version = match["name"], match["version"]
    if ".." in path.split("/") or path.startswith("/"):
        raise BadLock(f"{path} leaves the project: `gitops-ml lock` writes it again", line=line)
    if path:
        name, version = (*posixpath.basename(path).split("-"), "")[:2]
        name = canonicalize_name(name)
    requires = tuple(filter(None, map(str.strip, comment.split(","))))
    if unknown := [each for each in requires if not _REQUIRED.fullmatch(each)]:
        raise BadLock(f"`{unknown[0][:200]}` is not the name of a package", line=line)
    return LockedPackage(
        name, version, match["sha256"], machine=machine, path=path, requires=requires, line=line
    )


def _sha256(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
