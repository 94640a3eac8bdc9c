"""What a session put into libraries: functions and classes of its own, and attributes that it assigned."""

from __future__ import annotations

import ast
import builtins
import functools
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gitops_ml.capture.comparison.process_state import NOT_LOADED, SHELLS
from gitops_ml.capture.statements import Source

_OF_THE_PROCESS = frozenset({"sys", "os", "time", "builtins", "__main__", "__mp_main__"})
_HOOKS = frozenset({"excepthook", "displayhook", "unraisablehook"})
_MISSING = object()


def value_at(reference: str) -> Any:
    """The value of ``module:Class.attribute``, as its holder has it; else its absence, as a text."""
    module, _, name = reference.partition(":")
    holder: Any = sys.modules.get(module, _MISSING)
    if holder is _MISSING:
        return NOT_LOADED
    *path, last = name.split(".")
    for part in path:
        holder = _held(holder).get(part)
    return _held(holder).get(last, "nothing")


def _held(value: Any) -> Mapping[str, Any]:
    is_holder = issubclass(type(value), type | types.ModuleType)
    return vars(value) if is_holder else {}


def origin_of(value: Any) -> str:
    """The module of a function, or of the class that an accessor makes."""
    inner = _inner(getattr(value, "_accessor", value))
    return str(getattr(inner, "__module__", None) or "")


def _inner(value: Any) -> Any:
    kind = type(value)
    if kind in (staticmethod, classmethod):
        return value.__func__
    if kind is property:
        return value.fget
    return value.func if kind is functools.cached_property else value


def replaced_builtins() -> list[str]:
    """The names that the session gave to builtins; it uses no builtin itself, as any can be replaced."""
    main = sys.modules["__main__"].__dict__
    return [name for name, value in builtins.__dict__.items() if _is_made_in(main, value)]


def replaced_in_python(namespace: Mapping[str, Any], source: Source) -> list[str]:
    """What the session replaced in modules of Python, which this package uses as well: ``json.dumps``."""
    found = {
        each.replace(":", ".")
        for each in Patches(namespace, source, frozenset()).references(frozenset())
    }
    for module in _OF_THE_PROCESS - {"builtins", "__main__", "__mp_main__"}:
        held = vars(sys.modules[module])
        found |= {f"{module}.{name}" for name, each in held.items() if _is_made_in(namespace, each)}
    hooks = {f"sys.{name}" for name in _HOOKS}
    return sorted(
        each for each in found - hooks if each.partition(".")[0] in sys.stdlib_module_names
    )


def _is_made_in(main: Mapping[str, Any], value: Any) -> bool:
    while value.__class__ is types.MethodType:
        value = value.__func__
    while value.__class__ is functools.partial:
        value = value.func
    if value.__class__ is types.FunctionType:
        return value.__globals__ is main
    return _MAIN in (value.__class__.__module__, value.__class__ is _TYPE and value.__module__)


_MAIN = "__main__"
_TYPE = type


def origin_of_builtin(name: str) -> str:
    """The library that replaced a builtin; empty for those of Python and of the shell."""
    value = getattr(builtins, name, None)
    module = str(getattr(value, "__module__", None) or type(value).__module__)
    return "" if module.partition(".")[0] in _OF_BUILTINS else module


_OF_BUILTINS = frozenset({"builtins", "io", "_io", "_sitebuiltins"}) | SHELLS


