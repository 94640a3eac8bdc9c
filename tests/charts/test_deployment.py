"""The pods: what runs, how it is asked, how it starts and stops, where."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Render = Callable[..., Any]


def deployment(rendered: Any) -> dict[str, Any]:
    return rendered.one("Deployment")["spec"]


def test_minimal_values_need_nothing_that_a_plain_cluster_has_not(render: Render) -> None:
    assert render().kinds == {"Deployment", "Service", "ServiceAccount", "NetworkPolicy"}


def test_an_image_is_taken_by_digest_even_when_a_tag_is_given(render: Render) -> None:
    assert render({"image": {"tag": "v1"}}).container["image"] == (
        "ghcr.io/acme/iris@sha256:" + "1" * 64
    )
    assert render({"image": {"tag": "1.10", "digest": ""}}).container["image"] == (
        "ghcr.io/acme/iris:1.10"
    )


def test_a_tag_that_yaml_reads_as_a_number_is_refused(refused: Render) -> None:
    assert "want string" in refused({"image": {"tag": 1.10, "digest": ""}})


def test_an_image_without_repository_or_version_is_refused(refused: Render) -> None:
    assert "image.repository is required" in refused({"image": {"repository": ""}})
    assert "image.digest (or image.tag) is required" in refused({"image": {"digest": ""}})


@pytest.mark.parametrize("name", ["i" * 55, "9iris", "iris.prod"])
def test_a_release_name_that_kubernetes_or_keda_would_refuse_is_refused(
    refused: Render, name: str
) -> None:
    # Helm refuses more than 53 characters itself.
    assert "release name" in refused({}, name=name)


def test_replicas_are_written_only_when_nobody_else_owns_them(render: Render) -> None:
    assert deployment(render({"replicas": 0}))["replicas"] == 0
    assert "replicas" not in deployment(render({"autoscaling": {"enabled": True}}))


def test_selectors_never_change(render: Render) -> None:
    rendered = render(
        {
            "api": {"deploymentId": "iris-1", "team": "vision"},
            "labels": {"app.kubernetes.io/instance": "other", "version": "2"},
            "podLabels": {"app.kubernetes.io/name": "other"},
        }
    )
    stable = {"app.kubernetes.io/name": "predictor", "app.kubernetes.io/instance": "iris"}
    assert deployment(rendered)["selector"] == {"matchLabels": stable}
    assert rendered.one("Service")["spec"]["selector"] == stable
    labels = deployment(rendered)["template"]["metadata"]["labels"]
    assert stable.items() <= labels.items()


def test_a_chart_upgrade_alone_does_not_restart_the_pods(render: Render) -> None:
    assert "helm.sh/chart" not in deployment(render())["template"]["metadata"]["labels"]


def test_labels_and_annotations_of_people_are_on_every_object_but_the_pods(render: Render) -> None:
    """Pods have their own, and each change of those replaces all pods."""
    mine = {"acme.example/a": "b"}
    rendered = render(
        {"labels": mine, "annotations": mine, "podLabels": {"p": "l"}, "podAnnotations": {"p": "a"}}
    )
    for item in rendered.objects:
        assert mine.items() <= item["metadata"]["labels"].items()
        assert mine.items() <= item["metadata"]["annotations"].items()
    pods = deployment(rendered)["template"]["metadata"]
    assert not mine.keys() & {*pods["labels"], *pods["annotations"]}
    assert (pods["labels"]["p"], pods["annotations"]["p"]) == ("l", "a")


def test_a_secret_from_another_place_restarts_the_pods(render: Render) -> None:
    """A container reads its environment once."""

    def checksum(key: str) -> str:
        data = [{"key": "password", "remoteKey": key}]
        rendered = render(
            {"externalSecrets": [{"name": "db", "store": {"name": "vault"}, "data": data}]}
        )
        return deployment(rendered)["template"]["metadata"]["annotations"][
            "checksum/external-secrets"
        ]

    assert checksum("ml/iris") == checksum("ml/iris") != checksum("ml/other")


def test_the_deployment_id_is_on_the_pods_and_on_the_deployment(render: Render) -> None:
    rendered = render({"api": {"deploymentId": "iris-0123456789ab"}})
    key = "gitops-ml.dev/deployment-id"
    assert deployment(rendered)["template"]["metadata"]["labels"][key] == "iris-0123456789ab"
    assert rendered.one("Deployment")["metadata"]["annotations"][key] == "iris-0123456789ab"


def test_a_deployment_id_longer_than_a_label_value_is_refused(refused: Render) -> None:
    assert "deploymentId" in refused({"api": {"deploymentId": "i" * 64}})


def test_the_runtime_reads_its_settings_with_the_facts_of_the_release(render: Render) -> None:
    rendered = render(
        {
            "api": {"environment": "production", "deploymentId": "iris-1"},
            "runtime": {"path": "p.py", "config": {"none": None, "n": [None, 1], "big": 33554432}},
            "timing": {"drainSeconds": 7, "graceSeconds": 20.5, "closeSeconds": 8},
            "container": {"probePort": 9090},
        }
    )
    assert json.loads(rendered.one("ConfigMap")["data"]["predictor.json"]) == {
        "name": "iris",
        "environment": "production",
        "deploymentId": "iris-1",
        "imageDigest": "sha256:" + "1" * 64,
        "path": "p.py",
        "config": {"none": None, "n": [None, 1], "big": 33554432},
        "drainDelaySeconds": 7,
        "graceSeconds": 20.5,
        "closeSeconds": 8,
        "probePort": 9090,
    }
    mount = {"name": "settings", "mountPath": "/etc/predictor", "readOnly": True}
    assert mount in rendered.container["volumeMounts"]
    assert {"name": "settings", "configMap": {"name": "iris"}} in rendered.pod["volumes"]


def test_a_ready_made_container_gets_no_settings(render: Render) -> None:
    rendered = render({"runtime": None})
    assert "ConfigMap" not in rendered.kinds
    assert [mount["name"] for mount in rendered.container["volumeMounts"]] == ["tmp"]


def test_changed_settings_restart_the_pods(render: Render) -> None:
    def checksum(threshold: float) -> str:
        rendered = render({"runtime": {"path": "p.py", "config": {"threshold": threshold}}})
        return deployment(rendered)["template"]["metadata"]["annotations"]["checksum/settings"]

    assert checksum(0.5) == checksum(0.5) != checksum(0.6)


def test_the_runtime_is_asked_on_different_paths_of_a_port_that_no_predictor_blocks(
    render: Render,
) -> None:
    container = render({"runtime": {"path": "p.py"}, "container": {"probePort": 9090}}).container
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "probes"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "probes"}
    assert container["startupProbe"]["httpGet"] == {"path": "/readyz", "port": "probes"}
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": 8080, "probes": 9090}


@pytest.mark.parametrize(("runtime", "port"), [({"path": "p.py"}, "probes"), (None, "http")])
def test_metrics_are_read_and_let_through_where_they_are(
    render: Render, runtime: dict[str, Any] | None, port: str
) -> None:
    rendered = render(
        {
            "runtime": runtime,
            "podMonitor": {"enabled": True},
            "metrics": {"scrapeAnnotations": True},
        }
    )
    ports = {each["name"]: each["containerPort"] for each in rendered.container["ports"]}
    (endpoint,) = rendered.one("PodMonitor")["spec"]["podMetricsEndpoints"]
    (rule,) = rendered.one("NetworkPolicy")["spec"]["ingress"]
    assert endpoint["port"] == port
    assert {each["port"] for each in rule["ports"]} == set(ports)
    annotations = deployment(rendered)["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports[port])


def test_the_probes_have_a_port_of_their_own(refused: Render) -> None:
    same = {"runtime": {"path": "p.py"}, "container": {"port": 8082}}
    assert "a port of their own" in refused(same)


def test_a_container_without_probes_of_its_own_is_asked_by_opening_its_port(render: Render) -> None:
    container = render().container
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["tcpSocket"] == {"port": "http"}


def test_a_probe_of_ones_own_replaces_the_handler_and_startup_asks_the_same(render: Render) -> None:
    container = render(
        {
            "runtime": {"path": "p.py"},
            "probes": {"readiness": {"exec": {"command": ["ready"]}}, "liveness": None},
        }
    ).container
    assert container["readinessProbe"]["exec"] == {"command": ["ready"]}
    assert container["startupProbe"]["exec"] == {"command": ["ready"]}
    assert "httpGet" not in container["readinessProbe"]
    assert "livenessProbe" not in container


def test_a_probe_with_two_handlers_is_refused(refused: Render) -> None:
    both = {"exec": {"command": ["true"]}, "tcpSocket": {"port": 80}}
    assert "probes.liveness names more than one" in refused({"probes": {"liveness": both}})


@pytest.mark.parametrize(
    ("startup", "period", "failures"), [(600, 5, 120), (601, 5, 121), (1, 5, 1), (30, 10, 3)]
)
def test_the_startup_probe_lasts_as_long_as_loading_may_take(
    render: Render, startup: int, period: int, failures: int
) -> None:
    values = {
        "timing": {"startupSeconds": startup},
        "probes": {"startup": {"periodSeconds": period}},
    }
    assert render(values).container["startupProbe"]["failureThreshold"] == failures


def test_a_rollout_is_not_called_failed_while_a_node_comes_and_models_load(render: Render) -> None:
    timing = {"startupSeconds": 1800, "nodeProvisionSeconds": 900}
    assert deployment(render({"timing": timing}))["progressDeadlineSeconds"] > 1800 + 900
    assert deployment(render())["minReadySeconds"] == 5


@pytest.mark.parametrize(
    ("timing", "seconds"),
    [
        ({}, 5 + 5 + 30 + 5),
        ({"preStopSeconds": 0, "drainSeconds": 0, "graceSeconds": 0}, 5),
        ({"drainSeconds": 0.5, "graceSeconds": 120}, 131),
        ({"closeSeconds": 20}, 5 + 5 + 30 + 20),
    ],
)
def test_the_grace_period_covers_pre_stop_drain_and_the_last_requests(
    render: Render, timing: dict[str, Any], seconds: int
) -> None:
    assert render({"timing": timing}).pod["terminationGracePeriodSeconds"] == seconds


def test_stopping_begins_with_the_native_sleep(render: Render) -> None:
    assert render().container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert "lifecycle" not in render({"timing": {"preStopSeconds": 0}}).container
    own = {"exec": {"command": ["drain"]}}
    assert render({"container": {"preStop": own}}).container["lifecycle"] == {"preStop": own}


def test_memory_and_disk_are_limited_and_cpu_only_on_request(render: Render) -> None:
    assert render().container["resources"] == {
        "requests": {"cpu": "200m", "memory": "512Mi", "ephemeral-storage": "1Gi"},
        "limits": {"memory": "512Mi", "ephemeral-storage": "1Gi"},
    }
    limited = render({"resources": {"cpuLimit": "2"}}).container["resources"]["limits"]
    assert limited["cpu"] == "2"


@pytest.mark.parametrize("cpu", ["0.5", "1000m", "2000m", "0m", "01", "1e3", ""])
def test_a_cpu_quantity_that_the_api_server_would_rewrite_is_refused(
    refused: Render, cpu: str
) -> None:
    assert "/resources/cpu" in refused({"resources": {"cpu": cpu}})


@pytest.mark.parametrize("memory", ["1.5Gi", "1024Mi", "2048Mi", "0Gi", "1000M", "1g", "5e8", ""])
def test_a_memory_quantity_that_the_api_server_would_rewrite_is_refused(
    refused: Render, memory: str
) -> None:
    assert "/resources/memory" in refused({"resources": {"memory": memory}})


@pytest.mark.parametrize("cpu", ["1", "20m", "500m", "1500m", "1005m", "64"])
def test_canonical_quantities_are_kept_as_they_are(render: Render, cpu: str) -> None:
    resources = render({"resources": {"cpu": cpu, "memory": "1536Mi"}}).container["resources"]
    assert resources["requests"]["cpu"] == cpu
    assert resources["limits"]["memory"] == "1536Mi"


GPU = {
    "count": 2,
    "resource": "nvidia.com/mig-1g.5gb",
    "nodeSelector": {"gpu": "a100"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}


def test_gpus_are_limits_alone_and_bring_their_selectors_and_tolerations(render: Render) -> None:
    rendered = render({"resources": {"gpu": GPU}, "scheduling": {"nodeSelector": {"zone": "a"}}})
    resources = rendered.container["resources"]
    assert resources["limits"]["nvidia.com/mig-1g.5gb"] == "2"
    assert "nvidia.com/mig-1g.5gb" not in resources["requests"]
    assert rendered.pod["nodeSelector"] == {"gpu": "a100", "zone": "a"}
    assert rendered.pod["tolerations"] == GPU["tolerations"]


def test_pods_without_a_gpu_stay_off_gpu_nodes(render: Render, refused: Render) -> None:
    pod = render({"resources": {"gpu": {**GPU, "count": 0}}}).pod
    assert "tolerations" not in pod
    assert "nodeSelector" not in pod
    for key in ("nvidia.com/gpu", "amd.com/gpu"):
        taint = {"key": key, "operator": "Exists"}
        assert "without asking for a GPU" in refused({"scheduling": {"tolerations": [taint]}})
    everything = {"operator": "Exists"}
    assert "without asking for a GPU" in refused({"scheduling": {"tolerations": [everything]}})


def test_spreading_is_a_wish_and_never_a_must(render: Render) -> None:
    constraints = render().pod["topologySpreadConstraints"]
    assert {item["whenUnsatisfiable"] for item in constraints} == {"ScheduleAnyway"}
    assert "topologySpreadConstraints" not in render({"scheduling": {"topologySpread": False}}).pod


def test_recreate_says_nothing_about_surge(render: Render) -> None:
    values = {"updateStrategy": {"type": "Recreate"}}
    assert deployment(render(values))["strategy"] == {"type": "Recreate"}


def test_an_update_strategy_keeps_its_zero_and_its_percentage(render: Render) -> None:
    values = {"updateStrategy": {"maxSurge": 0, "maxUnavailable": "25%"}}
    assert deployment(render(values))["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"},
    }


@pytest.mark.parametrize("surge", [0, "0%"])
def test_an_update_that_could_replace_no_pod_is_refused(refused: Render, surge: int | str) -> None:
    assert "no pod could ever be replaced" in refused({"updateStrategy": {"maxSurge": surge}})


def test_shared_memory_is_a_memory_volume_with_a_limit(render: Render) -> None:
    rendered = render({"shmSize": "1Gi"})
    volume = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}
    assert volume in rendered.pod["volumes"]
    assert {"name": "shm", "mountPath": "/dev/shm"} in rendered.container["volumeMounts"]


def test_the_environment_is_sorted_and_strings(render: Render) -> None:
    env = render({"container": {"env": {"B": "true", "A": "1"}}}).container["env"]
    assert env == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "true"},
        {"name": "HOME", "value": "/tmp"},
    ]


def test_sidecars_share_a_folder_and_nothing_else(render: Render) -> None:
    sidecar = {"name": "tf", "image": "a/tf@sha256:" + "2" * 64, "cpu": "100m", "memory": "1Gi"}
    rendered = render({"sidecars": [sidecar]})
    main, side = rendered.container, *rendered.pod["initContainers"]
    shared = {"name": "shared", "mountPath": "/mnt"}
    assert shared in main["volumeMounts"]
    assert side["volumeMounts"] == [{"name": "tmp-tf", "mountPath": "/tmp"}, shared]
    assert side["securityContext"] == main["securityContext"]


def test_a_sidecar_starts_before_the_main_container_and_stops_after_it(render: Render) -> None:
    sidecar = {"name": "tf", "image": "a/tf:1", "cpu": "100m", "memory": "1Gi"}
    (side,) = render({"sidecars": [sidecar]}).pod["initContainers"]
    assert side["restartPolicy"] == "Always"


def test_one_sidecar_may_have_the_accelerators_in_place_of_the_main_container(
    render: Render, refused: Render
) -> None:
    sidecar = {"name": "tf", "image": "a/tf:1", "cpu": "100m", "memory": "1Gi", "gpu": True}
    gpu = {"resources": {"gpu": {"count": 2}}}
    rendered = render({"sidecars": [sidecar], **gpu})
    (side,) = rendered.pod["initContainers"]
    assert side["resources"]["limits"] == {"memory": "1Gi", "nvidia.com/gpu": "2"}
    assert "nvidia.com/gpu" not in rendered.container["resources"]["limits"]
    (side,) = render({"sidecars": [sidecar]}).pod["initContainers"]
    assert side["resources"]["limits"] == {"memory": "1Gi"}
    two = {"sidecars": [sidecar, {**sidecar, "name": "other"}], **gpu}
    assert "two sidecars have gpu true" in refused(two)


def test_containers_and_variables_with_the_same_name_are_refused(refused: Render) -> None:
    sidecar = {"name": "predictor", "image": "a/b:c", "cpu": "1", "memory": "1Gi"}
    assert "two containers of the pod are called predictor" in refused({"sidecars": [sidecar]})
    secret = {"env": "TOKEN", "name": "s", "key": "k"}
    twice = {"container": {"env": {"TOKEN": "x"}}, "secretEnv": [secret]}
    assert "secretEnv sets TOKEN" in refused(twice)


def test_a_sidecars_probe_asks_in_one_way_at_a_port_of_its_own(refused: Render) -> None:
    def sentence(probe: dict[str, Any]) -> str:
        sidecar = {"name": "tf", "image": "a/b:c", "cpu": "1", "memory": "1Gi"}
        return refused({"sidecars": [{**sidecar, "readinessProbe": probe}]})

    assert "exactly one of" in sentence({"periodSeconds": 5})
    assert "exactly one of" in sentence({"grpc": {"port": 1}, "tcpSocket": {"port": 1}})
    assert "give the sidecar's port number" in sentence({"httpGet": {"path": "/", "port": "http"}})


def test_secrets_are_references(render: Render) -> None:
    rendered = render(
        {
            "secretEnv": [{"env": "TOKEN", "name": "iris", "key": "token", "optional": True}],
            "externalSecrets": [
                {
                    "name": "iris",
                    "store": {"name": "vault", "kind": "ClusterSecretStore"},
                    "data": [{"key": "token", "remoteKey": "ml/iris"}],
                }
            ],
        }
    )
    assert rendered.container["env"][-1] == {
        "name": "TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "iris", "key": "token", "optional": True}},
    }
    assert "Secret" not in rendered.kinds
    assert rendered.one("ExternalSecret")["spec"]["target"]["name"] == "iris"


def test_a_budget_exists_only_where_a_second_replica_can(render: Render) -> None:
    assert "PodDisruptionBudget" not in render({"replicas": 1}).kinds
    scaled = {"enabled": True, "maxReplicas": 1}
    assert "PodDisruptionBudget" not in render({"autoscaling": scaled}).kinds
    off = {"replicas": 2, "podDisruptionBudget": {"enabled": False}}
    assert "PodDisruptionBudget" not in render(off).kinds
    budget = render({"replicas": 2}).one("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_no_token_no_service_links_and_an_account_of_its_own(render: Render) -> None:
    rendered = render({"serviceAccount": {"annotations": {"role": "r"}}})
    account = rendered.one("ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    assert account["metadata"]["annotations"]["role"] == "r"
    assert rendered.pod["serviceAccountName"] == account["metadata"]["name"]
    assert rendered.pod["automountServiceAccountToken"] is False
    assert rendered.pod["enableServiceLinks"] is False


def test_user_group_and_files_belong_to_an_unprivileged_user(render: Render) -> None:
    rendered = render()
    for context in (rendered.pod["securityContext"], rendered.container["securityContext"]):
        assert (context["runAsUser"], context["runAsGroup"]) == (10001, 10001)
    assert rendered.pod["securityContext"]["fsGroup"] == 10001
    assert rendered.container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("name", ["null", "y", "on", "true"])
def test_a_name_that_yaml_takes_for_something_else_stays_a_name(render: Render, name: str) -> None:
    values = {
        "replicas": 2,
        "runtime": {"path": "p.py"},
        "podMonitor": {"enabled": True},
        "autoscaling": {"enabled": True, "httpAddon": {"enabled": True}},
        "route": {"type": "httpRoute", "gateway": {"name": name}},
    }
    for item in render(values, name=name, namespace=name).objects:
        assert (item["metadata"]["name"], item["metadata"]["namespace"]) == (name, name)
