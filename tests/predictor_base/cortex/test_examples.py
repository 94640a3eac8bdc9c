"""Cortex's own example predictors, served as published; only their cloud calls are replaced.

`RUN` lists the examples that run, `NOT_RUN` the others and why. The files come from a clone of Cortex (README.md).
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.predictor_server import ROOT, Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLOUD = Path(__file__).parent / "cloud"
CLONE = os.environ.get("CORTEX_CLONE")
IN_BUCKET = {"config": {"bucket": "cortex-examples", "key": "sklearn/iris-classifier/model.pkl"}}
SETOSA, VERSICOLOR, VIRGINICA = (
    dict(zip(("sepal_length", "sepal_width", "petal_length", "petal_width"), row, strict=True))
    for row in ((5.2, 3.6, 1.5, 0.3), (7.1, 3.3, 4.8, 1.5), (6.4, 3.4, 6.1, 2.6))
)
CAR = {
    "cylinders": 4,
    "displacement": 135,
    "horsepower": 84,
    "weight": 2490,
    "acceleration": 15.7,
}

pytestmark = pytest.mark.skipif(
    not CLONE, reason="CORTEX_CLONE names no clone of cortexlabs/cortex"
)


@dataclass(frozen=True, slots=True)
class Example:
    """A file of Cortex's, by its content; how it is deployed, asked, and what it answers."""

    release: str
    "The release that the file comes nearest to; its tag may differ from the commit."
    path: str
    commit: str
    "One that has the file so."
    blob: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    payload: object = field(default_factory=lambda: SETOSA)
    answer: object = "setosa"

    def source(self) -> str:
        assert CLONE
        found = subprocess.run(
            ["git", "-C", CLONE, "cat-file", "blob", self.blob], capture_output=True, check=True
        )
        return found.stdout.decode()

    def __str__(self) -> str:
        return f"{self.release}:{self.path}"


SKLEARN = Example(
    "v0.18",
    "examples/sklearn/iris-classifier/predictor.py",
    "17e1c2a54304e658dfd07df486d924bd45029b06",
    "2b2986a76264f468fb5a8d04eca4345bb0599bb7",
    {**IN_BUCKET, "monitoring": {"modelType": "classification"}},
)
BATCH = Example(
    "v0.18",
    "examples/sklearn/iris-classifier/batch-predictor.py",
    "17e1c2a54304e658dfd07df486d924bd45029b06",
    "38a8081a041b8eb9ad4869fd68011bbfd60e53fd",
    IN_BUCKET,
    [SETOSA, VERSICOLOR, VIRGINICA],
    ["setosa", "versicolor", "virginica"],
)
SLEEP = Example(
    "v0.35",
    "test/apis/sleep/handler.py",
    "bdeefd1b80096e689316710cf816f792360caa22",
    "6d316961f94131648c543aeb8376e465067f0af7",
    answer="ok",
)
MPG = Example(
    "v0.33",
    "test/apis/live-reloading/python/mpg-estimator/predictor.py",
    "066a6a069f8c278f7eff34e6412d60b3b523a3c2",
    "2ac7f494e0715984708adcb57d3f46030fe67422",
    {"multiModelReloading": {"path": "linreg"}},
    CAR,
)
RUN = (
    SKLEARN,
    BATCH,
    Example(
        "v0.35",
        "test/apis/sklearn/iris-classifier/handler.py",
        "71e45f5fc8998307b2a59afff6e9797c51fcb7fd",
        "c9f6d100f019f662b8c47100397299e93382940b",
        IN_BUCKET,
    ),
    # an AsyncAPI's class on its way from v0.33 to v0.34, asked directly: expectations.yaml wants this
    Example(
        "v0.33",
        "test/apis/async/iris-classifier/predictor.py",
        "170afe2bfd272c681308c47bfd318d99f9ec0fd3",
        "3690a858400adb228c506456bfd0e54681c65bc7",
        IN_BUCKET,
        answer={"label": "setosa"},
    ),
    Example(
        "v0.18",
        "examples/onnx/iris-classifier/predictor.py",
        "17e1c2a54304e658dfd07df486d924bd45029b06",
        "02d933bfe936c02e74aa05973209ec4c2eb7d5a0",
        {"type": "onnx", "models": {"path": "iris/iris.onnx"}},
    ),
    Example(
        "v0.17",
        "examples/xgboost/iris-classifier/predictor.py",
        "03144e6dee59f8aac1b91aaf0c119a5ada767ea7",
        "15f97bf49decadd08df7cfe7e6a77c10efd238f9",
        {"type": "onnx", "models": {"path": "iris/iris.onnx"}},
    ),
    Example(
        "v0.35",
        "test/apis/onnx/iris-classifier/handler.py",
        "43309be12486c1f3cee6975c20a910ea789978ad",
        "93e3cb0420a2e2b59aa412ac41607852c2fef06e",
        {"multiModelReloading": {"path": "iris"}},
    ),
    SLEEP,
    Example(
        "v0.33",
        "test/apis/sleep/predictor.py",
        "2bad7746441b4a3bf5bf407c4b4d3715bce98575",
        "aee7ac7691b19ebe42f49ae71c45896d69929977",
        answer="ok",
    ),
)

