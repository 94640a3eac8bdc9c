"""Rules about what the callers of an API rely on: its address, its kind, and its OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gitops_ml.documents.plain_data import within
from gitops_ml.policy.rule import Breach, Rule, Side, Subject


def _endpoint(subject: Subject) -> Iterator[Breach]:
    before, after = subject.before, subject.after
    if before is None or after is None:
        return
    old, new = before.spec.networking, after.spec.networking
    if old.endpoint != new.endpoint:
        message = f"the endpoint changes from {old.endpoint} to {new.endpoint}: callers get 404"
        yield Breach(("networking", "endpoint"), message)
    for host in old.hosts:
        if host not in new.hosts:
            yield Breach(("networking", "hosts"), f"the host {host} is removed: callers get 404")
    if _is_routed(before) and not _is_routed(after):
        message = "the gateway no longer routes to the API: callers outside of the cluster get 404"
        yield Breach(("networking", "visibility"), message)


def _is_routed(side: Side) -> bool:
    if side.is_routed is None:
        return side.spec.networking.visibility == "public"
    return side.is_routed


def _kind(subject: Subject) -> Iterator[Breach]:
    before, after = subject.before, subject.after
    if before is not None and after is not None and before.spec.kind != after.spec.kind:
        yield Breach(("kind",), f"the kind changes from {before.spec.kind} to {after.spec.kind}")


def _schema(subject: Subject) -> Iterator[Breach]:
    before, after = subject.before, subject.after
    if before is None or after is None or before.openapi is None or after.openapi is None:
        return
    for sentence in breaking_changes(before.openapi, after.openapi):
        yield Breach(("predictor", "path"), sentence)


_Compare = Callable[..., Iterator[str]]
_METHODS = ("get", "put", "post", "delete", "patch", "options", "head")
_DEEPEST = 12
"""Levels of a schema that are compared; a schema may contain itself."""


def breaking_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """One sentence for each change that a caller of ``before`` can fail on, with its operations."""
    operations: dict[str, list[str]] = {}
    for operation, change in _changes(before, after):
        found = operations.setdefault(change, [])
        if operation not in found:
            found.append(operation)
    return tuple(f"{', '.join(names)}: {change}" for change, names in operations.items())


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Operation and change."""
    for path, operations in within(before, "paths").items():
        for method in _METHODS:
            old = within(operations, method)
            new = within(after, "paths", path, method)
            if not old:
                continue
            where = f"{method.upper()} {path}"
            if not new:
                yield where, "it is removed"
                continue
            for change in _Comparison(before, after).operation(old, new):
                yield where, change


