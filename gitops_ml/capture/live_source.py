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
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any

from gitops_ml.capture.collected import (
    Collected,
    Import,
    NoSource,
    Piece,
    Repairs,
    attribute,
    module_text,
)
from gitops_ml.capture.live_functions import agrees, is_made_by, outdated_reasons
from gitops_ml.capture.live_imports import (
    WHOLE_PROCESS,
    Settings,
    gives,
    import_of,
    imported_as,
    imports_of,
    roots,
)
from gitops_ml.capture.live_session import OF_IPYTHON, REPLACED, is_of_ipython
from gitops_ml.capture.package_secrets import (
    doubtful_names,
    is_doubtful,
    is_secret,
    secrets_in,
    session_secrets,
)
from gitops_ml.capture.statements import (
    OF_EVERY_MODULE,
    Source,
    Statement,
    imported_modules,
    single_statement,
)
from gitops_ml.capture.value_source import (
    LONGEST,
    assigns,
    has_grown,
    holds_state,
    is_of_place,
    is_path,
    is_plain,
    is_value_statement,
    pass_it,
    secret_reason,
    unwritten_reason,
)
from gitops_ml.capture.value_text import CannotWrite, Names, Written, write
from gitops_ml.errors import Unpackageable
from gitops_ml.models.saved import is_of_session
from gitops_ml.system.secret_scan import has_secret_shape

_LAST = sys.maxsize


