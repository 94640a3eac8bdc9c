"""What is packaged beside the code of a class: the user's own modules, and files that they read by name."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from gitops_ml.capture.collected import attribute
from gitops_ml.capture.live_session import Session
from gitops_ml.capture.package_secrets import secret_reasons
from gitops_ml.capture.statements import imported_modules, last_name
from gitops_ml.errors import Unpackageable
from gitops_ml.models.saved import is_of_session
from gitops_ml.packages.installed import own_file
from gitops_ml.system.project_files import HEAD, pointer_fault


@dataclass(frozen=True, slots=True)
class OwnModules:
    """The files of own modules by path, and every module that they import."""

    files: dict[str, bytes]
    modules: frozenset[str]
    left_out: tuple[str, ...]
    tops: frozenset[str]
    named: tuple[str, ...] = ()
    """Files that the source names, and that are not in the package."""
    taken: tuple[str, ...] = ()
    """Those that are."""

    def has(self, module: str) -> bool:
        return module.partition(".")[0] in self.tops


def follow(modules: Iterable[str], *, folder: Path) -> OwnModules:
    """The own modules among ``modules``, and those that they import in turn.

    A package is included with all its small files; large data files are left out. Paths of those are
    reported relative to ``folder``.
    """
    files: dict[str, bytes] = {}
    left_out: dict[str, None] = {}
    tops: set[str] = set()
    queue = sorted(modules)
    seen: set[str] = set()
    while queue:
        module = queue.pop(0)
        if module in seen:
            continue
        seen.add(module)
        top = module.partition(".")[0]
        place = own_file(top)
        if place is None:
            continue
        if top not in tops:
            tops.add(top)
            for path, file in _entries(top, place):
                if file.stat().st_size > LARGEST and not path.endswith(".py"):
                    left_out[os.path.relpath(file, folder)] = None
                else:
                    files[path] = file.read_bytes()
        queue += sorted(_imports_of(module, files) - seen)
    return OwnModules(files, frozenset(seen), tuple(left_out), frozenset(tops))


def own_of_session(session: Session) -> dict[str, str]:
    """The text of each of the user's own modules that statements of a session have imported."""
    imports = (each for each in session.source.statements if each.is_import)
    tops = {name.partition(".")[0] for each in imports for name in imported_modules(each.text)}
    own = {top for top in tops - _OURS if own_file(top) is not None}
    files = {
        name: str(attribute(module, "__file__"))
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in own
    }
    return {
        name: Path(file).read_text("utf-8", "replace")
        for name, file in files.items()
        if file.endswith(".py") and os.path.isfile(file)  # noqa: PTH113 - any text
    }


_OURS = frozenset({"gitops_ml", "predictor_base"})


def _entries(top: str, place: Path) -> Iterator[tuple[str, Path]]:
    """The path in the package and on disk of a module, or of each file of its folder."""
    folder = place.parent if place.name == "__init__.py" else place
    if not folder.is_dir():
        yield (f"{top}{place.suffix}", place)
        return
    for directory, names, found in os.walk(folder):
        names[:] = sorted(name for name in names if not _is_left_out(name))
        for name in sorted(found):
            file = Path(directory, name)
            if not _is_left_out(name) and not name.endswith((".pyc", ".ipynb")) and file.is_file():
                yield (f"{top}/{file.relative_to(folder).as_posix()}", file)