class _Comparison:
    """Two documents, for the references in them."""

    def __init__(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        self._documents = (before, after)

    def operation(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
        bodies = within(old, "requestBody"), within(new, "requestBody")
        if bodies[1].get("required") and not bodies[0].get("required"):
            yield "it requires a body"
        yield from _contents(*bodies, self._request, "takes", "the request")
        yield from self._responses(within(old, "responses"), within(new, "responses"))

    def _responses(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
        for status, answer in old.items():
            if not str(status).startswith("2"):
                continue
            if status not in new:
                yield f"it no longer answers {status}"
                continue
            yield from _contents(answer, new[status], self._response, "answers", "the response")

    def _request(self, old: Any, new: Any, at: str, depth: int = 0) -> Iterator[str]:
        """A request may allow more than before, and require no more."""
        old, new = self._resolved(old, 0), self._resolved(new, 1)
        if depth > _DEEPEST or old == new:
            return
        yield from self._types(new, old, at)
        fields = within(old, "properties"), within(new, "properties")
        for name in new.get("required") or ():
            if name not in (old.get("required") or ()):
                yield f"{at} requires {name}"
        if new.get("additionalProperties") is False:
            for name in fields[0].keys() - fields[1].keys():
                yield f"{at} no longer takes {name}"
        yield from self._values(new, old, at)
        yield from _inner(old, new, self._request, at, depth + 1)

    def _response(self, old: Any, new: Any, at: str, depth: int = 0) -> Iterator[str]:
        """A response keeps what callers read."""
        old, new = self._resolved(old, 0), self._resolved(new, 1)
        if depth > _DEEPEST or old == new:
            return
        yield from self._types(old, new, at)
        fields = within(old, "properties"), within(new, "properties")
        for name in fields[0].keys() - fields[1].keys():
            yield f"{name} is gone from {at}"
        for name in old.get("required") or ():
            if name in fields[1] and name not in (new.get("required") or ()):
                yield f"{name} of {at} may be missing"
        yield from self._values(old, new, at)
        yield from _inner(old, new, self._response, at, depth + 1)

    def _types(self, wide: Mapping[str, Any], narrow: Mapping[str, Any], at: str) -> Iterator[str]:
        """``wide`` has to allow each type of ``narrow``."""
        allowed, given = _type_names(wide), _type_names(narrow)
        if not allowed:
            return
        if not given or not given <= allowed:
            old, new = sorted(given) or ["anything"], sorted(allowed)
            yield f"the type of {at} changes ({' or '.join(old)}, {' or '.join(new)})"

    def _values(self, wide: Mapping[str, Any], narrow: Mapping[str, Any], at: str) -> Iterator[str]:
        allowed, given = wide.get("enum"), narrow.get("enum")
        if isinstance(allowed, list) and (
            not isinstance(given, list) or any(each not in allowed for each in given)
        ):
            yield f"the values of {at} change"

    def _resolved(self, schema: Any, which: int) -> Mapping[str, Any]:
        for _ in range(_DEEPEST):
            if not isinstance(schema, dict) or "$ref" not in schema:
                break
            path = str(schema["$ref"]).removeprefix("#/").split("/")
            schema = within(self._documents[which], *path)
        return schema if isinstance(schema, dict) else {}


def _contents(old: Any, new: Any, compare: _Compare, verb: str, at: str) -> Iterator[str]:
    """The changes of each content type of a body."""
    for kind in within(old, "content"):
        if kind not in within(new, "content"):
            yield f"it no longer {verb} {kind}"
        else:
            before, after = (within(each, "content", kind, "schema") for each in (old, new))
            yield from compare(before, after, at)


def _inner(
    old: Mapping[str, Any], new: Mapping[str, Any], compare: _Compare, at: str, depth: int
) -> Iterator[str]:
    """The changes of the fields and items that both schemas have."""
    before, after = within(old, "properties"), within(new, "properties")
    for name in before.keys() & after.keys():
        yield from compare(before[name], after[name], f"{name} of {at}", depth)
    if "items" in old and "items" in new:
        yield from compare(old["items"], new["items"], f"an item of {at}", depth)


def _type_names(schema: Mapping[str, Any]) -> frozenset[str]:
    """The types that a schema allows; none where it allows all."""
    found = schema.get("type")
    names = {found} if isinstance(found, str) else set(found or ())
    return frozenset({*names, "integer"} if "number" in names else names)


INTERFACE_RULES = (
    Rule(
        id="endpoint-changed",
        title="An API keeps its endpoint, its hosts and its visibility",
        severity="warning",
        reason="Callers have the URL; once it is gone they fail, and nothing redirects them.",
        remedy="serve the old endpoint by a second API until its callers moved, or except the API",
        check=_endpoint,
    ),
    Rule(
        id="kind-changed",
        title="An API keeps its kind",
        severity="warning",
        reason="Another kind is called in another way: its callers have to change with it.",
        remedy="deploy the new kind under another name, and remove the old API when it receives no request any more",
        check=_kind,
    ),
    Rule(
        id="schema-changed",
        title="An API takes the requests that it took, and answers with the fields that it had",
        severity="warning",
        reason="Callers send and read the fields of the API's document, which is read from the source of `predict`.",
        remedy="add fields that are optional, and keep the old ones until no caller uses them",
        check=_schema,
    ),
)
