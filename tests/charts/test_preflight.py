"""The Job that proves the image: once for each of them, before the Deployment, and without a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

WAVE = "argocd.argoproj.io/sync-wave"
IMPORTS: dict[str, Any] = {
    "runtime": {"path": "predictor.py", "config": {"factor": 2}},
    "api": {"deploymentId": "iris-0123456789ab"},
    "preflight": {"check": "import"},
}
GPU = {"gpu": {"count": 1, "nodeSelector": {"accelerator": "l4"}}}
MODEL = {"artifacts": [{"name": "iris", "reference": "ghcr.io/acme/models/iris:1"}]}


def job_of(render: Callable[..., Any], **values: Any) -> dict[str, Any]:
    job: dict[str, Any] = render({**IMPORTS, **values}).one("Job")
    return job


def pod_of(render: Callable[..., Any], **values: Any) -> dict[str, Any]:
    pod: dict[str, Any] = job_of(render, **values)["spec"]["template"]["spec"]
    return pod


def test_a_chart_without_it_renders_as_before(render: Callable[..., Any]) -> None:
    assert not render({"runtime": {"path": "predictor.py"}}).all("Job")


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 3},
        {"autoscaling": {"enabled": True, "maxReplicas": 4}},
        {"route": {"type": "httpRoute", "gateway": {"name": "public"}}},
        {"networkPolicy": {"enabled": False}},
        {"podMonitor": {"enabled": True}},
        {"updateStrategy": {"type": "Recreate"}},
    ],
)
def test_what_does_not_touch_the_pods_runs_none(
    render: Callable[..., Any], change: dict[str, Any]
) -> None:
    assert job_of(render, **change) == job_of(render)


@pytest.mark.parametrize(
    "change",
    [
        {"image": {"digest": "sha256:" + "2" * 64}},
        {"runtime": {"path": "predictor.py", "config": {"factor": 3}}},
        {"api": {"deploymentId": "iris-ba9876543210"}},
        {"container": {"env": {"A": "b"}}},
        {"secretEnv": [{"env": "TOKEN", "name": "iris", "key": "token"}]},
        {"preflight": {"check": "load"}},
    ],
)
def test_whatever_it_runs_has_a_name_of_its_own_because_a_job_cannot_change(
    render: Callable[..., Any], change: dict[str, Any]
) -> None:
    assert job_of(render, **change)["metadata"]["name"] != job_of(render)["metadata"]["name"]


@pytest.mark.parametrize("name", ["i", "iris", "a" * 43, "a-" * 26 + "bc"])
def test_the_name_fits_a_label(render: Callable[..., Any], name: str) -> None:
    job = render(IMPORTS, name=name).one("Job")["metadata"]["name"]
    assert len(job) <= 63
    assert job.startswith(name[:43])


def test_argo_cd_syncs_it_after_what_it_needs_and_before_the_pods(
    render: Callable[..., Any],
) -> None:
    secret = {"name": "iris", "store": {"name": "vault"}, "data": [{"key": "a", "remoteKey": "b"}]}
    rendered = render({**IMPORTS, "externalSecrets": [secret]})
    waves = {
        (item["kind"], item["metadata"]["name"]): int(
            item["metadata"].get("annotations", {}).get(WAVE, 0)
        )
        for item in rendered.objects
    }
    name = rendered.one("Job")["metadata"]["name"]
    assert waves["ExternalSecret", "iris"] == -2
    # Within a wave, Argo CD goes by kinds, in this order.
    assert waves["ServiceAccount", "iris"] == waves["ConfigMap", name] == waves["Job", name] == -1
    assert waves["Deployment", "iris"] == waves["ConfigMap", "iris"] == 0


def test_it_has_the_settings_and_the_environment_of_the_pods(render: Callable[..., Any]) -> None:
    rendered = render({
        **IMPORTS,
        "secretEnv": [{"env": "TOKEN", "name": "iris", "key": "token"}],
        "container": {"env": {"A": "b"}},
    })  # fmt: skip
    pod = rendered.one("Job")["spec"]["template"]["spec"]
    configs = {item["metadata"]["name"]: item["data"] for item in rendered.all("ConfigMap")}
    (settings,) = (each["configMap"]["name"] for each in pod["volumes"] if "configMap" in each)
    assert settings != "iris"
    assert configs[settings] == configs["iris"]
    (container,) = pod["containers"]
    assert container["env"] == rendered.container["env"]
    assert container["image"] == rendered.container["image"]


def test_nothing_that_selects_the_pods_selects_its_pod(render: Callable[..., Any]) -> None:
    rendered = render({
        **IMPORTS, "replicas": 2, "podMonitor": {"enabled": True},
    })  # fmt: skip
    labels = rendered.one("Job")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        rendered.one("Service")["spec"]["selector"],
        *(
            rendered.one(kind)["spec"]["selector"]["matchLabels"]
            for kind in ("Deployment", "PodDisruptionBudget", "PodMonitor")
        ),
    ]
    assert not any(selector.items() <= labels.items() for selector in selectors)


def test_a_secret_of_vault_gets_to_it_without_a_sidecar(render: Callable[..., Any]) -> None:
    """A sidecar that runs on would keep the Job from its end."""
    alone = "vault.hashicorp.com/agent-pre-populate-only"
    mine = {"vault.hashicorp.com/agent-inject": "true", alone: "false"}
    rendered = render({**IMPORTS, "podAnnotations": mine})
    job, pods = (
        rendered.one(kind)["spec"]["template"]["metadata"]["annotations"]
        for kind in ("Job", "Deployment")
    )
    assert job == {**mine, alone: "true", "linkerd.io/inject": "disabled"}
    assert mine.items() <= pods.items()
    (without,) = render(IMPORTS).all("Job")
    assert alone not in without["spec"]["template"]["metadata"]["annotations"]


def test_nobody_may_connect_to_it_and_it_may_call_what_the_pods_may(
    render: Callable[..., Any],
) -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
    egress = {"restricted": True, "rules": [rule]}
    rendered = render({**IMPORTS, "networkPolicy": {"egress": egress}})
    of_pods, own = (item["spec"] for item in rendered.all("NetworkPolicy"))
    labels = rendered.one("Job")["spec"]["template"]["metadata"]["labels"]
    assert own["podSelector"]["matchLabels"].items() <= labels.items()
    assert own["ingress"] == []
    assert own["egress"] == of_pods["egress"]


def test_it_needs_no_gpu_and_prefers_nodes_without_one(render: Callable[..., Any]) -> None:
    pod = pod_of(render, resources=GPU)
    (container,) = pod["containers"]
    assert container["args"] == ["--without-accelerator"]
    assert container["resources"]["limits"].keys() == {"memory", "ephemeral-storage"}
    assert "nodeSelector" not in pod
    (preferred,) = pod["affinity"]["nodeAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert preferred["preference"]["matchExpressions"] == [
        {"key": "accelerator", "operator": "NotIn", "values": ["l4"]}
    ]
    assert [each["key"] for each in pod["tolerations"]] == ["nvidia.com/gpu"]


def test_without_a_gpu_it_runs_on_the_nodes_of_the_pods(render: Callable[..., Any]) -> None:
    scheduling = {"nodeSelector": {"pool": "ml"}, "tolerations": [{"key": "ml"}]}
    pod = pod_of(render, scheduling=scheduling)
    assert pod["nodeSelector"] == {"pool": "ml"}
    assert pod["tolerations"] == [{"key": "ml"}]
    assert "affinity" not in pod
    assert "args" not in pod["containers"][0]


def test_it_requests_what_the_values_say_or_what_the_pods_do(render: Callable[..., Any]) -> None:
    resources = {"cpu": "8", "memory": "64Gi", "ephemeralStorage": "1Gi"}
    preflight = {"check": "import", "requests": {"cpu": "1", "memory": "1Gi"}}
    (container,) = pod_of(render, resources=resources, preflight=preflight)["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"},
        "limits": {"memory": "64Gi", "ephemeral-storage": "1Gi"},
    }


def test_only_a_load_has_the_models(render: Callable[..., Any]) -> None:
    imports = pod_of(render, models=MODEL, shmSize="1Gi")
    assert "initContainers" not in imports
    assert {volume["name"] for volume in imports["volumes"]} == {"tmp", "settings"}
    loads = pod_of(render, models=MODEL, shmSize="1Gi", preflight={"check": "load"})
    (fetch,) = loads["initContainers"]
    (container,) = loads["containers"]
    assert fetch["name"] == "fetch-models"
    assert container["args"] == ["--load"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == [
        *("/tmp", "/etc/predictor", "/dev/shm", "/models"),
    ]


def test_a_ready_made_container_has_nothing_to_import(refused: Callable[..., str]) -> None:
    assert "preflight.check needs the runtime" in refused({"preflight": {"check": "import"}})


def test_it_is_tried_once_and_ends_in_time(render: Callable[..., Any]) -> None:
    spec = job_of(render, timing={"nodeProvisionSeconds": 300, "startupSeconds": 60})["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["activeDeadlineSeconds"] == 360
    assert "ttlSecondsAfterFinished" not in spec, "Argo CD would create it again"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