def collect(
    root: type | Callable[..., Any],
    *,
    namespace: Mapping[str, Any],
    source: Source,
    title: str,
    repairs: Repairs,
) -> Collected:
    """The module with ``root``, a class or function of ``namespace`` that is defined in ``source``.

    Raises:
        NoSource: the source of the class, or of something it needs, is not available.
        Unpackageable: it needs something that a file cannot hold; has all reasons.
    """
    owner = namespace.get("__name__", "__main__")
    collector = _Collector(namespace, source, owner=owner, repairs=repairs)
    name = root.__name__
    if namespace.get(name) is not root:
        raise NoSource(name)
    collector.need(name, user=name, before=None)
    collector.work()
    collector.repair()
    collected = collector.collected(title)
    names = {each for each, _ in collector.seen}
    collector.reasons += outdated_reasons(names, namespace, source)
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
    repairs: Repairs
    queue: list[tuple[str, str, Statement | None]] = field(default_factory=list)
    seen: set[tuple[str, int | None]] = field(default_factory=set)
    pieces: dict[tuple[int, str], Piece] = field(default_factory=dict)
    """By position, and by name where a statement binds several."""
    files: dict[str, bytes] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    of_place: set[str] = field(default_factory=set)
    of_shell: set[str] = field(default_factory=set)
    imports: dict[Import, None] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    doubts: dict[str, None] = field(default_factory=dict)
    extra: int = 0
    """Position of the last piece that is not a statement of the source; counts down from 0."""

    def need(self, name: str, *, user: str, before: Statement | None) -> None:
        """Queue ``name``, which ``user`` needs; ``before`` is a statement that needs it when it runs."""
        is_builtin = hasattr(builtins, name) and name not in self.namespace
        if name in REPLACED and not self.source.binding(name):
            is_builtin = True
            self.of_shell.add(name)
        if name in OF_EVERY_MODULE or (is_builtin and name not in OF_IPYTHON):
            return
        key = (name, before.position if before and self._was_rebound(name) else None)
        if key not in self.seen:
            self.seen.add(key)
            self.queue.append((name, user, before if key[1] is not None else None))

    def work(self) -> None:
        while self.queue:
            name, user, before = self.queue.pop(0)
            self._resolve(name, user, before)

    def repair(self) -> None:
        """Add what an earlier text lacked, and what the session set in modules that the text uses."""
        tops = {each.module.partition(".")[0] for each in self.imports} | WHOLE_PROCESS
        tops = (tops | self.repairs.modules) - {"os"}
        settings = Settings(self.namespace, self.source)
        for statement in settings.among(tops, imported=self.repairs.imported):
            if statement.is_import:
                self.imports.update(dict.fromkeys(imports_of(statement)))
            else:
                self._include(statement, "a setting")
        for name in sorted(self.repairs.needed):
            self.need(name, user=name, before=None)
        for statement in self.source.statements:
            if statement.position in self.repairs.included:
                self._include(statement, min(statement.acts_on, default="a statement"))
        for number, (target, value) in enumerate(self.repairs.assigned):
            name = target.partition(".")[0]
            self._write(target, name, value, position=(_LAST, f"{number:04}"))
        self.work()

    def collected(self, title: str) -> Collected:
        pieces = [self.pieces[key] for key in sorted(self.pieces)]
        text = module_text(
            title, self.imports, pieces, deferred=self.source.has_deferred_annotations
        )
        modules = {each.module for each in self.imports} | self.modules
        for piece in pieces:
            modules |= imported_modules(piece.text)
        return Collected(
            text, tuple(sorted(modules)), tuple(self.doubts), self.files,
            frozenset(self.of_place), frozenset(self.of_shell),
        )  # fmt: skip

    # -- one name ----------------------------------------------------------------------------------

    def _resolve(self, name: str, user: str, before: Statement | None) -> None:
        if is_of_ipython(name, self.namespace, self.source):
            self._refuse(
                user,
                f"uses {name} of IPython (as %magics and !commands do), and replicas have no IPython: "
                "write it in plain Python",
            )
        elif before is not None:
            self._resolve_earlier(name, user, before)
        elif name not in self.namespace:
            # A function may set it.
            if not any(f"global {name}" in piece.text for piece in self.pieces.values()):
                self._refuse(user, f"uses {name!r}, which is not defined")
        else:
            self._resolve_live(name, user, self.namespace[name])

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
        elif imported := imported_as(name, value, self.source, owner=self.owner):
            self._import(imported)
        elif any(each.is_definition for each in self.source.binding(name)[-1:]):
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
        bound = [root for each in self.source.binding(name) for root in roots(each, name)]
        found = [root for root in bound if gives(root, value)]
        if not found:
            found = [
                imported_as(name, value, self.source, owner=self.owner)
                or Import(value.__name__, None, name)
            ]
        for imported in found:
            self._import(imported)

    def _is_own(self, value: Any) -> bool:
        """Whether it is a class or function of the session."""
        is_here = attribute(value, "__module__") == self.owner
        return callable(value) and is_here and attribute(value, "__qualname__") is not None

    def _define(self, name: str, value: Any) -> None:
        """Include the statement that made a class or function of the session."""
        bindings = self.source.binding(name)
        made = [s for s in reversed(bindings) if not s.is_definition or is_made_by(value, s)]
        # The result of a decorator can be anything.
        other = [s for s in reversed(bindings) if getattr(s.node, "decorator_list", ())]
        for statement in (*(s for s in made if agrees(value, s)), *made, *other):
            if statement.is_definition:
                self._include(self._first_equal(name, statement), name)
                self._include_later_changes(name)
                return
            if isinstance(statement.node, ast.Assign | ast.AnnAssign):
                self._include(statement, name)
                return
        qualname = getattr(value, "__qualname__", name)
        if "<locals>" in qualname:
            outer = qualname.rpartition(".<locals>")[0]
            self._refuse(
                name,
                f"is defined inside {outer} and can use its local variables, which a file cannot hold: "
                "define it at the top level",
            )
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
        """Include the statement that made a value of the session, or write the value."""
        if isinstance(value, bytes) and is_of_session(value):
            self._refuse(
                user, f"uses {name!r}, a pickle of objects of this session: use them themselves"
            )
            return
        made = [s for s in self.source.binding(name) if not s.is_import]
        last = made[-1] if made else None
        if last is not None and is_of_place(
            last, self.source, is_plain(value) and not is_path(value)
        ):
            self.of_place.add(name)
            self._include(last, name)
        elif last is not None and name in self.repairs.made:
            self._include(last, name)
        elif name in self.repairs.written:
            self._write(name, user, value, last=last)
        elif is_plain(value) and last is not None and assigns(last, self.namespace):
            if not self._is_refused_secret(name, user, value):
                self._include(self._first_equal(name, last), name)
        elif (
            is_plain(value) or last is None or holds_state(value) or not is_value_statement(last)
        ) or self._is_written_as_changed(name, value, last):
            self._write(name, user, value, last=last)
        else:
            # Whether it still makes the value is seen when the text is imported and compared.
            self._include(self._first_equal(name, last), name)

    def _is_written_as_changed(self, name: str, value: Any, last: Statement) -> bool:
        """Whether a value without functions was changed after its statement, and can be written."""
        later = self.source.statements[last.position + 1 :]
        if not (any(name in each.touches for each in later) or has_grown(value, last)):
            return False
        with suppress(CannotWrite):
            needs = write(value, name=name, names=self._names).names
            return not any(map(callable, map(self.namespace.get, needs)))
        return False

    def _write(
        self,
        target: str,
        user: str,
        value: Any,
        *,
        last: Statement | None = None,
        position: tuple[int, str] | None = None,
    ) -> None:
        """Write ``target = <the value>``."""
        if self._is_refused_secret(target, user, value):
            return
        try:
            written = write(value, name=target, names=self._names)
        except CannotWrite:
            self._refuse(user, unwritten_reason(target, value, last))
            return
        if len(written.text) > LONGEST:
            self._refuse(user, pass_it(target, value))
            return
        if is_secret(target, written.texts, known=self._secrets):
            self._refuse(user, secret_reason(target))
            return
        if is_doubtful(target, value):
            self.doubts[target] = None
        where = last.position if last is not None else self._before_everything()
        self._keep(f"{target} = {written.text}", written, position or (where, target), user)

    def _keep(self, text: str, written: Written, position: tuple[int, str], user: str) -> None:
        number, name = position
        for needed in written.names:
            self.need(needed, user=user, before=None)
            number = max(number, self.source.position(needed) or number)
        self.imports.update(written.imports)
        self.files.update(written.files)
        self.modules |= written.modules
        self.pieces[number, name] = Piece(text, is_definition=False)

    def _is_refused_secret(self, name: str, user: str, value: Any) -> bool:
        if not is_plain(value) or not is_secret(name, value, known=self._secrets):
            return False
        self._refuse(user, secret_reason(name))
        return True

    @cached_property
    def _names(self) -> Names:
        return Names(self.namespace, self.source)

    # -- what is kept ------------------------------------------------------------------------------

    def _include(self, statement: Statement, name: str, *, position: int | None = None) -> None:
        where = (statement.position if position is None else position, "")
        if where in self.pieces:
            return
        self.pieces[where] = Piece(statement.text, is_definition=statement.is_definition)
        for text in secrets_in(statement):
            self._refuse(name, f"has a secret in its source: {text[:6]}…")
        self.doubts.update(dict.fromkeys(doubtful_names(statement)))
        for needed in statement.now:
            self.need(needed, user=name, before=statement)
        annotations = (each for each in statement.named if each in self.namespace)
        for needed in (*statement.later, *annotations):
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
        if all(roots(each, name) for each in bindings):
            return False
        return any(not each.same_as(bindings[0]) for each in bindings[1:])

    def _refuse(self, user: str, reason: str) -> None:
        self.reasons.append(f"{user} {reason}")
