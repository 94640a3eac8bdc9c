"""Decide how the text of a package is mended where it differs from the session."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gitops_ml.capture.collected import Repairs
from gitops_ml.capture.comparison.code_digest import constant
from gitops_ml.capture.comparison.patched_libraries import origin_of, value_at
from gitops_ml.capture.comparison.portrait import Label
from gitops_ml.capture.comparison.portrait_compare import Difference
from gitops_ml.capture.live_session import Session
from gitops_ml.capture.value_source import is_of_place
from gitops_ml.capture.value_text import CannotWrite, Names, write

_NOTHING = object()


def repaired(
    found: Iterable[Difference], repairs: Repairs, *, session: Session
) -> tuple[Repairs, list[Difference]]:
    """More repairs, and the differences for which there is none."""
    mender = _Mender(session, before=repairs)
    left = []
    mended: set[str] = set()
    for difference in found:
        name = difference.path[0][1] if difference.path else ""
        if name in mended:
            continue  # what is below the same name may be mended with it
        more = mender.mended(difference, repairs)
        if more is None:
            left.append(difference)
            continue
        if len(more.assigned) == len(repairs.assigned):
            mended.add(name)
        repairs = more
    return repairs, left


class _Mender:
    def __init__(self, session: Session, *, before: Repairs) -> None:
        self.before = {target for target, _ in before.assigned}
        """Attributes that were assigned, which did not help."""
        self.namespace: Mapping[str, Any] = session.namespace
        self.source = session.source
        owner = str(session.namespace.get("__name__", "__main__"))
        self.names = Names(session.namespace, owner, self._order)

    def mended(self, difference: Difference, repairs: Repairs) -> Repairs | None:
        (kind, name), *steps = difference.path
        if kind in ("loaded", "through") and not steps:
            return self._of_libraries(kind, name, repairs)
        if kind != "global" or name not in self.namespace or name == "__name__":
            return None
        value = self.namespace[name]
        if added := self._of_a_registry(difference, repairs):
            return added
        kind, lacking = difference.path[-1]
        if kind == "memory" and name not in repairs.made and self.source.binding(name):
            return replace(repairs, made=repairs.made | {name})
        is_name = kind in ("global", "subclass") and difference.is_missing
        if is_name and lacking not in repairs.needed:
            return replace(repairs, needed=repairs.needed | {lacking})
        if self._can_be_written(name, value) and name not in repairs.written:
            return replace(repairs, written=repairs.written | {name})
        if assigned := self._assigned(name, value, steps, repairs):
            return assigned
        return self._included(name, repairs)

    def _of_libraries(self, kind: str, name: str, repairs: Repairs) -> Repairs | None:
        """What the session set in a library, and the import that put something into it."""
        top, *rest = re.split("[.:]", name)
        held = self.namespace.get(top)
        top = held.__name__.partition(".")[0] if isinstance(held, types.ModuleType) else top
        tops = {top}
        if rest and (giver := origin_of(value_at(name)).partition(".")[0]):
            tops |= {giver} - {self.names.owner}
        if tops <= repairs.modules:
            return None
        imported = repairs.imported | (tops - {top})
        return replace(repairs, modules=repairs.modules | tops, imported=imported)

    def _order(self, name: str) -> int | None:
        bindings = self.source.binding(name)
        return bindings[-1].position if bindings else None

    def _of_a_registry(self, difference: Difference, repairs: Repairs) -> Repairs | None:
        """A function or class that something of the package holds, and that nothing names."""
        value = _live(self.namespace, difference.path) if difference.is_missing else None
        if not isinstance(value, type | types.FunctionType):
            return None
        name = self.names.of(value)
        if name is None or name in repairs.needed:
            return None
        return replace(repairs, needed=repairs.needed | {name})

    def _can_be_written(self, name: str, value: Any) -> bool:
        if isinstance(value, type | types.FunctionType | types.ModuleType):
            return False
        bindings = self.source.binding(name.partition(".")[0])
        if bindings and is_of_place(bindings[-1], self.source, is_plain=True):
            return False
        try:
            write(value, name=name, names=self.names)
        except CannotWrite:
            return False
        return True

    def _assigned(
        self, name: str, value: Any, steps: list[Label], repairs: Repairs
    ) -> Repairs | None:
        """An attribute on the way to the difference that can be assigned."""
        known = {target for target, _ in repairs.assigned}
        target = name
        for kind, label in steps:
            if kind != "attribute" or not label.isidentifier() or label.startswith("__"):
                return None
            target, value = f"{target}.{label}", _attribute(value, label)
            if target in self.before or value is _NOTHING:
                return None
            if target in known:
                return repairs  # mended with an earlier difference
            bindings = self.source.binding(name)
            if bindings and any(sign in bindings[-1].text for sign in ("environ", "getenv")):
                return None
            if self._can_be_written(target, value):
                return replace(repairs, assigned=(*repairs.assigned, (target, value)))
        return None

    def _included(self, name: str, repairs: Repairs) -> Repairs | None:
        """The statements after the definition that act on a name, such as ``log.setLevel(10)``."""
        first = self._order(name)
        acting = {
            each.position
            for each in self.source.statements
            if name in each.acts_on and (first is None or each.position > first)
        }
        if not acting - repairs.included:
            return None
        return replace(repairs, included=repairs.included | acting)


def _live(namespace: Mapping[str, Any], path: Iterable[Label]) -> Any:
    """The object of the session at a path; a marker where it cannot be found."""
    (_, name), *steps = path
    value = namespace.get(name, _NOTHING)
    for kind, label in steps:
        if kind == "attribute":
            value = _attribute(value, label)
        elif kind == "item" and isinstance(value, dict):
            keys = [key for key in value if constant(key).partition(" ")[2] == label]
            value = value[keys[0]] if keys else _NOTHING
        elif kind == "item" and isinstance(value, list | tuple):
            value = value[int(label)] if int(label) < len(value) else _NOTHING
        else:
            return _NOTHING
    return value


def _attribute(value: Any, name: str) -> Any:
    if isinstance(value, type):
        return vars(value).get(name, _NOTHING)
    return getattr(value, "__dict__", {}).get(name, getattr(value, name, _NOTHING))
