"""Read build contexts: a project directory and the installed ``predictor_base`` as image inputs."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import attrgetter
from pathlib import Path

from gitops_ml.errors import InvalidDocument, Problem
from gitops_ml.image.content_hash import InputFile
from gitops_ml.image.tree import (
    IGNORE_FILES,
    MANIFEST_NAMES,
    Fault,
    IgnoreRules,
    LeftOut,
    Tree,
    ignore_rules,
    is_manifest,
    walk,
    with_fingerprints,
)
from gitops_ml.image.wildcards import BadPattern
from gitops_ml.oci.layers import LayerEntry
from gitops_ml.packages.local_files import (
    DEPENDENCY_FILES,
    EVERYTHING,
    needs_pip,
    pip_files,
    requirement_problems,
    secret_problems,
    shell_files,
)
from gitops_ml.packages.requirement_files import requirements_text
from gitops_ml.release.spec import Dependencies, PredictorSpec
from gitops_ml.runtime.runtime_package import APP, RUNTIME, runtime_directory
from gitops_ml.system.project_files import (
    LARGEST_IGNORE_FILE,
    LARGEST_TEXT,
    CannotRead,
    is_file,
    open_file,
    read_file,
    read_text,
)

_RUNTIME_SUFFIXES = (".py", ".txt", ".html", ".typed")
"""The files in the wheel of ``predictor_base``: a checkout has the same image inputs as a wheel."""
_MANIFEST_PEEK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """The inputs of one API's image, and where they are on this machine.

    The paths of ``inputs`` start with a key of ``roots``: ``app/`` is the project directory,
    ``runtime/`` holds ``predictor_base``. Neither can hide the other.
    """

    inputs: tuple[InputFile, ...]
    """Everything that the content hash reads, sorted."""
    roots: Mapping[str, Path]
    dependencies: Dependencies
    """With ``None`` for each file that the project does not have."""
    pip_files: tuple[str, ...]
    """What `pip install -r` reads, relative to the project; ``.`` where it may read anything."""
    needs_pip: tuple[str, ...]
    """Requirements that are not wheels, neither of an index nor of the project."""
    shell_files: tuple[str, ...]
    """What ``dependencies.sh`` reads, in the same way."""
    left_out: tuple[LeftOut, ...]
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class RuntimeFiles:
    """The files of the runtime, which every image has."""

    directory: Path
    """The folder of ``predictor_base``."""
    inputs: tuple[InputFile, ...]


def read_context(
    directory: Path,
    *,
    predictor: PredictorSpec,
    manifests: Iterable[str] = ("api.yaml",),
    cache: Path | None = None,
    runtime: RuntimeFiles | None = None,
    is_complete: bool = True,
) -> BuildContext:
    """Everything that enters the image of ``predictor``, whose project is ``directory``.

    ``manifests`` are names of files in ``directory`` that describe APIs. They stay out, and so do
    other manifests, other APIs' directories (those with a manifest) and virtual environments, unless an
    ignore file has ``!path``. The ``cache`` never enters an image. ``runtime`` is the result of
    `read_runtime_files`, which many images share. Where nothing is built, the folder need not be
    ``is_complete``: pointers of Git LFS are warnings then, since a job may have no other files.

    Raises:
        InvalidDocument: files that cannot enter an image, bad ignore files, missing dependency files,
            a missing predictor, secrets among the requirements. All of them at once.
        GitopsMlError: ``predictor_base`` is not installed.
    """
    tree, rules = _project_tree(directory, set(manifests), cache)
    entries, faults = tree.entries, tree.faults
    paths = {entry.path for entry in entries}
    dependencies, missing = _dependencies(directory, predictor, paths, rules)
    faults += missing
    read = _reader(directory, paths, faults)
    references = _references(dependencies, read, paths)
    problems = [*_text_problems(directory, dependencies, read)]
    if not faults:
        entries, faults = with_fingerprints(directory, entries)
    pointers = [] if is_complete else [fault for fault in faults if fault.is_pointer]
    faults = [fault for fault in faults if fault not in pointers]
    if faults or problems:
        raise InvalidDocument((*(_problem(directory, fault) for fault in faults), *problems))
    runtime = runtime or read_runtime_files()
    return BuildContext(
        inputs=tuple(sorted((*_under(APP, entries), *runtime.inputs), key=attrgetter("path"))),
        roots={APP: directory, RUNTIME: runtime.directory},
        dependencies=dependencies,
        pip_files=references[0],
        needs_pip=references[1],
        shell_files=references[2],
        left_out=tuple(sorted(tree.left_out, key=lambda entry: entry.path)),
        warnings=(
            *_warnings(directory, paths),
            *(replace(_problem(directory, fault), severity="warning") for fault in pointers),
        ),
    )


def runtime_context(runtime: RuntimeFiles) -> BuildContext:
    """The context of an image that has the runtime and no project."""
    return BuildContext(
        inputs=runtime.inputs,
        roots={RUNTIME: runtime.directory},
        dependencies=Dependencies(pip=None, conda=None, shell=None, system=()),
        pip_files=(),
        needs_pip=(),
        shell_files=(),
        left_out=(),
        warnings=(),
    )


def _project_tree(
    directory: Path, manifests: set[str], cache: Path | None
) -> tuple[Tree, IgnoreRules]:
    """The files of the project that enter an image, sorted, and the rules that decided it."""
    rules, faults = _rules(directory)
    inside = _cache_inside(directory, cache)
    if inside:
        rules = rules.without(inside.path, reason=inside.reason)
    tree = walk(directory, rules=rules, found=lambda path, names: _found(directory, path, names))
    own_manifests = _manifests(directory, tree, manifests, rules)
    entries = sorted(entry for entry in tree.entries if entry.path not in own_manifests)
    left_out = [*tree.left_out, *([inside] if inside else [])]
    return Tree(entries, left_out, faults + tree.faults), rules


def build_inputs(
    context: BuildContext, *, dockerfile: str, settings: Mapping[str, bytes]
) -> Iterator[LayerEntry]:
    """The entries of the build context of an engine.

    ``settings`` are the files of `build_settings`, which only the build sees.
    """
    yield LayerEntry(path="Dockerfile", source=dockerfile.encode())
    for name in sorted(settings):
        yield LayerEntry(path=f"settings/{name}", source=settings[name])
    yield from context_entries(context, {APP: APP, RUNTIME: RUNTIME})


def context_entries(context: BuildContext, places: Mapping[str, str]) -> Iterator[LayerEntry]:
    """The inputs below the roots in ``places``, each root at its place; files by name."""
    for file in context.inputs:
        root, _, path = file.path.partition("/")
        if root not in places:
            continue
        place = f"{places[root]}/{path}"
        if file.is_link:
            yield LayerEntry(path=place, source=file.fingerprint)
        else:
            yield LayerEntry(
                path=place,
                source=context.roots[root] / path,
                is_executable=file.is_executable,
                fingerprint=file.fingerprint,
            )


def read_runtime_files() -> RuntimeFiles:
    """The files of the runtime, which every image has.

    Raises:
        InvalidDocument: one of them cannot enter an image.
        GitopsMlError: ``predictor_base`` is not installed.
    """
    directory = runtime_directory()
    package = directory / "predictor_base"
    tree = walk(package, rules=ignore_rules(()), found=lambda path, names: None)
    wanted = [e for e in tree.entries if e.path.endswith(_RUNTIME_SUFFIXES)]
    files, faults = with_fingerprints(package, sorted(wanted), batch=len(wanted) or 1)
    if faults := faults + tree.faults:
        raise InvalidDocument(_problem(package, fault) for fault in faults)
    # installers set different permissions, and none of these files is a program
    plain = (replace(f, path=f"predictor_base/{f.path}", is_executable=False) for f in files)
    return RuntimeFiles(directory, tuple(_under(RUNTIME, plain)))


def _rules(directory: Path) -> tuple[IgnoreRules, list[Fault]]:
    """The rules of the project, without those of ignore files that have faults."""
    texts: list[tuple[str, str]] = []
    faults: list[Fault] = []
    for name in IGNORE_FILES:
        try:
            text = read_text(directory / name, limit=LARGEST_IGNORE_FILE, inside=(directory,))
            ignore_rules([(name, text)])
            texts.append((name, text))
        except FileNotFoundError:
            continue
        except CannotRead as error:
            faults.append(Fault(name, error.reason))
        except BadPattern as error:
            faults.append(Fault(name, str(error), error.line))
    return ignore_rules(texts), faults


def _cache_inside(directory: Path, cache: Path | None) -> LeftOut | None:
    """The cache, where it is a folder of the project, as in some CI systems."""
    if cache is None or not cache.is_dir():
        return None
    path = os.path.relpath(os.path.realpath(cache), os.path.realpath(directory))
    if path == "." or path.partition(os.sep)[0] == "..":
        return None
    return LeftOut(path=Path(path).as_posix(), reason="it is the cache of gitops-ml")


def _found(directory: Path, path: str, names: Sequence[str]) -> str | None:
    if "pyvenv.cfg" in names:
        return "it is a virtual environment (pyvenv.cfg)"
    if "conda-meta" in names:
        return "it is a conda environment (conda-meta)"
    for name in MANIFEST_NAMES:
        if name in names and _is_manifest_file(directory, posixpath.join(path, name)):
            return f"it is another API's directory ({name})"
    return None


def _is_manifest_file(directory: Path, path: str) -> bool:
    try:
        with open_file(directory / path, inside=(directory,)) as file:
            return is_manifest(file.read(_MANIFEST_PEEK).decode("utf-8", "replace"))
    except OSError:
        return False


def _manifests(directory: Path, tree: Tree, names: set[str], rules: IgnoreRules) -> set[str]:
    """The manifests in the root that no ignore file includes again."""
    candidates = [
        entry.path
        for entry in tree.entries
        if entry.path in names
        or (
            "/" not in entry.path
            and entry.path.endswith((".yaml", ".yml"))
            and _is_manifest_file(directory, entry.path)
        )
    ]
    return {
        path
        for path in candidates
        if rules.decide(path, is_directory=False, found="it is a manifest").is_excluded
    }


def _dependencies(
    directory: Path, predictor: PredictorSpec, paths: set[str], rules: IgnoreRules
) -> tuple[Dependencies, list[Fault]]:
    """The dependency files of the project, and faults for those that are missing."""
    declared = predictor.dependencies
    found: dict[str, str | None] = {}
    faults = [*_missing(directory, "predictor.path", predictor.path, paths, rules)]
    for kind in ("pip", "conda", "shell"):
        name = getattr(declared, kind)
        path = posixpath.normpath(name) if name else None
        is_there = path is not None and is_file(directory / path)
        found[kind] = path if is_there else None
        if path and (is_there or path not in DEPENDENCY_FILES.values()):
            faults += _missing(directory, f"predictor.dependencies.{kind}", path, paths, rules)
    return Dependencies(
        pip=found["pip"], conda=found["conda"], shell=found["shell"], system=declared.system
    ), faults


def _missing(
    directory: Path, field: str, name: str, paths: set[str], rules: IgnoreRules
) -> Iterator[Fault]:
    path = posixpath.normpath(name)
    if path in paths:
        return
    if not is_file(directory / path):
        yield Fault(path, f"{field} names it, but there is no such file in the project")
    else:
        reason = rules.decide(path, is_directory=False).reason or "the directory it is in"
        yield Fault(path, f"{field} names it, but it is left out by {reason}: add !{path} there")


_Read = Callable[[str], "str | None"]
"""The text of a dependency file, or ``None`` where the context has no such file."""


def _reader(directory: Path, paths: set[str], faults: list[Fault]) -> _Read:
    """Reads each text once; an unreadable file is a fault."""

    @cache
    def read(path: str) -> str | None:
        if path not in paths:
            return None
        try:
            content = read_file(directory / path, limit=LARGEST_TEXT, inside=(directory,))
        except OSError as error:
            faults.append(Fault(path, error.strerror or str(error)))
            return None
        return requirements_text(content)

    return read


def _references(
    dependencies: Dependencies, read: _Read, paths: set[str]
) -> tuple[tuple[str, ...], ...]:
    """The paths that ``dependencies`` read: by pip, to be built, by the script."""
    pip = pip_files(dependencies.pip, read=read) if dependencies.pip else ()
    built = needs_pip(dependencies.pip, read=read) if dependencies.pip else ()
    shell: tuple[str, ...] = ()
    if dependencies.shell:
        script = f"{dependencies.shell}\n{read(dependencies.shell) or ''}"
        shell = shell_files(script, paths=paths)
    inside = {parent for path in paths for parent in _with_parents(path)} | {EVERYTHING}
    return tuple(path for path in pip if path in inside), built, shell


def _text_problems(directory: Path, dependencies: Dependencies, read: _Read) -> Iterator[Problem]:
    """Secrets in the dependency files, and references in them to places outside of the project."""

    def place(path: str) -> str:
        return os.fspath(directory / path)

    names = (dependencies.pip, dependencies.conda, dependencies.shell)
    yield from secret_problems(filter(None, names), read=read, place=place)
    if dependencies.pip:
        yield from requirement_problems([dependencies.pip], read=read, place=place)


def _with_parents(path: str) -> Iterator[str]:
    while path:
        yield path
        path = posixpath.dirname(path)


def _warnings(directory: Path, paths: set[str]) -> Iterator[Problem]:
    if ".env" in paths:
        message = (
            "goes into the image, as in Cortex, where everyone who may pull the image can read it: "
            "put secrets under `secrets`, or list .env in .gitopsmlignore"
        )
        place = os.fspath(directory / ".env")
        yield Problem(place, 0, 0, "", message, rule="context", severity="warning")


def _under(prefix: str, files: Iterable[InputFile]) -> Iterator[InputFile]:
    return (replace(file, path=f"{prefix}/{file.path}") for file in files)


def _problem(directory: Path, fault: Fault) -> Problem:
    place = os.fspath(directory / fault.path)
    return Problem(place, fault.line, int(fault.line > 0), "", fault.message, rule="context")
