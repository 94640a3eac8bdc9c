"""The keys of the JSON of each command: those in `docs/output.md`, and attributes of the results in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NewType

Result = NewType("Result", dict[str, Any])
"""The facts of a result with the keys that are promised; nothing else is printed as JSON."""

_DELIVERY = "commit pull_request is_plan"
_CHANGE = f"action {_DELIVERY} releases changes warnings"
_RELEASE = (
    "api environment namespace status state reason remedy notes deployment_id running_id "
    "is_up_to_date ready requested image last_update argo_cd"
)
_KEYS: Mapping[str, str] = {
    "init": "written kept",
    "validate": "valid files apis problems",
    "base update": "images",
    "lock": "locks",
    "build": "images warnings",
    "inspect": "image kind deployment_id platform platforms size content_hash lock entrypoint user "
    "labels layers packages attached signatures",
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
    "describe": f"{_RELEASE} endpoint autoscaler preflight replicas events unseen predictions",
    "logs": "at pod text",
    "predict": "value deployment_id request_id status seconds url headers",
    "bench": "url body_bytes deployment_id steps advice",
    "compare": "verdict aspects first second",
    "history": "api deployments warnings",
    "trace": "deployment_id api environment team namespace server project image digest content_hash "
    "chart commit when author pull_request is_current source deployments manifest_file manifest "
    "request",
    "doctor": "checks findings",
    "bootstrap": f"{_DELIVERY} changes kept steps advice warnings",
    "model push": "location digest files size bytes_sent moved_from",
    "model pull": "directory digest files size",
    "comment": "action pull_request url",
    "login": "registry username stored_in",
    "version": "gitops_ml python",
    "error": "error",
}
KEYS: Mapping[str, tuple[str, ...]] = {name: tuple(keys.split()) for name, keys in _KEYS.items()}
"""By command; ``error`` is the object of a command that fails."""


def shaped(command: str, facts: Mapping[str, Any]) -> Result:
    """``facts`` in the order of the keys of ``command``, which they have exactly."""
    if set(facts) != set(KEYS[command]):
        raise AssertionError(f"{command}: {sorted(set(facts) ^ set(KEYS[command]))}")
    return Result({key: facts[key] for key in KEYS[command]})
