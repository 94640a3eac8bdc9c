"""When a ready-made container has a proxy, with which numbers, and what cannot be beside it."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_ml.release.monthly_cost import replica_hour
from tests.support.pipeline import (
    BARE,
    PROJECT,
    api,
    findings_of,
    merged,
    project_of,
    rendered,
    resolved,
)

IMAGE = {"image": "ghcr.io/acme/echo:1"}
GAUGE = {"metrics_path": "/m", "in_flight_metric": "busy"}
TARGET = {"autoscaling": {"target_in_flight": 2.5}}
ASLEEP = {"autoscaling": {"min_replicas": 0, "target_in_flight": 3}}


def boxed(more: dict[str, Any] = {}, **container: Any) -> dict[str, Any]:  # noqa: B006 - only read
    return api(container={**IMAGE, **container}, **more)


@pytest.mark.parametrize(
    ("words", "limits"),
    [
        (boxed(), None),
        (boxed(TARGET, **GAUGE), None),
        (boxed(max_concurrency=4, **GAUGE), None),
        (boxed(ASLEEP), None),  # the HTTP add-on counts
        (boxed(ASLEEP, max_concurrency=4), (4, 100)),
        (boxed(TARGET), (3, 100)),
        (boxed(TARGET, max_concurrency=8), (8, 100)),
        (boxed(max_queue_length=5), (1, 5)),
        (boxed(proxy={}), (1, 100)),
    ],
    ids=str,
)
def test_a_container_with_limits_or_a_target_has_a_proxy(
    words: dict[str, Any], limits: tuple[int, int] | None
) -> None:
    found = rendered(words, project_of(PROJECT))
    names = [each["name"] for each in found.pod["containers"]]
    if limits is None:
        assert names == ["predictor"]
        assert "runtime" not in found.values
        return
    settings = found.values["runtime"]
    assert names == ["queue-proxy"]
    assert (settings["maxConcurrency"], settings["maxQueueLength"]) == limits
    main = found.container
    assert (main["restartPolicy"], main["ports"][0]["name"]) == ("Always", "http")
    assert found.one("Service")["spec"]["ports"][0]["targetPort"] == "proxy"


@pytest.mark.parametrize(("mem", "mebibytes"), [("192Mi", 64), ("1Gi", 480), ("64Mi", 8)])
def test_bodies_have_half_of_the_memory_that_it_does_not_need_itself(
    mem: str, mebibytes: int
) -> None:
    found = rendered(boxed(proxy={"mem": mem}), project_of(PROJECT))
    assert found.values["runtime"]["maxBodyBytesInFlight"] == mebibytes << 20


def test_overrides_of_an_environment_count() -> None:
    project = project_of(merged(PROJECT, {"environments": {"staging": {"overrides": TARGET}}}))
    assert resolved(boxed(), project).container.proxy is not None
    assert resolved(boxed(), project, "production").container.proxy is None


def test_its_ports_are_not_the_containers() -> None:
    for port in (8080, 8082, 8888):
        found = rendered(boxed(port=port, proxy={}), project_of(PROJECT))
        ports = [port, found.values["proxy"]["port"], found.values["container"]["probePort"]]
        assert len(set(ports)) == 3
    beside = {"name": "cache", **IMAGE, "liveness_probe": {"tcpSocket": {"port": 8888}}}
    checked = {"httpGet": {"port": 8082, "path": "/"}}
    found = rendered(
        boxed(proxy={}, readiness_probe=checked, sidecars=[beside]), project_of(PROJECT)
    )
    assert (found.values["proxy"]["port"], found.values["container"]["probePort"]) == (8889, 8083)


def test_keda_reads_the_proxy_at_a_port_of_the_service() -> None:
    found = rendered(boxed(max_concurrency=4), project_of(BARE))
    (trigger,) = found.scaled["triggers"]
    assert trigger["metadata"]["url"].endswith(":8082/metrics")
    assert trigger["metadata"]["valueLocation"] == "predictor_requests_in_progress"
    assert [each["port"] for each in found.one("Service")["spec"]["ports"]] == [80, 8082]


def test_a_replica_costs_the_proxy_too() -> None:
    prices = {"clusters": {"main": {"prices": {"cpu_hour": 1, "memory_hour": 0}}}}
    project = project_of(merged(PROJECT, prices))
    hours = [
        replica_hour(resolved(words, project), project.clusters["main"])
        for words in (boxed(), boxed(proxy={"cpu": "500m"}))
    ]
    assert [round(each.on_demand, 3) for each in hours if each] == [0.2, 0.7]


@pytest.mark.parametrize(
    ("words", "path", "sentence"),
    [
        (boxed(proxy={}, **GAUGE), ("container", "proxy"), "counts its requests itself"),
        (
            boxed(proxy={}, sidecars=[{"name": "queue-proxy", **IMAGE}]),
            ("container", "sidecars", 0, "name"),
            "another container",
        ),
        (boxed(proxy={"cpu": "0"}), ("container", "proxy", "cpu"), "not between"),
        (
            boxed(TARGET, port=9000, readiness_probe={"grpc": {"port": 9000}}),
            ("container", "readiness_probe", "grpc"),
            "does not forward HTTP/2",
        ),
        (
            boxed(TARGET, pre_stop={"exec": {"command": ["/bin/stop"]}}),
            ("container", "pre_stop"),
            "still forwards requests",
        ),
        (
            boxed({"autoscaling": {"triggers": [
                {"type": "redis", "metadata": {"addressFromEnv": "R", "listName": "l", "listLength": "5"}}
            ]}}, proxy={}, env={"R": "redis:6379"}),
            ("autoscaling", "triggers", 0, "metadata", "addressFromEnv"),
            "behind a proxy",
        ),
        (boxed(TARGET, max_concurrency=1, max_queue_length=0), ("autoscaling", "target_in_flight"), "never"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    words: dict[str, Any], path: tuple[Any, ...], sentence: str
) -> None:
    found = {each.path: each.message for each in findings_of(words, project_of(PROJECT))}
    assert sentence in found[path]


def test_probes_and_hooks_that_do_no_harm_are_not_findings() -> None:
    health = {"grpc": {"port": 9001}}
    words = boxed(TARGET, port=9000, liveness_probe=health, pre_stop={"sleep": {"seconds": 9}})
    assert findings_of(words, project_of(PROJECT)) == findings_of(
        boxed(TARGET), project_of(PROJECT)
    )


@pytest.mark.parametrize(("seconds", "grace"), [(9, 45), (40, 50), (100, 110)])
def test_the_grace_period_holds_a_hook_that_runs_beside_the_proxys_end(
    seconds: int, grace: int
) -> None:
    found = rendered(boxed(TARGET, pre_stop={"sleep": {"seconds": seconds}}), project_of(PROJECT))
    assert found.pod["terminationGracePeriodSeconds"] == grace


def test_a_project_without_a_registry_is_told() -> None:
    found = {each.path: each for each in findings_of(boxed(TARGET), project_of(BARE))}
    assert found["container", "proxy"].severity == "warning"
    assert "image.repository" in found["container", "proxy"].message
