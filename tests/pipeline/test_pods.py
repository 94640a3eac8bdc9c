"""A change moves the deployment id exactly if it moves the pods: the pod template, rendered by Helm.

The id is a label of the pods, so an id that moves alone would restart them for nothing, and pods that
move alone would be others with the same name. The id itself is left out of what is compared.
"""

from __future__ import annotations

import functools
import random
import re
from typing import TYPE_CHECKING, Any

import pytest

from gitops_ml.helm.charts import read_chart
from tests.pipeline.test_fields import FIELDS
from tests.support.manifest_parts import container
from tests.support.pipeline import (
    DIGEST,
    PROJECT,
    api,
    errors_of,
    merged,
    project_of,
    rendered,
)

if TYPE_CHECKING:
    from gitops_ml.project.project import Project

CHART = read_chart("predictor")
ANNOTATED = {"clusters": {"main": {"prometheus": {"pod_monitors": False}}}}
"""Prometheus finds the pods by their annotations, which have the path of the metrics."""
PROJECTS = {"with a PodMonitor": {}, "with annotations": ANNOTATED}
RESTART_NOTHING = ("autoscaling", "update_strategy", "labels", "annotations", "service_account")
ROUTES = ("networking.endpoint", "networking.hosts", "networking.visibility")
"""But the timeout is a setting of the runtime as well."""
METRICS = ("container.max_concurrency", "container.metrics_path", "container.in_flight_metric")
"""The path is on the pods only where annotations tell it; the tables set it in all of these."""


def restarts(field: str, *, annotated: bool) -> bool:
    """Whether a change of the field of a manifest replaces the pods."""
    if field in METRICS:
        return annotated
    return field not in ROUTES and not field.startswith(RESTART_NOTHING)


def pods(words: dict[str, Any], project: Project, environment: str = "staging") -> tuple[str, str]:
    """The id, and all that decides the pods: the template with its settings, without the id."""
    release = rendered(words, project, environment, chart=CHART)
    template = release.one("Deployment")["spec"]["template"]
    template["metadata"]["annotations"].pop("checksum/settings", None)
    has_settings = any(item["metadata"]["name"] == "iris" for item in release.all("ConfigMap"))
    settings = release.one("ConfigMap")["data"] if has_settings else None
    identity = release.text.deployment_id
    return identity, f"{template} {settings}".replace(identity, "")


@functools.cache
def project(name: str) -> Project:
    return project_of(merged(PROJECT, PROJECTS[name]))


def project_for(field: str) -> Project:
    """The project in which the field can have another value."""
    if field != "compute.gpu_class":
        return project("with a PodMonitor")
    more = {"clusters": {"main": {"gpu_classes": {"l4": {"preset": "gke", "model": "l4"}}}}}
    return project_of(merged(PROJECT, more))


def without(field: str) -> dict[str, Any]:
    """The API without the field."""
    if field == "container.image":
        return api(container={"image": "a/b:0"})
    return api(**container()) if field.startswith("container.") else api()


def moved(before: tuple[str, str], after: tuple[str, str]) -> bool:
    """Whether id and pods moved."""
    (id, template), (other_id, other_template) = before, after
    assert (id != other_id) == (template != other_template), (before, after)
    return id != other_id


# -- each field of a manifest ----------------------------------------------------------------------


@pytest.mark.parametrize("name", PROJECTS)
@pytest.mark.parametrize("field", [name for name in FIELDS if name != "kind"])
def test_a_field_moves_the_id_exactly_if_it_moves_the_pods(field: str, name: str) -> None:
    words, _, _ = FIELDS[field]
    before = pods(without(field), project(name))
    after = pods(api(**words), project(name))
    assert moved(before, after) == restarts(field, annotated=name == "with annotations")


def test_most_fields_decide_the_pods_and_scaling_and_routes_do_not() -> None:
    kept = [field for field in FIELDS if not restarts(field, annotated=False)]
    assert (len(FIELDS), len(kept)) == (142, 36)


OTHER: dict[str, Any] = {
    "autoscaling.downscale_tolerance": 0.3,
    "autoscaling.max_downscale_factor": 0.7,
    "autoscaling.scale_to_zero": "schedule",
    "autoscaling.schedule[].end": "0 19 * * 1-5",
    "autoscaling.schedule[].start": "0 9 * * 1-5",
    "autoscaling.schedule[].timezone": "Europe/Berlin",
    "autoscaling.triggers[].authentication": {
        "name": "orders",
        "kind": "ClusterTriggerAuthentication",
    },
    "autoscaling.triggers[].metric_type": "AverageValue",
    "autoscaling.triggers[].type": "azure-queue",
    "autoscaling.upscale_stabilization_period": "7s",
    "compute.affinity": {"nodeAffinity": {}},
    "compute.gpu_class": "l4",
    "compute.mem": "2Gi",
    "compute.node_groups": ["small"],
    "compute.priority_class": None,
    "compute.tolerations": [],
    "container.sidecars[].shm_size": "32Mi",
    "host_aliases[].ip": "10.0.0.8",
    "monitoring.model_type": "classification",
    "networking.hosts": ["y.acme.example"],
    "networking.timeout": "2m",
    "networking.visibility": "public",
    "predictor.cors": ["https://app.acme.example"],
    "predictor.inline": "auto",
    "predictor.log_level": "warning",
    "predictor.path": "src/other.py",
    "predictor.prediction_log.sample_rate": 0.2,
    "predictor.prediction_log.sink": "stdout",
    "predictor.type": "tensorflow",
    "secrets[].remote.store_kind": "ClusterSecretStore",
    "update_strategy.max_unavailable": "40%",
    "update_strategy.preflight": "none",
    "update_strategy.type": "RollingUpdate",
}
"""Another value where `other` makes none that the checks accept."""


