"""Decide whether the statement that made a value still says what it is."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gitops_ml.capture.collected import attribute
from gitops_ml.capture.module_text import holds_state, is_plain
from gitops_ml.capture.statements import Source, Statement

_OF_THE_PLACE = (
    "os.environ", "getenv", "__file__", "environ[", "environ.get", "Path.cwd", "getcwd",
    "Path.home", "gethostname", "cpu_count", "cuda.is_available", "mps.is_available",
)  # fmt: skip
"""Expressions whose value depends on the machine: it differs between the session and a replica."""


def is_of_place(statement: Statement, source: Source, is_plain: bool) -> bool:
    """Whether what a statement binds depends on the machine, directly or through other names."""
    return _says(_OF_THE_PLACE, statement, source, 5 if is_plain else 0)


def is_path(value: Any) -> bool:
    """Whether it is the text of a whole path, such as ``os.path.dirname(__file__) + "/labels"``."""
    return type(value) is str and os.path.isabs(value)  # noqa: PTH117 - a text


def is_of_environment(statement: Statement, source: Source) -> bool:
    """Whether it depends on variables of the environment, directly or through other names."""
    return _says(("environ", "getenv"), statement, source, 0)


def _says(signs: Sequence[str], statement: Statement, source: Source, depth: int) -> bool:
    if statement.is_definition or statement.is_import:
        return False
    if any(sign in ast.unparse(statement.node) for sign in signs):
        return True
    if depth >= 5:
        return False
    made = (source.binding(name)[-1:] for name in statement.now)
    return any(_says(signs, each, source, depth + 1) for few in made for each in few)


def is_value_statement(statement: Statement) -> bool:
    """Whether it assigns a value; `type X = …` does, too."""
    is_alias = type(statement.node).__name__ == "TypeAlias"
    return is_alias or isinstance(statement.node, ast.Assign | ast.AnnAssign)


def assigns(statement: Statement, namespace: Mapping[str, Any]) -> bool:
    """Whether the statement binds names to literals that equal their values now."""
    node = statement.node
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return False
    try:
        written = ast.literal_eval(node.value)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return all(_is_bound(target, written, namespace) for target in targets)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False


def _is_bound(target: ast.expr, written: Any, namespace: Mapping[str, Any]) -> bool:
    match target:
        case ast.Name(id=name):
            value = namespace.get(name, ...)
            return is_plain(value) and same(value, written)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) if isinstance(written, tuple | list):
            return len(parts) == len(written) and all(
                _is_bound(part, each, namespace) for part, each in zip(parts, written, strict=True)
            )
    return False


def same(value: Any, written: Any) -> bool:
    """Whether two plain values are equal in type and order, too."""
    if type(value) is not type(written):
        return False
    if isinstance(value, dict):
        return same(list(value.items()), list(written.items()))
    if isinstance(value, list | tuple):
        return len(value) == len(written) and all(map(same, value, written))
    return bool(value == written) and (
        isinstance(value, set | frozenset) or repr(value) == repr(written)
    )


def has_grown(value: Any, made: Statement) -> bool:
    """Whether a container has another number of items than its display in the source."""
    node = made.node
    display = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if isinstance(display, ast.Dict) and isinstance(value, dict):
        return None not in display.keys and len(display.keys) != len(value)
    if isinstance(display, ast.List | ast.Tuple | ast.Set) and isinstance(
        value, list | tuple | set
    ):
        has_star = any(isinstance(each, ast.Starred) for each in display.elts)
        return not has_star and len(display.elts) != len(value)
    return False


def pass_it(name: str, value: Any) -> str:
    what = f"uses {name!r}, {described(value)} of the session, which code cannot hold"
    if any(hasattr(type(value), each) for each in ("__next__", "fileno", "cursor")):
        return f"{what}: create it in __init__, or put the values that you need into the config"
    return (
        f"{what}: pass it as "
        f'models={{"{name}": {name}}} and load it in __init__, or put the values that you need into '
        "the config"
    )


def described(value: Any) -> str:
    kind = type(value)
    module = kind.__module__.partition(".")[0]
    is_bare = module in ("builtins", "__main__")
    name = kind.__name__ if is_bare else f"{module.lstrip('_')} {kind.__name__}"
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def secret_reason(name: str) -> str:
    return (
        f"uses {name!r}, which looks like a secret, and many people can read a package: "
        'list it under "secrets" of the API and read it from os.environ in __init__'
    )


def unwritten_reason(name: str, value: Any, last: Statement | None) -> str:
    if holds_state(value):
        return pass_it(name, value)
    if (module := attribute(value, "__module__")) and module in sys.modules and callable(value):
        return (
            f"uses {name!r}, which {module} does not have any more: import it again, as after a reload of "
            "the module"
        )
    if last is None or not is_value_statement(last):
        return f"uses {name!r}, {described(value)} whose source is not known"
    return (
        f"uses {name!r}, {described(value)} that another import makes different: create it in one "
        "expression, or in __init__"
    )
