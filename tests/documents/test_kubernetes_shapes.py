"""What people write in Kubernetes' words has the shape that Kubernetes' own schema gives it."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from gitops_ml.documents.json_schema import load_schema
from tests.documents.test_schemas import merged

KUBERNETES = json.loads(
    files("kubernetes_validate").joinpath("kubernetes-json-schema/v1.36.0-local/_definitions.json")
    .read_text()
)["$defs"]  # fmt: skip
NOT_OFFERED = {
    # A probe asks its own container only (Pod Security, since Kubernetes 1.34), and is no reason
    # to wait longer than the release does.
    *("HTTPGetAction.host", "TCPSocketAction.host", "Probe.terminationGracePeriodSeconds"),
}


def root_of(name: str) -> Any:
    return load_schema(name).document


def fields(ours: Any, theirs: Any, at: str, root: Any) -> Any:
    """Every object of ours with Kubernetes' definition of it."""
    ours = merged(ours, root)
    while "$ref" in theirs or "allOf" in theirs:
        name = (theirs.get("$ref") or theirs["allOf"][0]["$ref"]).rpartition("/")[2]
        theirs, at = KUBERNETES[name], name.rpartition(".")[2]
    yield at, ours, theirs
    for key, inner in ours.get("properties", {}).items():
        if key in theirs.get("properties", {}):
            yield from fields(inner, theirs["properties"][key], f"{at}.{key}", root)
    if "items" in ours and "items" in theirs:
        yield from fields(ours["items"], theirs["items"], f"{at}[]", root)


def types(schema: Any) -> set[str]:
    found = schema.get("type", [])
    return {found} if isinstance(found, str) else set(found)


@pytest.mark.parametrize(
    ("definition", "kind"),
    [
        *(("node_affinity", "NodeAffinity"), ("pod_affinity", "PodAffinity")),
        *(("pod_affinity", "PodAntiAffinity"), ("toleration", "Toleration"), ("probe", "Probe")),
    ],
)
def test_a_shape_has_kubernetes_fields_and_types_and_no_others(definition, kind):
    root = root_of("api")
    ours, theirs = root["$defs"][definition], {"$ref": f"#/$defs/io.k8s.api.core.v1.{kind}"}
    seen = 0
    for at, mine, its in fields(ours, theirs, kind, root):
        seen += 1
        if "properties" in its:
            names = {f"{at}.{name}" for name in its["properties"]} - NOT_OFFERED
            assert {f"{at}.{name}" for name in mine["properties"]} == names, at
            assert mine["additionalProperties"] is False, at
            assert set(mine.get("required", ())) >= set(its.get("required", ())) or kind == "Probe"
        elif "type" in its and "enum" not in mine:
            assert types(mine) - {"null"} <= types(its), at
    assert seen > 3