def other(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str() if found := re.fullmatch(r"(\d+)(\D+)", value):
            return f"{2 * int(found[1]) + 1}{found[2]}"
        case str():
            return f"{value}x"
        case dict():
            return {key: other(each) for key, each in value.items()}
        case list():
            return [other(each) for each in value]
    return value


def with_other(words: Any, field: str, rest: str) -> Any:
    """The words with another value of the field, which is at ``rest``."""
    if not rest:
        return OTHER[field] if field in OTHER else other(words)
    first, _, rest = rest.partition(".")
    key = first.removesuffix("[]")
    if first == key:
        return {**words, key: with_other(words[key], field, rest)}
    return {**words, key: [with_other(each, field, rest) for each in words[key]]}


@pytest.mark.parametrize("field", [name for name in FIELDS if name != "kind"])
def test_another_value_of_a_field_moves_the_id_exactly_if_it_moves_the_pods(field: str) -> None:
    """Alone, with all that the field needs beside it the same."""
    words, _, _ = FIELDS[field]
    changed = with_other(api(**words), field, field)
    assert changed != api(**words)
    before, after = (pods(each, project_for(field)) for each in (api(**words), changed))
    assert moved(before, after) == restarts(field, annotated=False)


def test_fields_together_move_the_id_exactly_if_they_move_the_pods() -> None:
    """Any two releases of the tables, mixed at random: one id for one pod template."""
    chosen = random.Random(11)
    mixed = [field for field in FIELDS if field.split(".")[0] not in ("container", "name", "kind")]
    seen: dict[str, str] = {}
    valid = 0
    for _ in range(200):
        words = functools.reduce(merged, (FIELDS[each][0] for each in chosen.sample(mixed, 3)))
        if errors_of(api(**words)):
            continue
        valid += 1
        identity, template = pods(api(**words), project("with a PodMonitor"))
        assert seen.setdefault(identity, template) == template
    assert valid > 100
    assert len(set(seen.values())) == len(seen) < valid


# -- the project, the image and the chart ----------------------------------------------------------

ANOTHER_PLACE: dict[str, tuple[bool, dict[str, Any]]] = {
    "namespace": (False, {"environments": {"staging": {"namespace": "elsewhere"}}}),
    "server": (False, {"clusters": {"main": {"server": "https://10.0.0.1:6443"}}}),
    "Prometheus": (False, {"clusters": {"main": {"prometheus": {"address": "http://o:9090"}}}}),
    "its namespace": (False, {"clusters": {"main": {"prometheus": {"namespace": "other"}}}}),
    "PodMonitors": (True, ANNOTATED),
    "their labels": (False, {"clusters": {"main": {"prometheus": {"labels": {"a": "b"}}}}}),
    "the gateway's section": (False, {"clusters": {"main": {"gateway": {"section": "https"}}}}),
    "its hosts": (False, {"clusters": {"main": {"gateway": {"hosts": ["other.example"]}}}}),
    "its kind": (False, {"clusters": {"main": {"gateway": {"type": "ingress"}}}}),
    "pull secrets": (True, {"clusters": {"main": {"image_pull_secrets": ["regcred"]}}}),
    "KEDA's namespace": (False, {"clusters": {"main": {"keda_namespace": "elsewhere"}}}),
    "Kubernetes' version": (False, {"clusters": {"main": {"kubernetes_version": "1.34"}}}),
    "an override": (True, {"environments": {"staging": {"overrides": {"compute": {"mem": "2Gi"}}}}}),
    "the team": (True, {"default_team": "fraud"}),
}  # fmt: skip


@pytest.mark.parametrize("case", ANOTHER_PLACE)
def test_the_project_moves_the_id_exactly_if_it_moves_the_pods(case: str) -> None:
    expected, words = ANOTHER_PLACE[case]
    before = pods(api(), project_of())
    assert moved(before, pods(api(), project_of(merged(PROJECT, words)))) == expected


def test_the_cluster_decides_how_models_get_to_the_pods() -> None:
    words = api(predictor={"type": "onnx", "models": {"path": f"oci://ghcr.io/acme/m@{DIGEST}"}})
    older = project_of(merged(PROJECT, {"clusters": {"main": {"kubernetes_version": "1.30"}}}))
    assert moved(pods(words, project_of()), pods(words, older))


def test_environments_have_pods_of_their_own() -> None:
    """The environment is in metrics, logs and labels."""
    assert moved(pods(api(), project_of()), pods(api(), project_of(), "production"))
