"""Imports of a session: which one gives an object, and what the session set in a module."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from gitops_ml.capture.collected import Import, attribute
from gitops_ml.capture.statements import Source, Statement, last_name, touched

_SETS = re.compile(
    r"seed|manual_seed\w*|set(?!trace|profile)\w+|filterwarnings|simplefilter|register\w*|add_\w+|use_\w+"
    r"|(?:en|dis)able_\w+|unregister\w*|addLevelName|field_size_limit|tzset|basicConfig|copyreg\.(?:pickle|constructor)|patch_\w+|tqdm\.pandas"
)
"""Functions that set something for the whole process."""
WHOLE_PROCESS = frozenset({"codecs", "copyreg", "locale", "socket", "sys", "warnings"})
"""Modules whose settings act on code that does not import them."""


def import_of(statement: Statement, name: str) -> Import | None:
    """The import that binds ``name``."""
    match statement.node:
        case ast.Import(names=aliases):
            found = [a for a in aliases if (a.asname or a.name.partition(".")[0]) == name]
            return Import(found[0].name, None, name) if found else None
        case ast.ImportFrom(module=str(module), names=aliases, level=0):
            found = [a for a in aliases if (a.asname or a.name) == name]
            return Import(module, found[0].name, name) if found else None
    return None


def imports_of(statement: Statement) -> list[Import]:
    """All imports of a statement, but not those of everything in a module."""
    found = (import_of(statement, name) for name in sorted(statement.binds))
    return [each for each in found if each is not None]


def gives(imported: Import, value: Any) -> bool:
    """Whether importing this now gives ``value``."""
    module, attribute = imported.module, imported.attribute
    if attribute is None:
        return sys.modules.get(module if imported.is_alias else imported.name, ...) is value
    holder = sys.modules.get(module)
    return getattr(holder, attribute, sys.modules.get(f"{module}.{attribute}", ...)) is value


def roots(statement: Statement, name: str) -> list[Import]:
    """Each ``import name`` and ``import name.more`` of a statement: they bind the same module."""
    node = statement.node
    return [
        Import(alias.name, None, name)
        for alias in (node.names if isinstance(node, ast.Import) else ())
        if not alias.asname and alias.name.partition(".")[0] == name
    ]


def imported_as(name: str, value: Any, source: Source, *, owner: str) -> Import | None:
    """An import that gives ``value``: that of the session, or one from its module and name."""
    for statement in reversed(source.binding(name)):
        found = import_of(statement, name)
        if found and gives(found, value):
            return found
    module = str(attribute(value, "__module__") or owner)
    qualname = str(attribute(value, "__qualname__") or "")
    is_there = getattr(sys.modules.get(module), qualname, None) is value
    if qualname and module != owner and is_there:
        return Import(module, qualname, name)
    return _starred(name, value, source)


def _starred(name: str, value: Any, source: Source) -> Import | None:
    """The ``from module import *`` that gives ``value``."""
    for statement in source.statements:
        node = statement.node
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found = Import(node.module, name, name)
            if any(alias.name == "*" for alias in node.names) and gives(found, value):
                return found
    return None


@dataclass(frozen=True)
class Settings:
    """What statements set for the whole process."""

    namespace: Mapping[str, Any]
    source: Source

    def among(self, tops: Collection[str], *, imported: Collection[str]) -> Iterator[Statement]:
        """Those that set something in some modules, and the imports of others for what they do."""
        for statement in self.source.statements:
            is_setting = not self.of(statement).isdisjoint(tops)
            tops_of = {each.module.partition(".")[0] for each in imports_of(statement)}
            if is_setting or not tops_of.isdisjoint(imported):
                yield statement

    def of(self, statement: Statement) -> set[str]:
        """The modules in which a statement sets something, such as ``numpy`` for ``np.random.seed(0)``."""
        match statement.node:
            case ast.Import() | ast.ImportFrom():
                return _enabled(statement.node)
            case ast.Assign(value=ast.Call() as call) if found := self._set_by(call):
                return found  # old = np.seterr(all="raise")
            case ast.Expr(value=ast.Call(func=ast.Name(id="setattr" | "delattr"))):
                return self._changed(statement.node)
            case ast.Assign() | ast.AugAssign() | ast.Delete() | ast.For() | ast.While() | ast.If():
                return self._changed(statement.node)
            case ast.Expr(value=ast.Call() as call):
                return self._set_by(call) | self._by_function(call)
            case ast.Try():
                return self._by_body(statement.node)
            case (
                ast.ClassDef(decorator_list=decorators) | ast.FunctionDef(decorator_list=decorators)
            ):
                return {name for each in decorators for name in self._set_by(each)}
        return set()

    def _changed(self, node: ast.stmt) -> set[str]:
        changed = {_module_of(self._global(name, node)) for name in touched(node)}
        return {each for each in changed if each != "sys"}

    def _global(self, name: str, node: ast.stmt) -> Any:
        """What a name is in a statement: some functions import what they change."""
        imports = [each for each in ast.walk(node) if isinstance(each, ast.Import)]
        names = {
            alias.asname or alias.name.partition(".")[0]: alias.name
            for each in imports
            for alias in each.names
        }
        return sys.modules.get(names[name]) if name in names else self.namespace.get(name)

    def _set_by(self, node: ast.expr, within: ast.stmt | None = None) -> set[str]:
        """The module in which a call, or a decorator, sets something."""
        function = node.func if isinstance(node, ast.Call) else node
        start = _start(function) or ""
        value = self._global(start, within) if within else self.namespace.get(start)
        module = _module_of(value)
        names = (
            last_name(function),
            f"{module}.{getattr(value, '__name__', '')}",
            f"{module}.{last_name(function)}",
        )
        return {module} if module and any(map(_SETS.fullmatch, names)) else set()

    def _by_function(self, call: ast.Call) -> set[str]:
        """Those in which a function of the session sets something, and does nothing else."""
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        made = [each.node for each in self.source.binding(name) if each.is_definition]
        return self._by_body(made[-1]) if made and isinstance(made[-1], ast.FunctionDef) else set()

    def _by_body(self, node: ast.stmt) -> set[str]:
        body = list(_steps(node))
        if not all(map(_can_set, body)):
            return set()
        calls = (each.value for each in body if isinstance(each, ast.Expr))
        return self._changed(node) | {name for each in calls for name in self._set_by(each, node)}


def _enabled(node: ast.Import | ast.ImportFrom) -> set[str]:
    """``from sklearn.experimental import enable_iterative_imputer``."""
    module = node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
    last = (each.name.rpartition(".")[2] for each in node.names)
    return {module.partition(".")[0]} if any(map(_SETS.fullmatch, last)) else set()


def _steps(node: ast.stmt) -> Iterator[ast.stmt]:
    """The statements inside of one, but not those of functions that it defines."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.ExceptHandler):
            yield from _steps(each)  # type: ignore[arg-type] # it has a body, too
        elif isinstance(each, ast.stmt):
            yield each
            if not isinstance(each, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                yield from _steps(each)


def _can_set(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Name(id="setattr" | "delattr"))):
            return True
        case ast.Expr(value=ast.Call(func=function)):
            return _SETS.fullmatch(last_name(function)) is not None
        case ast.Assign(targets=targets, value=value):
            is_kept = not any(isinstance(each, ast.Call) for each in ast.walk(value))
            return is_kept or all(
                isinstance(each, ast.Attribute | ast.Subscript) for each in targets
            )
        case ast.Expr(value=ast.Constant()) | ast.Return(value=None):
            return True
    return isinstance(node, _PASSIVE)


_PASSIVE = (
    ast.If, ast.For, ast.Try, ast.Pass, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef,
)  # fmt: skip


def _start(function: ast.expr) -> str | None:
    """``np`` for ``np.random.seed`` and `logging` for ``logging.getLogger("a").setLevel``.

    What a call makes is another object, except where it gets one by constants.
    """
    while isinstance(function, ast.Attribute | ast.Call):
        if isinstance(function, ast.Call):
            is_get = getattr(function.func, "attr", "").startswith("get")
            if not (is_get and all(isinstance(each, ast.Constant) for each in function.args)):
                return None
            function = function.func
        else:
            function = function.value
    return function.id if isinstance(function, ast.Name) else None


def _module_of(value: Any) -> str:
    """The top-level module that is, or that has, a value."""
    if isinstance(value, ModuleType):
        return value.__name__.partition(".")[0]
    is_named = attribute(value, "__qualname__") is not None
    return str(attribute(value, "__module__")).partition(".")[0] if is_named else ""
