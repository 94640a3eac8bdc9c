"""Imports of a session: which one gives an object, and what the session set in a module."""

from __future__ import annotations

import ast
import re
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.module_text import Import

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gitops_ml.capture.statements import Source, Statement

_SETS = re.compile(r"seed|manual_seed|set_\w+|set[A-Z]\w*|setlocale|filterwarnings|simplefilter")
"""Functions that set something for the whole process."""


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
    module = str(getattr(value, "__module__", None) or owner)
    qualname = str(getattr(value, "__qualname__", None) or "")
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


def is_setting(
    statement: Statement, namespace: Mapping[str, Any], modules: Collection[str]
) -> bool:
    """Whether a statement sets something in one of ``modules``, such as ``np.random.seed(0)``."""
    match statement.node:
        case ast.Assign() | ast.AugAssign():
            names = statement.touches
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=called))) if _SETS.fullmatch(called):
            names = statement.acts_on
        case ast.Expr(value=ast.Call(func=ast.Name(id=called))) if _SETS.fullmatch(called):
            names = frozenset({called})
        case _:
            return False
    return any(_module_of(namespace.get(name)) in modules for name in names)


def _module_of(value: Any) -> str:
    """The top-level module that is, or that has, a value."""
    if isinstance(value, ModuleType):
        return value.__name__.partition(".")[0]
    is_named = hasattr(value, "__qualname__")
    return str(getattr(value, "__module__", "")).partition(".")[0] if is_named else ""
