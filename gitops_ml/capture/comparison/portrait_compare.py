"""Compare two portraits: where the session and a package of it differ."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gitops_ml.capture.comparison.portrait import Label, Node
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
        yield Difference(path, f"in the order {_order(edges)}", _order(others))


def _order(edges: dict[Label, int]) -> str:
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
