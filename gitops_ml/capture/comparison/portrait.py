"""A portrait of a class: everything that it really uses, as a graph that two processes can compare.

As cloudpickle does, it follows code, defaults, closures, annotations, class attributes and the globals that
functions use. What comes from installed packages is named; what is the user's own is followed.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import CodeType, ModuleType
from typing import Any

from gitops_ml.capture.collected import attribute
from gitops_ml.capture.comparison.code_digest import codes_of, used_names
from gitops_ml.capture.comparison.process_state import state_of, value_at
from gitops_ml.capture.statements import OF_EVERY_MODULE

Label = tuple[str, str]
"""How a node is reached: ``("attribute", "rounds")``."""


@dataclass(slots=True)
class Node:
    """An object; its ``home`` is the names that it has in the module itself."""

    kind: str
    text: str = ""
    edges: list[tuple[Label, int]] = field(default_factory=list)
    has_identity: bool = False
    home: str = ""

    @property
    def fields(self) -> tuple[Any, ...]:
        """All of it, for JSON; `dataclasses.astuple` takes ten times as long."""
        return (self.kind, self.text, self.edges, self.has_identity, self.home)


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
    folder: str = ""
    """The folder that relative paths begin at."""
    process: tuple[str, ...] = ()
    """What of the process is compared."""
    patched: tuple[str, ...] = ()
    """What the session changed in libraries."""
    settled: frozenset[str] = frozenset()
    """Libraries in which the session set something that the package may lack."""
    is_package: bool = False

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

    def names_of(self, value: Any) -> list[str]:
        """The names that the module has for exactly this object."""
        return self._names.get(id(value), [])

    @cached_property
    def _names(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for name, value in sorted(self.namespace.items()):
            if not name.startswith("_"):
                found.setdefault(id(value), []).append(name)
        return found

    def reference(self, value: Any) -> str | None:
        """``module:name``, if that is how an installed module gives it."""
        module, name = attribute(value, "__module__"), attribute(value, "__qualname__")
        if not (isinstance(module, str) and isinstance(name, str)) or self.is_own(module):
            return None
        holder: Any = sys.modules.get(module)
        for part in name.split("."):
            holder = attribute(holder, part)
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
    from gitops_ml.capture.comparison.portrait_nodes import found

    walk = _Walk()
    walk.place(root)
    while len(walk.nodes) < len(walk.values):
        value = walk.values[len(walk.nodes)]
        seen = found(value, surroundings)
        node = Node(seen.kind, seen.text, has_identity=seen.has_identity)
        if seen.has_identity or seen.kind == "function":
            node.home = " ".join(surroundings.names_of(value))
        edges = seen.edges if walk.nodes else (*seen.edges, *_of_process(surroundings))
        node.edges = [(label, walk.place(each)) for label, each in edges]
        walk.nodes.append(node)
    _join_arrays(walk)
    _close_resources(walk.nodes)
    return walk.nodes


def _of_process(surroundings: Surroundings) -> Edges:
    """What is compared beside the class itself."""
    for name in surroundings.process:
        yield (("process", name), state_of(name, surroundings))
    for reference in surroundings.patched:
        yield (("through", reference), value_at(reference))


def _join_arrays(walk: _Walk) -> None:
    """Join arrays that share memory: what is written to one is then in the other."""
    first: dict[int, int] = {}
    for number, (node, value) in enumerate(zip(walk.nodes, walk.values, strict=True)):
        if node.kind != "array":
            continue
        while type(base := getattr(value, "base", None)) is type(value):
            value = base
        other = first.setdefault(id(value), number)
        if other != number:
            node.edges = [*node.edges, (("memory", ""), other)]


_CARRIERS = frozenset({"instance", "dict", "list", "tuple", "set"})


def _close_resources(nodes: list[Node]) -> None:
    """Look no further into instances of installed classes that hold something of this process.

    A pool of threads or a client of a service has locks and connections, and what else it holds depends on
    them. The statement that made it makes another one.
    """
    holders: dict[int, list[int]] = {}
    for number, node in enumerate(nodes):
        for _, place in node.edges if node.kind in _CARRIERS else ():
            holders.setdefault(place, []).append(number)
    queue = [number for number, node in enumerate(nodes) if node.kind in ("opaque", "live")]
    seen = set(queue)
    while queue:
        for holder in holders.get(queue.pop(), ()):
            if holder not in seen:
                seen.add(holder)
                queue.append(holder)
    for number in seen:
        if nodes[number].kind == "instance":
            nodes[number].edges = []


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
    # The names of a file that `%run` executed have none.
    module = function.__globals__.get("__name__") or function.__module__
    if not surroundings.is_own(module):
        return
    if _DYNAMIC & names.keys():
        names.update(
            {name: set() for name in _spelled(function.__code__) if name in surroundings.namespace}
        )
    is_here = module == surroundings.owner
    if "__name__" in names and "__main__" in _spelled(function.__code__):
        yield (("global", "__name__"), Builtin(str(module)))
    place = "" if is_here else f"{module}."
    for name in sorted(names):
        if is_here and name in surroundings.of_shell:
            yield (("global", name), Builtin(name))
        elif name not in function.__globals__:
            yield (("global", place + name), Builtin(name if hasattr(builtins, name) else ""))
        elif is_here and name in surroundings.of_place:
            yield (("global", name), OfPlace(function.__globals__[name]))
        elif name not in OF_EVERY_MODULE:
            value = function.__globals__[name]
            yield (("global", place + name), value)
            if isinstance(value, ModuleType):
                yield from _through(value, place + name, names[name], surroundings)


_DYNAMIC = frozenset({"globals", "eval", "exec"})
_CHANGES = frozenset({"sys", "os", "time"})
"""Modules whose values are facts about the process."""


def subclasses_of(function: Any, surroundings: Surroundings) -> Edges:
    """The subclasses that a function can ask a class for, by ``__subclasses__``."""
    codes = list(codes_of(function.__code__))
    if not any("__subclasses__" in code.co_names for code in codes):
        return
    names = {name for code in codes for name in code.co_names}
    names.add(function.__qualname__.rpartition(".")[0])
    queue = [surroundings.namespace.get(name) for name in sorted(names)]
    while queue:
        each = queue.pop()
        kinds: list[type] = type.__subclasses__(each) if isinstance(each, type) else []
        for kind in kinds:
            if surroundings.namespace.get(kind.__name__) is kind:
                yield (("subclass", kind.__name__), kind)
                queue.append(kind)


def _spelled(code: CodeType) -> set[str]:
    """The names in the texts of a function, which it may look up when it runs."""
    texts = (each for inner in codes_of(code) for each in inner.co_consts if isinstance(each, str))
    return {word for text in texts for word in re.findall(r"\w+", text)}


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
