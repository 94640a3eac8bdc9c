"""Make lock files from a project's requirements, and check whether they are up to date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from gitops_ml.errors import GitopsMlError, InvalidDocument, Problem, UsageError
from gitops_ml.packages.lock_file import (
    MACHINES,
    BadLock,
    Lock,
    LockedPackage,
    is_lock,
    lock_path,
    parse_lock,
    render_lock,
)
from gitops_ml.system.files import written
from gitops_ml.system.process import redacted
from gitops_ml.system.project_files import (
    LARGEST_LOCK,
    LARGEST_TEXT,
    CannotRead,
    file_fingerprint,
    read_file,
    read_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from gitops_ml.packages.component import Component
    from gitops_ml.packages.index import IndexSettings, PackageIndex
    from gitops_ml.packages.requirement_files import RequirementLine
    from gitops_ml.packages.resolver import Pin
    from gitops_ml.packages.wheel_choice import PackageFile
    from gitops_ml.system.progress import Progress

_WORKERS = 4


class Locks(Enum):
    """The treatment of a lock that is missing or not up to date."""

    KNOWN = "left as it is: nothing is resolved, and no image is built"
    MADE = "made again, and written"
    FROZEN = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFacts:
    """The inputs of a lock, and its place."""

    project: Path
    requirements: str | None
    """The project's requirements file, if it has one."""
    runtime: tuple[Path, ...]
    """The requirement files of predictor_base."""
    constraints: Path | None = None
    """The versions that predictor_base is tested with: used where the requirements allow them."""
    python: str
    platforms: tuple[str, ...]
    files: tuple[str, ...] = ()
    """The project's requirement files and wheels, relative to it."""
    inputs: str
    """The fingerprint of all of it."""

    @property
    def path(self) -> Path:
        return self.project / lock_path(self.requirements)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOutcome:
    """A lock, and its differences from the previous one."""

    lock: Lock
    path: Path
    changes: tuple[str, ...]
    """One line for each package: ``numpy 2.1.0 → 2.2.0``."""
    is_written: bool


def read_lock(facts: LockFacts) -> Lock | None:
    """The project's lock, up to date or not; ``None`` where there is none.

    Raises:
        InvalidDocument: `gitops-ml lock` did not write it.
    """
    try:
        return parse_lock(read_text(facts.path, limit=LARGEST_LOCK, inside=(facts.project,)))
    except FileNotFoundError:
        return None
    except CannotRead as error:
        problem = Problem(str(facts.path), 0, 0, "", error.reason, rule="lock")
        raise InvalidDocument([problem]) from error
    except BadLock as error:
        problem = Problem(str(facts.path), error.line, 1, "", str(error), rule="lock")
        raise InvalidDocument([problem]) from error


def why_stale(
    facts: LockFacts, lock: Lock | None, *, wheels: Mapping[str, Component] | None = None
) -> str:
    """The problem of the project's lock, as a phrase after its name; empty if it is up to date.

    ``wheels`` has the metadata of locally available wheels, by their sha256.
    """
    from gitops_ml.packages.lock_check import lock_problems

    if lock is None:
        return "is not there"
    if lock.inputs != facts.inputs:
        return "is older than the requirements"
    if problems := lock_problems(lock, requirement_lines_of(facts), wheels=wheels):
        return f"is not what the requirements come to: {'; '.join(problems)}"
    return ""


def requirement_lines_of(facts: LockFacts) -> tuple[RequirementLine, ...]:
    """The requirements in the files of the project and of predictor_base.

    Raises:
        UsageError: one includes a file of a server, or they are too large.
    """
    from gitops_ml.packages.local_files import TooLarge
    from gitops_ml.packages.requirement_files import RemoteInclude, read_requirement_lines

    def of_project(path: str) -> str | None:
        return None if path.startswith(("/", "../")) else _text(facts.project, path)

    try:
        name = facts.requirements
        own = read_requirement_lines(name, read=of_project) if name else ()
    except RemoteInclude as error:
        raise UsageError(
            f"{redacted(str(error))}, whose content can change: copy it into the project"
        ) from error
    except TooLarge as error:
        raise UsageError(str(error)) from error
    runtime = [
        replace(line, place=f"predictor_base/{line.place}", is_runtime=True)
        for path in facts.runtime
        for line in read_requirement_lines(path.name, read=partial(_text, path.parent))
    ]
    return (*own, *runtime)


def _text(folder: Path, path: str) -> str | None:
    """The text of a file in ``folder``; ``None`` for what is missing, too large, or leads out."""
    try:
        content = read_file(folder / path, limit=LARGEST_TEXT, inside=(folder,))
    except OSError:
        return None
    return content.decode("utf-8", "replace")


