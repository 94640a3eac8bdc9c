"""Collect a class of a session and everything it needs into the text of a module.

Each name that the class uses is resolved to its live value, then to the statement that bound it.
Plain values are written as literals, so that nothing of the session is computed again. Data and
models are refused, because code cannot hold them.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.live_code import gives, import_of, is_made_by
from gitops_ml.capture.live_secrets import (
    doubtful_names,
    is_doubtful,
    is_secret,
    secrets_in,
    session_secrets,
)
from gitops_ml.capture.module_text import (
    LONGEST,
    Import,
    Piece,
    as_plain,
    holds_state,
    is_plain,
    literal,
    module_text,
)
from gitops_ml.capture.statements import Source, Statement, imported_modules, single_statement
from gitops_ml.errors import Unpackageable
from gitops_ml.system.secret_scan import has_secret_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OF_EVERY_MODULE = frozenset({"__name__", "__file__", "__doc__", "__builtins__", "__spec__"})
_OF_IPYTHON = {"get_ipython": None, "display": None, "In": "_ih", "Out": "_oh"}
"""Names that IPython defines in a session, with its private names of the same values."""
_OF_THE_PLACE = ("os.environ", "getenv", "__file__", "environ[", "environ.get")
"""Expressions whose value depends on the machine: it differs between the session and a replica."""


class NoSource(Exception):
    """The source of an object is not available."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


@dataclass(frozen=True, slots=True)
class Collected:
    """The text of a module."""

    text: str
    modules: tuple[str, ...]
    """The modules that it imports, by full name."""
    doubts: tuple[str, ...] = ()
    """Names of values that may be secrets, for a person to check."""


def collect(
    root: type | Callable[..., Any], *, namespace: Mapping[str, Any], source: Source, title: str
) -> Collected:
    """The module with ``root``, a class or function of ``namespace`` that is defined in ``source``.

    Raises:
        NoSource: the source of the class, or of something it needs, is not available.
        Unpackageable: it needs something that a file cannot hold; has all reasons.
    """
    collector = _Collector(namespace, source, owner=namespace.get("__name__", "__main__"))
    name = root.__name__
    if namespace.get(name) is not root:
        raise NoSource(name)
    collector.need(name, user=name, before=None)
    collector.work()
    collected = collector.collected(title)
    if not collector.reasons and has_secret_shape(collected.text):
        # Also in comments, which are copied too.
        collector.reasons.append(f"{name} has a secret in its source")
    if collector.reasons:
        raise Unpackageable(name, sorted(set(collector.reasons)))
    return collected