def _is_left_out(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def _imports_of(module: str, files: dict[str, bytes]) -> set[str]:
    """The imports of an own module and its parents; relative imports are made absolute."""
    found: set[str] = set()
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        package = "/".join(parts[:count])
        for path in (f"{package}/__init__.py", f"{package}.py"):
            if path in files:
                found |= _imports_of_file(path, files[path], files)
    return found


def _imports_of_file(path: str, content: bytes, files: dict[str, bytes]) -> set[str]:
    text = content.decode("utf-8", "replace")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found = imported_modules(text)
    folder = path.split("/")[:-1]
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = folder[: len(folder) - node.level + 1] if node.level else []
        base = base + (node.module.split(".") if node.module else [])
        if not base:
            continue
        found.add(".".join(base))
        # `from package import module`
        for alias in node.names:
            inner = "/".join([*base, alias.name])
            if f"{inner}.py" in files or f"{inner}/__init__.py" in files:
                found.add(".".join([*base, alias.name]))
    return found


LARGEST = 1 << 20
"""Bytes of a file, or of a folder, beside code; what is larger is a model or data."""
_MOST_FILES = 200
_LONGEST = 200
"""Characters of a text that may be the name of a file."""
_LONGEST_MODE = 3
_DEEPEST = 8
_OF_A_SYSTEM = re.compile("/(dev(?!/shm/)|etc|proc|sys|usr|opt|lib|bin)/")
_READS = re.compile(
    r"open|read\w*|load\w*|from_\w+|fromfile|loadtxt|genfromtxt|imread|memmap|connect|\w+Session|iterdir|r?glob|listdir"
)
"""Functions and methods that read the file or the folder that they get."""
_WRITES = re.compile(
    r"to_\w+|write\w*|dump\w*|save\w*|mkdir|makedirs|touch|unlink|remove|FileHandler"
)
_JOINS = frozenset(
    {"Path", "PurePath", "PosixPath", "join", "joinpath", "str", "fspath", "abspath", "resolve"}
)
_ASKS = frozenset({"exists", "isfile", "is_file", "isdir", "is_dir"})


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """What a text names of this machine."""

    taken: dict[str, bytes] = field(default_factory=dict)
    """Files that travel beside the code, at the same path."""
    refused: tuple[str, ...] = ()
    """What is read, and cannot be in a package."""
    others: tuple[str, ...] = ()
    """Files that are named, and may not be needed."""


def named_files(
    texts: Iterable[str], folders: tuple[Path, ...], packaged: Iterable[str]
) -> NamedFiles:
    """The files that texts of Python name, relative to one of the folders, and that a package lacks."""
    known = set(packaged)
    taken: dict[str, bytes] = {}
    refused, others = set(), set()
    for text in texts:
        for name, is_read in sorted(_named(text).items()):
            place = _place(name, folders, is_read=is_read)
            path = PurePosixPath(os.path.normpath(name)).as_posix()
            if place is None or path in known:
                continue
            is_below = not path.startswith(("/", "../", "~")) and path not in (".", "..")
            content = _content(place, path) if is_below else None
            if content is not None:
                taken.update({each: held for each, held in content.items() if each not in known})
            elif is_read:
                refused.add(name)
            else:
                others.add(name)
    return NamedFiles(taken, tuple(sorted(refused)), tuple(sorted(others - refused)))


def _place(name: str, folders: tuple[Path, ...], *, is_read: bool) -> Path | None:
    if not 0 < len(name) <= _LONGEST or not name.isprintable() or _OF_A_SYSTEM.match(name):
        return None
    if not is_read and not (PurePosixPath(name).suffix or "/" in name):
        return None
    for folder in folders:
        place = Path(os.path.normpath(folder / Path(name).expanduser()))
        try:
            if place.is_file():
                return place
            # A whole path is of this machine, also where only another text is made of it.
            is_whole = name.startswith("/") and name.count("/") > 1
            if (is_whole or (is_read and place not in folders)) and place.is_dir():
                return place
        except (OSError, ValueError):
            return None
    return None


def _content(place: Path, path: str) -> dict[str, bytes] | None:
    """The files at a place, unless they are too large or too many."""
    files = {path: place} if place.is_file() else dict(_inside(place, path))
    try:
        size = sum(each.stat().st_size for each in files.values())
        if size > LARGEST or len(files) > _MOST_FILES:
            return None
        return {name: each.read_bytes() for name, each in files.items()}
    except OSError:
        return None


def _inside(folder: Path, path: str) -> Iterator[tuple[str, Path]]:
    count = 0
    for directory, names, found in os.walk(folder):
        names[:] = sorted(name for name in names if name[0] != "." and name != "__pycache__")
        for name in sorted(found):
            file = Path(directory, name)
            count += 1
            if count > _MOST_FILES + 1:
                return
            if file.is_file():
                yield f"{path}/{file.relative_to(folder).as_posix()}", file


def _named(text: str) -> dict[str, bool]:
    try:
        return _Names(ast.parse(text)).found()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}


