"""A class that somebody works on becomes a folder with a predictor, as people would write it.

Readable source with what it needs, the person's own modules beside it, and requirements with the
versions that are installed here. What cannot be had as source is pickled, which is said.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops_ml.capture import own_modules
from gitops_ml.capture.live_secrets import is_secret, session_secrets
from gitops_ml.capture.live_session import MAIN, Session, current_session
from gitops_ml.capture.live_source import Collected, NoSource, collect
from gitops_ml.capture.package_folder import keep_package
from gitops_ml.capture.statements import imported_modules
from gitops_ml.errors import Unpackageable, UsageError
from gitops_ml.models.saved import modules_in_pickle, texts_in_pickle
from gitops_ml.packages import installed
from gitops_ml.packages.local_files import IN_A_LAYER
from gitops_ml.packages.requirements import Requirements, malformed, naming_a_file, requirements_for
from gitops_ml.runtime.clean_import import import_problem
from gitops_ml.system.memory import key as memory_key
from gitops_ml.system.secret_scan import has_secret_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from gitops_ml.system.memory import Memory

_RUNTIME = "predictor_base"
_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A packaged predictor."""

    api: str
    folder: Path
    fingerprint: str
    """Of the files; equal classes have equal ones."""
    path: str
    """The file with the class, in the folder."""
    class_name: str
    source: str
    """The text that a reviewer should read."""
    requirements: Requirements
    python: str
    """The Python that the class was made with, ``3.12``."""
    pickled: str | None = None
    """Why it had to be pickled, which ties it to this version of Python."""
    own_files: tuple[str, ...] = ()
    """The person's own modules that came along."""
    left_out: tuple[str, ...] = ()
    """Files beside them that are too large for code."""
    doubts: tuple[str, ...] = ()
    """Names in the source whose values may be secrets."""

    def notes(self) -> tuple[str, ...]:
        """What people should know about it."""
        notes = []
        if self.pickled:
            notes.append(
                f"{self.class_name} is pickled, so it runs on Python {self.python} only: "
                f"{self.pickled}"
            )
        if self.requirements.added:
            notes.append(f"added to the requirements: {', '.join(self.requirements.added)}")
        if self.doubts:
            notes.append(
                f"is there a secret in {', '.join(self.doubts)}? Then name it under `secrets` in the "
                "API and read it from os.environ: what is packaged can be read by many"
            )
        if self.left_out:
            notes.append(f"too large to come along as code: {', '.join(self.left_out)}")
        return tuple(notes)


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of a package, before its requirements are known."""

    path: str
    source: str
    files: Mapping[str, bytes]
    modules: frozenset[str]
    pickled: str | None = None
    doubts: tuple[str, ...] = ()


def package(
    api: str,
    predictor: type | Callable[..., Any],
    *,
    requirements: Sequence[str] = (),
    conda_packages: Sequence[str] = (),
    modules: Iterable[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> Package:
    """The folder with ``predictor``, a class, or a function for a task.

    ``modules`` are needed besides those that it imports, such as by its models.

    Raises:
        Unpackageable: it needs what files cannot hold; all reasons at once.
        UsageError: this is no class, or a list of requirements is none.
    """
    _check(predictor, requirements, conda_packages)
    session = current_session()
    found = _source_of(predictor, api, session)
    imported = {*found.modules, *modules}
    own = own_modules.follow(imported, folder=session.folder)
    needed = {
        module: tuple((each.name, each.pin) for each in installed.distributions_of(module))
        for module in {*imported, *own.modules}
        if not installed.is_of_python(module)
        and module.partition(".")[0] != _RUNTIME
        and not own.has(module)
    }
    lines = requirements_for(
        requirements,
        needed=_by_top(needed),
        installed=installed.installed_version,
        elsewhere=[name.partition("=")[0].strip() for name in conda_packages],
    )
    _refuse_unknown(predictor.__name__, lines, requirements)
    files = {**own.files, **found.files, "requirements.txt": lines.text().encode()}
    if conda_packages:
        files["conda-packages.txt"] = "".join(f"{each}\n" for each in conda_packages).encode()
    folder, fingerprint = keep_package(api, files, environ=environ)
    return Package(
        api=api,
        folder=folder,
        fingerprint=fingerprint,
        path=found.path,
        class_name=predictor.__name__,
        source=found.source,
        requirements=lines,
        python=_PYTHON,
        pickled=found.pickled,
        own_files=tuple(sorted(own.files)),
        left_out=own.left_out,
        doubts=found.doubts,
    )


def check_package(
    found: Package, *, settings: Mapping[str, Any], env: Mapping[str, str], memory: Memory
) -> None:
    """Import the predictor where nothing of the session is; what went well once is not done again.

    Raises:
        Unpackageable: it cannot be imported, or it is not what the runtime serves.
    """
    facts = json.dumps([settings, env, sys.executable, sys.version], sort_keys=True)
    # The versions of everything that is imported are among the files.
    key = memory_key("clean import", found.fingerprint, facts)
    if memory.recall([key]):
        return
    if problem := import_problem(found.folder, settings=settings, env=env):
        raise Unpackageable(
            found.class_name,
            [
                f"a fresh Python {platform.python_version()} cannot import what was packaged "
                f"({found.folder / found.path}):\n{problem}"
            ],
        )
    memory.keep({key: "well"})


def _check(
    predictor: type | Callable[..., Any], requirements: Sequence[str], conda: Sequence[str]
) -> None:
    if not hasattr(predictor, "__qualname__"):
        raise UsageError(
            f"predictor must be the class itself and not a {type(predictor).__name__}: "
            "predictor=MyPredictor"
        )
    for name, words in (("requirements", requirements), ("conda_packages", conda)):
        if isinstance(words, str):
            raise UsageError(f'{name} must be a list: {name}=["{words}"]')
        if not isinstance(words, Collection) or not all(isinstance(each, str) for each in words):
            raise UsageError(f'{name} must be a list of texts: {name}=["…"], and not {words!r:.80}')
        if any(map(has_secret_shape, words)):
            raise UsageError(f"{name}: {IN_A_LAYER}")
    if wrong := malformed(requirements):
        raise UsageError(
            f"requirements: {wrong!r} is no requirement; write a package as in requirements.txt, "
            "such as numpy==2.1.0"
        )
    if named := naming_a_file(requirements):
        raise UsageError(
            f"requirements: {named!r} names a file, and the package has none of that name: give its "
            'lines instead, such as Path("requirements.txt").read_text().splitlines()'
        )


def _source_of(predictor: type | Callable[..., Any], api: str, session: Session) -> _Files:
    if predictor.__module__ != MAIN:
        return _of_module(predictor)
    title = f"The predictor of {api}, as it was collected from the session that deployed it."
    try:
        found = collect(predictor, namespace=session.namespace, source=session.source, title=title)
    except NoSource as missing:
        return _pickled(
            predictor,
            why=f"the source of {missing.name} cannot be had in this session",
            secrets=session_secrets(session.namespace, session.source),
        )
    return _of_text(found)


def _of_text(found: Collected) -> _Files:
    path = "predictor.py"
    if any(module.partition(".")[0] == "predictor" for module in found.modules):
        path = "session_predictor.py"
    files, modules = {path: found.text.encode()}, frozenset(found.modules)
    return _Files(path, found.text, files, modules, doubts=found.doubts)


def _of_module(predictor: type | Callable[..., Any]) -> _Files:
    """A class of a module: the module comes along, and is the file where nothing stands above it."""
    module, name = predictor.__module__, predictor.__qualname__
    if "<locals>" in name or "." in name:
        raise Unpackageable(
            predictor.__name__,
            [f"{name} is defined inside of something: define it at the top level"],
        )
    file = installed.own_file(module)
    text = file.read_text("utf-8") if file is not None and file.is_file() else ""
    if file is not None and "." not in module and file.name == f"{module}.py":
        modules = frozenset(imported_modules(text))
        return _Files(file.name, text, {file.name: text.encode()}, modules)
    shim = f"from {module} import {name}\n\n__all__ = [{name!r}]\n"
    path = "session_predictor.py" if module.partition(".")[0] == "predictor" else "predictor.py"
    return _Files(path, text or shim, {path: shim.encode()}, frozenset({module}))


def _pickled(predictor: type | Callable[..., Any], *, why: str, secrets: frozenset[str]) -> _Files:
    try:
        import cloudpickle
    except ImportError as error:
        raise Unpackageable(
            predictor.__name__, [f"{why}; install cloudpickle, or write the class to a file"]
        ) from error
    try:
        content = cloudpickle.dumps(predictor)
    except Exception as error:
        # Whatever the objects do that it reaches: nobody can list what __reduce__ raises.
        raise Unpackageable(
            predictor.__name__, [f"{why}, and it cannot be pickled either: {error}"]
        ) from error
    name = predictor.__name__
    if is_secret("", texts_in_pickle(content), known=secrets):
        raise Unpackageable(
            name,
            [
                "it holds a secret of the session, and what is packaged can be read by many: name it "
                'under "secrets" in the API and read it from os.environ in __init__'
            ],
        )
    text = (
        f'"""{name}, pickled by Python {platform.python_version()}: {why}."""\n\n'
        "from pathlib import Path\n\n"
        "import cloudpickle\n\n"
        f'{name} = cloudpickle.loads(Path(__file__).with_name("predictor.pickle").read_bytes())\n'
    )
    files = {"predictor.py": text.encode(), "predictor.pickle": content}
    modules = modules_in_pickle(content) | {"cloudpickle"}
    return _Files("predictor.py", text, files, modules, why)


def _by_top(
    needed: Mapping[str, Sequence[tuple[str, str]]],
) -> dict[str, tuple[tuple[str, str], ...]]:
    """By top-level module, unless several distributions share it."""
    merged: dict[str, dict[tuple[str, str], None]] = {}
    for module, pins in needed.items():
        merged.setdefault(module.partition(".")[0], {}).update(dict.fromkeys(pins))
    return {module: tuple(pins) for module, pins in merged.items()}


def _refuse_unknown(name: str, found: Requirements, asked: Iterable[str]) -> None:
    # What is asked for and not installed here may bring any module.
    from_elsewhere = [line for line in asked if installed.installed_version(line) is None]
    if found.unknown and not from_elsewhere:
        raise Unpackageable(name, [_unknown(module) for module in found.unknown])


def _unknown(module: str) -> str:
    if installed.is_importable(module):
        return (
            f"it imports {module}, which is here, and of no package that could be installed "
            "elsewhere: name the one that brings it in requirements=[…]"
        )
    return (
        f"it imports {module}, which is not installed here: install it, or name the package that "
        "brings it in requirements=[…]"
    )
