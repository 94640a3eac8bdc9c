"""Imports of a session: which one gives an object, and what the session set in a module."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from gitops_ml.capture.collected import attribute
from gitops_ml.capture.module_text import Import
from gitops_ml.capture.statements import Source, Statement

_SETS = re.compile(
    r"seed|manual_seed\w*|set(?!trace|profile)\w+|filterwarnings|simplefilter|register\w*|add_\w+|use_\w+"
    r"|(?:en|dis)able_\w+|tzset|basicConfig|copyreg\.(?:pickle|constructor)"
)
"""Functions that set something for the whole process."""
WHOLE_PROCESS = frozenset({"codecs", "copyreg", "locale", "socket", "sys", "warnings"})
"""Modules whose settings act on code that does not import them."""


def import_of(statement: Statement, name: str) -> Import | None:
    """The import that binds ``name``."""
    node = statement.node
    if isinstance(node, ast.Import):
        for alias in node.names:
            if (alias.asname or alias.name.partition(".")[0]) == name:
                return Import(alias.name, None, name)
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                return Import(node.module, alias.name, name)
    return None


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
    """What statements set for the whole process, in some modules."""

    namespace: Mapping[str, Any]
    source: Source
    modules: Collection[str]

    def has(self, statement: Statement) -> bool:
        """Whether a statement sets something in one of the modules, such as ``np.random.seed(0)``."""
        match statement.node:
            case ast.Assign(value=ast.Call() as call) if self._sets(call):
                return True  # old = np.seterr(all="raise")
            case ast.Expr(value=ast.Call(func=ast.Name(id="setattr" | "delattr"))):
                return self._changes(statement)
            case ast.Assign() | ast.AugAssign() | ast.Delete() | ast.For() | ast.While() | ast.If():
                return self._changes(statement)
            case ast.Expr(value=ast.Call() as call):
                return self._sets(call) or self._runs_settings(call)
            case (
                ast.ClassDef(decorator_list=decorators) | ast.FunctionDef(decorator_list=decorators)
            ):
                return any(map(self._sets, decorators))
        return False

    def _changes(self, statement: Statement) -> bool:
        changed = (_module_of(self.namespace.get(name)) for name in statement.touches)
        return any(each in self.modules for each in changed if each != "sys")

    def _sets(self, node: ast.expr) -> bool:
        """Whether a call, or a decorator, sets something in one of the modules."""
        function = node.func if isinstance(node, ast.Call) else node
        value = self.namespace.get(_start(function) or "")
        module = _module_of(value)
        names = (
            _last(function),
            f"{module}.{getattr(value, '__name__', '')}",
            f"{module}.{_last(function)}",
        )
        return module in self.modules and any(map(_SETS.fullmatch, names))

    def _runs_settings(self, call: ast.Call) -> bool:
        """Whether it calls a function of the session that only sets: ``def seed_all(n): …``."""
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        made = [each.node for each in self.source.binding(name) if each.is_definition]
        if not made or not isinstance(made[-1], ast.FunctionDef):
            return False
        body = [each for each in ast.walk(made[-1]) if isinstance(each, ast.stmt)][1:]
        calls = [each.value for each in body if isinstance(each, ast.Expr)]
        return all(map(_can_set, body)) and any(map(self._sets, calls))


def _can_set(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=function)):
            return _SETS.fullmatch(_last(function)) is not None
        case ast.Assign(targets=targets):
            return all(isinstance(each, ast.Attribute | ast.Subscript) for each in targets)
    return isinstance(node, ast.If | ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _last(function: ast.expr) -> str:
    return str(getattr(function, "attr", None) or getattr(function, "id", ""))


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
