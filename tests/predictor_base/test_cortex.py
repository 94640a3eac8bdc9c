"""Predictors in the manner of Cortex, each with a request and its answer; Cortex's own are in `cortex/`."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from predictor_base.errors import StartFailure
from predictor_base.predictor.environment_file import load_environment
from tests.support.predictor_server import serving, until

if TYPE_CHECKING:
    from pathlib import Path

SLEEP = """
    import time

    class PythonPredictor:
        def __init__(self, config):
            self.answer = config.get("answer", "ok")

        def predict(self, payload, query_params):
            if "sleep" in query_params:
                time.sleep(float(query_params["sleep"]))
            return self.answer
"""
PICKLED_MODEL = """
    import pathlib
    import pickle

    SPECIES = ("setosa", "versicolor", "virginica")
    FIELDS = ("sepal_length", "sepal_width", "petal_length", "petal_width")

    class PythonPredictor:
        def __init__(self, config):
            text = pathlib.Path(config["folder"], config["key"]).read_bytes()
            self.weights = pickle.loads(text)["weights"]

        def predict(self, payload):
            flower = [payload[field] for field in FIELDS]
            assert len(flower) == 4
            return SPECIES[self.weights.index(max(self.weights))]
"""
BATCH = """
    labels = ["setosa", "versicolor", "virginica"]

    class PythonPredictor:
        def __init__(self, config, job_spec):
            assert job_spec is None

        def predict(self, payload):
            return [labels[int(each["petal_length"] // 2.5)] for each in payload]
"""
HANDLER = """
    from starlette.responses import Response

    class Handler:
        def __init__(self, config, metrics_client):
            self.metrics = metrics_client

        def handle_post(self, payload):
            self.metrics.increment("seen", tags={"colour": payload["colour"]})
            return Response(content=payload["colour"], status_code=201, media_type="text/x-colour")

        def handle_get(self, query_params):
            return {"asked": dict(query_params)}

        def handle_delete(self):
            return {"deleted": True}, lambda: None
"""
SERVER_SIDE_BATCHING = """
    import numpy as np

    class PythonPredictor:
        def __init__(self, config):
            self.labels = np.array(["setosa", "versicolor", "virginica"])

        def predict(self, payload):
            rows = np.array([each["petal_length"] for each in payload])
            return self.labels[(rows // 2.5).astype(int)].tolist()
"""
HEADERS = """
    class PythonPredictor:
        def __init__(self, config):
            self.config = config

        def predict(self, payload, query_params, headers):
            return {
                "type": headers["Content-Type"],
                "missing": headers.get("x-none"),
                "version": query_params["version"],
                "form": payload["name"],
                "config": self.config,
            }
"""
SHORT_LIVED_THREADS = """
    import threading

    class PythonPredictor:
        def __init__(self, config):
            self.local = threading.local()
            self.local.graph = "graph of the loading thread"

        def predict(self, payload):
            return self.local.graph
"""
FLOWER = {"sepal_length": 5.2, "sepal_width": 3.6, "petal_length": 1.4, "petal_width": 0.3}


@pytest.mark.parametrize(
    ("source", "settings", "request_", "answer"),
    [
        (SLEEP, {}, {"url": "/?sleep=0.01", "json": {}}, "ok"),
        (
            PICKLED_MODEL,
            {"config": {"folder": ".", "key": "model.pkl"}},
            {"json": FLOWER},
            "versicolor",
        ),
        (BATCH, {}, {"json": [FLOWER, {**FLOWER, "petal_length": 4.5}]}, ["setosa", "versicolor"]),
        (
            SERVER_SIDE_BATCHING,
            {"threadsPerProcess": 8, "batching": {"maxBatchSize": 8, "batchIntervalSeconds": 0.1}},
            {"json": FLOWER},
            "setosa",
        ),
        (
            HEADERS,
            {"config": {"a": [1]}},
            {"url": "/?version=latest", "data": {"name": "x"}},
            {
                "type": "application/x-www-form-urlencoded",
                "missing": None,
                "version": "latest",
                "form": "x",
                "config": {"a": [1]},
            },
        ),
    ],
    ids=["sleep", "pickled model", "batch", "server-side batching", "headers"],
)
def test_a_predictor_in_the_manner_of_cortex_is_served(
    tmp_path: Path, source: str, settings: dict[str, Any], request_: dict[str, Any], answer: object
) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"weights": [0.1, 0.8, 0.1]}))
    with serving(tmp_path, source, **settings) as server:
        found = server.client.post(**{"url": "/", **request_})
        is_json = found.headers["content-type"] == "application/json"
        assert (found.json() if is_json else found.text) == answer


def test_a_handler_answers_each_verb(tmp_path: Path) -> None:
    with serving(tmp_path, HANDLER) as server:
        posted = server.predict({"colour": "blue"}, "/")
        assert (posted.status_code, posted.text) == (201, "blue")
        assert posted.headers["content-type"] == "text/x-colour; charset=utf-8"
        assert server.client.get("/?a=1").json() == {"asked": {"a": "1"}}
        assert server.client.delete("/").json() == {"deleted": True}
        refused = server.client.put("/", json={})
        assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, GET, POST")
        assert server.metric("seen_total", colour="blue") == 1


def test_init_and_predict_share_their_one_thread(tmp_path: Path) -> None:
    with serving(tmp_path, SHORT_LIVED_THREADS) as server:
        answers = {server.predict({}).text for _ in range(100)}
    assert answers == {"graph of the loading thread"}


def test_monitoring_and_the_log_of_predictions_are_wired(tmp_path: Path) -> None:
    source = """
        class PythonPredictor:
            def predict(self, payload):
                return {"result": {"label": payload["label"]}}
    """
    monitoring = {"modelType": "classification", "key": "result.label"}
    log = {"sink": "file", "path": str(tmp_path / "events.jsonl")}
    with serving(tmp_path, source, monitoring=monitoring, predictionLog=log) as server:
        for label in ("a", "b", "a"):
            server.predict({"label": label}, headers={"x-request-id": f"id-{label}"})
        assert server.metric("predictor_predictions_total", **{"class": "a"}) == 2
        assert server.metric("predictor_predictions_total", deployment_id="iris-0123456789ab") == 3
        server.terminate()
        assert server.ends() == 0
    events = (tmp_path / "events.jsonl").read_text().splitlines()
    assert len(events) == 6
    assert '"id-b"' in events[2]


def test_a_predictor_has_its_env_file_and_cortexs_logger(tmp_path: Path) -> None:
    source = """
        import os
        from cortex_internal.lib.log import logger, configure_logger
        from starlette.responses import JSONResponse
        LEVEL = os.environ["LEVEL"]
        class PythonPredictor:
            def predict(self, payload):
                logger.info("asked", extra={"rows": 3})
                found = {"level": LEVEL, "token": os.environ["TOKEN"], "url": os.environ["URL"]}
                return JSONResponse(found, status_code=201)
            def post_predict(self, response):
                logger.info(f"answered {response.status_code}")
    """
    (tmp_path / ".env").write_text(
        "# settings\nexport LEVEL='a $b' # why\nTOKEN=placeholder\nURL=\"http://${HOST_OF_MODEL}/x\"\n"
    )
    environ = {"TOKEN": "secret", "HOST_OF_MODEL": "models"}
    with serving(tmp_path, source, environ=environ) as server:
        answer = server.predict({})
        assert answer.status_code == 201
        assert answer.json() == {"level": "a $b", "token": "secret", "url": "http://models/x"}
        until(lambda: server.logged("answered 201"))
        (line,) = server.logged("asked")
        assert (line["logger"], line["rows"]) == ("cortex", 3)


def test_an_env_file_runs_nothing_and_its_wrong_lines_are_all_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=$(touch made)\nB = 1\nC=a b\nD=`touch made`\nE='x\nF=1\n")
    environ: dict[str, str] = {}
    with pytest.raises(StartFailure) as caught:
        load_environment(tmp_path, environ)
    numbers = [line.partition(": ")[0] for line in str(caught.value).splitlines()]
    assert numbers == [".env:1", ".env:2", ".env:3", ".env:4", ".env:5"]
    assert environ == {}
    assert not (tmp_path / "made").exists()
