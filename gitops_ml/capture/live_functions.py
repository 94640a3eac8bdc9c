"""Live functions and classes of a session: which statement made them, and what caches of them keep from before."""

from __future__ import annotations

import ast
import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from types import CodeType, FunctionType
from typing import Any

from gitops_ml.capture.collected import attribute, unwrapped
from gitops_ml.capture.comparison.code_digest import codes_of, is_same_code
from gitops_ml.capture.statements import Source, Statement, root_name

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
    mangled = f"_{live.__name__.lstrip('_')}"
    return all(name in vars(live) or f"{mangled}{name}" in vars(live) for name in own)


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


_DEEPEST = 4
_MOST = 10_000
"""Values that are looked at."""


def outdated_reasons(
    names: Iterable[str], namespace: Mapping[str, Any], source: Source
) -> Iterator[str]:
    """Why functions among ``names`` may answer otherwise than they would now, and what to do.

    A package has no kept answers. Those of the session are the same, unless something that the function
    uses was bound or changed after its definition.
    """
    for name in sorted(names):
        made = source.binding(name)
        for path in _with_answers(name, namespace.get(name)) if made else ():
            if changed := _changed_since(
                name, made[-1], (namespace, source), is_cache=path == name
            ):
                yield (
                    f"{path} keeps answers from before {changed} changed, which a package does not have: "
                    f"run {path}.cache_clear(), or the cell that makes {name} again"
                )


def _with_answers(name: str, value: Any) -> Iterator[str]:
    """The functions with kept answers in a value: itself, methods, members, and what closures hold."""
    queue, seen = [(name, value, 0)], {id(value)}
    while queue:
        path, each, depth = queue.pop(0)
        # What asks for `isinstance` asks the object, too, and it may raise.
        if type(each) is functools._lru_cache_wrapper:
            if each.cache_info().currsize:
                yield path
        elif depth < _DEEPEST and len(seen) < _MOST:
            parts = [part for part in _parts(path, each) if id(part[1]) not in seen]
            seen |= {id(part) for _, part in parts}
            queue += [(*part, depth + 1) for part in parts]


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    kind = type(value)
    if kind in (staticmethod, classmethod):
        yield path, value.__func__
    elif kind is property:
        yield f"{path}.fget", value.fget
    elif kind is types.FunctionType:
        for cell in value.__closure__ or ():
            with suppress(ValueError):  # an empty one
                yield path, cell.cell_contents
    elif kind in (list, tuple):
        yield from ((f"{path}[{number}]", part) for number, part in enumerate(value))
    elif kind is dict:
        yield from ((f"{path}[{key!r}]", part) for key, part in value.items() if type(key) is str)
    elif issubclass(kind, type) or attribute(kind, "__module__") == "__main__":
        with suppress(Exception):  # it has slots, or attributes that raise
            yield from ((f"{path}.{key}", part) for key, part in vars(value).items())


def _changed_since(
    name: str, made: Statement, session: tuple[Mapping[str, Any], Source], *, is_cache: bool
) -> str | None:
    """The first name that a definition uses, directly or through others, and that changed after it."""
    namespace, source = session
    queue, seen = [name], {name}
    while queue:
        each = queue.pop(0)
        bindings = source.binding(each)
        rebound = (two for one, two in pairwise(bindings) if not one.same_as(two))
        # `f().append(1)` changes an answer of `f`, not what it makes
        can_change = each != name or not is_cache
        is_own = attribute(type(namespace.get(each)), "__module__") == "__main__"
        touched = (
            one
            for one in source.statements
            if can_change and each in (one.acts_on if is_own else one.touches)
        )
        by_calls = _changed_by_calls(each, source) if each != name else ()
        if any(one.position > made.position for one in (*rebound, *touched, *by_calls)):
            return each
        used = {used for one in bindings[-1:] for used in (*one.now, *one.later)} - seen
        seen |= used
        queue += sorted(used)
    return None


def _changed_by_calls(name: str, source: Source) -> Iterator[Statement]:
    """The statements that call something that changes what a name is, or that holds what does."""
    changing = {
        bound
        for one in source.statements
        if one.is_definition and (name in one.touches or _sets_global(name, one))
        for bound in one.binds
    }
    known = -1
    while known != (known := len(changing)):
        for one in source.statements:
            if changing.intersection((*one.now, *one.later)):
                changing |= one.binds
    for one in source.statements if changing else ():
        called = (each.func for each in ast.walk(one.node) if isinstance(each, ast.Call))
        if not one.is_definition and changing.intersection(map(root_name, called)):
            yield one


def _sets_global(name: str, statement: Statement) -> bool:
    found = (each for each in ast.walk(statement.node) if isinstance(each, ast.Global))
    return any(name in each.names for each in found)