def ensure_lock(
    facts: LockFacts, *, environ: Mapping[str, str], frozen: bool = False, progress: Progress
) -> LockOutcome:
    """The current lock if it is up to date, else a new one, written beside the requirements.

    With ``frozen``, for CI, nothing is resolved.

    Raises:
        UsageError: ``frozen``, and there is no lock or it is not up to date.
        GitopsMlError: no versions satisfy the requirements.
    """
    before = read_lock(facts)
    reason = why_stale(facts, before)
    if before is not None and not reason:
        return LockOutcome(lock=before, path=facts.path, changes=(), is_written=False)
    if frozen:
        raise UsageError(f"{facts.path} {reason}: run `gitops-ml lock` and commit what it writes")
    return lock_dependencies(facts, environ=environ, progress=progress)


def lock_dependencies(
    facts: LockFacts, *, environ: Mapping[str, str], upgrade: bool = False, progress: Progress
) -> LockOutcome:
    """Resolve the requirements again and write the lock; versions stay unless ``upgrade``.

    Raises:
        GitopsMlError: no versions satisfy them, or one of them is not for the image; the message
            names packages and remedies.
        InvalidDocument: the file of the lock was not written by `gitops-ml lock`.
    """
    from gitops_ml.packages.index import IndexSettings, PackageIndex
    from gitops_ml.packages.required_hashes import unhashed_lines

    before = _to_be_replaced(facts)
    lines = requirement_lines_of(facts)
    if problems := [*unhashed_lines([each for each in lines if not each.is_runtime])]:
        raise GitopsMlError("\n".join(problems))
    settings = IndexSettings.of_project(environ, facts.project, facts.files)
    index = PackageIndex(settings)
    kept = () if upgrade or before is None else before.packages
    progress(f"resolving dependencies for Python {facts.python} on {', '.join(facts.platforms)}")
    packages: dict[str, tuple[LockedPackage, ...]] = {}
    chosen: tuple[Pin, ...] = ()
    for platform in facts.platforms:
        chosen = _resolved(facts, platform, settings, kept, chosen)
        progress(f"{platform}: {len(chosen)} packages")
        packages[platform] = _locked(chosen, lines, _Files(facts, platform, index))
    lock = Lock(
        python=facts.python,
        platforms=facts.platforms,
        inputs=facts.inputs,
        packages=_merged(packages),
    )
    text = render_lock(lock, made_from=facts.requirements)
    is_written = _content(facts) != text.encode()
    if is_written:
        with written(facts.path) as file:
            file.write(text.encode())
        facts.path.chmod(0o644)
    changes = tuple(_changes(before, lock))
    return LockOutcome(lock=lock, path=facts.path, changes=changes, is_written=is_written)


def _to_be_replaced(facts: LockFacts) -> Lock | None:
    """The lock that a new one replaces, if it can be read; other files are not replaced."""
    try:
        return read_lock(facts)
    except InvalidDocument:
        if not is_lock((_content(facts) or b"").decode("utf-8", "replace")):
            raise
        return None


def _content(facts: LockFacts) -> bytes | None:
    """The current content of the lock file, if it can be read."""
    try:
        return read_file(facts.path, limit=LARGEST_LOCK, inside=(facts.project,))
    except OSError:
        return None


def _resolved(
    facts: LockFacts,
    platform: str,
    settings: IndexSettings,
    kept: Sequence[LockedPackage],
    elsewhere: Sequence[Pin],
) -> tuple[Pin, ...]:
    """The versions for one platform, preferably as on another, as ``kept``, or as tested."""
    from gitops_ml.packages.resolver import read_pins, resolve

    own = (facts.project / facts.requirements,) if facts.requirements else ()
    tested = read_pins(facts.constraints) if facts.constraints else ()
    preferred = {pin.name: pin.version for pin in tested}
    preferred |= {
        package.name: package.version
        for package in kept
        if not package.path and package.machine in ("", MACHINES[platform])
    }
    preferred |= {pin.name: pin.version for pin in elsewhere if not pin.path}
    return resolve(
        (*own, *facts.runtime),
        project=facts.project,
        python=facts.python,
        platform=platform,
        settings=settings,
        preferred=preferred.items(),
    )


@dataclass(frozen=True, slots=True)
class _Files:
    """The source of the files for one platform."""

    facts: LockFacts
    platform: str
    index: PackageIndex


def _locked(
    pins: Sequence[Pin], lines: Sequence[RequirementLine], files: _Files
) -> tuple[LockedPackage, ...]:
    """Each pin with the hash of its wheel; all problems are reported together."""
    from concurrent.futures import ThreadPoolExecutor

    from gitops_ml.packages.required_hashes import hashes_by_name, unhashed_packages

    hashes = hashes_by_name(each for each in lines if not each.is_runtime)
    with ThreadPoolExecutor(_WORKERS) as pool:
        found = [*pool.map(lambda pin: _one(pin, files, hashes.get(pin.name)), pins)]
    packages = tuple(
        replace(entry, requires=_required_by(entry.name, pins))
        for entry in found
        if isinstance(entry, LockedPackage)
    )
    problems = [entry for entry in found if isinstance(entry, str)]
    if problems := problems or [*unhashed_packages(lines, packages)]:
        raise GitopsMlError("\n".join(problems))
    return packages


