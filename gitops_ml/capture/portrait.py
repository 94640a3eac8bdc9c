"""A portrait of a class: everything that it really uses, as a graph that two processes can compare.

As cloudpickle does, it follows code, defaults, closures, annotations, class attributes and the globals that
functions use. What comes from installed packages is named; what is the user's own is followed.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any

from gitops_ml.capture.code_digest import used_names

Label = tuple[str, str]
"""How a node is reached: ``("attribute", "rounds")``."""


@dataclass(slots=True)
class Node:
    """An object. It has a ``home`` if it is a class or function under its own name."""

    kind: str
    text: str = ""
    edges: list[tuple[Label, int]] = field(default_factory=list)
    has_identity: bool = False
    home: str = ""


@dataclass(frozen=True)
class Surroundings:
    """Where a class lives: a session, or a module that was imported from a package."""

    owner: str
    """The name of its module."""
    namespace: Mapping[str, Any]
    own: frozenset[str] = frozenset()
    """The user's own top-level modules."""
    of_shell: frozenset[str] = frozenset()
    """Names of builtins that the shell replaced."""
    of_place: frozenset[str] = frozenset()
    """Names whose values depend on the machine."""

    def is_own(self, module: object) -> bool:
        return module == self.owner or str(module).partition(".")[0] in self._tops

    @cached_property
    def _tops(self) -> frozenset[str]:
        return self.own - {"builtins"}

    def neutral(self, text: str) -> str:
        """A text without the name of the class's module, which differs in a package."""
        if text == self.owner or text.startswith(f"{self.owner}."):
            return "<own>" + text[len(self.owner) :]
        return text

    def reference(self, value: Any) -> str | None:
        """``module:name``, if that is how an installed module gives it."""
        module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if not (isinstance(module, str) and isinstance(name, str)) or self.is_own(module):
            return None
        holder: Any = sys.modules.get(module)
        for part in name.split("."):
            holder = getattr(holder, part, None)
        return f"{module}:{name}" if holder is value else None


Edges = Iterable[tuple[Label, Any]]


@dataclass
class Found:
    """What one object is, before its edges are followed."""

    kind: str
    text: str = ""
    edges: Edges = ()
    has_identity: bool = False


def portrait(root: Any, surroundings: Surroundings) -> list[Node]:
    """The nodes of what ``root`` uses; the first is ``root``, and equal objects give equal nodes."""
    from gitops_ml.capture.portrait_nodes import found

    walk = _Walk()
    walk.place(root)
    while len(walk.nodes) < len(walk.values):
        value = walk.values[len(walk.nodes)]
        seen = found(value, surroundings)
        node = Node(seen.kind, seen.text, has_identity=seen.has_identity)
        name = getattr(value, "__qualname__", None) if seen.kind in ("class", "function") else None
        if isinstance(name, str) and surroundings.namespace.get(name) is value:
            node.home = name
        node.edges = [(label, walk.place(each)) for label, each in seen.edges]
        walk.nodes.append(node)
    return walk.nodes


class _Walk:
    def __init__(self) -> None:
        self.values: list[Any] = []
        """Kept alive, so that no other object gets the same id."""
        self.nodes: list[Node] = []
        self._places: dict[int, int] = {}

    def place(self, value: Any) -> int:
        known = self._places.get(id(value))
        if known is not None:
            return known
        self._places[id(value)] = len(self.values)
        self.values.append(value)
        return len(self.values) - 1


@dataclass(frozen=True)
class Builtin:
    """A name that is not bound in the module."""

    name: str


@dataclass(frozen=True)
class OfPlace:
    """A global whose value depends on the machine."""

    value: Any


def globals_of(function: Any, surroundings: Surroundings) -> Edges:
    """The globals that a function uses, and what it reads through modules."""
    names = used_names(function.__code__)
    module = function.__globals__.get("__name__")
    if not surroundings.is_own(module):
        return
    is_here = module == surroundings.owner
    place = "" if is_here else f"{module}."
    for name in sorted(names):
        if is_here and name in surroundings.of_shell:
            yield (("global", name), Builtin(name))
        elif name not in function.__globals__:
            yield (("global", place + name), Builtin(name if hasattr(builtins, name) else ""))
        elif is_here and name in surroundings.of_place:
            yield (("global", name), OfPlace(function.__globals__[name]))
        elif name not in _OF_EVERY_MODULE:
            value = function.__globals__[name]
            yield (("global", place + name), value)
            if isinstance(value, ModuleType):
                yield from _through(value, place + name, names[name], surroundings)


_OF_EVERY_MODULE = frozenset({"__name__", "__file__", "__doc__", "__builtins__", "__spec__"})
_CHANGES = frozenset({"sys", "os", "time"})
"""Modules whose values are facts about the process."""


def _through(
    module: ModuleType, name: str, chains: Iterable[tuple[str, ...]], surroundings: Surroundings
) -> Edges:
    for chain in sorted(chains):
        holder: Any = module
        for part in chain:
            if not isinstance(holder, ModuleType):
                break
            parent, holder = holder, getattr(holder, part, Builtin(""))
        else:
            if isinstance(holder, ModuleType):
                continue
            if surroundings.is_own(parent.__name__) or _can_be_compared(parent, holder):
                yield (("through", ".".join((name, *chain))), holder)


def _can_be_compared(module: ModuleType, value: Any) -> bool:
    if isinstance(value, bool | int | float | complex | str | bytes):
        return module.__name__.partition(".")[0] not in _CHANGES
    return isinstance(value, type) or hasattr(value, "__code__")
