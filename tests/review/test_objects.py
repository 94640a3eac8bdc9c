"""The risk of changes of Kubernetes objects, and what of them is shown."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gitops_ml.review.objects import rated_changes

POD = {
    "containers": [{"name": "predictor", "image": "r/x:h-0123456789abcdef0123@sha256:" + "1" * 64}]
}


def thing(kind: str, name: str = "iris", **spec: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": name, "labels": {"deployment-id": "a"}},
        "spec": spec,
    }


DEPLOYMENT = thing("Deployment", selector={"app": "iris"}, template={"spec": POD})


def changed(item: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    found = copy.deepcopy(item)
    place = found
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return found


RISKS = {
    "an object that the API needs goes": ([DEPLOYMENT], [], "high"),
    "a guard goes": ([thing("NetworkPolicy")], [], "high"),
    "a monitor goes": ([thing("PodMonitor")], [], "medium"),
    "an object comes": ([], [thing("PodMonitor")], "low"),
    "the selector": ([DEPLOYMENT], [changed(DEPLOYMENT, "spec", "selector", "app", to="b")], "high"),
    "the rights of the pods": (
        [DEPLOYMENT],
        [changed(DEPLOYMENT, "spec", "template", "spec", "securityContext", to={"runAsUser": 0})],
        "high",
    ),
    "the pods": ([DEPLOYMENT], [changed(DEPLOYMENT, "spec", "template", "spec", "x", to=1)], "medium"),
    "the way of requests": (
        [thing("HTTPRoute", hostnames=["a"])],
        [thing("HTTPRoute", hostnames=["b"])],
        "high",
    ),
    "the replicas": (
        [thing("ScaledObject", maxReplicaCount=1)],
        [thing("ScaledObject", maxReplicaCount=2)],
        "medium",
    ),
    "a Job": ([thing("Job", template={"a": 1})], [thing("Job", template={"a": 2})], "low"),
    "a label": (
        [DEPLOYMENT],
        [changed(DEPLOYMENT, "metadata", "labels", to={"deployment-id": "a", "team": "b"})],
        "low",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RISKS)
def test_each_change_has_a_risk(name):
    before, after, risk = RISKS[name]
    assert [each.risk for each in rated_changes(before, after)] == [risk]


def test_the_highest_risk_comes_first():
    before = [DEPLOYMENT, thing("ScaledObject", maxReplicaCount=1), thing("Service")]
    after = [
        changed(DEPLOYMENT, "metadata", "labels", to={"team": "b"}),
        thing("ScaledObject", maxReplicaCount=2),
    ]
    assert [(each.change.kind, each.risk) for each in rated_changes(before, after)] == [
        ("Service", "high"),
        ("ScaledObject", "medium"),
        ("Deployment", "low"),
    ]


def test_what_only_follows_is_left_out():
    other = changed(DEPLOYMENT, "metadata", "labels", "deployment-id", to="b")
    image = "r/x:h-9876543210abcdef0123@sha256:" + "2" * 64
    other["spec"]["template"]["spec"]["containers"][0]["image"] = image
    assert rated_changes([DEPLOYMENT], [other]) == ()
    moved = changed(
        DEPLOYMENT,
        "spec",
        "template",
        "spec",
        "containers",
        0,
        "image",
        to="q/x@sha256:" + "3" * 64,
    )
    (found,) = rated_changes([DEPLOYMENT], [moved])
    assert len(found.change.fields) == 1


def test_an_object_with_a_hash_in_its_name_is_the_same_object():
    before = [thing("Job", "iris-preflight-0a1b2c3d", a=1), thing("Service", "iris-deadbeef")]
    after = [thing("Job", "iris-preflight-99887766", a=2), thing("Service", "iris-deadbeef")]
    (found,) = rated_changes(before, after)
    assert (found.change.name, found.change.action) == ("iris-preflight-*", "modify")