@dataclass
class _Collector:
    namespace: Mapping[str, Any]
    source: Source
    owner: str
    queue: list[tuple[str, str, Statement | None]] = field(default_factory=list)
    seen: set[tuple[str, int | None]] = field(default_factory=set)
    pieces: dict[int, Piece] = field(default_factory=dict)
    imports: dict[Import, None] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    doubts: dict[str, None] = field(default_factory=dict)
    extra: int = 0
    """Position of the last piece that is not a statement of the source; counts down from 0."""

    def need(self, name: str, *, user: str, before: Statement | None) -> None:
        """Queue ``name``, which ``user`` needs; ``before`` is a statement that needs it when it runs."""
        is_builtin = hasattr(builtins, name) and name not in self.namespace
        if name in _OF_EVERY_MODULE or (is_builtin and name not in _OF_IPYTHON):
            return
        key = (name, before.position if before and self._was_rebound(name) else None)
        if key not in self.seen:
            self.seen.add(key)
            self.queue.append((name, user, before if key[1] is not None else None))

    def work(self) -> None:
        while self.queue:
            name, user, before = self.queue.pop(0)
            self._resolve(name, user, before)

    def collected(self, title: str) -> Collected:
        pieces = [self.pieces[key] for key in sorted(self.pieces)]
        text = module_text(
            title, self.imports, pieces, deferred=self.source.has_deferred_annotations
        )
        modules = {each.module for each in self.imports}
        for piece in pieces:
            modules |= imported_modules(piece.text)
        return Collected(text, tuple(sorted(modules)), tuple(self.doubts))

    # -- one name ----------------------------------------------------------------------------------

    def _resolve(self, name: str, user: str, before: Statement | None) -> None:
        if self._is_of_ipython(name):
            self._refuse(
                user,
                f"uses {name} of IPython (as %magics and !commands do), and replicas have no IPython: "
                "write it in plain Python",
            )
        elif before is not None:
            self._resolve_earlier(name, user, before)
        elif name not in self.namespace:
            if not self._is_set_by_functions(name):
                self._refuse(user, f"uses {name!r}, which is not defined")
        else:
            self._resolve_live(name, user, self.namespace[name])

    def _is_of_ipython(self, name: str) -> bool:
        if name not in _OF_IPYTHON:
            return False
        value = self.namespace.get(name)
        known_as = _OF_IPYTHON[name]
        if known_as is not None:
            return value is not None and value is self.namespace.get(known_as)
        return not self.source.binding(name) or name == "get_ipython"

    def _resolve_earlier(self, name: str, user: str, before: Statement) -> None:
        """Resolve a name to its value when a statement ran, if it was bound again later."""
        earlier = [s for s in self.source.binding(name) if s.position < before.position]
        if not earlier:
            self._resolve_live(name, user, self.namespace.get(name))
        else:
            self._include(earlier[-1], name)

    def _resolve_live(self, name: str, user: str, value: Any) -> None:
        if isinstance(value, ModuleType):
            self._import_module(name, user, value)
        elif self._is_own(value):
            self._define(name, value)
        elif imported := self._imported_as(name, value):
            self._import(imported)
        elif self._is_defined_here(name):
            self._define(name, value)
        else:
            self._write_value(name, user, value)

    def _import_module(self, name: str, user: str, value: ModuleType) -> None:
        if value.__name__ == self.owner:
            self._refuse(
                user, f"uses the module of the session as {name!r}: import what it needs instead"
            )
            return
        # `import a.b` and `import a.c` both bind `a`, and both are needed.
        roots = [root for each in self.source.binding(name) for root in _roots(each, name)]
        found = [root for root in roots if gives(root, value)]
        if not found:
            found = [self._imported_as(name, value) or Import(value.__name__, None, name)]
        for imported in found:
            self._import(imported)

    def _imported_as(self, name: str, value: Any) -> Import | None:
        """An import that gives ``value``: that of the session, or one from its module and name."""
        for statement in reversed(self.source.binding(name)):
            found = import_of(statement, name)
            if found and gives(found, value):
                return found
        module = str(getattr(value, "__module__", None) or self.owner)
        qualname = str(getattr(value, "__qualname__", None) or "")
        is_there = getattr(sys.modules.get(module), qualname, None) is value
        if qualname and module != self.owner and is_there:
            return Import(module, qualname, name)
        return self._starred(name, value)

    def _starred(self, name: str, value: Any) -> Import | None:
        """The ``from module import *`` that gives ``value``."""
        for statement in self.source.statements:
            node = statement.node
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found = Import(node.module, name, name)
                if any(alias.name == "*" for alias in node.names) and gives(found, value):
                    return found
        return None

    def _is_own(self, value: Any) -> bool:
        """Whether it is a class or function of the session."""
        is_here = getattr(value, "__module__", None) == self.owner
        return callable(value) and is_here and hasattr(value, "__qualname__")

    def _is_defined_here(self, name: str) -> bool:
        statements = self.source.binding(name)
        return bool(statements) and statements[-1].is_definition

    def _define(self, name: str, value: Any) -> None:
        """Include the statement that defines a class or function of the session."""
        qualname = getattr(value, "__qualname__", name)
        if "<locals>" in qualname:
            outer = qualname.rpartition(".<locals>")[0]
            self._refuse(
                name,
                f"is defined inside {outer} and can use its local variables, which a file cannot hold: "
                "define it at the top level",
            )
            return
        for statement in reversed(self.source.binding(name)):
            if statement.is_definition:
                if is_made_by(value, statement):
                    self._include(self._first_equal(name, statement), name)
                    self._include_later_changes(name)
                    return
            elif isinstance(statement.node, ast.Assign | ast.AnnAssign):
                self._include(statement, name)
                return
        self._include_source_of(name, value)

    def _include_source_of(self, name: str, value: Any) -> None:
        """Include the source that `inspect` finds, such as that of the Python prompt since 3.13."""
        try:
            statement = single_statement(inspect.getsource(value))
        except (OSError, TypeError, SyntaxError, ValueError) as error:
            raise NoSource(name) from error
        if not statement.is_definition or name not in statement.binds:
            raise NoSource(name)
        if not is_made_by(value, statement):
            raise NoSource(name)
        self.extra -= 1
        # A later find gets an earlier position: a definition comes before its users.
        self._include(statement, name, position=self.extra)

    def _write_value(self, name: str, user: str, value: Any) -> None:
        """Write a value of the session as a literal, or include the statement that computed it."""
        made = [s for s in self.source.binding(name) if not s.is_import]
        last = made[-1] if made else None
        expression = ast.unparse(last.node) if last else ""
        if last is not None and any(sign in expression for sign in _OF_THE_PLACE):
            self._include(last, name)
            return
        value = as_plain(value)
        if is_plain(value):
            self._write_plain(name, user, value, last)
        elif last is None or not isinstance(last.node, ast.Assign | ast.AnnAssign):
            self._refuse(user, f"uses {name!r}, {_described(value)} whose source is not known")
        elif holds_state(value):
            self._refuse(user, _pass_it(name, value))
        elif self._was_changed(name, last) or _has_grown(value, last):
            self._refuse(
                user,
                f"uses {name!r}, {_described(value)} that was changed after it was created: "
                "create it in one expression, or in __init__",
            )
        else:
            self._include(self._first_equal(name, last), name)

    def _write_plain(self, name: str, user: str, value: Any, last: Statement | None) -> None:
        if is_secret(name, value, known=self._secrets):
            self._refuse(
                user,
                f"uses {name!r}, which looks like a secret, and many people can read a package: "
                'list it under "secrets" of the API and read it from os.environ in __init__',
            )
            return
        text = literal(value)
        if len(text) > LONGEST:
            self._refuse(user, _pass_it(name, value))
        elif last is not None and _assigns(last, value):
            self._include(self._first_equal(name, last), name)
        else:
            if is_doubtful(name, value):
                self.doubts[name] = None
            position = last.position if last is not None else self._before_everything()
            self.pieces[position] = Piece(f"{name} = {text}", is_definition=False)

    # -- what is kept ------------------------------------------------------------------------------

    def _include(self, statement: Statement, name: str, *, position: int | None = None) -> None:
        where = statement.position if position is None else position
        if where in self.pieces:
            return
        self.pieces[where] = Piece(statement.text, is_definition=statement.is_definition)
        for text in secrets_in(statement):
            self._refuse(name, f"has a secret in its source: {text[:6]}…")
        self.doubts.update(dict.fromkeys(doubtful_names(statement)))
        for needed in statement.now:
            self.need(needed, user=name, before=statement)
        for needed in statement.later:
            self.need(needed, user=name, before=None)

    def _include_later_changes(self, name: str) -> None:
        """Include ``A.method = other`` and similar changes of a class."""
        for statement in self.source.statements:
            if name in statement.touches and isinstance(statement.node, ast.Assign | ast.Expr):
                made = self.source.binding(name)[-1]
                if statement.position > made.position:
                    self._include(statement, name)

    def _import(self, imported: Import) -> None:
        if not self._was_rebound(imported.name):
            self.imports[imported] = None
            return
        # If the name is also bound to something else, the import keeps its position.
        for statement in reversed(self.source.binding(imported.name)):
            if import_of(statement, imported.name) == imported:
                self._include(statement, imported.name)
                return
        self.imports[imported] = None

    @cached_property
    def _secrets(self) -> frozenset[str]:
        return session_secrets(self.namespace, self.source)

    def _before_everything(self) -> int:
        self.extra -= 1
        return self.extra

    def _first_equal(self, name: str, statement: Statement) -> Statement:
        """The first of equal statements, if no other statement bound the name in between.

        Running a cell again does not move its statements in the package.
        """
        bindings = self.source.binding(name)
        first = statement
        for earlier in reversed([s for s in bindings if s.position < statement.position]):
            if not earlier.same_as(statement) or not self._could_run(earlier):
                break
            first = earlier
        return first

    def _could_run(self, statement: Statement) -> bool:
        """Whether the names that it needs were bound before it ran, and never bound again."""
        for name in statement.now:
            bindings = self.source.binding(name)
            if bindings and bindings[0].position > statement.position:
                return False
            if self._was_rebound(name):
                return False
        return True

    def _was_rebound(self, name: str) -> bool:
        """Whether different statements bind the name; `import a.b` and `import a.c` count as equal."""
        bindings = self.source.binding(name)
        if all(_roots(each, name) for each in bindings):
            return False
        return any(not each.same_as(bindings[0]) for each in bindings[1:])

    def _was_changed(self, name: str, made: Statement) -> bool:
        return any(name in each.touches for each in self.source.statements[made.position + 1 :])

    def _is_set_by_functions(self, name: str) -> bool:
        return any(f"global {name}" in piece.text for piece in self.pieces.values())

    def _refuse(self, user: str, reason: str) -> None:
        self.reasons.append(f"{user} {reason}")


def _roots(statement: Statement, name: str) -> list[Import]:
    """Each ``import name`` and ``import name.more`` of a statement: they bind the same module."""
    node = statement.node
    return [
        Import(alias.name, None, name)
        for alias in (node.names if isinstance(node, ast.Import) else ())
        if not alias.asname and alias.name.partition(".")[0] == name
    ]


def _assigns(statement: Statement, value: Any) -> bool:
    """Whether the statement assigns a literal that equals ``value``."""
    node = statement.node
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return False
    try:
        written = ast.literal_eval(node.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return type(written) is type(value) and bool(written == value)


def _has_grown(value: Any, made: Statement) -> bool:
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


def _pass_it(name: str, value: Any) -> str:
    return (
        f"uses {name!r}, {_described(value)} of the session, which code cannot hold: pass it as "
        f'models={{"{name}": {name}}} and load it in __init__, or put the values that you need into '
        "the config"
    )


def _described(value: Any) -> str:
    kind = type(value)
    module = kind.__module__.partition(".")[0]
    is_bare = module in ("builtins", "__main__")
    name = kind.__name__ if is_bare else f"{module.lstrip('_')} {kind.__name__}"
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
