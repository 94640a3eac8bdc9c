"""Triggers, fallback and scale to zero become a ScaledObject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.manifest_parts import (
    QUEUE,
    REMOTE,
    SECRET,
    WINDOW,
    container,
    env,
    remote,
    route_rule,
    trigger,
)
from tests.support.pipeline import api, check_objects, errors_of, findings_of, rendered

if TYPE_CHECKING:
    from gitops_ml.project.project import Project


def test_the_add_on_wakes_what_sleeps_and_is_not_in_the_way_of_what_does_not(
    everything: Project,
) -> None:
    asleep = rendered(api(autoscaling={"min_replicas": 0}), everything)
    (backend,) = route_rule(asleep)["backendRefs"]
    assert backend["name"] == "keda-add-ons-http-interceptor-proxy"
    assert asleep.one("InterceptorRoute")["spec"]["target"]["service"] == "iris"
    check_objects(asleep.objects)
    awake = rendered(api(autoscaling={"min_replicas": 1, "scale_to_zero": "http"}), everything)
    assert awake.all("InterceptorRoute") == []
    assert route_rule(awake)["backendRefs"][0]["name"] == "iris"


def test_blind_keda_keeps_what_runs_and_at_least_the_minimum(everything: Project) -> None:
    release = rendered(api(autoscaling={"min_replicas": 2}), everything)
    assert release.scaled["fallback"] == {
        "failureThreshold": 3,
        "replicas": 2,
        "behavior": "currentReplicasIfHigher",
    }


def test_a_fallback_where_keda_has_none_is_left_out_with_a_warning(everything: Project) -> None:
    for words in (
        api(**container(), autoscaling={"fallback_replicas": 2}),
        api(autoscaling={"min_replicas": 0, "fallback_replicas": 2}),
    ):
        assert "fallback" not in rendered(words, everything).scaled
        paths = {f.path for f in findings_of(words, everything) if f.rule == "effect"}
        assert ("autoscaling", "fallback_replicas") in paths


def test_a_trigger_refers_to_an_authentication_that_exists(everything: Project) -> None:
    existing = {"name": "orders", "kind": "ClusterTriggerAuthentication"}
    words = api(autoscaling={"triggers": [{**QUEUE, "authentication": existing}]})
    release = rendered(words, everything)
    assert trigger(release, "rabbitmq")["authenticationRef"] == existing
    assert release.all("TriggerAuthentication") == []


@pytest.mark.parametrize(
    "authentication",
    [
        {"secretTargetRef": [{"parameter": "p", "name": "n"}]},
        {"secretTargetRef": {"parameter": "p", "name": "n", "key": "k"}},
        {"secretTargetRef": []},
        {"env": [{"parameter": "p", "name": "n", "value": "v"}]},
        {"podIdentity": "aws"},
        {"filePath": {}},
    ],
)
def test_an_authentication_that_keda_would_refuse_is_refused(
    authentication: dict[str, Any], everything: Project
) -> None:
    words = api(autoscaling={"triggers": [{**QUEUE, "authentication": authentication}]})
    (wrong,) = errors_of(words, everything)
    assert wrong.path[:4] == ("autoscaling", "triggers", 0, "authentication")


@pytest.mark.parametrize("name", ["in-flight", "http", "cpu", "cron-0", "rabbitmq-1"])
def test_a_trigger_is_not_called_like_another(name: str, everything: Project) -> None:
    triggers = [{**QUEUE, "name": name}, QUEUE]
    found = errors_of(api(autoscaling={"triggers": triggers, "schedule": [WINDOW]}), everything)
    assert [wrong.path[-1] for wrong in found] == ["name"]


def test_one_external_secret_has_each_key_once(everything: Project) -> None:
    secrets = [{**SECRET, "env": name, "remote": REMOTE} for name in ("A", "B")]
    release = rendered(api(secrets=secrets), everything)
    assert len(remote(release)["data"]) == 1
    assert {"A", "B"} <= env(release.container).keys()
    check_objects(release.objects)
