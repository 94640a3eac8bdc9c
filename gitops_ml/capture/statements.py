"""Python source as statements, with the names that each binds, needs now and needs later.

A name is needed now by code that runs with the statement: decorators, bases, defaults, class bodies.
It is needed later by code that runs when a function is called.
"""

from __future__ import annotations

import ast
import contextlib
import symtable
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

OF_EVERY_MODULE = frozenset({"__name__", "__file__", "__doc__", "__builtins__", "__spec__"})
_COMPREHENSIONS = frozenset({"listcomp", "setcomp", "dictcomp", "genexpr"})
_FUTURE = "__future__"
_DEFERRED = f"from {_FUTURE} import annotations\n"
_CHANGING = frozenset(
    {
        "add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop",
        "popitem", "remove", "reverse", "setdefault", "sort", "subtract", "update",
    }
)  # fmt: skip
"""Methods that change containers."""


@dataclass(frozen=True)
class Statement:
    """One top-level statement; costly properties are computed on first use."""

    node: ast.stmt
    lines: Sequence[str] = field(repr=False)
    """The lines of its cell or file."""
    position: int
    """Its number in execution order."""
    is_deferred: bool
    """Whether its annotations are not evaluated when it runs."""

    @cached_property
    def text(self) -> str:
        return _text(self.node, self.lines)

    @cached_property
    def binds(self) -> frozenset[str]:
        """The global names that it binds."""
        return frozenset(_bound(self.node))

    @property
    def now(self) -> tuple[str, ...]:
        """Global names that must exist when it runs."""
        return self._needs[0]

    @property
    def named(self) -> tuple[str, ...]:
        """Names in annotations that nothing evaluates when it runs; they need not exist."""
        return self._needs[2]

    @property
    def later(self) -> tuple[str, ...]:
        """Global names that must exist when what it defines is called."""
        return self._needs[1]

    @cached_property
    def _needs(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        now, later = _names(f"{_DEFERRED}{self.text}" if self.is_deferred else self.text)
        evaluated, quoted = _annotated(self.node)
        # Since Python 3.12 `symtable` lists the variables of comprehensions among the outer names.
        quoted.update(
            (name, None) for name in _of_comprehensions(self.node) if now.pop(name, 1) is None
        )
        (quoted if self.is_deferred else now).update(evaluated)
        return tuple(now), tuple(later), tuple(quoted)

    @cached_property
    def touches(self) -> frozenset[str]:
        """Names whose objects it changes: ``A.x = 1``, ``a.append(1)``, ``setattr(A, …)``."""
        return frozenset(touched(self.node))

    @cached_property
    def acts_on(self) -> frozenset[str]:
        """Names that it touches, or whose methods it calls for what they do: ``log.setLevel(10)``."""
        calls = (each.value for each in ast.walk(self.node) if isinstance(each, ast.Expr))
        roots = (_owner(each.func) for each in calls if isinstance(each, ast.Call))
        return self.touches | {root for root in roots if root}

    @property
    def is_definition(self) -> bool:
        return isinstance(self.node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)

    @property
    def is_import(self) -> bool:
        return isinstance(self.node, ast.Import | ast.ImportFrom)

    def same_as(self, other: Statement) -> bool:
        return ast.dump(self.node) == ast.dump(other.node)


@dataclass(frozen=True)
class Source:
    """The statements of a session or a file."""

    statements: tuple[Statement, ...]
    has_deferred_annotations: bool
    """Whether it has ``from __future__ import annotations``."""

    def binding(self, name: str) -> tuple[Statement, ...]:
        """The statements that bind ``name``, in execution order."""
        return self._by_name.get(name, ())

    def position(self, name: str) -> int | None:
        """That of the last statement that binds ``name``."""
        return self.binding(name)[-1].position if self.binding(name) else None

    @cached_property
    def names(self) -> frozenset[str]:
        """The names, attributes and imported names in it."""
        found = set()
        for each in self.statements:
            for node in ast.walk(each.node):
                match node:
                    case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                        found.add(name)
        return frozenset(found)

    @cached_property
    def _by_name(self) -> Mapping[str, tuple[Statement, ...]]:
        found: dict[str, tuple[Statement, ...]] = {}
        for statement in self.statements:
            for name in statement.binds:
                found[name] = (*found.get(name, ()), statement)
        return found


def read_source(chunks: Iterable[str], *, until: int | None = None) -> Source:
    """The statements of pieces of source in execution order; invalid Python is skipped.

    Definitions and imports inside ``if``, ``try`` and ``with`` are listed as statements too. The last
    piece is running, and has come to the line ``until``: what begins later is skipped.
    """
    statements: list[Statement] = []
    deferred = False
    pieces = list(chunks)
    for number, chunk in enumerate(pieces, 1):
        try:
            module = ast.parse(chunk)
        except (SyntaxError, ValueError):
            continue
        lines = _lines(chunk)
        for node in _flattened(module.body):
            if until is not None and number == len(pieces) and node.lineno > until:
                continue
            deferred = deferred or _defers_annotations(node)
            statements.append(Statement(node, lines, len(statements), deferred))
    return Source(tuple(statements), deferred)


def single_statement(text: str) -> Statement:
    """The one statement of ``text``."""
    text = textwrap.dedent(text)
    (node,) = ast.parse(text).body
    return Statement(node, _lines(text), 0, is_deferred=False)


def _lines(text: str) -> list[str]:
    """The lines as Python counts them: a form feed or a Unicode separator ends none."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _flattened(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If) and _asks_for_main(node.test):
            yield from _flattened((*node.body, *node.orelse))
            continue
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            handled = (each for handler in getattr(node, "handlers", ()) for each in handler.body)
            others = (*getattr(node, "orelse", ()), *getattr(node, "finalbody", ()))
            yield from _bindings_inside((*node.body, *handled, *others))


def _bindings_inside(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Import, ast.ImportFrom)
    return (node for node in _flattened(body) if isinstance(node, kinds))


def _asks_for_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and ast.unparse(test) in (
        "__name__ == '__main__'",
        "'__main__' == __name__",
    )


def _defers_annotations(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.ImportFrom)
        and node.module == _FUTURE
        and any(alias.name == "annotations" for alias in node.names)
    )


def _text(node: ast.stmt, lines: Sequence[str]) -> str:
    """The lines of the statement, or its part of a shared line (``a = 1; b = 2``)."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    last = node.end_lineno or node.lineno
    chosen = lines[first - 1 : last]
    before = lines[node.lineno - 1].encode()[: node.col_offset].decode()
    after = lines[last - 1].encode()[node.end_col_offset or 0 :].decode().strip()
    is_alone = not before.strip() and (not after or after.startswith("#"))
    if is_alone:
        text = "\n".join(chosen)
        return text if node.col_offset == 0 else _dedented(text, node)
    segment = ast.get_source_segment("\n".join(lines), node)
    return segment if segment is not None else ast.unparse(node)


def _dedented(text: str, node: ast.stmt) -> str:
    """The text of an indented statement; its texts of several lines keep theirs."""
    dedented = textwrap.dedent(text)
    with contextlib.suppress(SyntaxError, ValueError):
        if ast.dump(ast.parse(dedented)) == ast.dump(ast.Module([node], [])):
            return dedented
    return ast.unparse(node)


_IMPORTING = frozenset({"import_module", "__import__"})


def imported_modules(text: str) -> set[str]:
    """The modules that a text imports at any level, by full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Call) and last_name(node.func) in _IMPORTING:
            match node.args:
                case [ast.Constant(value=str(name)), *_] if name.replace(".", "").isidentifier():
                    found.add(name)
    return found - {"__future__"}


# -- names -----------------------------------------------------------------------------------------


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp,
           ast.SetComp, ast.DictComp, ast.GeneratorExp)  # fmt: skip


def _bound(node: ast.AST) -> Iterator[str]:
    """The global names that a statement binds, not those of inner scopes."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=aliases):
            yield from (each.asname or each.name.partition(".")[0] for each in aliases)
        case ast.ImportFrom(names=aliases):
            yield from (each.asname or each.name for each in aliases if each.name != "*")
        case ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.ExceptHandler(name=str(name)):
            yield name
    if not isinstance(node, _SCOPES):
        for child in ast.iter_child_nodes(node):
            yield from _bound(child)


def _names(text: str) -> tuple[dict[str, None], dict[str, None]]:
    """Names needed now, and names needed later; dicts keep the order."""
    now: dict[str, None] = {}
    later: dict[str, None] = {}
    top = symtable.symtable(text, "<source>", "exec")
    now.update(dict.fromkeys(s.get_name() for s in top.get_symbols() if s.is_referenced()))
    for table in top.get_children():
        _walk(table, now, later, is_later=False)
    return now, later


def _walk(
    table: symtable.SymbolTable, now: dict[str, None], later: dict[str, None], *, is_later: bool
) -> None:
    kind = str(table.get_type()).lower()
    is_function = "function" in kind and table.get_name() not in _COMPREHENSIONS
    is_later = is_later or is_function
    needed = later if is_later else now
    needed.update(dict.fromkeys(s.get_name() for s in table.get_symbols() if s.is_global()))
    for child in table.get_children():
        _walk(child, now, later, is_later=is_later)


def _of_comprehensions(node: ast.stmt) -> set[str]:
    """The variables of the comprehensions in a statement."""
    targets = (each.target for each in ast.walk(node) if isinstance(each, ast.comprehension))
    return {
        each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)
    }


