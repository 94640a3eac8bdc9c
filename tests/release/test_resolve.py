"""The manifest becomes what will run: merged, completed, and decided where it was open."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.documents.json_schema import load_schema
from gitops_ml.documents.plain_data import merged as laid_over
from gitops_ml.documents.yaml_reader import document_of
from gitops_ml.manifest.conflicts import check_manifests
from gitops_ml.manifest.manifest import parse_manifests
from gitops_ml.project.project import Project
from gitops_ml.release import resolve as resolve_module
from gitops_ml.release.resolve import UNSERVED
from gitops_ml.release.spec import ReleaseSpec
from tests.support.pipeline import (
    BARE,
    PROJECT,
    api,
    errors_of,
    findings_of,
    merged,
    project_of,
    resolved,
)


def with_overrides(overrides: dict[str, Any]) -> Project:
    return project_of(merged(PROJECT, {"environments": {"staging": {"overrides": overrides}}}))


def cluster(**words: Any) -> Project:
    return project_of(merged(PROJECT, {"clusters": {"main": words}}))


# -- merging ---------------------------------------------------------------------------------------


def test_the_environment_is_below_the_api_and_the_apis_own_environment_above() -> None:
    project = with_overrides({"compute": {"cpu": "1", "mem": "1Gi", "ephemeral_storage": "1Mi"}})
    own = {"staging": {"compute": {"mem": "3Gi"}}, "production": {"compute": {"mem": "9Gi"}}}
    spec = resolved(api(compute={"cpu": "2", "mem": "2Gi"}, environments=own), project)
    compute = spec.compute
    assert (compute.cpu, compute.mem, compute.ephemeral_storage) == ("2", "3Gi", "1Mi")


def test_mappings_are_merged_lists_replaced_and_null_takes_back() -> None:
    below = {"a": {"x": 1, "y": {"p": 1}}, "list": [1, 2], "gone": {"deep": 1}, "kept": 0}
    above = {"a": {"y": {"q": 2}}, "list": [3], "gone": None, "new": {"z": None}}
    assert laid_over(below, above) == {
        "a": {"x": 1, "y": {"p": 1, "q": 2}},
        "list": [3],
        "kept": 0,
        "new": {"z": None},
    }


def test_null_brings_back_the_schemas_default() -> None:
    project = with_overrides({"compute": {"mem": "7Gi"}})
    assert resolved(api(compute={"mem": None}), project).compute.mem == "1Gi"
    own = {"staging": {"autoscaling": None}}
    spec = resolved(api(autoscaling={"max_replicas": 3}, environments=own), project)
    assert spec.autoscaling.max_replicas == 100


VALUES = st.recursive(
    st.none() | st.integers(0, 3) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
MAPPINGS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(below=MAPPINGS, above=MAPPINGS)
def test_merging_changes_neither_side_and_an_empty_side_changes_nothing(
    below: dict[str, Any], above: dict[str, Any]
) -> None:
    import copy

    before = copy.deepcopy((below, above))
    laid_over(below, above)
    assert (below, above) == before
    assert laid_over(below, {}) == laid_over({}, below) == below


def test_what_an_api_must_say_and_an_override_need_not_is_what_the_schema_says() -> None:
    required = set()
    for name, schema in load_schema("api").document["$defs"]["api"]["properties"].items():
        if "$ref" in schema:
            required |= {(name, each) for each in schema.get("required", ())}
            for inner, words in schema.get("properties", {}).items():
                required |= {(name, inner, each) for each in words["required"]}
    served = {path for path in required if path[0] != "definition"}
    assert set(resolve_module._NEEDED) == served


# -- defaults --------------------------------------------------------------------------------------


def test_a_release_of_an_api_that_says_nothing() -> None:
    spec = resolved(api(), project_of(BARE))
    assert (spec.name, spec.kind, spec.environment) == ("iris", "RealtimeAPI", "staging")
    assert (spec.team, spec.namespace, spec.cluster) == ("ml", "ml-staging", "in-cluster")
    assert (spec.compute.cpu, spec.compute.mem, spec.compute.gpu) == ("200m", "1Gi", 0)
    assert (spec.autoscaling.min_replicas, spec.autoscaling.max_replicas) == (1, 100)
    assert (spec.probes.startup, spec.probes.drain_delay, spec.probes.grace) == (600, 5, 30)
    assert (spec.networking.endpoint, spec.networking.timeout) == ("/iris", 60)
    assert spec.secrets == ()
    assert spec.monitoring is None


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (api(), 1),
        (api(predictor={"processes_per_replica": 2, "threads_per_process": 3}), 6),
        (api(predictor={"threads_per_process": 3, "max_concurrency": 5}), 5),
        (api(container={"image": "a/b:1", "max_concurrency": 9}), 9),
        (api(autoscaling={"target_in_flight": 2.5}), 2.5),
    ],
)
def test_the_target_is_what_a_replica_works_on_at_a_time(
    words: dict[str, Any], target: float
) -> None:
    assert resolved(words).autoscaling.target_in_flight == target


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [(None, "/iris"), ("iris", "/iris"), ("/a/b/", "/a/b"), ("a", "/a"), ("/", "/")],
)
def test_an_endpoint_begins_with_a_slash_and_ends_without(given: str | None, endpoint: str) -> None:
    assert resolved(api(networking={"endpoint": given})).networking.endpoint == endpoint


@pytest.mark.parametrize("endpoint", ["/a/../b", "..", "/.", "a/./b", "/../"])
def test_an_endpoint_does_not_climb(endpoint: str) -> None:
    schema = load_schema("api").definition("networking")
    assert not schema.is_valid({"endpoint": endpoint})


def test_hosts_are_the_apis_or_the_gateways_each_once() -> None:
    assert resolved(api()).networking.hosts == ("ml.acme.example",)
    twice = api(networking={"hosts": ["b.example", "a.example", "b.example"]})
    assert resolved(twice).networking.hosts == ("b.example", "a.example")


def test_the_only_gpu_class_is_implied_and_one_of_several_is_not() -> None:
    assert resolved(api(compute={"gpu": 1})).compute.gpu_class == "t4"
    assert resolved(api()).compute.gpu_class is None
    several = cluster(gpu_classes={"l4": {"preset": "gke", "model": "l4"}})
    assert resolved(api(compute={"gpu": 1}), several).compute.gpu_class is None
    assert not list(errors_of(api(compute={"gpu": 1}), several)), "a warning names them"


# -- the update strategy ---------------------------------------------------------------------------

GPUS: dict[str, dict[str, Any]] = {"no gpu": {}, "gpu": {"gpu": 1}, "inferentia": {"inf": 1}}
TYPES = (None, "RollingUpdate", "Recreate")
SURGES = (None, 0, "0%", 1, "25%", "100%")
UNAVAILABLES = (None, 0, "0%", 1, "25%", "100%")


def could_wait_for_ever(spec: ReleaseSpec) -> bool:
    """Whether a new replica waits for an old one's accelerator, by the Deployment controller's rules."""
    strategy, replicas = spec.update_strategy, max(1, spec.autoscaling.min_replicas)

    def scaled(amount: int | str, rounded: Any) -> int:
        if isinstance(amount, int):
            return amount
        return int(rounded(int(amount.rstrip("%")) * replicas / 100))

    surge = scaled(strategy.max_surge, math.ceil)
    unavailable = scaled(strategy.max_unavailable, math.floor)
    if surge == 0 and unavailable == 0:
        unavailable = 1  # ResolveFenceposts
    return strategy.type == "RollingUpdate" and unavailable == 0


@pytest.mark.parametrize("spare", [True, False], ids=["spare", "no spare"])
@pytest.mark.parametrize("accelerator", GPUS)
def test_an_update_never_waits_for_the_gpu_of_the_replica_it_replaces(
    accelerator: str, spare: bool
) -> None:
    project = cluster(gpu_classes={"t4": {"preset": "gke", "model": "t4", "spare": spare}})
    is_scarce = accelerator == "inferentia" or (accelerator == "gpu" and not spare)
    for kind, surge, unavailable, least in itertools.product(
        TYPES, SURGES, UNAVAILABLES, (0, 1, 2, 5)
    ):
        strategy = {"type": kind, "max_surge": surge, "max_unavailable": unavailable}
        given = {key: value for key, value in strategy.items() if value is not None}
        words = api(
            compute=GPUS[accelerator],
            update_strategy=given,
            autoscaling={"min_replicas": least, "max_replicas": 9, "schedule": _WAKE[least == 0 :]},
        )
        spec = resolved(words, project)
        if is_scarce and could_wait_for_ever(spec):
            assert errors_of(words, project), (given, least)
        if kind is not None:
            assert spec.update_strategy.type == kind
        if surge is not None:
            assert spec.update_strategy.max_surge == surge
        if unavailable is not None:
            assert spec.update_strategy.max_unavailable == unavailable


_WAKE: list[dict[str, Any]] = [
    {"start": "0 8 * * *", "end": "0 9 * * *", "replicas": 6},
    {"start": "0 18 * * *", "end": "0 19 * * *", "replicas": 6},
]


@pytest.mark.parametrize(
    ("accelerator", "spare", "least", "given", "chosen"),
    [
        ("no gpu", False, 1, {}, ("RollingUpdate", "25%", "25%")),
        ("gpu", True, 1, {}, ("RollingUpdate", "25%", "25%")),
        ("gpu", False, 1, {}, ("Recreate", 0, 1)),
        ("gpu", False, 3, {}, ("RollingUpdate", 0, 1)),
        ("gpu", False, 3, {"max_unavailable": 2}, ("RollingUpdate", 0, 2)),
        ("gpu", False, 1, {"type": "RollingUpdate"}, ("RollingUpdate", 0, 1)),
        ("gpu", False, 1, {"max_surge": 0}, ("RollingUpdate", 0, 1)),
        ("gpu", False, 1, {"max_unavailable": "50%"}, ("RollingUpdate", 0, "50%")),
        ("inferentia", True, 1, {}, ("Recreate", 0, 1)),
        ("no gpu", False, 1, {"max_surge": 0}, ("RollingUpdate", 0, 1)),
        ("no gpu", False, 1, {"max_surge": "0%"}, ("RollingUpdate", "0%", 1)),
    ],
)
def test_what_nobody_said_about_updates_is_chosen_by_what_is_spare(
    accelerator: str, spare: bool, least: int, given: dict[str, Any], chosen: tuple[Any, ...]
) -> None:
    project = cluster(gpu_classes={"t4": {"preset": "gke", "model": "t4", "spare": spare}})
    words = api(
        compute=GPUS[accelerator], update_strategy=given, autoscaling={"min_replicas": least}
    )
    strategy = resolved(words, project).update_strategy
    assert (strategy.type, strategy.max_surge, strategy.max_unavailable) == chosen
    assert errors_of(words, project) == ()


def test_no_replica_missing_and_no_gpu_spare_cannot_both_be() -> None:
    project = cluster(gpu_classes={"t4": {"spare": False}})
    for least in (1, 2):
        words = api(
            compute={"gpu": 1},
            update_strategy={"max_unavailable": 0},
            autoscaling={"min_replicas": least, "max_replicas": 3},
        )
        (wrong,) = errors_of(words, project)
        assert wrong.path[0] == "update_strategy"


# -- what wakes an API -----------------------------------------------------------------------------

QUEUE = {"type": "rabbitmq", "metadata": {"queueName": "q", "mode": "QueueLength", "value": "5"}}
CRON = {
    "type": "cron",
    "metadata": {
        "start": "0 8 * * *", "end": "0 9 * * *", "timezone": "UTC", "desiredReplicas": "1"
    },
}  # fmt: skip
CPU = {"type": "cpu", "metric_type": "Utilization", "metadata": {"value": "50"}}
NO_ADDON = {"http_addon": False}


@pytest.mark.parametrize(
    ("words", "in_cluster", "wakes"),
    [
        ({}, {}, "http"),
        ({}, NO_ADDON, None),
        ({"triggers": [QUEUE]}, NO_ADDON, "trigger"),
        ({"triggers": [QUEUE]}, {}, "trigger"),
        ({"triggers": [CRON]}, NO_ADDON, "schedule"),
        ({"triggers": [CPU]}, NO_ADDON, None),
        ({"triggers": [CPU]}, {}, "http"),
        ({"schedule": _WAKE[:1]}, NO_ADDON, "schedule"),
        ({"schedule": _WAKE[:1]}, {}, "http"),
        ({"schedule": _WAKE[:1], "scale_to_zero": "schedule"}, {}, "schedule"),
        ({}, {"gateway": {"type": "ingress", "name": "nginx"}}, None),
        ({}, {"gateway": None}, None),
    ],
)
def test_what_wakes_an_api_is_what_it_and_the_cluster_have(
    words: dict[str, Any], in_cluster: dict[str, Any], wakes: str | None
) -> None:
    project = cluster(**in_cluster)
    given = api(autoscaling={"min_replicas": 0, **words})
    assert resolved(given, project).autoscaling.scale_to_zero == wakes
    wrong = [finding.path for finding in errors_of(given, project)]
    assert wrong == ([] if wakes else [("autoscaling", "min_replicas")])


def test_what_never_sleeps_needs_nothing_to_wake_it() -> None:
    assert resolved(api()).autoscaling.scale_to_zero is None


def test_an_api_inside_of_the_cluster_is_not_woken_through_the_gateway() -> None:
    words = api(autoscaling={"min_replicas": 0}, networking={"visibility": "cluster"})
    assert resolved(words).autoscaling.scale_to_zero is None


# -- what cannot be resolved -----------------------------------------------------------------------


def test_an_applications_name_has_63_characters_at_most() -> None:
    long = {"environments": {"production-eu-west-1-frankfurt": {"namespace": "eu"}}}
    project = project_of(merged(PROJECT, long))
    assert errors_of(api(name="n" * 32), project) == ()
    (wrong,) = errors_of(api(name="n" * 33), project)
    assert wrong.path == ("name",)
    assert "63 characters" in wrong.message


def test_an_unknown_team_is_refused_where_there_are_teams() -> None:
    project = project_of(merged(PROJECT, {"teams": {"fraud": {}}, "default_team": "fraud"}))
    (wrong,) = errors_of(api(team="fruad"), project)
    assert wrong.path == ("team",)
    assert errors_of(api(team="anyone")) == ()


def test_a_kind_that_cannot_be_deployed_yet_is_a_warning_and_not_an_exception() -> None:
    words = {
        "name": "split",
        "kind": "TrafficSplitter",
        "apis": [{"name": "iris", "weight": 100}],
        "environments": {"staging": {"networking": {"endpoint": "x"}}},
    }
    (finding,) = findings_of(words)
    assert (finding.path, finding.severity, finding.rule) == (("kind",), "warning", UNSERVED)


def test_an_environment_that_the_project_lacks_is_refused_with_those_it_has() -> None:
    (wrong,) = errors_of(api(environments={"stagin": {"compute": {"cpu": "1"}}}))
    assert "did you mean 'staging'" in wrong.message


def test_warnings_stop_nothing() -> None:
    words = api(autoscaling={"init_replicas": 1})
    assert errors_of(words) == ()
    assert findings_of(words) != ()


def test_two_releases_are_not_one_application() -> None:
    names = ["iris-eu", "iris", "roses-us"]
    text = [{"name": name, "kind": "RealtimeAPI", "predictor": {"path": "p.py"}} for name in names]
    manifests, _ = parse_manifests(document_of(text, file="api.yaml"))
    found = [*check_manifests(manifests, environments=["prod", "eu-prod", "us-prod"])]
    assert [(each.path, each.message.split(" (")[0]) for each in found] == [
        (
            "iris-eu.name",
            "in prod its Application would be iris-eu-prod, which is the Application of 'iris' in eu-prod",
        )
    ]
    assert [*check_manifests(manifests, environments=["prod", "staging"])] == []


def test_a_team_is_not_called_like_argo_cds_own_project() -> None:
    (wrong,) = errors_of(api(team="default"))
    assert wrong.path == ("team",)
