"""Make lock files from a project's requirements, and check whether they are up to date."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gitops_ml.errors import GitopsMlError, InvalidDocument, Problem, UsageError
from gitops_ml.packages.index import IndexSettings, PackageFile
from gitops_ml.packages.local_files import TooLarge
from gitops_ml.packages.lock_check import (
    hashes_by_name,
    lock_problems,
    unhashed_lines,
    unhashed_packages,
)
from gitops_ml.packages.lock_file import (
    MACHINES,
    BadLock,
    Lock,
    LockedPackage,
    bare_address,
    is_lock,
    is_old_lock,
    known_lock,
    lock_path,
    old_lock_path,
    parse_lock,
    render_lock,
)
from gitops_ml.packages.requirement_files import (
    RemoteInclude,
    RequirementLine,
    read_requirement_lines,
    requirements_text,
)
from gitops_ml.packages.resolver import IndexedPackage, Pin, Resolver, best_wheel, read_pins
from gitops_ml.packages.wheels import Component
from gitops_ml.system.files import written
from gitops_ml.system.memory import Memory
from gitops_ml.system.process import redacted, secrets_in
from gitops_ml.system.progress import Progress
from gitops_ml.system.project_files import (
    LARGEST_LOCK,
    LARGEST_TEXT,
    CannotRead,
    file_fingerprint,
    read_file,
    read_text,
)


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

    @property
    def old_lock(self) -> str:
        """The path of a lock of format 1, relative to the project; empty where there is none."""
        path = old_lock_path(self.requirements)
        return path if is_old_lock(_text(self.project, path) or "") else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOutcome:
    """A lock, and its differences from the previous one."""

    lock: Lock
    path: Path
    changes: tuple[str, ...]
    """One line for each package: ``numpy 2.1.0 → 2.2.0``."""
    is_written: bool


def read_lock(facts: LockFacts, memory: Memory | None = None) -> Lock | None:
    """The project's lock, up to date or not; ``None`` where there is none.

    Raises:
        InvalidDocument: `gitops-ml lock` did not write it.
    """
    try:
        text = read_text(facts.path, limit=LARGEST_LOCK, inside=(facts.project,))
        if memory is None:
            return parse_lock(text, requirements=facts.requirements)
        return known_lock(text, requirements=facts.requirements, memory=memory)
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
    if old := facts.old_lock:
        missing = "is not there, and" if lock is None else "is not alone:"
        return f"{missing} {old} is the lock of an older gitops-ml, which has to be removed"
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
    return requirements_text(content)


def ensure_lock(
    facts: LockFacts,
    *,
    environ: Mapping[str, str],
    frozen: bool = False,
    progress: Progress,
    memory: Memory | None = None,
) -> LockOutcome:
    """The current lock if it is up to date, else a new one, written beside the requirements.

    With ``frozen``, for CI, nothing is resolved.

    Raises:
        UsageError: ``frozen``, and there is no lock or it is not up to date.
        GitopsMlError: no versions satisfy the requirements.
    """
    before = read_lock(facts, memory)
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
    before = _to_be_replaced(facts)
    lines = requirement_lines_of(facts)
    if problems := [*unhashed_lines([each for each in lines if not each.is_runtime])]:
        raise GitopsMlError("\n".join(problems))
    settings = IndexSettings.of_project(environ, facts.project, facts.files)
    progress(f"resolving dependencies for Python {facts.python} on {', '.join(facts.platforms)}")
    packages: dict[str, tuple[LockedPackage, ...]] = {}
    chosen: tuple[Pin, ...] = ()
    for platform in facts.platforms:
        resolver = Resolver(
            project=facts.project, python=facts.python, platform=platform, settings=settings
        )
        preferred = {} if upgrade else _kept(facts, before, platform)
        preferred |= {pin.name: pin.version for pin in chosen if not pin.path}
        chosen = _resolved(facts, resolver, preferred)
        progress(f"{platform}: {len(chosen)} packages")
        packages[platform] = _locked(chosen, lines, resolver)
    lock = Lock(
        python=facts.python,
        platforms=facts.platforms,
        inputs=facts.inputs,
        packages=_merged(packages),
    )
    is_written = _write(facts, render_lock(lock, requirements=facts.requirements))
    if facts.old_lock:
        progress(f"warning: {facts.path.name} replaces {facts.old_lock}: remove {facts.old_lock}")
    changes = tuple(_changes(before, lock))
    return LockOutcome(lock=lock, path=facts.path, changes=changes, is_written=is_written)


def _write(facts: LockFacts, text: str) -> bool:
    """Write the lock unless it has this text already; whether it was written."""
    if _content(facts) == text.encode():
        return False
    with written(facts.path) as file:
        file.write(text.encode())
    facts.path.chmod(0o644)
    return True


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


def _kept(facts: LockFacts, before: Lock | None, platform: str) -> dict[str, str]:
    """The versions of the current lock by package; without one, those of a lock of format 1."""
    if before is not None:
        found = [each for each in before.packages_for(platform) if not each.path]
        return {package.name: package.version for package in found}
    text = _text(facts.project, facts.old_lock) if facts.old_lock else None
    return {pin.name: pin.version for pin in read_pins(text or "")}


def _resolved(
    facts: LockFacts, resolver: Resolver, preferred: Mapping[str, str]
) -> tuple[Pin, ...]:
    """The versions for one platform: as ``preferred``, as tested, or the newest."""
    own = (facts.project / facts.requirements,) if facts.requirements else ()
    text = facts.constraints.read_text("utf-8") if facts.constraints else ""
    tested = {pin.name: pin.version for pin in read_pins(text)}
    return resolver.resolve((*own, *facts.runtime), preferred={**tested, **preferred}.items())


def _locked(
    pins: Sequence[Pin], lines: Sequence[RequirementLine], resolver: Resolver
) -> tuple[LockedPackage, ...]:
    """Each pin with its wheel; all problems are reported together."""
    hashes = hashes_by_name(each for each in lines if not each.is_runtime)
    of_index = [pin.requirement for pin in pins if not pin.path]
    known = resolver.wheels_of(of_index) if of_index else {}
    found = [
        _of_index(pin, known[pin.name], hashes.get(pin.name), resolver)
        if not pin.path
        else _of_project(pin, hashes.get(pin.name), resolver)
        for pin in pins
    ]
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


def _of_project(
    pin: Pin, allowed: frozenset[str] | None, resolver: Resolver
) -> LockedPackage | str:
    """A wheel of the project; or a problem."""
    file = resolver.project / pin.path
    sha256, size = file_fingerprint(file), file.stat().st_size
    package = LockedPackage(pin.name, pin.version, sha256, path=pin.path, size=size)
    return _other_hash(package, pin.path, allowed) or package


def _of_index(
    pin: Pin, found: IndexedPackage, allowed: frozenset[str] | None, resolver: Resolver
) -> LockedPackage | str:
    """The wheel of a version, preferably with an ``allowed`` hash; or a problem."""
    named = [file for file in found.wheels if file.sha256 in allowed] if allowed else []
    best = best_wheel(named or found.wheels, python=resolver.python, platform=resolver.platform)
    if best is None:
        return resolver.no_wheel(pin.name, pin.version)
    if found.yanked is not None:
        return _yanked(pin, best, found.yanked, resolver)
    address = _public_address(best, resolver.settings)
    package = LockedPackage(pin.name, pin.version, best.sha256, file=address, size=best.size)
    return _other_hash(package, best.filename, allowed) or package


def _public_address(file: PackageFile, settings: IndexSettings) -> str:
    """The address of a wheel; its bare name where that is of this machine, or holds a secret."""
    parts = urlsplit(file.url)
    address = bare_address(file.url)
    secrets = (*settings.passwords, *secrets_in(os.environ))
    is_public = (
        not parts.query
        and unquote(posixpath.basename(parts.path)) == file.filename
        and re.fullmatch(r"[!-~]+", address)
        and not re.search(r'["\\]', address)
        and redacted(unquote(address), secrets) == unquote(address)
    )
    return address if is_public else file.filename


def _other_hash(package: LockedPackage, file: str, allowed: frozenset[str] | None) -> str | None:
    """The problem of a file whose hash the requirements do not name."""
    if allowed is None or package.sha256 in allowed:
        return None
    named = ", ".join(sorted(allowed)) or "no one hash in all of their lines"
    return (
        f"{package}: {file} has the sha256 {package.sha256}, and the requirements name {named}. Either "
        "the file was replaced, or the --hash is another file's: find out which before you change it"
    )


def _yanked(pin: Pin, file: PackageFile, reason: str, resolver: Resolver) -> str:
    why = f": {reason.rstrip('.')}" if reason else ""
    newest = ""
    with suppress(GitopsMlError):
        newest = f", such as {resolver.wheels_of([pin.name])[pin.name].version}"
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
