"""Node groups, GPU classes and spot nodes become selectors, affinity and tolerations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.manifest_parts import cluster
from tests.support.pipeline import api, check_objects, errors_of, rendered

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


def test_spot_without_spot_nodes_is_refused() -> None:
    (wrong,) = errors_of(api(compute={"spot": True}), cluster(spot=None))
    assert wrong.path == ("compute", "spot")