NOT_RUN = {
    # asks for more than its cloud calls to be replaced
    "test/apis/pytorch/server-side-batching, */pytorch/iris-classifier": "needs PyTorch and weights"
    " trained by it; that batches become lists is tested with the v0.18 batch predictor instead",
    "test/apis/traffic-splitter": "its PyTorch half needs PyTorch; its ONNX half is the ONNX iris",
    "test/apis/traffic-splitter/request_recorder.py": "counts requests of another API; that"
    " cortex_internal can be imported is tested in test_cortex.py",
    "v0.14-v0.18 examples/sklearn/mpg-estimator": "numpy.asscalar, which it calls, left NumPy in"
    " 1.23; the estimator of v0.33 runs",
    "*/tensorflow/iris-classifier": "needs TensorFlow and its SavedModel; the client for it is"
    " tested in test_tensorflow_client.py",
    # another kind of API
    "test/apis/grpc/prime-number-generator, test/apis/grpc/iris-classifier-sklearn": "a gRPC service"
    " of the user's own .proto (proto_module_pb2); ours is gRPC V2",
    "test/apis/batch/sum": "BatchAPI: handle_batch and a job's results in S3",
    "test/apis/task/hello-world, test/apis/task/iris-classifier-training": "TaskAPI: a program that"
    " runs once, without requests",
    "v0.42 test/apis/realtime, async, trafficsplitter, task": "containers with servers of their own:"
    " there is no predictor class to serve",
    # the rest
    "v0.35 python/serve/cortex_internal/lib/test/dynamic_batching_test.py": "tests Cortex's own"
    " server; test_batching.py tests ours",
    "test/model-caching/python/mpg-estimator": "the estimator that runs, with several models; caches"
    " are tested in test_model_library.py",
    "everything with transformers, torchvision, spaCy or Keras": "downloads models of hundreds of MB",
}


@cache
def iris() -> tuple[bytes, bytes]:
    """A classifier trained here as Cortex's trainer.py does, pickled, and the same as ONNX."""
    datasets = pytest.importorskip("sklearn.datasets")
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LogisticRegression

    flowers = datasets.load_iris()
    model = LogisticRegression(max_iter=1000).fit(flowers.data, flowers.target)
    kind = skl2onnx.common.data_types.FloatTensorType([None, 4])
    converted = skl2onnx.convert_sklearn(
        model,
        initial_types=[("input", kind)],
        options={"zipmap": False},
    )
    return pickle.dumps(model), converted.SerializeToString()


