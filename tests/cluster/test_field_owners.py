"""Who set which field of an object: nothing that a server may answer is a failure."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_ml.cluster.kubernetes_objects import Owner, owned_fields
from gitops_ml.gitops.drift import object_drift
from tests.support.managed_fields import entry

ITEM = {
    "kind": "Deployment",
    "metadata": {"name": "iris", "finalizers": ["a", "b"]},
    "spec": {
        "replicas": 2,
        "containers": [{"name": "predictor", "image": "a", "ports": [{"containerPort": 1, "protocol": "TCP"}]}],
    },
}  # fmt: skip


def owned(fields_v1: object) -> list[tuple[str, object]]:
    found = {**ITEM, "metadata": {**ITEM["metadata"], "managedFields": [
        {"manager": "m", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields_v1}]}}  # fmt: skip
    return [(field.path, field.value) for field in owned_fields(found)]


def test_paths_are_those_of_differences() -> None:
    assert owned(entry("m", ITEM["spec"] and {"spec": ITEM["spec"]})["fieldsV1"]) == [
        ("spec.replicas", 2),
        ("spec.containers[predictor].name", "predictor"),
        ("spec.containers[predictor].image", "a"),
        ("spec.containers[predictor].ports[0].containerPort", 1),
        ("spec.containers[predictor].ports[0].protocol", "TCP"),
    ]
    assert owned({"f:metadata": {"f:finalizers": {'v:"b"': {}}}}) == [
        ("metadata.finalizers[1]", "b")
    ]


def test_fields_that_are_gone_are_left_out() -> None:
    gone = {"f:spec": {"f:paused": {}, "f:containers": {'k:{"name":"other"}': {"f:image": {}}}}}
    assert owned(gone) == []


def test_people_and_controllers_have_names() -> None:
    names = {
        ("kubectl-edit", ""): "kubectl edit",
        ("kubectl-client-side-apply", ""): "kubectl apply",
        ("kube-controller-manager", "scale"): "the HorizontalPodAutoscaler",
        ("argocd-application-controller", ""): "Argo CD",
        ("cert-manager", ""): "cert-manager",
    }
    for (manager, subresource), name in names.items():
        assert Owner(manager, subresource, None).name == name
    assert Owner("kubectl-edit", "", None).is_person
    assert not Owner("cert-manager", "", None).is_person


KEYS = st.sampled_from([
    "f:spec", "f:replicas", "f:containers", "f:", ".", "x",
    'k:{"name":"predictor"}', "k:{", "k:[]", 'v:"a"', "v:{", "i:0",
])  # fmt: skip
SETS = st.recursive(
    st.none() | st.just({}) | st.integers() | st.text(max_size=3),
    lambda below: st.dictionaries(KEYS, below, max_size=4) | st.lists(below, max_size=2),
    max_leaves=20,
)
ENTRIES = st.lists(
    st.none()
    | st.fixed_dictionaries({
        "manager": st.sampled_from(["kubectl-edit", "argocd-controller", ""]) | st.integers(),
        "time": st.none() | st.text(max_size=5) | st.just("2026-01-01T00:00:00Z"),
        "subresource": st.none() | st.just("scale"),
        "fieldsV1": SETS,
    }),
    max_size=4,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(ENTRIES)
def test_no_answer_is_a_failure(entries: list[object]) -> None:
    live = {**ITEM, "metadata": {**ITEM["metadata"], "managedFields": entries}}
    found = list(object_drift(ITEM, live, applied=None))
    assert all(each.kind == "Deployment" for each in found)
    assert list(object_drift(ITEM, live, applied=live)) == found