def _annotated(node: ast.stmt) -> tuple[dict[str, None], dict[str, None]]:
    """Names in annotations, and those in quoted ones; `symtable` omits deferred and quoted ones."""
    names: dict[str, None] = {}
    quoted: dict[str, None] = {}
    for each in ast.walk(node):
        for name in ("annotation", "returns"):
            annotation = getattr(each, name, None)
            if isinstance(annotation, ast.expr):
                _read_annotation(annotation, names, quoted)
    parameters = {
        getattr(each, "name", "") for each in ast.walk(node) if type(each).__name__ in _PARAMETERS
    }
    for found in (names, quoted):
        for name in parameters & found.keys():
            del found[name]
    return names, quoted


_PARAMETERS = ("TypeVar", "ParamSpec", "TypeVarTuple")
_WITH_WORDS = {"Literal": 0, "Annotated": 1}
"""How many of the arguments are types; the others are values, such as texts."""


def _read_annotation(node: ast.AST, names: dict[str, None], quoted: dict[str, None]) -> None:
    match node:
        case ast.Constant(value=str(text)):
            with contextlib.suppress(SyntaxError, ValueError):
                _read_annotation(ast.parse(text, mode="eval").body, quoted, quoted)
        case ast.Subscript(value=kind, slice=inner) if last_name(kind) in _WITH_WORDS:
            _read_annotation(kind, names, quoted)
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            for number, part in enumerate(parts):
                if number < _WITH_WORDS[last_name(kind)]:
                    _read_annotation(part, names, quoted)
                else:
                    names.update((n.id, None) for n in ast.walk(part) if isinstance(n, ast.Name))
        case ast.Name(id=name):
            names[name] = None
        case _:
            for child in ast.iter_child_nodes(node):
                _read_annotation(child, names, quoted)


