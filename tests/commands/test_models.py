"""From weights in a folder to a prediction: pushed, named by the manifest, brought to the predictor."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support import predictor_server as predictors
from tests.support.local_server import serving
from tests.support.person import container_api, predictor_api

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.real import RealRegistry

pytest.importorskip("helm_python", reason="Helm's engine is the extra gitops-ml[helm]")

ONNX = """\
class ONNXPredictor:
    def __init__(self, onnx_client, config):
        self.client = onnx_client

    def predict(self, payload, query_params):
        return self.client.predict(payload, "sum", query_params.get("version", "latest"))[0].tolist()
"""
CONFIG = """\
from pathlib import Path

class PythonPredictor:
    def __init__(self, config):
        self.words = (Path(config["model"]) / "words.txt").read_text().split()

    def predict(self, payload):
        return [self.words[payload["x"]]]
"""


def sums(folder: Path) -> Path:
    """Two versions of an ONNX model: the second one gives ten times the sum."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    from tests.predictor_base.models.test_onnx_client import save_sum

    save_sum(folder / "1" / "sum.onnx", ["n", 2])
    save_sum(folder / "2" / "sum.onnx", ["n", 2], times=10)
    return folder


def words(folder: Path, *text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "words.txt").write_text(" ".join(text))
    return folder


def test_a_model_is_pushed_copied_by_the_init_container_and_predicts(ann, registry: RealRegistry):
    """What runs is what the chart says, but for the folder, which is not this machine's to make."""
    result = ann.runs("model", "push", sums(ann.home / "sums"), f"oci://{registry.host}/ml/sums:1")
    location = result.out.strip()
    assert re.fullmatch(rf"oci://{registry.host}/ml/sums:1@sha256:[0-9a-f]{{64}}", location)
    models = {"paths": [{"name": "sum", "path": location}]}
    predictor = {"path": "predictor.py", "type": "onnx", "models": models}
    ann.has({"name": "sums", "kind": "RealtimeAPI", "predictor": predictor})
    (ann.project / "predictor.py").write_text(ONNX)
    result = ann.runs("render", "--offline", "--manifests", "-e", "production")
    assert result.code == 0, result
    objects = yaml.safe_load_all(result.out)
    by_kind = {each["kind"]: each for each in objects}
    (copy,) = by_kind["Deployment"]["spec"]["template"]["spec"]["initContainers"]
    settings = by_kind["ConfigMap"]["data"]["predictor.json"]

    models_folder = ann.home / "models"
    there = [text.replace("/models", str(models_folder), 1) for text in copy["args"][:1]]
    command = [sys.executable, *copy["command"][1:], *there, *copy["args"][1:]]
    subprocess.run(command, check=True, cwd=ann.home, env={**os.environ, "MODELS_ROOM": "1000000"})
    local = json.loads(settings.replace("/models/sum", str(models_folder / "sum")))
    with predictors.serving(ann.project, ONNX, **local) as server:
        assert server.predict([[1, 2], [3, 4]]).json() == [30, 70]
        assert server.predict([[1, 2]], "/predict?version=1").json() == [3]
        found = server.client.get("/info").json()["models"]["sum"]
        assert (found["versions"], found["latest"]) == (["1", "2"], "2")


def test_run_finds_an_artifact_where_the_cluster_would(ann, registry: RealRegistry):
    result = ann.runs("model", "push", words(ann.home / "words", "a", "b"),
                    f"oci://{registry.host}/ml/words", "-o", "json").json  # fmt: skip
    api = predictor_api("words")
    api["predictor"]["config"] = {"model": result["location"]}
    ann.has(api)
    (ann.project / "predictor.py").write_text(CONFIG)
    for _ in range(2):
        with serving(cwd=ann.project) as server:
            assert server.predicts({"x": 1}) == ["b"]
    digest = result["digest"].removeprefix("sha256:")
    assert (ann.home / "cache/models" / digest / "words.txt").read_text() == "a b"


def test_pushing_says_what_happened(ann, registry: RealRegistry):
    folder, location = words(ann.home / "words", "a"), f"oci://{registry.host}/ml/said:best"
    first = ann.runs("model", "push", folder, location, "-o", "json").json
    assert (first["files"], first["size"], first["moved_from"]) == (1, 1, None)
    again = ann.runs("model", "push", folder, location)
    assert (again.out, again.err) == (
        f"{first['location']}\n",
        "1 file, 1 bytes, already in the registry\n",
    )
    words(folder, "b")
    moved = ann.runs("model", "push", folder, location)
    assert f"the tag best moved from {first['digest']}\n" in moved.err
    assert moved.out != again.out


