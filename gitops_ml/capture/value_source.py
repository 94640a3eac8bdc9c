"""Values of a session: which are plain, and whether the statement that made one still says what it is."""

from __future__ import annotations

import ast
import math
import os
import pprint
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gitops_ml.capture.collected import attribute
from gitops_ml.capture.comparison.code_digest import is_huge, short_repr
from gitops_ml.capture.statements import Source, Statement

_OF_THE_PLACE = (
    "os.environ", "getenv", "__file__", "environ[", "environ.get", "Path.cwd", "getcwd",
    "Path.home", "gethostname", "cpu_count", "cuda.is_available", "mps.is_available",
)  # fmt: skip
"""Expressions whose value depends on the machine: it differs between the session and a replica."""
LONGEST = 20_000
"""Characters. Longer values are data, not code."""
_SCALARS = (type(None), bool, int, float, complex, str, bytes, type(...))
_HOLDERS = (tuple, list, set, frozenset)
_STATE = (
    "__array__", "__dataframe__", "fit", "predict", "state_dict", "get_inputs", "save_pretrained",
    "to_disk", "__next__", "fileno", "cursor",
)  # fmt: skip
"""Attributes of arrays, tables, models, iterators, files and connections."""


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


# -- kinds of values -------------------------------------------------------------------------------


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether ``value`` consists of numbers, text and their containers only."""
    if type(value) in _SCALARS:
        return True
    if depth > 20:
        return False
    if type(value) in _HOLDERS:
        return all(is_plain(each, depth + 1) for each in value)
    if type(value) is dict:
        return all(is_plain(k, depth + 1) and is_plain(v, depth + 1) for k, v in value.items())
    return False


def literal(value: Any) -> str:
    """An expression that evaluates to a plain value."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, complex):
        return f"complex({literal(value.real)}, {literal(value.imag)})"
    if type(value) is int:
        return short_repr(value)
    text = pprint.pformat(value, width=96, sort_dicts=False, underscore_numbers=False)
    return f"(\n{text}\n)" if isinstance(value, str | bytes) and "\n" in text else text


def is_written_by_repr(value: Any) -> bool:
    """Whether the `repr` of a scalar evaluates to it."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    return kind in _SCALARS and kind is not complex and not is_huge(value)


def holds_state(value: Any, depth: int = 0) -> bool:
    """Whether ``value`` is or contains data or a model, which a file of code cannot hold."""
    if isinstance(value, type) or callable(attribute(value, "__code__")):
        return False
    if any(_has(value, name) for name in _STATE):
        return True
    if depth < 3 and isinstance(value, list | tuple | set | frozenset):
        return any(holds_state(each, depth + 1) for each in value)
    if depth < 3 and isinstance(value, dict):
        return any(holds_state(each, depth + 1) for each in value.values())
    return False


def _has(value: Any, name: str) -> bool:
    # Ask the class: an instance can have every attribute (mocks, lazy proxies).
    return hasattr(type(value), name)
