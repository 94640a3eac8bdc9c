"""Where the session and a package of it differ, and how the text of the package is mended there."""

from __future__ import annotations

import re
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gitops_ml.capture.collected import Repairs
from gitops_ml.capture.comparison.code_digest import constant
from gitops_ml.capture.comparison.portrait import Label, Node
from gitops_ml.capture.comparison.process_state import origin_of, value_at
from gitops_ml.capture.live_session import Session
from gitops_ml.capture.value_source import is_of_place
from gitops_ml.capture.value_text import CannotWrite, Names, write
from gitops_ml.system.secret_scan import holds_secret

Path = tuple["Label", ...]
_MOST = 40
_MISSING = "is missing"
_ABSOLUTE = frozenset({"global", "through", "process", "loaded"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a package differs from the session."""

    path: Path
    here: str
    """In the session."""
    there: str
    """In the package."""
    is_missing: bool = False
    """Whether the package lacks it."""

    def without_secrets(self, known: Iterable[str] = ()) -> Difference:
        """The same place; a value that may be a secret is not shown."""
        secrets = tuple(known)
        name = self.path[-1][1] if self.path else ""

        def safe(text: str) -> str:
            is_secret = holds_secret(name, text) or any(each in text for each in secrets)
            return "a secret" if is_secret and text != _MISSING else text

        return replace(self, here=safe(self.here), there=safe(self.there))

    def __str__(self) -> str:
        if self.there == _MISSING:
            return f"{shown(self.path)} {self.there} in the package (here: {self.here})"
        return f"{shown(self.path)} is {self.here} here, and {self.there} in the package"


def differences(here: Sequence[Node], there: Sequence[Node]) -> tuple[Difference, ...]:
    """The differences of two portraits; nothing below a difference is compared."""
    found: list[Difference] = []
    twins: dict[int, int] = {}
    others: dict[int, int] = {}
    queue: deque[tuple[int, int, Path]] = deque([(0, 0, ())])
    seen = set()
    while queue and len(found) < _MOST:
        one, other, path = queue.popleft()
        if (one, other) in seen:
            continue
        seen.add((one, other))
        a, b = here[one], there[other]
        if home := [name for name in a.home.split() if name in b.home.split()]:
            path = (("global", home[0]),)
        has_identity = a.has_identity and b.has_identity
        if has_identity and (twins.setdefault(one, other), others.setdefault(other, one)) != (
            other,
            one,
        ):
            found.append(Difference(path, "an object with another name too", "one of its own"))
            continue
        if (a.kind, a.text) != (b.kind, b.text):
            here_is, there_is = _described(a), _described(b)
            is_alike = here_is == there_is
            found.append(Difference(path, here_is, "another one" if is_alike else there_is))
            continue
        queue.extend(_pairs(a, b, path))
        found += _unpaired(here, there, (a, b), path)
    return tuple(found)


def _pairs(one: Node, other: Node, path: Path) -> Iterator[tuple[int, int, Path]]:
    there = dict(other.edges)
    for label, place in one.edges:
        if label in there:
            yield place, there[label], below(path, label)


def _unpaired(
    here: Sequence[Node], there: Sequence[Node], pair: tuple[Node, Node], path: Path
) -> Iterator[Difference]:
    edges, others = (dict(each.edges) for each in pair)
    for label, place in edges.items():
        if label not in others:
            yield Difference(below(path, label), _described(here[place]), _MISSING, is_missing=True)
    for label, place in others.items():
        if label not in edges:
            yield Difference(below(path, label), "not there", _described(there[place]))
    if edges.keys() == others.keys() and list(edges) != list(others):
        yield Difference(path, f"in the order {_first_labels(edges)}", _first_labels(others))


def _first_labels(edges: dict[Label, int]) -> str:
    return ", ".join(name for _, name in list(edges)[:5])


def below(path: Path, label: Label) -> Path:
    """The path of an edge; what a global is, or a process has, does not depend on who uses it."""
    return (label,) if label[0] in _ABSOLUTE else (*path, label)


def _described(node: Node) -> str:
    if node.kind == "value":
        return node.text.partition(" ")[2]
    if node.kind == "live":
        return node.text
    if node.kind == "function":
        return f"a function {node.text.partition(' ')[0]}"
    if node.kind == "place":
        return "another value"
    if node.kind in ("builtin", "installed", "module"):
        return node.text or "not defined"
    if node.kind == "opaque":
        return f"a {node.text}"
    name = node.text if node.kind in ("class", "instance", "object") else ""
    return f"a {node.kind} {name}".strip()


def shown(path: Path) -> str:
    """A path as Python would write it, where Python can."""
    text = ""
    for kind, name in path:
        match kind:
            case "global" | "through" | "process":
                text = name.replace(":", ".")
            case "attribute":
                text += f".{name}"
            case "item":
                text += f"[{name}]"
            case "memory":
                text += " (memory of another array)"
            case _:
                text += f" ({' '.join(filter(None, (kind, name)))})"
    return text or "the class"


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
        self.names = Names(session.namespace, session.source)

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
        first = self.source.position(name)
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
