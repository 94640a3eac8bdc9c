"""Package a class as a folder with a predictor, as a person would write it.

The folder holds readable source with everything it needs, the user's own modules, and requirements
with the installed versions. A class without source is pickled, and a note reports that.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gitops_ml.capture.beside import OwnModules, beside
from gitops_ml.capture.collected import Collected, NoSource
from gitops_ml.capture.comparison.proof import CannotImport, Proof, Staged, reason, surroundings
from gitops_ml.capture.live_session import MAIN, Session, current_session, refuse_replaced_builtins
from gitops_ml.capture.of_machine import reads_local_time, variables_set
from gitops_ml.capture.package_secrets import is_secret, session_secrets
from gitops_ml.capture.packaged_class import Package, keep_package
from gitops_ml.capture.statements import imported_modules
from gitops_ml.errors import Unpackageable, UsageError
from gitops_ml.models.saved import modules_in_pickle, texts_in_pickle
from gitops_ml.packages import installed
from gitops_ml.packages.installed import Requirements, malformed, naming_a_file, requirements_for
from gitops_ml.packages.local_files import IN_A_LAYER
from gitops_ml.runtime.runtime_package import PodEnvironment, import_problem
from gitops_ml.system.memory import Memory
from gitops_ml.system.memory import key as memory_key
from gitops_ml.system.secret_scan import has_secret_shape

_RUNTIME = "predictor_base"
_UNPICKLING = '''\
"""{name}, pickled by Python {version}: {why}."""

from pathlib import Path

import cloudpickle

{name} = cloudpickle.loads(Path(__file__).with_name("predictor.pickle").read_bytes())
'''
_KNOWN_TO_MODELS = '''

def _make_known(*found):
    """Pickled models name these as the session did that made them."""
    import sys

    for each in found:
        setattr(sys.modules["__main__"], each.__name__, each)


_make_known({names})
'''
_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


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
    of_models: Iterable[str] = (),
    proof: Proof | None = None,
) -> Package:
    """The folder of ``predictor``, a class, or a function for a task, which is equal to the session.

    ``modules`` are needed in addition to its imports, for example by its models. ``of_models`` are the
    classes and functions of the session in pickled models. ``proof`` is how it is compared.

    Raises:
        Unpackageable: it needs something that files cannot hold; has all reasons.
        UsageError: ``predictor`` is not a class, or requirements are not a list.
    """
    refuse_replaced_builtins(predictor)
    _check(predictor, requirements, conda_packages)
    session = current_session()
    modules = tuple(modules)
    proof = replace(proof or Proof(), modules=frozenset(each.partition(".")[0] for each in modules))
    try:
        found = _source_of(predictor, api, session, proof, frozenset(of_models))
    except CannotImport as failed:
        folder, _ = keep_package(api, failed.staged.files, environ=os.environ)
        place = folder / failed.staged.path
        raise _not_importable(predictor.__name__, place, failed.problem) from None
    imported = {*found.modules, *modules}
    own = beside(predictor.__name__, found.files, imported, session)
    lines = requirements_for(
        requirements,
        needed=_needed({*imported, *own.modules}, own),
        installed=installed.installed_version,
        elsewhere=[name.partition("=")[0].strip() for name in conda_packages],
    )
    _refuse_unknown(predictor.__name__, lines, requirements)
    files = {**own.files, **found.files, "requirements.txt": lines.text().encode()}
    if conda_packages:
        files["conda-packages.txt"] = "".join(f"{each}\n" for each in conda_packages).encode()
    folder, fingerprint = keep_package(api, files, environ=os.environ)
    pod = proof.pod
    return Package(
        folder=folder,
        fingerprint=fingerprint,
        path=found.path,
        class_name=predictor.__name__,
        source=found.source,
        requirements=lines,
        python=_PYTHON,
        pickled=found.pickled,
        left_out=own.left_out,
        doubts=found.doubts,
        named_files=own.named,
        taken_files=own.taken,
        zone=_zone(found.source, pod),
        variables=tuple(sorted(variables_set(session.source) - {*pod.env, *pod.secrets})),
    )


def _zone(text: str, pod: PodEnvironment) -> str:
    is_other = time.timezone != 0 or time.daylight != 0
    return time.tzname[0] if is_other and "TZ" not in pod.env and reads_local_time(text) else ""


def check_package(
    found: Package, *, settings: Mapping[str, Any], pod: PodEnvironment, memory: Memory
) -> None:
    """Import the predictor in a clean interpreter; a success is cached.

    Raises:
        Unpackageable: it cannot be imported, or the runtime cannot serve it.
    """
    facts = json.dumps([settings, pod.facts(), sys.version], sort_keys=True)
    # The files include the versions of everything that is imported.
    key = memory_key("clean import", found.fingerprint, facts)
    if memory.recall([key]):
        return
    if problem := import_problem(found.folder, settings=settings, pod=pod):
        raise _not_importable(found.class_name, found.folder / found.path, problem)
    memory.keep({key: "well"})


def _not_importable(name: str, file: Path, problem: str) -> Unpackageable:
    return Unpackageable(
        name,
        [
            f"a clean Python {platform.python_version()} cannot import the package ({file}):\n{problem}"
        ],
    )


def _check(
    predictor: type | Callable[..., Any], requirements: Sequence[str], conda: Sequence[str]
) -> None:
    if not hasattr(predictor, "__qualname__"):
        raise UsageError(
            f"predictor must be the class itself, not a {type(predictor).__name__}: "
            "predictor=MyPredictor"
        )
    for name, lines in (("requirements", requirements), ("conda_packages", conda)):
        if isinstance(lines, str):
            raise UsageError(f'{name} must be a list: {name}=["{lines}"]')
        if not isinstance(lines, Collection) or not all(isinstance(each, str) for each in lines):
            raise UsageError(f'{name} must be a list of strings: {name}=["…"], not {lines!r:.80}')
        if any(map(has_secret_shape, lines)):
            raise UsageError(f"{name}: {IN_A_LAYER}")
    if wrong := malformed(requirements):
        raise UsageError(
            f"requirements: {wrong!r} is not a valid requirement; write a line of requirements.txt, "
            "such as numpy==2.1.0"
        )
    if named := naming_a_file(requirements):
        raise UsageError(
            f"requirements: {named!r} names a file, which is not in the package: give its "
            'lines instead, such as Path("requirements.txt").read_text().splitlines()'
        )


def _source_of(
    predictor: type | Callable[..., Any],
    api: str,
    session: Session,
    proof: Proof,
    of_models: frozenset[str],
) -> _Files:
    if predictor.__module__ != MAIN:
        return _of_module(predictor, session, proof)
    title = f"The predictor of {api}, as it was collected from the session that deployed it."
    try:
        found = proof.collect(
            predictor,
            session,
            title=title,
            stage=lambda each: _staged(predictor, _of_text(each), session),
            also=of_models,
        )
    except NoSource as missing:
        if of_models:
            names = ", ".join(sorted(of_models))
            why = f"its models hold {names}, and the source of {missing.name} cannot be had"
            raise Unpackageable(predictor.__name__, [f"{why}: define them in a module"]) from None
        why = f"the source of {missing.name} cannot be had in this session"
        secrets = session_secrets(session.namespace, session.source)
        pickled = _pickled(predictor, why=why, secrets=secrets)
        _refuse_differences(predictor, pickled, session, proof)
        return pickled
    return _of_text(_with_models(found, of_models))


def _with_models(found: Collected, of_models: frozenset[str]) -> Collected:
    """The module makes what pickled models need known by the names that it had in the session."""
    if not of_models:
        return found
    names = ", ".join(sorted(of_models))
    return replace(found, text=f"{found.text}{_KNOWN_TO_MODELS.format(names=names)}")


def _refuse_differences(
    predictor: type | Callable[..., Any], found: _Files, session: Session, proof: Proof
) -> None:
    staged = _staged(predictor, found, session)
    place = surroundings(predictor.__module__, session, staged)
    if differing := proof.differences(predictor, place, staged):
        raise Unpackageable(predictor.__name__, map(reason, differing))


def _staged(predictor: type | Callable[..., Any], found: _Files, session: Session) -> Staged:
    own = beside(predictor.__name__, found.files, found.modules, session)
    return Staged(found.path, {**own.files, **found.files}, own.tops)


def _of_text(found: Collected) -> _Files:
    path = "predictor.py"
    if any(module.partition(".")[0] == "predictor" for module in found.modules):
        path = "session_predictor.py"
    files, modules = {**found.files, path: found.text.encode()}, frozenset(found.modules)
    return _Files(path, found.text, files, modules, doubts=found.doubts)


def _of_module(predictor: type | Callable[..., Any], session: Session, proof: Proof) -> _Files:
    """A class of a module, as its file has it.

    Raises:
        Unpackageable: the session has changed it, or its file has changed since the import.
    """
    found = _module_files(predictor)
    if installed.own_file(predictor.__module__) is not None:
        _refuse_differences(predictor, found, session, proof)
    return found


def _module_files(predictor: type | Callable[..., Any]) -> _Files:
    """A top-level module is the file itself, another is imported by a short file."""
    module, name = predictor.__module__, predictor.__qualname__
    if "<locals>" in name or "." in name:
        raise Unpackageable(
            predictor.__name__,
            [f"{name} is defined inside a class or function: define it at the top level"],
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
    import cloudpickle

    name = predictor.__name__
    try:
        content = cloudpickle.dumps(predictor)
    except Exception as error:
        # The __reduce__ of any object can raise any exception.
        raise Unpackageable(name, [f"{why}, and it cannot be pickled either: {error}"]) from error
    if is_secret("", texts_in_pickle(content), known=secrets):
        raise Unpackageable(
            name,
            [
                "it holds a secret of the session, and many people can read a package: list it "
                'under "secrets" of the API and read it from os.environ in __init__'
            ],
        )
    text = _UNPICKLING.format(name=name, version=platform.python_version(), why=why)
    files = {"predictor.py": text.encode(), "predictor.pickle": content}
    modules = modules_in_pickle(content) | {"cloudpickle"}
    return _Files("predictor.py", text, files, modules, why)


def _needed(modules: Iterable[str], own: OwnModules) -> dict[str, tuple[tuple[str, str], ...]]:
    """The pins of installed modules, by top-level module; several distributions can share one."""
    needed: dict[str, dict[tuple[str, str], None]] = {}
    for module in sorted(modules):
        top = module.partition(".")[0]
        if not installed.is_of_python(module) and top != _RUNTIME and not own.has(module):
            pins = needed.setdefault(top, {})
            for each in installed.distributions_of(module):
                pins[each.name, each.pin] = None
    return {top: tuple(pins) for top, pins in needed.items()}


def _refuse_unknown(name: str, found: Requirements, given: Iterable[str]) -> None:
    # A given requirement that is not installed here can provide any module.
    if any(installed.installed_version(line) is None for line in given) or not found.unknown:
        return
    belongs = "installed here but belongs to no package: add the package that"
    lacks = "not installed here: install it, or add the package that"
    raise Unpackageable(
        name,
        [
            f"it imports {module}, which is {belongs if installed.is_importable(module) else lacks} "
            "provides it to requirements=[…]"
            for module in found.unknown
        ],
    )
