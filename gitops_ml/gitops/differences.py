"""Compare files as unified diffs, and Kubernetes objects field by field."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitops_ml.git.commits import Change

KubernetesObject = Mapping[str, Any]
_MISSING = object()
_JSON = (".json", "runtime.config")
"""The ends of paths whose text is JSON."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field before and after; ``action`` distinguishes ``None`` from a missing field."""

    path: str
    action: str
    """``add``, ``modify`` or ``delete``."""
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One Kubernetes object that comes, goes or changes."""

    kind: str
    name: str
    action: str
    fields: tuple[FieldChange, ...]


def unified_diff(change: Change) -> str:
    """The change in the format of `git diff`."""
    old, new = (
        (content or b"").decode(errors="replace").splitlines(keepends=True)
        for content in (change.before, change.after)
    )
    lines = difflib.unified_diff(
        old,
        new,
        fromfile="/dev/null" if change.before is None else f"a/{change.path}",
        tofile="/dev/null" if change.after is None else f"b/{change.path}",
    )
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def object_changes(
    before: Iterable[KubernetesObject], after: Iterable[KubernetesObject]
) -> tuple[ObjectChange, ...]:
    """The objects that change, matched by kind and name and compared field by field."""
    old, new = _by_identity(before), _by_identity(after)
    found = []
    for kind, name in sorted({*old, *new}):
        was, will_be = old.get((kind, name)), new.get((kind, name))
        if was is None or will_be is None:
            action = "add" if was is None else "delete"
            found.append(ObjectChange(kind, name, action, ()))
        elif not _is_equal(was, will_be) and (fields := field_changes(was, will_be)):
            found.append(ObjectChange(kind, name, "modify", fields))
    return tuple(found)


def _is_equal(before: KubernetesObject, after: KubernetesObject) -> bool:
    """Whether two objects are certainly equal; for Python, 1 is equal to true as well."""
    return before is after or (before == after and json.dumps(before) == json.dumps(after))


def field_changes(before: Any, after: Any) -> tuple[FieldChange, ...]:
    """Two documents compared field by field."""
    return tuple(_compare(before, after, ""))


def _by_identity(
    objects: Iterable[KubernetesObject],
) -> dict[tuple[str, str], KubernetesObject]:
    return {(item["kind"], item["metadata"]["name"]): item for item in objects}


def _compare(before: Any, after: Any, path: str) -> Iterator[FieldChange]:
    if before is after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            deeper = f"{path}.{key}" if path else str(key)
            yield from _compare(before.get(key, _MISSING), after.get(key, _MISSING), deeper)
    elif _is_list(before) and _is_list(after):
        yield from _compare_lists(before, after, path)
    elif (documents := _documents(before, after, path)) is not None:
        yield from _compare(*documents, path)
    elif before is _MISSING:
        yield FieldChange(path, "add", None, after)
    elif after is _MISSING:
        yield FieldChange(path, "delete", before, None)
    elif before != after or type(before) is not type(after):
        yield FieldChange(path, "modify", before, after)


def _documents(before: Any, after: Any, path: str) -> tuple[Any, Any] | None:
    """JSON of a ConfigMap or of the values as data, so that it is compared field by field, too."""
    if not path.endswith(_JSON) or not (isinstance(before, str) or isinstance(after, str)):
        return None
    if not (isinstance(before, str | Mapping) and isinstance(after, str | Mapping)):
        return None
    try:
        was, will_be = (json.loads(v) if isinstance(v, str) else v for v in (before, after))
    except ValueError:
        return None
    return was, will_be


def _compare_lists(before: Sequence[Any], after: Sequence[Any], path: str) -> Iterator[FieldChange]:
    """Items by name where they have one (containers, env, ports), else by index."""
    old, new = by_name(before), by_name(after)
    if old is None or new is None:
        old, new = dict(enumerate(before)), dict(enumerate(after))
    for key in [*old, *(key for key in new if key not in old)]:
        yield from _compare(old.get(key, _MISSING), new.get(key, _MISSING), f"{path}[{key}]")


def by_name(items: Sequence[Any]) -> dict[Any, Any] | None:
    """The items of a list by their names; `None` where not each has one of its own."""
    names = [item.get("name") for item in items if isinstance(item, Mapping)]
    if len(names) != len(items) or None in names or len({*map(str, names)}) != len(names):
        return None
    return dict(zip(names, items, strict=True))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
