"""Compare live functions and classes of a session with their source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from gitops_ml.capture.collected import unwrapped
from gitops_ml.capture.comparison.code_digest import codes_of, is_same_code
from gitops_ml.capture.statements import Statement

_DEFERRED = 0x1000000
"""``CO_FUTURE_ANNOTATIONS``."""


def is_made_by(value: Any, statement: Statement) -> bool:
    """Whether ``statement``, a class or a function, is the one that made ``value``."""
    return any(_is_made_by(value, statement, flags) for flags in (0, _DEFERRED))


def _is_made_by(value: Any, statement: Statement, flags: int) -> bool:
    module = ast.Module([statement.node], [])
    compiled = compile(module, "<source>", "exec", flags=flags, dont_inherit=True)
    name = getattr(statement.node, "name", "")
    # Inside of another code object, if it has type parameters.
    written = next(code for code in codes_of(compiled) if code.co_name == name)
    if isinstance(value, type):
        return value.__name__ == written.co_name and _same_class(value, written)
    function = unwrapped(value)
    # The result of a decorator can be anything.
    return not isinstance(function, FunctionType) or is_same_code(function.__code__, written)


def _same_class(live: type, written: CodeType) -> bool:
    methods = {code.co_name: code for code in _inside(written)}
    for name, value in vars(live).items():
        function = getattr(value, "__func__", value)
        if not isinstance(function, FunctionType) or name not in methods:
            continue
        if function.__code__.co_name == name and not is_same_code(function.__code__, methods[name]):
            return False
    own = {name for name in methods if not name.startswith("<")}
    return all(name in vars(live) or _mangled(live, name) in vars(live) for name in own)


def _mangled(live: type, name: str) -> str:
    return f"_{live.__name__.lstrip('_')}{name}"


def _inside(code: CodeType) -> Iterator[CodeType]:
    """What a class body defines; type parameters are a code object around a definition."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _inside(each) if each.co_name.startswith("<generic") else (each,)


def agrees(value: Any, statement: Statement) -> bool:
    """Whether the literals in a definition are those of ``value``: class attributes and defaults."""
    node = statement.node
    if isinstance(value, type) and isinstance(node, ast.ClassDef):
        held = vars(value)
        return all(_is_literal(each, held[name]) for name, each in _assigned(node) if name in held)
    function = unwrapped(value)
    if isinstance(function, FunctionType) and isinstance(node, ast.FunctionDef):
        return all(map(_is_literal, node.args.defaults, function.__defaults__ or ()))
    return True


def _assigned(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for each in node.body:
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            yield each.targets[0].id, each.value
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.value:
            yield each.target.id, each.value


def _is_literal(node: ast.expr, value: Any) -> bool:
    """Whether an expression, if it is a literal, equals ``value``."""
    try:
        return bool(ast.literal_eval(node) == value)
    except Exception:  # noqa: BLE001 - no literal, or a value with an == of its own
        return True
