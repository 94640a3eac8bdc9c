"""Current releases of Ann's GitOps repository, and their fields, for the tests of verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.git_servers import git
from tests.support.person import CommandResult, Person, container_api


def deployed(ann: Person, *apis: Mapping[str, Any], to: str = "staging") -> str:
    """What stands after a deploy of these APIs; returns the first one's deployment id."""
    ann.has(*apis)
    ann.deploys("-e", to)
    return id_of(ann, apis[0]["name"], to)


def iris(**changes: Any) -> dict[str, Any]:
    return container_api("iris", **changes)


def id_of(ann: Person, api: str, environment: str = "staging") -> str:
    return str(ann.release(api, environment)["deployment_id"])


def did(ann: Person, *arguments: str) -> CommandResult:
    """A call that ends well."""
    result = ann.runs(*arguments)
    assert result.code == 0, result
    return result


def files(ann: Person, directory: str) -> dict[str, str]:
    return {path: ann.text(path) for path in ann.paths(f"{directory}/")}


def body(ann: Person) -> str:
    return git("log", "-1", "--format=%B", "main", cwd=ann.gitops)


def values(ann: Person, api: str, environment: str = "staging") -> Any:
    return ann.yaml(f"releases/{environment}/{api}/values.yaml")
