"""Node groups, GPU classes and spot nodes become selectors, affinity and tolerations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.manifest_parts import cluster
from tests.support.pipeline import (
    BARE,
    PROJECT,
    api,
    check_objects,
    errors_of,
    findings_of,
    merged,
    project_of,
    rendered,
)

if TYPE_CHECKING:
    from gitops_ml.project.project import Project


def test_several_node_groups_mean_any_of_them(everything: Project) -> None:
    release = rendered(api(compute={"node_groups": ["large", "small", "large"]}), everything)
    required = release.pod["affinity"]["nodeAffinity"]
    (key,) = required
    keys = [
        [(e["key"], e["values"]) for e in term["matchExpressions"]]
        for term in required[key]["nodeSelectorTerms"]
    ]
    assert keys == [[("pool", ["large"])], [("pool", ["small"]), ("zone", ["a"])]]
    assert "nodeSelector" not in release.pod
    check_objects(release.objects)


def test_cpu_pods_do_not_tolerate_gpu_taints(everything: Project) -> None:
    assert "tolerations" not in rendered(api(), everything).pod


def test_a_gpu_on_spot_nodes_has_both_kinds_of_nodes_labels(everything: Project) -> None:
    release = rendered(api(compute={"gpu": 1, "spot": True}), everything)
    assert set(release.pod["nodeSelector"]) == {
        "cloud.google.com/gke-accelerator",
        "cloud.google.com/gke-spot",
    }
    keys = [each["key"] for each in release.pod["tolerations"]]
    assert keys == ["nvidia.com/gpu", "cloud.google.com/gke-spot"]


def test_spot_nodes_without_gpus_are_not_those_of_gpus() -> None:
    spot = {"preset": None, "node_selector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]}
    project = project_of(merged(PROJECT, {"clusters": {"main": {"spot": spot}}}))
    (wrong,) = errors_of(api(compute={"spot": True}), project)
    assert (wrong.path, "clusters.main.spot" in wrong.message) == (("compute", "spot"), True)
    assert not errors_of(api(compute={"spot": True, "gpu": 1, "gpu_class": "t4"}), project)


def test_spot_without_spot_nodes_is_refused() -> None:
    (wrong,) = errors_of(api(compute={"spot": True}), cluster(spot=None))
    assert wrong.path == ("compute", "spot")


GPU_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


@pytest.mark.parametrize("classes", [{}, {"t4": {"preset": "gke"}, "a100": {"preset": "aks"}}])
def test_a_gpu_without_a_class_is_any_that_the_device_plugin_offers(
    classes: dict[str, Any],
) -> None:
    words = merged(BARE, {"clusters": {"main": {"gpu_classes": classes}}})
    project = project_of(merged(words, {"environments": {"staging": {"cluster": "main"}}}))
    release = rendered(api(compute={"gpu": 1}), project)
    assert release.container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert release.pod["tolerations"] == [GPU_TAINT]
    assert "nodeSelector" not in release.pod
    # One replica, and nothing says that there is a spare GPU.
    assert release.one("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    found = [each.message for each in findings_of(api(compute={"gpu": 1}), project)]
    assert any("any node with nvidia.com/gpu" in each for each in found) is bool(classes)