class _Names:
    """The paths in a text, as far as constants make them."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.bound = dict(_bound(tree))
        self.quiet = set(_quiet(tree))

    def found(self) -> dict[str, bool]:
        """Each path, and whether something reads it."""
        found: dict[str, bool] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant | ast.BinOp | ast.JoinedStr | ast.Call):
                path = self._path(node) if id(node) not in self.quiet else None
                if path:
                    found.setdefault(path, False)
            if isinstance(node, ast.Call) and _reads(node):
                given = [*node.args[:1], *(each.value for each in node.keywords[:1])]
                given += [node.func.value] if isinstance(node.func, ast.Attribute) else []
                found.update((path, True) for each in given if (path := self._path(each)))
        return found

    def _path(self, node: ast.AST, depth: int = 0) -> str | None:
        """The path that an expression makes; what it begins with may be unknown, such as a folder."""
        if depth > _DEEPEST:
            return None
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in self.bound:
                return self._path(self.bound[name], depth + 1)
            case ast.BinOp(left=left, op=ast.Div() | ast.Add() as by, right=right):
                joint = "/" if isinstance(by, ast.Div) else ""
                return self._joined([left, right], joint, depth)
            case ast.JoinedStr(values=parts):
                return self._joined(parts, "", depth)
            case ast.FormattedValue():
                return self._path(node.value, depth)
            case ast.Call(func=ast.Attribute(value=first, attr="joinpath" | "resolve"), args=parts):
                return self._joined([first, *parts], "/", depth)
            case ast.Call(func=function, args=parts) if last_name(function) in _JOINS:
                return self._joined(parts, "/", depth)
            case ast.Call(func=function, args=[_, default]) if last_name(function) == "get":
                found = self._path(default, depth + 1)
                return found if found and not found.startswith("/") else None
        return None

    def _joined(self, parts: Sequence[ast.AST], joint: str, depth: int) -> str | None:
        texts = [self._path(each, depth + 1) for each in parts]
        while texts and texts[0] is None:
            texts.pop(0)
        if not texts or None in texts:
            return None
        text = joint.join(each for each in texts if each)
        return text if len(texts) == len(parts) else text.lstrip("/")


def _bound(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[target], value=value) if last_name(target):
                yield last_name(target), value
            case ast.arguments(args=parameters, defaults=defaults) if defaults:
                names = (each.arg for each in parameters[-len(defaults) :])
                yield from zip(names, defaults, strict=True)


def _quiet(tree: ast.Module) -> Iterator[int]:
    """The constants that are no files to read: docstrings, and what is written or only asked for."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant() as text):
                yield id(text)
            case ast.Call() if _writes(node) or last_name(node.func) in _ASKS:
                yield from (id(each) for part in (node, *node.args) for each in ast.walk(part))


def _reads(call: ast.Call) -> bool:
    return _READS.fullmatch(last_name(call.func)) is not None and not _writes(call)


def _writes(call: ast.Call) -> bool:
    modes: list[ast.expr] = [*call.args[1:2]]
    modes += [each.value for each in call.keywords if each.arg == "mode"]
    if last_name(call.func) == "open":
        if isinstance(call.func, ast.Attribute):
            modes += call.args[:1]
        texts = [str(each.value) for each in modes if isinstance(each, ast.Constant)]
        return any(set("wax") & set(text) and len(text) <= _LONGEST_MODE for text in texts)
    return _WRITES.fullmatch(last_name(call.func)) is not None


def beside(
    name: str, code: Mapping[str, bytes], modules: Iterable[str], session: Session
) -> OwnModules:
    """The own modules of the package of a class, and the files that they and its source read by name.

    Raises:
        Unpackageable: some hold secrets or only pointers, or cannot be in a package.
    """
    own = follow(modules, folder=session.folder)
    packaged = {**own.files, **code}
    texts = [
        each.decode("utf-8", "replace") for path, each in packaged.items() if path.endswith(".py")
    ]
    named = named_files(
        texts, (Path.cwd(), session.folder.resolve()), {*packaged, "requirements.txt"}
    )
    files = {**named.taken, **own.files}
    faults = ((path, pointer_fault(content[:HEAD])) for path, content in sorted(files.items()))
    reasons = [f"{path} {fault}" for path, fault in faults if fault]
    reasons += [
        f"{path} {_OF_A_SESSION}" for path, each in named.taken.items() if is_of_session(each)
    ]
    reasons += [f"it reads {path} of this machine, {_NOT_TAKEN}" for path in named.refused]
    if reasons := [*secret_reasons(files), *reasons]:
        raise Unpackageable(name, reasons)
    return replace(own, files=files, named=named.others, taken=tuple(sorted(named.taken)))


_OF_A_SESSION = (
    "is a pickle of objects of a session, whose classes a replica has under another name: give it as "
    'models={"name": "file"}'
)
_NOT_TAKEN = (
    "and a package takes files of at most 1 MiB below the working folder: give it as "
    'models={"name": "file"} and read it below config["name"], or read it in a cell'
)