def _required_by(name: str, pins: Iterable[Pin]) -> tuple[str, ...]:
    return tuple(sorted({pin.name for pin in pins if name in pin.required_by}))


def _one(pin: Pin, source: _Files, allowed: frozenset[str] | None) -> LockedPackage | str:
    """The wheel of a version, preferably with an ``allowed`` hash; or a problem."""
    from gitops_ml.packages.wheel_choice import best_wheel, why_not

    python, platform = source.facts.python, source.platform
    if pin.path:
        sha256 = file_fingerprint(source.facts.project / pin.path)
        package = LockedPackage(pin.name, pin.version, sha256, path=pin.path)
        return _other_hash(package, pin.path, allowed) or package
    files = source.index.files(pin.name)
    named = _named(pin, files, source, allowed) if allowed else ()
    best = best_wheel(named or files, version=pin.version, python=python, platform=platform)
    if best is None:
        return why_not(files, name=pin.name, version=pin.version, python=python, platform=platform)
    if best.yanked is not None:
        return _yanked(pin, best, files)
    sha256 = best.sha256 or _hash_of(best, source.index)
    package = LockedPackage(pin.name, pin.version, sha256)
    return _other_hash(package, best.filename, allowed) or package


def _named(
    pin: Pin, files: Iterable[PackageFile], source: _Files, allowed: frozenset[str]
) -> tuple[PackageFile, ...]:
    """The wheels for the platform that have an ``allowed`` hash, listed by the index or not."""
    from gitops_ml.packages.wheel_choice import files_of, rank

    python, platform = source.facts.python, source.platform
    found = (
        file if file.sha256 else replace(file, sha256=_hash_of(file, source.index))
        for file in files_of(files, pin.version)
        if rank(file.filename, python=python, platform=platform) is not None
    )
    return tuple(file for file in found if file.sha256 in allowed)


def _other_hash(package: LockedPackage, file: str, allowed: frozenset[str] | None) -> str | None:
    """The problem of a file whose hash the requirements do not name."""
    if allowed is None or package.sha256 in allowed:
        return None
    named = ", ".join(sorted(allowed)) or "no one hash in all of their lines"
    return (
        f"{package}: {file} has the sha256 {package.sha256}, and the requirements name {named}. Either "
        "the file was replaced, or the --hash is another file's: find out which before you change it"
    )


def _hash_of(file: PackageFile, index: PackageIndex) -> str:
    """The sha256 of a file whose index does not list it."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="gitops-ml-") as folder:
        return index.download(file, Path(folder))[1]


def _yanked(pin: Pin, file: PackageFile, files: Iterable[PackageFile]) -> str:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    others = set()
    for other in files:
        if other.yanked is None and other.filename.endswith(".whl"):
            try:
                others.add(parse_wheel_filename(other.filename)[1])
            except InvalidWheelFilename:
                continue
    why = f": {file.yanked.rstrip('.')}" if file.yanked else ""
    newest = f", such as {max(others)}" if others else ""
    return (
        f"{pin.name} {pin.version} was withdrawn by its publisher{why}. Ask for another "
        f"version{newest}; if it has to be this one, put {file.filename} into the project and "
        f"name it in the requirements as ./wheels/{file.filename}"
    )


def _merged(packages: Mapping[str, Sequence[LockedPackage]]) -> tuple[LockedPackage, ...]:
    """Packages of all platforms once, the others for the machine of each platform."""
    everywhere = set.intersection(*(set(found) for found in packages.values()))
    merged = [replace(package, requires=_on_any(package, packages)) for package in everywhere]
    for platform, found in packages.items():
        own = set(found) - everywhere
        merged += (replace(package, machine=MACHINES[platform]) for package in own)
    return tuple(sorted(merged))


def _on_any(
    package: LockedPackage, packages: Mapping[str, Sequence[LockedPackage]]
) -> tuple[str, ...]:
    """The names that a package requires on all machines, and on one, with the machine's name."""
    required = {
        MACHINES[platform]: {name for each in found if each == package for name in each.requires}
        for platform, found in packages.items()
    }
    common = set.intersection(*required.values())
    special = (f"{name} ({at})" for at, names in required.items() for name in names - common)
    return tuple(sorted((*common, *special)))


def _changes(before: Lock | None, after: Lock) -> Iterator[str]:
    old = _versions(before)
    new = _versions(after)
    for name in sorted({*old, *new}):
        if name not in old:
            yield f"{name} {new[name]} added"
        elif name not in new:
            yield f"{name} {old[name]} removed"
        elif old[name] != new[name]:
            yield f"{name} {old[name]} → {new[name]}"


def _versions(lock: Lock | None) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for package in lock.packages if lock else ():
        found.setdefault(package.name, set()).add(package.version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}