@dataclass(frozen=True)
class Patches:
    """Where a session changed libraries."""

    namespace: Mapping[str, Any]
    source: Source
    own: frozenset[str]
    """The user's own top-level modules."""

    def references(self, used: frozenset[str]) -> tuple[str, ...]:
        """All of them; of what another library put there only the names that are ``used``."""
        found = {*self._by_value(used), *self._by_statement()}
        return tuple(sorted(each for each in found if each.split(".")[-1] not in _HOOKS))

    # -- what is there now

    def _by_value(self, used: frozenset[str]) -> Iterator[str]:
        seen = set()
        for name, module in list(sys.modules.items()):
            if not issubclass(type(module), types.ModuleType) or self._is_ours(name):
                continue
            for key, value in list(vars(module).items()):
                if self._is_of_session(value):
                    yield f"{name}:{key}"
                elif issubclass(type(value), type) and id(value) not in seen:
                    seen.add(id(value))
                    yield from self._in_class(value, used)

    def _in_class(self, kind: type, used: frozenset[str]) -> Iterator[str]:
        held = vars(kind)
        module = str(held.get("__module__"))
        top = module.partition(".")[0]
        if self._is_ours(module) or not kind.__flags__ & _HEAP:
            return
        keys = [
            key
            for key, each in list(held.items())
            if type(each) in _OF_CODE and self._is_of_session(_inner(each))
        ]
        named = (key for key in list(held) if key in used and key[:2] != "__")
        foreign = (key for key in named if self._is_foreign(held[key], top))
        yield from (_reference(kind, key) for key in (*keys, *foreign))

    def _is_foreign(self, value: Any, top: str) -> bool:
        """Whether a library put it into another one, as ``tqdm.pandas()`` does."""
        origin = origin_of(value).partition(".")[0]
        return origin not in ("", top, "builtins") and origin not in sys.stdlib_module_names

    def _is_of_session(self, value: Any) -> bool:
        if type(value) is types.FunctionType:
            return id(value.__globals__) in self._namespaces
        return issubclass(type(value), type) and self._is_own(vars(value).get("__module__"))

    @functools.cached_property
    def _namespaces(self) -> frozenset[int]:
        own = (each for name, each in list(sys.modules.items()) if self._is_own(name))
        return frozenset({id(self.namespace), *(id(_held(each)) for each in own)})

    def _is_own(self, module: object) -> bool:
        return module == self._owner or str(module).partition(".")[0] in self.own

    @functools.cached_property
    def _owner(self) -> str:
        return str(self.namespace.get("__name__", "__main__"))

    def _is_ours(self, module: str) -> bool:
        return module.partition(".")[0] in _OF_THE_PROCESS or self._is_own(module)

    # -- what statements assign

    def _by_statement(self) -> Iterator[str]:
        for statement in self.source.statements:
            imported: dict[str, Any] = {}
            for node in ast.walk(statement.node):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    imported.update(_bound_by(node))
            for chain in _assigned(statement.node):
                root = imported.get(chain[0], self.namespace.get(chain[0]))
                yield from self._reference_of(root, chain[1:])

    def _reference_of(self, holder: Any, chain: tuple[str, ...]) -> Iterator[str]:
        *path, last = chain
        for part in path:
            holder = _held(holder).get(part)
        if issubclass(type(holder), types.ModuleType):
            if not self._is_ours(holder.__name__):
                yield f"{holder.__name__}:{last}"
        elif issubclass(type(holder), type) and not self._is_ours(
            str(vars(holder).get("__module__"))
        ):
            yield _reference(holder, last)


_OF_CODE = frozenset(
    {types.FunctionType, staticmethod, classmethod, property, functools.cached_property, type}
)
_HEAP = 1 << 9
"""The flag of types that Python code can change."""


def _reference(kind: type, name: str) -> str:
    """By the shortest name of the module that has the class."""
    module, qualname = str(vars(kind).get("__module__")), kind.__qualname__
    public = module.partition(".")[0]
    is_public = _held(sys.modules.get(public)).get(qualname) is kind
    return f"{public if is_public else module}:{qualname}.{name}"


def _bound_by(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Any]]:
    for each in node.names:
        if isinstance(node, ast.ImportFrom):
            yield each.asname or each.name, _held(sys.modules.get(node.module or "")).get(each.name)
        else:
            module = each.name if each.asname else each.name.partition(".")[0]
            yield each.asname or module, sys.modules.get(module)


def _assigned(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """The names in each ``a.b.c = …`` and ``setattr(a.b, "c", …)``."""
    for each in ast.walk(node):
        match each:
            case ast.Call(
                func=ast.Name(id="setattr" | "delattr"),
                args=[target, ast.Constant(value=str(name)), *_],
            ):
                if chain := _chain(target):
                    yield (*chain, name)
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                if chain := _chain(each):
                    yield chain


def _chain(node: ast.AST) -> tuple[str, ...]:
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=value, attr=name) if chain := _chain(value):
            return (*chain, name)
    return ()