def last_name(node: ast.AST) -> str:
    """``Literal`` for ``typing.Literal``."""
    return str(getattr(node, "attr", None) or getattr(node, "id", ""))


def root_name(node: ast.AST) -> str:
    """``a`` for ``a.b[0].c()``."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def touched(node: ast.stmt) -> Iterator[str]:
    """The names whose objects a statement changes."""
    return (root for each in ast.walk(node) for root in map(_root, _targets(each, node)) if root)


def _targets(each: ast.AST, statement: ast.stmt) -> Sequence[ast.expr]:
    match each:
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            return targets
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return [target]
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=method) as function)):
            return [function] if method in _CHANGING else []
        case ast.Expr(value=ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[target, *_])):
            return [ast.Attribute(target, "") if isinstance(target, ast.Name) else target]
        case ast.FunctionDef(decorator_list=found) | ast.ClassDef(decorator_list=found):
            return found if each is statement else []  # `@clean.register`
    return []


def _owner(target: ast.expr) -> str:
    """``a`` for ``a.b``, but not for ``a().b``, whose method does something to another object."""
    return "" if any(isinstance(each, ast.Call) for each in ast.walk(target)) else _root(target)


def _root(target: ast.expr) -> str:
    """``a`` for ``a.b[0].c``; empty for a plain name, which is bound, not changed."""
    inner = target.func if isinstance(target, ast.Call) else target
    return root_name(inner) if isinstance(inner, ast.Attribute | ast.Subscript) else ""
