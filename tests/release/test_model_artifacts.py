"""Where a release's model artifacts are, and the settings that the runtime gets in their place."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gitops_ml.documents.json_schema import load_schema
from gitops_ml.release.model_artifacts import BadLocation, has_image_volumes, parse_location
from predictor_base.errors import StartFailure
from predictor_base.models.stores.store import open_store
from tests.support.pipeline import (
    PROJECT,
    api,
    check_objects,
    errors_of,
    merged,
    project_of,
    rendered,
)

IRIS = "oci://ghcr.io/acme/models/iris"
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def predictor(**words: Any) -> dict[str, Any]:
    return api(predictor=words)


def on(**cluster: Any) -> Any:
    return project_of(merged(PROJECT, {"clusters": {"main": cluster}}))


@pytest.mark.parametrize(
    ("location", "given"),
    [
        (f"{IRIS}@{A}", f"ghcr.io/acme/models/iris@{A}"),
        (f"{IRIS}:3@{A}", f"ghcr.io/acme/models/iris:3@{A}"),
        ("oci://localhost:5000/iris", "localhost:5000/iris"),
        ("oci://localhost/iris:1", "localhost/iris:1"),
    ],
)
def test_a_location_names_an_image(location: str, given: str) -> None:
    assert str(parse_location(location)) == given


@pytest.mark.parametrize(
    "location",
    [
        "oci://iris",
        "oci://acme/iris",
        "oci://ghcr.io/acme/Iris",
        "oci://ghcr.io/acme/iris@sha256:1",
        "s3://x/y",
    ],
)
def test_what_names_none_is_refused(location: str) -> None:
    with pytest.raises(BadLocation, match="write it as oci://"):
        parse_location(location)


@pytest.mark.parametrize(
    ("version", "given", "expected"),
    [
        (None, None, False),
        ("1.34", None, False),
        ("1.35", None, True),
        ("1.37", None, True),
        ("1.33", True, True),
        (None, True, True),
        ("1.36", False, False),
    ],
)
def test_images_are_mounted_where_the_cluster_does_so_or_is_said_to(
    version: str | None, given: bool | None, expected: bool
) -> None:
    words = {"kubernetes_version": version, "image_volumes": given}
    project = project_of(merged(PROJECT, {"clusters": {"main": words}}))
    assert has_image_volumes(project.clusters["main"]) is expected


def test_the_runtime_is_told_the_folder_and_the_pod_mounts_the_artifact_there() -> None:
    release = rendered(predictor(type="onnx", models={"path": f"{IRIS}:3@{A}"}))
    check_objects(release.objects)
    assert release.settings["models"] == {"path": "/models/model"}
    assert release.values["models"] == {
        "imageVolumes": True,
        "artifacts": [{"name": "model", "reference": f"ghcr.io/acme/models/iris@{A}"}],
    }
    mount = {"name": "model-0", "mountPath": "/models/model", "readOnly": True}
    assert mount in release.container["volumeMounts"]
    image = {"reference": f"ghcr.io/acme/models/iris@{A}", "pullPolicy": "IfNotPresent"}
    assert {"name": "model-0", "image": image} in release.pod["volumes"]
    assert "initContainers" not in release.pod


def test_older_clusters_copy_the_artifact_with_the_image_of_the_predictor() -> None:
    project = on(kubernetes_version="1.34", image_pull_secrets=["regcred"])
    words = {"type": "onnx", "models": {"path": f"{IRIS}@{A}"}, "env": {"HTTPS_PROXY": "http://p"}}
    compute = {"ephemeral_storage": "20Gi", "mem": "2Gi"}
    release = rendered(api(predictor=words, compute=compute), project)
    check_objects(release.objects)
    assert release.settings["models"] == {"path": "/models/model"}
    (copy,) = release.pod["initContainers"]
    assert copy["image"] == release.container["image"]
    assert copy["args"] == [
        "--into=/models",
        "--credentials=/etc/pull-secrets",
        f"model=ghcr.io/acme/models/iris@{A}",
    ]
    # it asks for no more than the predictor, or it would cost room for a few seconds of work
    assert copy["resources"] == release.container["resources"]
    assert {"name": "HTTPS_PROXY", "value": "http://p"} in copy["env"]
    volumes = {volume["name"]: volume for volume in release.pod["volumes"]}
    assert volumes["models"]["emptyDir"] == {"sizeLimit": "20Gi"}
    (secret,) = volumes["pull-secrets"]["projected"]["sources"]
    assert secret["secret"]["items"] == [{"key": ".dockerconfigjson", "path": "regcred.json"}]
    mounts = {mount["name"]: mount for mount in release.container["volumeMounts"]}
    assert mounts["models"] == {"name": "models", "mountPath": "/models", "readOnly": True}
    assert "pull-secrets" not in mounts


def test_models_by_name_and_a_folder_of_models_keep_their_names() -> None:
    paths = [{"name": "A_1", "path": f"{IRIS}@{A}"}, {"name": "local", "path": "models/local"}]
    settings = rendered(predictor(type="onnx", models={"paths": paths})).settings
    assert settings["models"]["paths"] == [
        {"name": "A_1", "path": "/models/A_1"},
        {"name": "local", "path": "models/local"},
    ]
    reloading = {"multi_model_reloading": {"dir": f"{IRIS}@{B}"}}
    assert rendered(predictor(**reloading)).settings["multiModelReloading"] == {
        "dir": "/models/all"
    }


def test_a_python_predictor_finds_the_folder_in_its_config() -> None:
    config = {"model": f"{IRIS}@{A}", "to ken": f"{IRIS}@{B}", "to-ken": f"{IRIS}:1", "x": 1}
    release = rendered(predictor(config=config))
    assert release.settings["config"] == {
        "model": "/models/config-model",
        "to ken": "/models/config-to-ken",
        "to-ken": "/models/config-to-ken-2",
        "x": 1,
    }
    policies = [v["image"]["pullPolicy"] for v in release.pod["volumes"] if "image" in v]
    assert policies == ["IfNotPresent", "IfNotPresent", "Always"]


def test_an_artifact_that_is_named_twice_is_mounted_once() -> None:
    paths = [{"name": name, "path": f"{IRIS}:{name}@{A}"} for name in ("a", "b")]
    release = rendered(predictor(type="onnx", models={"paths": paths}))
    assert [each["path"] for each in release.settings["models"]["paths"]] == ["/models/a"] * 2
    assert [each["name"] for each in release.values["models"]["artifacts"]] == ["a"]


def test_a_tag_is_refused_where_an_environment_is_protected() -> None:
    words = predictor(config={"model": f"{IRIS}:3"})
    assert errors_of(words) == ()
    protected = merged(PROJECT, {"environments": {"staging": {"protected": True}}})
    (found,) = errors_of(words, project_of(protected))
    assert found.path == ("predictor", "config", "model")
    assert found.message == f"staging is protected: pin the artifact, {IRIS}:3@sha256:…"


def test_a_copied_model_is_refused_where_the_registry_speaks_plain_http() -> None:
    words = predictor(config={"model": f"{IRIS}@{A}", "other": f"oci://quay.io/acme/iris@{A}"})
    plain = {"image": {"repository": "ghcr.io/acme/ml", "insecure": True}}
    copied = {**plain, "clusters": {"main": {"image_volumes": False}}}
    (found,) = errors_of(words, project_of(merged(PROJECT, copied)))
    assert found.path == ("predictor", "config", "model")
    assert found.message.startswith("pods copy models over HTTPS only, and ghcr.io uses plain")
    mounted = {**plain, "clusters": {"main": {"image_volumes": True}}}
    assert errors_of(words, project_of(merged(PROJECT, mounted))) == ()


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "hf", "oci", "pvc", "http", "https", "file"])
def test_a_manifest_names_models_where_the_runtime_or_the_cluster_can_get_them(scheme: str) -> None:
    schema = load_schema("api").document["$defs"]["model_path"]
    is_valid = re.search(schema["pattern"], f"{scheme}://a/b") is not None
    assert is_valid == (f"{scheme}://" in schema["patternErrorMessage"])
    with pytest.raises(StartFailure) as refused:
        open_store("none://a/b")  # it tells what there is
    assert is_valid == (scheme == "oci" or f"{scheme}://" in str(refused.value))


def test_a_location_that_names_no_artifact_is_told_with_its_place() -> None:
    (found,) = errors_of(predictor(type="onnx", models={"path": "oci://acme/iris"}))
    assert found.path == ("predictor", "models", "path")
    assert "does not begin with a registry" in found.message


def test_values_without_artifacts_say_nothing_of_them() -> None:
    release = rendered(predictor(type="onnx", models={"path": "s3://acme/iris"}))
    assert "models" not in release.values
