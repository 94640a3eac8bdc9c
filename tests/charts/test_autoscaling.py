"""The ScaledObject and what it needs: triggers, waking up, fallback, what KEDA would refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Render = Callable[..., Any]

PROMETHEUS = {"inFlight": {"prometheus": {"address": "http://prometheus.monitoring:9090"}}}
CRON = {"timezone": "Europe/Berlin", "start": "0 8 * * *", "end": "0 18 * * *", "replicas": 3}
QUEUE = {
    "type": "aws-sqs-queue",
    "metadata": {"queueURL": "https://q", "awsRegion": "eu-central-1"},
}


def scaled(**autoscaling: Any) -> dict[str, Any]:
    return {"autoscaling": {"enabled": True, **autoscaling}}


def spec(rendered: Any) -> dict[str, Any]:
    return rendered.one("ScaledObject")["spec"]


def test_nothing_of_keda_is_rendered_when_disabled(render: Render) -> None:
    assert not {"ScaledObject", "TriggerAuthentication", "InterceptorRoute"} & render().kinds


def test_the_target_and_both_bounds_are_written_out(render: Render) -> None:
    assert spec(render(scaled(minReplicas=2, maxReplicas=7))) == {
        "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "iris",
            "envSourceContainerName": "predictor",
        },
        "minReplicaCount": 2,
        "maxReplicaCount": 7,
        "triggers": spec(render(scaled()))["triggers"],
    }


def test_without_prometheus_keda_adds_up_the_gauge_of_the_services_endpoints(
    render: Render,
) -> None:
    rendered = render({"container": {"port": 8000}, "service": {"port": 81}, **scaled()})
    assert rendered.trigger("in-flight") == {
        "type": "metrics-api",
        "name": "in-flight",
        "metricType": "AverageValue",
        "metadata": {
            # KEDA looks for this port among those of the pods, not of the Service.
            "url": "http://iris.ml.svc.cluster.local:8000/metrics",
            "format": "prometheus",
            "valueLocation": "predictor_requests_in_progress",
            "targetValue": "4",
            "aggregateFromKubeServiceEndpoints": "true",
            "aggregationType": "sum",
        },
    }


def test_with_prometheus_the_releases_own_pods_are_averaged_over_the_window(
    render: Render,
) -> None:
    inflight = {
        "target": 2.5,
        "prometheus": {"address": "http://prometheus.monitoring:9090", "windowSeconds": 90},
    }
    assert render(scaled(inFlight=inflight)).trigger("in-flight") == {
        "type": "prometheus",
        "name": "in-flight",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": "http://prometheus.monitoring:9090",
            "query": "avg_over_time(sum(predictor_requests_in_progress"
            '{namespace="ml",app_kubernetes_io_instance="iris"})[90s:10s])',
            "threshold": "2.5",
            "ignoreNullValues": "false",
        },
    }


def test_the_pod_monitor_gives_the_label_that_the_query_goes_by(render: Render) -> None:
    rendered = render({"podMonitor": {"enabled": True}, **scaled(**PROMETHEUS)})
    labels = rendered.one("PodMonitor")["spec"]["podTargetLabels"]
    assert "app.kubernetes.io/instance" in labels
    assert "app_kubernetes_io_instance=" in rendered.trigger("in-flight")["metadata"]["query"]


def test_a_query_of_ones_own_is_taken_as_it_is(render: Render) -> None:
    inflight = {"prometheus": {"address": "http://p", "query": 'sum(x{y="z"})'}}
    metadata = render(scaled(inFlight=inflight)).trigger("in-flight")["metadata"]
    assert metadata["query"] == 'sum(x{y="z"})'


def test_a_missing_series_is_a_failure_and_only_while_asleep_a_zero(render: Render) -> None:
    def metadata(least: int) -> dict[str, str]:
        values = scaled(minReplicas=least, cron=[CRON], **PROMETHEUS)
        return render(values).trigger("in-flight")["metadata"]

    assert {metadata(least)["ignoreNullValues"] for least in (0, 1)} == {"false"}
    assert metadata(0)["query"].endswith(" or vector(0)")
    assert "vector" not in metadata(1)["query"]


def test_large_and_fractional_targets_are_plain_strings(render: Render) -> None:
    for target, text in ((1000000, "1000000"), (0.25, "0.25"), (12, "12")):
        values = scaled(inFlight={"target": target})
        assert render(values).trigger("in-flight")["metadata"]["targetValue"] == text


def test_polling_and_cooldown_are_written_only_where_they_mean_something(render: Render) -> None:
    awake = spec(render(scaled(minReplicas=1)))
    assert not {"pollingInterval", "cooldownPeriod", "initialCooldownPeriod"} & awake.keys()
    asleep = spec(render(scaled(minReplicas=0, cron=[CRON], cooldownPeriod=0, **PROMETHEUS)))
    assert (asleep["pollingInterval"], asleep["cooldownPeriod"]) == (30, 0)


def test_a_fallback_takes_no_replicas_away(render: Render) -> None:
    assert "fallback" not in spec(render(scaled()))
    assert spec(render(scaled(fallback={"replicas": 4})))["fallback"] == {
        "failureThreshold": 3,
        "replicas": 4,
        "behavior": "currentReplicasIfHigher",
    }


def test_behaviour_is_handed_on_word_for_word(render: Render) -> None:
    behavior = {
        "scaleUp": {"stabilizationWindowSeconds": 0, "tolerance": "50m"},
        "scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
    }
    advanced = spec(render(scaled(behavior=behavior)))["advanced"]
    assert advanced == {"horizontalPodAutoscalerConfig": {"behavior": behavior}}


def test_cron_windows_and_cpu_are_triggers_of_strings(render: Render) -> None:
    rendered = render(scaled(cron=[CRON], cpu={"enabled": True, "utilization": 70}))
    assert rendered.trigger("cron-0")["metadata"] == {
        "timezone": "Europe/Berlin",
        "start": "0 8 * * *",
        "end": "0 18 * * *",
        "desiredReplicas": "3",
    }
    assert rendered.trigger("cpu") == {
        "type": "cpu",
        "name": "cpu",
        "metricType": "Utilization",
        "metadata": {"value": "70", "containerName": "predictor"},
    }


def test_cpu_alone_serves_a_container_without_a_gauge(render: Render) -> None:
    values = scaled(inFlight={"enabled": False}, cpu={"enabled": True})
    triggers = spec(render({"metrics": {"path": ""}, **values}))["triggers"]
    assert [item["type"] for item in triggers] == ["cpu"]


def test_a_trigger_is_handed_on_and_named(render: Render) -> None:
    rendered = render(scaled(triggers=[QUEUE]))
    assert rendered.trigger("aws-sqs-queue-0") == {**QUEUE, "name": "aws-sqs-queue-0"}


def test_a_triggers_proof_is_a_reference_or_an_object_made_for_it(render: Render) -> None:
    proof = {"secretTargetRef": [{"parameter": "password", "name": "redis", "key": "password"}]}
    existing = {"name": "shared", "kind": "ClusterTriggerAuthentication"}
    triggers = [
        {**QUEUE, "name": "a", "authentication": proof},
        {**QUEUE, "name": "b", "authenticationRef": existing},
        {**QUEUE, "name": "c", "authenticationRef": {"name": "own"}},
    ]
    rendered = render(scaled(triggers=triggers))
    made = rendered.one("TriggerAuthentication")
    assert made["spec"] == proof
    assert rendered.trigger("a")["authenticationRef"] == {
        "name": made["metadata"]["name"],
        "kind": "TriggerAuthentication",
    }
    assert rendered.trigger("b")["authenticationRef"] == existing
    assert rendered.trigger("c")["authenticationRef"]["kind"] == "TriggerAuthentication"


def test_prometheus_is_asked_with_a_proof_too(render: Render) -> None:
    prometheus = {
        "address": "https://p",
        "metadata": {"authModes": "bearer"},
        "authentication": {
            "secretTargetRef": [{"parameter": "bearerToken", "name": "p", "key": "t"}]
        },
    }
    rendered = render(scaled(inFlight={"prometheus": prometheus}))
    trigger = rendered.trigger("in-flight")
    assert trigger["metadata"]["authModes"] == "bearer"
    made = rendered.one("TriggerAuthentication")["metadata"]["name"]
    assert trigger["authenticationRef"]["name"] == made


def test_metadata_that_yaml_reads_as_something_else_is_refused(refused: Render) -> None:
    for value in (True, 5):
        trigger = {"type": "redis", "metadata": {"listLength": value}}
        assert "want string" in refused(scaled(triggers=[trigger]))


def test_a_pause_is_a_value_in_git(render: Render) -> None:
    key = "autoscaling.keda.sh/paused"
    paused = render(scaled(paused=True)).one("ScaledObject")["metadata"]
    assert paused["annotations"][key] == "true"
    running = render(scaled()).one("ScaledObject")["metadata"]
    assert key not in running.get("annotations", {})


def waves(rendered: Any) -> dict[str, int]:
    key = "argocd.argoproj.io/sync-wave"
    return {
        item["kind"]: int(item["metadata"].get("annotations", {}).get(key, "0"))
        for item in rendered.objects
    }


EVERYTHING = {
    "externalSecrets": [
        {"name": "s", "store": {"name": "v"}, "data": [{"key": "k", "remoteKey": "r"}]}
    ],
    "replicas": 2,
    "podMonitor": {"enabled": True},
    "runtime": {"path": "p.py"},
    "route": {"type": "httpRoute", "gateway": {"name": "public"}},
}


def test_objects_are_applied_in_an_order_in_which_each_finds_what_it_needs(render: Render) -> None:
    addon = scaled(
        httpAddon={"enabled": True},
        triggers=[{**QUEUE, "authentication": {"podIdentity": {"provider": "aws"}}}],
    )
    assert waves(render({**EVERYTHING, **addon})) == {
        "ExternalSecret": -2,
        "TriggerAuthentication": -1,
        "InterceptorRoute": -1,
        "ServiceAccount": 0,
        "ConfigMap": 0,
        "Deployment": 0,
        "Service": 0,
        "PodDisruptionBudget": 0,
        "NetworkPolicy": 0,
        "PodMonitor": 0,
        "ScaledObject": 0,
        "HTTPRoute": 0,
    }


def test_nothing_waits_for_healthy_pods(render: Render) -> None:
    """Pods that crash would hold up the sync that a later wave belongs to, and the commit that mends them."""
    gpu = {"resources": {"gpu": {"count": 1}}}
    policy = {"networkPolicy": {"gatewayNamespace": "ingress"}}
    ingress = {"route": {"type": "ingress", "hosts": ["ml.example.org"]}, **policy}
    addon = scaled(httpAddon={"enabled": True})
    for more in (addon, {**addon, **gpu}, {**scaled(), **ingress}):
        order = waves(render({**EVERYTHING, **more}))
        assert max(order.values()) == order["Deployment"]


def test_there_are_no_hooks_and_no_tracking_ids(render: Render) -> None:
    for item in render({**EVERYTHING, **scaled()}).objects:
        for key in item["metadata"].get("annotations", {}):
            assert "hook" not in key
            assert "tracking-id" not in key


def test_http_wakes_a_release_by_the_interceptor(render: Render) -> None:
    addon = {"enabled": True, "namespace": "add-on", "target": 3, "readinessTimeoutSeconds": 90}
    rendered = render(scaled(minReplicas=0, inFlight={"enabled": False}, httpAddon=addon))
    route = rendered.one("InterceptorRoute")
    assert route["spec"] == {
        "target": {"service": "iris", "port": 80},
        "rules": [{"hosts": ["iris.ml"]}],
        "scalingMetric": {"concurrency": {"targetValue": 3}},
        "timeouts": {"readiness": "90s", "responseHeader": "60s"},
    }
    assert rendered.trigger("http")["metadata"] == {
        "scalerAddress": "keda-add-ons-http-external-scaler.add-on:9090",
        "interceptorRoute": route["metadata"]["name"],
    }


def test_callers_who_cannot_wait_are_told_to_come_back(render: Render) -> None:
    addon = {"enabled": True, "whileWaking": "refuse"}
    route = render(scaled(minReplicas=0, inFlight={"enabled": False}, httpAddon=addon))
    response = route.one("InterceptorRoute")["spec"]["coldStart"]["placeholder"]["response"]
    assert (response["statusCode"], response["headers"]["Retry-After"]) == (503, "30")


def test_requests_are_held_for_as_long_as_waking_up_may_take(render: Render) -> None:
    timing = {"timing": {"nodeProvisionSeconds": 300, "startupSeconds": 200}}
    route = render({**timing, **scaled(httpAddon={"enabled": True})}).one("InterceptorRoute")
    assert route["spec"]["timeouts"]["readiness"] == "500s"


REFUSED = {
    "minReplicas (5) is more than maxReplicas (2)": scaled(minReplicas=5, maxReplicas=2),
    "nothing can wake the release": scaled(minReplicas=0, **PROMETHEUS),
    "nothing can wake the release: without": scaled(
        minReplicas=0, inFlight={"enabled": False}, cpu={"enabled": True}
    ),
    "nothing can wake": scaled(
        minReplicas=0,
        inFlight={"enabled": False},
        triggers=[{"type": "memory", "metricType": "Utilization", "metadata": {"value": "50"}}],
    ),
    "KEDA finds no pod to read": scaled(minReplicas=0, cron=[CRON]),
    "would keep the release awake": scaled(
        minReplicas=0, cron=[CRON], fallback={"replicas": 1}, **PROMETHEUS
    ),
    "fallback.replicas (11) is more than maxReplicas (10)": scaled(fallback={"replicas": 11}),
    "trigger other than cpu and memory": scaled(
        inFlight={"enabled": False}, cpu={"enabled": True}, fallback={"replicas": 2}
    ),
    "without any trigger": scaled(inFlight={"enabled": False}),
    "needs a metrics.path": {"metrics": {"path": ""}, **scaled()},
    "starts and ends at": scaled(cron=[{**CRON, "end": CRON["start"]}]),
    "99 replicas are more than maxReplicas": scaled(cron=[{**CRON, "replicas": 99}]),
    "two triggers of autoscaling are called cpu": scaled(
        cpu={"enabled": True}, triggers=[{**QUEUE, "name": "cpu"}]
    ),
    "mem (memory) needs metricType": scaled(
        triggers=[{"type": "memory", "name": "mem", "metadata": {"value": "50"}}]
    ),
    "cannot have useCachedMetrics": scaled(
        triggers=[
            {
                "type": "cpu",
                "name": "c",
                "metricType": "Utilization",
                "metadata": {"value": "50"},
                "useCachedMetrics": True,
            }
        ]
    ),
    "has both authentication and authenticationRef": scaled(
        triggers=[
            {
                **QUEUE,
                "authentication": {"podIdentity": {"provider": "aws"}},
                "authenticationRef": {"name": "x"},
            }
        ]
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_keda_would_refuse_or_misunderstand_is_refused_with_a_sentence(
    refused: Render, sentence: str
) -> None:
    assert sentence in refused(REFUSED[sentence])


def test_scale_to_zero_is_allowed_where_something_can_wake_the_release(render: Render) -> None:
    off = {"enabled": False}
    for waking in ({"cron": [CRON]}, {"triggers": [QUEUE]}, {"httpAddon": {"enabled": True}}):
        values = scaled(minReplicas=0, inFlight=off, **waking)
        assert spec(render(values))["minReplicaCount"] == 0


def test_every_trigger_fits_kedas_own_description(
    render: Render, scalers: dict[str, dict[str, Any]]
) -> None:
    values = scaled(cron=[CRON], cpu={"enabled": True}, httpAddon={"enabled": True})
    triggers = [
        *spec(render(values))["triggers"],
        render(scaled(**PROMETHEUS)).trigger("in-flight"),
    ]
    assert {item["type"] for item in triggers} == {
        "metrics-api",
        "prometheus",
        "external-push",
        "cpu",
        "cron",
    }
    for trigger in triggers:
        known = scalers[trigger["type"]]
        # An external scaler is given the whole metadata, so it has words of its own.
        own = {"interceptorRoute"} if trigger["type"] == "external-push" else set()
        assert trigger["metadata"].keys() - own <= known.keys()
        for name, parameter in known.items():
            if not parameter.get("optional") and "default" not in parameter:
                assert trigger["metadata"].get(name), (trigger["type"], name)
            if name in trigger["metadata"] and "allowedValue" in parameter:
                assert trigger["metadata"][name] in parameter["allowedValue"]
            assert not (name in trigger["metadata"] and "deprecated" in parameter)