def test_what_a_manifest_names_comes_back(ann, registry: RealRegistry):
    folder, location = words(ann.home / "words", "a"), f"oci://{registry.host}/ml/back:1"
    pinned = ann.runs("model", "push", folder, location).out.strip()
    words(folder, "b")
    ann.runs("model", "push", folder, location)
    result = ann.runs("model", "pull", pinned, ann.home / "old")
    assert (result.code, result.out) == (0, f"{ann.home / 'old'}: 1 file, 1 bytes\n")
    facts = ann.runs("model", "pull", location, ann.home / "new", "-o", "json").json
    assert facts["digest"] not in pinned
    texts = [(ann.home / name / "words.txt").read_text() for name in ("old", "new")]
    assert texts == ["a", "b"]
    assert ann.runs("model", "pull", pinned, ann.home / "old").code == 2


@pytest.mark.parametrize(
    ("location", "words_of_it"),
    [
        (
            "ghcr.io/acme/iris:1",
            "begin with oci://; write it as oci://ghcr.io/acme/models/iris:3\n",
        ),
        ("oci://ghcr.io/Acme/iris:1", "has capitals, which no repository may have"),
        ("oci://ghcr.io/acme/iris:V 1", "names no artifact"),
        ("oci://iris", "does not begin with a registry"),
        (f"oci://ghcr.io/acme/iris@sha256:{'0' * 64}", "the digest comes from the files"),
    ],
)
def test_a_wrong_location_is_told(ann, location: str, words_of_it: str):
    result = ann.runs("model", "push", words(ann.home / "words"), location)
    assert result.code == 2
    assert words_of_it in result.err


def test_credentials_are_those_of_docker(ann, private_registry: RealRegistry, monkeypatch):
    folder, location = words(ann.home / "words", "a"), f"oci://{private_registry.host}/ml/private:1"
    result = ann.runs("model", "push", folder, location)
    assert (result.code, "docker login" in result.err) == (5, True)
    monkeypatch.setenv("DOCKER_CONFIG", private_registry.environ["DOCKER_CONFIG"])
    assert ann.runs("model", "push", folder, location).code == 0


def test_an_artifact_of_another_digest_is_another_deployment(ann):
    """Weights are part of what a deployment is."""
    ids = []
    for digit in "12":
        api = predictor_api("answer")
        api["predictor"]["config"] = {"model": f"oci://ghcr.io/acme/iris@sha256:{digit * 64}"}
        ann.has(api, container_api("other"))
        result = ann.runs("render", "--offline", "-e", "staging", "-o", "json").json
        ids.append({each["api"]: each["deployment_id"] for each in result["releases"]})
    assert ids[0]["answer"] != ids[1]["answer"]
    assert ids[0]["other"] == ids[1]["other"]


def names_a_model(ann, location):
    api = predictor_api("answer")
    api["predictor"]["config"] = {"model": location}
    ann.has(api)


@pytest.mark.parametrize("verb", ["build", "deploy"])
def test_a_model_that_nobody_pushed_is_refused_before_anything_is_made(ann, registry, verb):
    location = f"oci://{registry.host}/ml/none@sha256:{'0' * 64}"
    names_a_model(ann, location)
    result = ann.runs(verb)
    assert result.code == 5, result
    assert location in result.err
    assert "gitops-ml model push" in result.err
    assert ann.commits() == 0


def test_a_tag_is_deployed_with_a_word_about_its_digest(ann, registry):
    tag = f"oci://{registry.host}/ml/tagged:1"
    pinned = ann.runs("model", "push", words(ann.home / "words", "a"), tag).out.strip()
    names_a_model(ann, tag)
    result = ann.runs("deploy", "--by-tag", "-e", "staging")
    assert result.code == 0, result
    assert f"so name {pinned}" in result.err
    names_a_model(ann, pinned)
    assert "ml/tagged" not in ann.runs("deploy", "--by-tag", "-e", "staging").err


def test_a_registry_without_an_answer_is_told_and_not_an_end(ann):
    names_a_model(ann, f"oci://localhost:9/ml/iris@sha256:{'0' * 64}")
    result = ann.runs("deploy", "--by-tag", "-e", "staging")
    assert result.code == 0, result
    assert "could not check whether oci://localhost:9/ml/iris@sha256:" in result.err
    offline = ann.runs("deploy", "--by-tag", "--offline", "-e", "staging")
    assert "nobody knows" not in offline.err


def test_a_model_is_shown_as_one_by_what_its_push_printed(ann, registry):
    ann.has(container_api("other"))
    location = f"oci://{registry.host}/ml/shown:1"
    pinned = ann.runs("model", "push", words(ann.home / "words", "a"), location).out.strip()
    for name in (location, pinned):
        result = ann.runs("inspect", name)
        assert result.code == 0, result
        assert "a model" in result.out
        assert "runs:" not in result.out
    assert ann.runs("inspect", pinned, "-o", "json").json["kind"] == "model"
    assert "gitops-ml model pull" in ann.runs("export", pinned, ann.home / "out").err
