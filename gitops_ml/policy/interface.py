"""Rules about what the callers of an API rely on."""

from __future__ import annotations

from collections.abc import Iterator

from gitops_ml.policy.openapi_changes import breaking_changes
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
        message = f"the kind changes from {before.spec.kind} to {after.spec.kind}"
        yield Breach(("kind",), message)


def _schema(subject: Subject) -> Iterator[Breach]:
    before, after = subject.before, subject.after
    if before is None or after is None or before.openapi is None or after.openapi is None:
        return
    for sentence in breaking_changes(before.openapi, after.openapi):
        yield Breach(("predictor", "path"), sentence)


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
