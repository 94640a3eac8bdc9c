"""Claims, accounts, other containers and copies of the project: what is refused, and what moves the id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.manifest_parts import (
    IMAGE,
    VOLUME,
    container,
    predictor,
    sidecar,
    tensorflow,
    with_sidecar,
)
from tests.support.pipeline import (
    PROJECT,
    api,
    check_objects,
    errors_of,
    findings_of,
    merged,
    project_of,
    rendered,
    text_of,
)

if TYPE_CHECKING:
    from gitops_ml.project.project import Project


@pytest.mark.parametrize(
    ("words", "path", "sentence"),
    [
        ({"volumes": [VOLUME, {**VOLUME, "path": "/b"}]}, "volumes.1.name", "data is in the list twice"),
        ({"volumes": [VOLUME, {**VOLUME, "name": "b"}]}, "volumes.1.path", "another volume is at /data"),
        *(
            ({"volumes": [{**VOLUME, "path": path}]}, "volumes.0.path", f"would hide {hidden} of the container")
            for path, hidden in (
                *(("/app", "/app"), ("/opt", "/opt/runtime"), ("/dev", "/dev/shm"), ("/tmp", "/tmp")),
                *(("/etc/ssl", "/etc"), ("/usr/lib/x", "/usr"), ("/proc", "/proc")),
            )
        ),
        ({"host_aliases": [{"ip": "10.0.0", "hostnames": ["a"]}]}, "host_aliases.0.ip", "is not an IP address"),
        ({"compute": {"mem": "2Gi", "mem_limit": "1Gi"}}, "compute.mem_limit", "1Gi is less than mem (2Gi)"),
        (
            {**with_sidecar(inf=1), "compute": {"gpu": 1, "gpu_class": "t4"}},
            "container.sidecars.0.inf",
            "one container of a replica has all of its accelerators",
        ),
        (
            container(sidecars=[{"name": n, "image": IMAGE, "inf": 1} for n in "ab"]),
            "container.sidecars.1.inf",
            "one container of a replica has all of its accelerators",
        ),
        (with_sidecar(shm_size="1Gi"), "container.sidecars.0.shm_size", "1Gi is more than mem (128Mi)"),
        (
            with_sidecar(pre_stop={"sleep": {"seconds": 1}, "exec": {"command": ["a"]}}),
            "container.sidecars.0.pre_stop",
            "exactly one of httpGet, exec and sleep is needed",
        ),
        (
            {"service_account": {"annotations": {"eks.amazonaws.com/role-arn": "x"}}},
            "service_account.annotations.eks.amazonaws.com/role-arn",
            "it gives the pods an identity of the cloud",
        ),
        (
            {"service_account": {"annotations": {"helm.sh/hook": "x"}}},
            "service_account.annotations.helm.sh/hook",
            "acts on it; remove it",
        ),
    ],
)  # fmt: skip
def test_what_would_fail_in_the_cluster_is_refused(
    words: dict[str, Any], path: str, sentence: str, everything: Project
) -> None:
    (wrong,) = errors_of(api(**words), everything)
    assert ".".join(map(str, wrong.path)) == path
    assert sentence in wrong.message


def test_a_policy_decides_which_claims_are_mounted() -> None:
    narrow = project_of(merged(PROJECT, {"policy": {"volumes": ["ml-*"]}}))
    (wrong,) = errors_of(api(volumes=[VOLUME]), narrow)
    assert wrong.path == ("volumes", 0, "claim")
    assert "list 'training-data' in policy.volumes" in wrong.message
    assert errors_of(api(volumes=[{**VOLUME, "claim": "ml-data"}]), narrow) == ()


def test_a_policy_decides_which_certificates_are_read() -> None:
    narrow = project_of(merged(PROJECT, {"policy": {"secrets": ["ml-*"]}}))
    (wrong,) = errors_of(api(networking={"tls_secret": "iris-tls"}), narrow)
    assert wrong.path == ("networking", "tls_secret")


def test_a_preflight_has_what_the_pods_have() -> None:
    words = api(
        predictor={"writable": True},
        volumes=[VOLUME],
        host_aliases=[{"ip": "::1", "hostnames": ["a"]}],
        compute={"mem_limit": "2Gi"},
        update_strategy={"preflight": "load"},
    )
    release = rendered(words)
    check_objects(release.objects)
    pods = [release.pod, release.one("Job")["spec"]["template"]["spec"]]
    for pod in pods:
        (main,) = pod["containers"]
        mounts = {each["name"]: each["mountPath"] for each in main["volumeMounts"]}
        assert (mounts["project"], mounts["claim-data"]) == ("/app", "/data")
        assert [each["name"] for each in pod["initContainers"]] == ["copy-project"]
        assert pod["hostAliases"] == [{"ip": "::1", "hostnames": ["a"]}]
        assert main["resources"]["limits"]["memory"] == "2Gi"


def test_tensorflow_serving_gets_half_of_the_memory_limit() -> None:
    release = rendered(api(**tensorflow(), compute={"mem": "1Gi", "mem_limit": "3Gi"}))
    assert release.container["resources"]["limits"]["memory"] == "1536Mi"
    assert release.container["resources"]["requests"]["memory"] == "512Mi"


@pytest.mark.parametrize("image", ["ghcr.io/acme/echo", "ghcr.io/acme/echo:latest", "redis"])
def test_an_image_without_a_tag_is_latest(image: str, everything: Project) -> None:
    words = api(container={"image": image, "sidecars": [{"name": "a", "image": image}]})
    named = image if image.endswith(":latest") else f"{image}:latest"
    warned = [
        each.path
        for each in findings_of(words, everything)
        if "another image at any time" in each.message
    ]
    assert warned == [("container", "image"), ("container", "sidecars", 0, "image")]
    release = rendered(words, everything)
    for each in (release.container, sidecar(release)):
        assert (each["image"], each["imagePullPolicy"]) == (named, "Always")


def test_an_image_with_a_version_is_pulled_once(everything: Project) -> None:
    release = rendered(api(**with_sidecar()), everything)
    assert {each["imagePullPolicy"] for each in (release.container, sidecar(release))} == {
        "IfNotPresent"
    }


ON_PODS = {
    "mem_limit": {"compute": {"mem_limit": "2Gi"}},
    "writable": predictor(writable=True),
    "volumes": {"volumes": [VOLUME]},
    "host_aliases": {"host_aliases": [{"ip": "10.0.0.7", "hostnames": ["a"]}]},
}
BESIDE_PODS = {
    "service_account": {"service_account": {"annotations": {"b.example/role": "iris"}}},
    "tls_secret": {"networking": {"tls_secret": "iris-tls"}},
}


@pytest.mark.parametrize("name", [*ON_PODS, *BESIDE_PODS])
def test_what_decides_the_pods_moves_the_deployment_id_and_nothing_else_does(name: str) -> None:
    gateway = {"type": "ingress", "name": "nginx", "namespace": "ingress", "section": None}
    project = project_of(merged(PROJECT, {"clusters": {"main": {"gateway": gateway}}}))
    words = {**ON_PODS, **BESIDE_PODS}[name]
    before, after = (text_of(each, project) for each in (api(), api(**words)))
    assert (before.deployment_id != after.deployment_id) is (name in ON_PODS)
    assert before.values != after.values


def test_a_name_has_42_characters() -> None:
    name = "a" * 42
    release = rendered(api(name=name, update_strategy={"preflight": "load"}))
    check_objects(release.objects)
    names = {item["metadata"]["name"] for item in release.objects}
    assert max(map(len, names)) <= 63
    assert len(release.text.deployment_id) <= 63
