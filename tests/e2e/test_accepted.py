"""Every feature of the chart is accepted: by the API server, restricted Pod Security and KEDA's webhook.

Each field of an API that reaches the cluster (`tests/pipeline`) and each values file of the chart
(`tests/charts/values`) is rendered, and each object is applied by a dry run of the server. A Deployment
is not held to Pod Security, only its pods are: so a Pod is made of each template, too.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.e2e.machine.processes import until
from tests.pipeline.test_fields import FIELDS
from tests.support.pipeline import CHART, PROJECT, api, helm, merged, project_of, rendered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.e2e.cluster import Cluster


VALUES = sorted((Path(__file__).parents[1] / "charts" / "values").glob("*.yaml"))
Objects = dict[str, tuple["Mapping[str, Any]", ...]]
"""By the feature that they are rendered for."""


@pytest.fixture
def place(cluster, scaler, namespace) -> Iterator[str]:
    """A namespace that enforces `restricted`, with what pods refer to."""
    until(
        lambda: cluster.kubectl("get", "sa", "default", "-n", namespace, "--ignore-not-found"),
        "the namespace has its ServiceAccount",
        seconds=30,
    )
    classes = [
        {
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name}, "value": 1000,
        }
        for name in ("high", "inference")
    ]  # fmt: skip
    cluster.apply(classes)
    # Admission reads them from a cache.
    until(lambda: takes_classes(cluster, namespace), "the classes are known", seconds=30)
    yield namespace
    cluster.kubectl("delete", "priorityclass", "high", "inference")


def takes_classes(cluster: Cluster, namespace: str) -> bool:
    pods = [
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {"priorityClassName": name, "containers": [{"name": "a", "image": "a"}]},
        }
        for name in ("high", "inference")
    ]  # fmt: skip
    try:
        cluster.apply(pods, "--dry-run=server")
    except AssertionError as error:
        return "no PriorityClass" not in str(error)
    return True


@pytest.fixture
def of_fields(namespace) -> Objects:
    project = project_of(merged(PROJECT, {"environments": {"staging": {"namespace": namespace}}}))
    return {
        field: rendered(api(**words), project).objects for field, (words, _, _) in FIELDS.items()
    }


@pytest.fixture
def of_values(namespace) -> Objects:
    return {
        path.name: helm().template(
            CHART, release="iris", namespace=namespace, values=yaml.safe_load(path.read_text())
        )
        for path in VALUES
    }


@pytest.mark.parametrize("features", ["of_fields", "of_values"])
def test_each_object_of_each_feature_is_accepted(cluster, place, features, request):
    found: Objects = request.getfixturevalue(features)
    assert refused(cluster, found) == {}


@pytest.mark.parametrize("features", ["of_fields", "of_values"])
def test_the_cluster_knows_every_kind_that_a_feature_renders(cluster, scaler, features, request):
    found: Objects = request.getfixturevalue(features)
    kinds = {
        item["kind"] for objects in found.values() for item in objects if not cluster.knows(item)
    }
    if kinds:
        pytest.skip(f"the cluster has no {', '.join(sorted(kinds))}: they were not shown to it")


def with_privilege(objects: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    changed = deepcopy([*objects])
    (deployment,) = [each for each in changed if each["kind"] == "Deployment"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["securityContext"]["allowPrivilegeEscalation"] = True
    return tuple(changed)


def with_one_trigger_twice(objects: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    changed = deepcopy([*objects])
    (scaled,) = [each for each in changed if each["kind"] == "ScaledObject"]
    scaled["spec"]["triggers"].append(scaled["spec"]["triggers"][0])
    return tuple(changed)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (with_privilege, 'violates PodSecurity "restricted'),
        (with_one_trigger_twice, 'admission webhook "vscaledobject'),
    ],
)
def test_what_breaks_a_rule_is_refused(cluster, place, of_values, broken, reason):
    """So that the tests above mean something: the cluster does refuse."""
    name = "gpu-production.yaml"
    (sentence,) = refused(cluster, {name: broken(of_values[name])}).values()
    assert reason in sentence


# -- what is shown to the server -------------------------------------------------------------------


def refused(cluster: Cluster, found: Objects) -> dict[str, str]:
    """The features with an object that the cluster refuses, with what it says.

    All go to the server in one call; equal objects of several features once, under a name of its own.
    """
    features: dict[str, list[str]] = {}
    for feature, objects in found.items():
        known = [item for item in objects if cluster.knows(item)]
        for item in (*known, *_pods(known)):
            features.setdefault(json.dumps(item, sort_keys=True), []).append(feature)
    names = [f"shown-{number:04}" for number in range(len(features))]
    texts = zip(names, features, strict=True)
    try:
        cluster.apply([_named(json.loads(text), name) for name, text in texts], "--dry-run=server")
    except AssertionError as error:
        return _by_feature(str(error), dict(zip(names, features.values(), strict=True)))
    return {}


def _pods(objects: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """What a Deployment's controller makes; its own account is not there yet."""
    for item in objects:
        if item["kind"] == "Deployment":
            template = item["spec"]["template"]
            metadata = {**template["metadata"], "namespace": item["metadata"]["namespace"]}
            yield {
                "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
                "spec": {**template["spec"], "serviceAccountName": "default"},
            }  # fmt: skip


def _named(item: dict[str, Any], name: str) -> dict[str, Any]:
    return {**item, "metadata": {**item["metadata"], "name": name}}


def _by_feature(message: str, features: Mapping[str, list[str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    _, *parts = re.split(r"(?:\n|: )(?=Error |The |Warning: )", message)
    # A Deployment with pods that are not allowed is a warning; its Pod is the error.
    for part in (each for each in parts if not each.startswith("Warning: ")):
        names = re.findall(r"shown-\d{4}", part)
        found |= {feature: part for name in names for feature in features[name]}
        if not names:
            found[_UNNAMED] = part
    assert found, message
    return found


_UNNAMED = "a ScaledObject"
"""KEDA's webhook does not say of which object it speaks."""