@contextmanager
def served(example: Example, folder: Path, **settings: Any) -> Iterator[Server]:
    """The example in a project with the models, and buckets in a folder."""
    pickled, converted = iris()
    bucket = folder / "cloud" / "cortex-examples" / "sklearn" / "iris-classifier"
    for file, content in (
        (bucket / "model.pkl", pickled),
        (folder / "iris" / "iris.onnx", converted),
    ):
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    also = os.environ.get("PYTHONPATH")
    environ = {
        "CLOUD_FOLDER": str(folder / "cloud"),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(CLOUD), str(ROOT), also))),
    }
    source = example.source()
    with serving(folder, source, environ=environ, **{**example.settings, **settings}) as server:
        assert (folder / "predictor.py").read_text() == source
        yield server


@pytest.mark.parametrize("example", RUN, ids=str)
def test_an_example_of_cortex_runs_unchanged(tmp_path: Path, example: Example) -> None:
    with served(example, tmp_path) as server:
        found = server.predict(example.payload, "/")
        assert found.status_code == 200
        if isinstance(example.answer, str):  # text is the body itself, as in Cortex
            assert found.headers["content-type"] == "text/plain; charset=utf-8"
            assert found.text == example.answer
        else:
            assert found.json() == example.answer


def test_a_class_is_tracked_as_its_manifest_asks(tmp_path: Path) -> None:
    with served(SKLEARN, tmp_path) as server:
        for flower in (SETOSA, VIRGINICA, SETOSA):
            server.predict(flower, "/")
        assert server.metric("predictor_predictions_total", **{"class": "setosa"}) == 2
        assert server.metric("predictor_predictions_total", **{"class": "virginica"}) == 1


def test_sleep_sleeps_for_as_long_as_the_query_says(tmp_path: Path) -> None:
    with served(SLEEP, tmp_path) as server:
        started = time.perf_counter()
        assert server.predict({}, "/?sleep=0.3").text == "ok"
        assert time.perf_counter() - started >= 0.3


def test_lists_reach_the_batch_predictor_when_requests_are_batched(tmp_path: Path) -> None:
    # as in the manifest of Cortex's batching example
    batching = {"maxBatchSize": 8, "batchIntervalSeconds": 0.1}
    flowers = [SETOSA, VERSICOLOR, VIRGINICA, SETOSA] * 8
    with served(BATCH, tmp_path, batching=batching, threadsPerProcess=8) as server:
        with ThreadPoolExecutor(16) as clients:
            found = list(clients.map(lambda flower: server.predict(flower, "/").text, flowers))
        assert found == ["setosa", "versicolor", "virginica", "setosa"] * 8
        assert server.metric("predictor_batch_size_count") < len(flowers)
        assert server.metric("predictor_batch_size_sum") == len(flowers)


@pytest.mark.skipif(not find_spec("mlflow"), reason="mlflow is not installed")
def test_the_mpg_estimator_serves_each_version_of_its_models(tmp_path: Path) -> None:
    save_estimators(tmp_path / "linreg", [10.0, 20.0])
    with served(MPG, tmp_path) as server:
        for query, version, mpg in (
            ("", "latest", 20.0),
            ("?version=1", "1", 10.0),
            ("?version=2", "2", 20.0),
        ):
            found = server.predict(MPG.payload, f"/{query}").json()
            assert found == {"prediction": mpg, "model": {"version": version}}
        assert server.predict(MPG.payload, "/?version=3").status_code == 404


def save_estimators(folder: Path, answers: list[float]) -> None:
    """One version for each answer, saved by mlflow, whose warnings are its own affair."""
    program = """
import json, sys, mlflow.sklearn, numpy
from sklearn.linear_model import LinearRegression
for version, answer in enumerate(json.loads(sys.argv[2]), 1):
    model = LinearRegression().fit(numpy.eye(5), numpy.full(5, answer))
    mlflow.sklearn.save_model(model, f"{sys.argv[1]}/{version}", serialization_format="pickle")
"""
    subprocess.run([sys.executable, "-c", program, str(folder), json.dumps(answers)], check=True)
