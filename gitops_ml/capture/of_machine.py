"""What a text takes from the machine that it runs on: variables, and the order of sets."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gitops_ml.capture.statements import Source, last_name

_READING = frozenset({"get", "pop", "getenv"})
_WRITING = frozenset({"setdefault", "putenv"})
_WITHOUT_ORDER = frozenset(
    {
        "len", "sorted", "min", "max", "sum", "any", "all", "set", "frozenset", "isinstance", "bool",
        "union", "intersection", "difference", "symmetric_difference", "update", "issubset", "issuperset",
        "isdisjoint", "difference_update", "intersection_update", "symmetric_difference_update",
    }
)  # fmt: skip
"""Functions and methods whose results do not depend on the order of a set."""
_OF_SETS = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})


# -- variables of the environment ------------------------------------------------------------------


def variables_read(text: str) -> set[str]:
    """The variables that a text reads by name, as in ``os.environ["A"]`` and ``os.getenv("A")``."""
    return set(_variables(ast.parse(text), is_read=True))


def variables_set(source: Source) -> set[str]:
    """The variables that the statements of a session set, also by ``%env``."""
    return {name for each in source.statements for name in _variables(each.node, is_read=False)}


def _variables(tree: ast.AST, *, is_read: bool) -> Iterator[str]:
    kind, methods = (ast.Load, _READING) if is_read else (ast.Store, _WRITING)
    texts = _named_texts(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=holder, slice=key, ctx=context):
                if last_name(holder) == "environ" and isinstance(context, kind):
                    yield from _texts_of(key, texts, tree)
            case ast.Call(func=function, args=[key, *_]):
                of_environ = last_name(getattr(function, "value", function)) == "environ"
                if last_name(function) in methods and (
                    of_environ or last_name(function).endswith("env")
                ):
                    yield from _texts_of(key, texts, tree)
                elif last_name(function) == "run_line_magic" and not is_read:
                    yield from _by_magic(node)
        if not is_read and isinstance(node, ast.Call) and last_name(node.func) == "update":
            yield from _updated(node)


def _named_texts(tree: ast.AST) -> dict[str, str]:
    """The texts that names of a module are bound to, such as ``KEY`` of ``os.environ[KEY]``."""
    found = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                found[name] = text
    return found


def _texts_of(key: ast.AST, texts: dict[str, str], tree: ast.AST) -> list[str]:
    """What a key can be: the texts around it where it is computed, such as by a loop over them."""
    match key:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.Name(id=name) if name in texts:
            return [texts[name]]
    constants = (each.value for each in ast.walk(tree) if isinstance(each, ast.Constant))
    return [
        each
        for each in constants
        if isinstance(each, str) and each.isidentifier() and each.isupper()
    ]


def _updated(node: ast.Call) -> Iterator[str]:
    """Those of ``os.environ.update(A="1")`` and ``os.environ.update({"A": "1"})``."""
    if last_name(getattr(node.func, "value", node.func)) != "environ":
        return
    yield from (each.arg for each in node.keywords if each.arg)
    keys = [key for each in node.args if isinstance(each, ast.Dict) for key in each.keys]
    for key in keys:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value


def _by_magic(node: ast.Call) -> Iterator[str]:
    """That of ``%env A=1`` and ``%env A 1``, which IPython writes as a call."""
    words = [each.value for each in node.args if isinstance(each, ast.Constant)]
    match words:
        case ["env" | "set_env", str(line)] if "=" in line or " " in line.strip():
            yield line.replace("=", " ").split()[0]


# -- random numbers --------------------------------------------------------------------------------


def seeds_in(text: str) -> list[str]:
    """The statements of a module that seed random numbers.

    Where the session has come to since then is not kept: in a replica it depends on the requests before.
    """
    calls = (each.value for each in ast.parse(text).body if isinstance(each, ast.Expr))
    return [
        ast.unparse(each)
        for each in calls
        if isinstance(each, ast.Call) and last_name(each.func) in _SEEDING
    ]


_SEEDING = frozenset({"seed", "manual_seed", "manual_seed_all", "set_seed"})


# -- what differs in each process --------------------------------------------------------------------


def of_each_process(text: str) -> list[str]:
    """Which of `hash` and `id` a text calls: their answers differ in each process, for most objects."""
    calls = (each.func for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Call))
    names = {each.id for each in calls if isinstance(each, ast.Name)}
    return sorted(names & {"hash", "id"})


# -- the local time --------------------------------------------------------------------------------


def reads_local_time(text: str) -> bool:
    """Whether it asks for the time of the machine's zone, as ``datetime.now()`` does."""
    calls = (each for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Call))
    return any(
        (name := last_name(each.func)) in _LOCAL
        and len(each.args) == _LOCAL[name]
        and not each.keywords
        for each in calls
    )


_LOCAL = {"now": 0, "today": 0, "localtime": 0, "fromtimestamp": 1, "mktime": 1, "astimezone": 0}
"""Functions by the number of arguments with which they take the zone of the machine."""


# -- the order of sets -----------------------------------------------------------------------------


def takes_order(text: str) -> bool:
    """Whether it makes something in the order of a set, which differs in each process."""
    tree = ast.parse(text)
    sets = _Sets()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and sets.is_set(node.value):
            sets.names |= {last_name(each) for each in node.targets} - {""}
    return any(map(sets.is_ordered, ast.walk(tree)))


class _Sets:
    def __init__(self) -> None:
        self.names: set[str] = set()
        """Names and attributes that were bound to sets."""

    def is_set(self, node: ast.AST) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return name in self.names
            case ast.BinOp(left=left, right=right):
                return self.is_set(left) or self.is_set(right)
            case ast.Call(func=ast.Name(id="set" | "frozenset")):
                return True
            case ast.Call(func=ast.Attribute(attr=name, value=value)):
                return name in _OF_SETS and self.is_set(value)
        return False

    def is_ordered(self, node: ast.AST) -> bool:
        """Whether a node takes the members of a set one after the other, or the hash of something."""
        match node:
            case ast.Call(func=ast.Name(id="hash")):
                return True
            case ast.Call(func=ast.Attribute(attr="pop", value=value), args=[]):
                return self.is_set(value)
            case ast.Call(func=function, args=arguments):
                return last_name(function) not in _WITHOUT_ORDER and any(
                    map(self.is_set, arguments)
                )
            case ast.For(iter=taken) | ast.comprehension(iter=taken) | ast.Starred(value=taken):
                return self.is_set(taken)
        return False
