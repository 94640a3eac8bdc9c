"""The keys of the JSON of each command: those in `docs/output.md`, and attributes of the results in Python.

Values become plain data here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from operator import attrgetter
from typing import Any, NewType

from gitops_ml.oci.reference import ImageRef

Facts = Mapping[str, Any]
Result = NewType("Result", dict[str, Any])
"""The facts of a result with the keys that are promised; nothing else is printed as JSON."""

_DELIVERY = "commit pull_request is_plan=dry_run"
_CHANGE = f"action {_DELIVERY} releases changes warnings"
RELEASE = (
    "api=release.api environment=release.environment namespace=release.namespace "
    "status=status.code state=status.state reason=status.reason? remedy=status.remedy? notes "
    "deployment_id=release.deployment_id running_id is_up_to_date ready requested "
    "image=release.image last_update=updated_at argo_cd"
)
"""A release with what runs of it."""
_KEYS: Mapping[str, str] = {
    "init": "written kept not_applied",
    "validate": "valid files apis problems",
    "base update": "images",
    "lock": "locks",
    "build": "images warnings",
    "inspect": "image=found.image kind deployment_id platform=found.contents.platform platforms "
    "size=found.contents.size content_hash=found.contents.content_hash lock=found.contents.lock "
    "entrypoint=found.contents.entrypoint user=found.contents.user labels=found.contents.labels layers "
    "packages attached signatures",
    "inspect --changes": "images warnings",
    "export": "directory files manifest",
    "render": "releases files objects warnings",
    "check": "project base head headline counts problems releases recorded findings cost hand_edits "
    "warnings",
    "cost": "releases totals missing warnings",
    "diff": "releases changes objects left warnings",
    "diff --live": "releases is_clean warnings",
    "deploy": f"{_DELIVERY} releases changes removed images warnings",
    "promote": _CHANGE,
    "rollback": _CHANGE,
    "patch": _CHANGE,
    "refresh": _CHANGE,
    "delete": _CHANGE,
    "get": "releases unseen predictions",
    "describe": f"{RELEASE} endpoint autoscaler preflight replicas events unseen predictions",
    "logs": "at pod text",
    "predict": "value deployment_id request_id status seconds url headers",
    "bench": "url body_bytes deployment_id steps advice",
    "compare": "verdict aspects first second",
    "history": "api deployments warnings",
    "trace": "deployment_id api=release.api environment=release.environment team=release.team "
    "namespace=release.namespace server=release.server project=release.project image=release.image "
    "digest=release.image.digest content_hash=release.content_hash chart commit when author pull_request "
    "is_current source=release.provenance deployments manifest_file=release.manifest_file "
    "manifest=release.manifest request",
    "doctor": "checks findings",
    "bootstrap": f"{_DELIVERY} changes kept steps advice warnings",
    "model push": "location digest=image.digest files size bytes_sent moved_from",
    "model pull": "directory digest=image.digest files size",
    "comment": "action pull_request url",
    "login": "registry username stored_in",
    "version": "gitops_ml python",
    "error": "error",
}
KEYS: Mapping[str, tuple[str, ...]] = {
    command: tuple(each.partition("=")[0] for each in keys.split())
    for command, keys in _KEYS.items()
}
"""By command; ``error`` is the object of a command that fails."""


def shaped(command: str, value: object = None, /, **made: Any) -> Result:
    """The facts of ``command``: its keys, each one of ``made`` or an attribute of ``value``."""
    if unknown := made.keys() - {*KEYS[command]}:
        raise AssertionError(f"{command}: {sorted(unknown)}")
    return Result(picked(value, _KEYS[command], **made))


def picked(value: object, names: str, /, **made: Any) -> dict[str, Any]:
    """The attributes of a value that ``names`` lists, in its order.

    ``key=path`` is an attribute of another name, and ``?`` after either stands for null in place of
    an empty one. ``made`` has keys of the list that are not attributes.

    >>> picked(PushedModel(…), "location digest=image.digest moved_from?")
    """
    found: dict[str, Any] = {}
    for name in names.split():
        key, _, path = name.rstrip("?").partition("=")
        item = made[key] if key in made else _plain(attrgetter(path or key)(value))
        found[key] = None if name.endswith("?") and not item else item
    return found


def _plain(value: Any) -> Any:
    match value:
        case ImageRef():
            return str(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case Mapping():
            return dict(value)
    return value


def rows(values: Iterable[object], names: str) -> list[Facts]:
    return [picked(value, names) for value in values]


def whole(values: Iterable[Any]) -> list[Facts]:
    """All fields of each of some dataclasses that hold plain data."""
    return [asdict(value) for value in values]
