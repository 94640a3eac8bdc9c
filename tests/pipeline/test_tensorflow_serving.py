"""A TensorFlow predictor gets TensorFlow Serving as a sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.manifest_parts import env, sidecar, tensorflow
from tests.support.pipeline import api, check_objects, rendered

if TYPE_CHECKING:
    from gitops_ml.project.project import Project


def test_a_tensorflow_predictor_gets_tensorflow_serving_beside_it(everything: Project) -> None:
    release = rendered(
        api(**tensorflow(env={"A": "1"}), compute={"cpu": "500m", "mem": "1Gi"}), everything
    )
    serving = sidecar(release)
    assert release.settings["tensorflowServing"] == {
        "address": "127.0.0.1:8501",
        "modelDir": "/mnt/models",
    }
    assert serving["image"] == "tensorflow/serving:2.18.0"
    script = serving["command"][-1]
    assert "--rest_api_port=8501" in script
    assert "--model_config_file=/mnt/models/models.config" in script
    assert env(serving)["A"] == env(release.container)["A"] == "1"
    shared = {"name": "shared", "mountPath": "/mnt"}
    assert shared in serving["volumeMounts"]
    assert shared in release.container["volumeMounts"]
    for each in (serving, release.container):
        requests = each["resources"]["requests"]
        assert (requests["cpu"], requests["memory"]) == ("250m", "512Mi")
    check_objects(release.objects)


def test_the_gpu_goes_to_tensorflow_serving(everything: Project) -> None:
    release = rendered(api(**tensorflow(), compute={"gpu": 1}), everything)
    assert sidecar(release)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in release.container["resources"]["limits"]
    assert sidecar(release)["image"] == "tensorflow/serving:2.18.0-gpu"


def test_tensorflow_serving_batches_and_the_class_sees_one_request_at_a_time(
    everything: Project,
) -> None:
    batching = {"max_batch_size": 4, "batch_interval": "5ms"}
    release = rendered(api(**tensorflow(server_side_batching=batching)), everything)
    script = sidecar(release)["command"][-1]
    assert "max_batch_size { value: 4 }" in script
    assert "batch_timeout_micros { value: 5000 }" in script
    assert "--enable_batching" in script
    assert "batching" not in release.settings


def test_tensorflow_serving_starts_when_the_predictor_has_written_its_configuration(
    everything: Project, tmp_path: Any
) -> None:
    """The script itself, with a TensorFlow Serving that tells its arguments."""
    import os
    import subprocess

    batching = {"max_batch_size": 4, "batch_interval": "5ms"}
    release = rendered(api(**tensorflow(server_side_batching=batching)), everything)
    shell, flag, script = sidecar(release)["command"]
    script = script.replace("/mnt/models", str(tmp_path)).replace("/tmp/b", f"{tmp_path}/b")
    program = tmp_path / "tensorflow_model_server"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen([shell, flag, script], stdout=subprocess.PIPE, env=environ) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        (tmp_path / "models.config").write_text("model_config_list {}\n")
        output, _ = process.communicate(timeout=60)
    assert f"--model_config_file={tmp_path}/models.config" in output.decode().splitlines()
    assert (tmp_path / "batching.config").read_text() == (
        "max_batch_size { value: 4 }\nbatch_timeout_micros { value: 5000 }\n"
    )
