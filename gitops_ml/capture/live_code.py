"""Compare live objects of a session with their source: the same code, the same import."""

from __future__ import annotations

import ast
import dis
import inspect
import sys
from itertools import zip_longest
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.module_text import Import

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.capture.statements import Statement

_DEFERRED = 0x1000000
"""``CO_FUTURE_ANNOTATIONS``."""
_CALLING = frozenset({"PUSH_NULL", "PRECALL", "CACHE", "NOP", "EXTENDED_ARG"})
_SAME = {"LOAD_METHOD": "LOAD_ATTR", "CALL_METHOD": "CALL", "CALL_FUNCTION": "CALL"}


def is_made_by(value: Any, statement: Statement) -> bool:
    """Whether ``statement``, a class or a function, is the one that made ``value``."""
    return any(_is_made_by(value, statement, flags) for flags in (0, _DEFERRED))


def _is_made_by(value: Any, statement: Statement, flags: int) -> bool:
    module = ast.Module([statement.node], [])
    compiled = compile(module, "<source>", "exec", flags=flags, dont_inherit=True)
    (written,) = [c for c in _codes(compiled) if c.co_name == getattr(statement.node, "name", "")][
        :1
    ]
    if isinstance(value, type):
        return value.__name__ == written.co_name and _same_class(value, written)
    function = inspect.unwrap(value) if callable(value) else value
    # The result of a decorator can be anything.
    return not isinstance(function, FunctionType) or _same(function.__code__, written)


def _same_class(live: type, written: CodeType) -> bool:
    methods = {code.co_name: code for code in _codes(written)}
    for name, value in vars(live).items():
        function = getattr(value, "__func__", value)
        if not isinstance(function, FunctionType) or name not in methods:
            continue
        if function.__code__.co_name == name and not _same(function.__code__, methods[name]):
            return False
    own = {name for name in methods if not name.startswith("<")}
    return all(name in vars(live) or _mangled(live, name) in vars(live) for name in own)


def _mangled(live: type, name: str) -> str:
    return f"_{live.__name__.lstrip('_')}{name}"


def _same(one: CodeType, other: CodeType) -> bool:
    """Whether both have the same instructions; their line numbers may differ."""
    if one.co_varnames != other.co_varnames:
        return False
    pairs = zip_longest(_steps(one), _steps(other))
    return all(a is not None and b is not None and _same_step(a, b) for a, b in pairs)


def _steps(code: CodeType) -> Iterator[tuple[str, Any]]:
    """The instructions of a code object. Nearby imports decide which of two opcodes calls a method."""
    for step in dis.get_instructions(code):
        if step.opname not in _CALLING:
            is_jump = step.opcode in dis.hasjrel or step.opcode in dis.hasjabs
            yield _SAME.get(step.opname, step.opname), None if is_jump else step.argval


def _same_step(one: tuple[str, Any], other: tuple[str, Any]) -> bool:
    (name, argument), (other_name, other_argument) = one, other
    if isinstance(argument, CodeType) and isinstance(other_argument, CodeType):
        return name == other_name and _same(argument, other_argument)
    return (name, type(argument), argument) == (other_name, type(other_argument), other_argument)


def _codes(code: CodeType) -> Iterator[CodeType]:
    return (each for each in code.co_consts if isinstance(each, CodeType))


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
        return sys.modules.get(module if imported.is_alias else imported.name) is value
    holder = sys.modules.get(module)
    return getattr(holder, attribute, sys.modules.get(f"{module}.{attribute}")) is value
