"""The arguments of `Client`: groups of keywords that several verbs take, and conversions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import wraps
from inspect import Parameter
from typing import Any, TypedDict, TypeVar, cast

from gitops_ml.delivery.releases import Selection
from gitops_ml.errors import UsageError

Verb = TypeVar("Verb", bound="Callable[..., Any]")


class LandingKeywords(TypedDict, total=False):
    """The fields of `ChangeOptions` that every verb takes."""

    dry_run: bool
    pull_request: bool | None
    message: str | None
    why: str
    timeout: float


class ChangeKeywords(LandingKeywords, total=False):
    """The fields of `ChangeOptions`."""

    wait: bool


class DeployKeywords(LandingKeywords, total=False):
    """The fields of `DeployOptions` for one API; ``wait`` has its place in Cortex's signature."""

    by_tag: bool
    build: bool
    allow_dirty: bool


class CallKeywords(TypedDict, total=False):
    """The fields of `Call`."""

    path: str | None
    headers: Mapping[str, str] | None
    timeout: float | None
    address: str | None


def takes(group: type, *, of: type) -> Callable[[Verb], Verb]:
    """Let a method take the keywords of ``group`` in place of ``**keywords``, and no others.

    `help` and the completion of notebooks show them with the defaults of the dataclass ``of``.
    """
    keywords = [
        Parameter(each.name, Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
        for each in fields(of)
        if each.name in group.__annotations__
    ]

    def decorate(verb: Verb) -> Verb:
        own = inspect.signature(verb)
        *given, _ = own.parameters.values()
        signature = own.replace(parameters=[*given, *keywords])

        @wraps(verb)
        def checked(*positional: Any, **named: Any) -> Any:
            signature.bind(*positional, **named)
            return verb(*positional, **named)

        checked.__signature__ = signature  # type: ignore[attr-defined]  # of `inspect`
        return cast("Verb", checked)  # it takes and returns the same

    return decorate


def patch_of(spec: object, changes: object) -> tuple[str, Mapping[str, Any]]:
    """The name of the API, and the fields that change."""
    # Cortex's second argument is `force`.
    changes = None if isinstance(changes, bool) else changes
    if isinstance(spec, str) and isinstance(changes, Mapping):
        return spec, changes
    if isinstance(spec, Mapping) and changes is None:
        name = spec.get("name")
        if not isinstance(name, str) or not name:
            raise UsageError("the spec has no name of an API to patch")
        return name, {key: value for key, value in spec.items() if key not in ("name", "kind")}
    raise UsageError(
        'patch needs a name and the fields that change: patch("iris", {"compute": {"cpu": 2}})'
    )


def selection_of(
    names: str | Sequence[str],
    *,
    every: bool = False,
    teams: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
) -> Selection:
    apis = (names,) if isinstance(names, str) else tuple(names)
    if not (apis or every or teams or labels):
        raise UsageError("no API is chosen: give names, every=True, teams= or labels=")
    if apis and every:
        raise UsageError("every=True chooses every API: do not give names as well")
    return Selection(apis=apis, every=every, teams=tuple(teams), labels=labels)
