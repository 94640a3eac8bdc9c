"""Model artifacts: mounted by the node, or copied by an init container before anything else starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

Render = Callable[..., Any]

REFERENCE = "ghcr.io/acme/models/iris@sha256:" + "2" * 64
RUNTIME = {"path": "predictor.py"}
ONE = {"artifacts": [{"name": "iris", "reference": REFERENCE}]}
SIDECAR = {"name": "proxy", "image": "proxy:1", "cpu": "100m", "memory": "64Mi"}


def test_without_artifacts_nothing_is_mounted_and_nobody_waits(render: Render) -> None:
    pod = render({"models": {"imageVolumes": True}}).pod
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]
    assert "initContainers" not in pod


def test_models_are_there_before_a_sidecar_starts(render: Render) -> None:
    pod = render({"runtime": RUNTIME, "models": ONE, "sidecars": [SIDECAR]}).pod
    first, second = pod["initContainers"]
    assert (first["name"], "restartPolicy" in first) == ("fetch-models", False)
    assert (second["name"], second["restartPolicy"]) == ("proxy", "Always")
    assert "models" not in [mount["name"] for mount in second["volumeMounts"]]


def test_the_copying_container_runs_a_module_of_the_runtime(render: Render) -> None:
    pod = render({"runtime": RUNTIME, "models": ONE}).pod
    python, *arguments = pod["initContainers"][0]["command"]
    assert python == "python3"
    shown = subprocess.run(
        [sys.executable, *arguments, "--help"], capture_output=True, text=True, check=True
    )
    assert "--into" in shown.stdout


def test_without_pull_secrets_none_are_mounted(render: Render) -> None:
    pod = render({"runtime": RUNTIME, "models": ONE}).pod
    assert pod["initContainers"][0]["args"] == ["--into=/models", f"iris={REFERENCE}"]
    assert "pull-secrets" not in [volume["name"] for volume in pod["volumes"]]


def test_an_image_volume_needs_no_runtime(render: Render) -> None:
    rendered = render({"models": {**ONE, "imageVolumes": True}})
    assert {"name": "model-0", "mountPath": "/models/iris", "readOnly": True} in (
        rendered.container["volumeMounts"]
    )


def test_a_copy_needs_one(refused: Render) -> None:
    assert "need models.imageVolumes true" in refused({"models": ONE})


def test_two_artifacts_of_one_name_are_refused(refused: Render) -> None:
    assert "two models.artifacts are called iris" in (
        refused({"runtime": RUNTIME, "models": {"artifacts": ONE["artifacts"] * 2}})
    )


def test_a_sidecar_may_not_take_the_name_of_the_one_that_copies(refused: Render) -> None:
    sidecar = {**SIDECAR, "name": "fetch-models"}
    assert "two containers of the pod are called fetch-models" in (
        refused({"runtime": RUNTIME, "models": ONE, "sidecars": [sidecar]})
    )


def test_a_reference_without_a_registry_or_with_a_scheme_is_refused(refused: Render) -> None:
    for reference in ("iris", f"oci://{REFERENCE}", "ghcr.io/acme/Iris:1"):
        artifacts = [{"name": "iris", "reference": reference}]
        assert "reference" in refused({"runtime": RUNTIME, "models": {"artifacts": artifacts}})
