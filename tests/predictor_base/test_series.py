"""The number of series of one replica, with everything on and clients that try to make more."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx

from predictor_base.telemetry.metrics import MAX_CODES
from predictor_base.telemetry.tracking import MAX_CLASSES
from tests.predictor_base.test_supervisor import supervised
from tests.support.predictor_server import until
from tests.support.prometheus import prometheus_scraping

if TYPE_CHECKING:
    from pathlib import Path

MOST = 300
SOURCE = """
    from predictor_base import HTTPError

    class PythonPredictor:
        def predict(self, payload):
            if status := payload[0].get("status"):
                raise HTTPError(status)
            return payload

        def explain(self, payload):
            return {"explanations": []}
"""


def series(text: str) -> Counter[str]:
    """The number of series by name."""
    return Counter(re.split(r"[ {]", line)[0] for line in text.splitlines() if line[0] != "#")


def test_one_replica_has_few_series_whatever_clients_send(tmp_path: Path) -> None:
    settings = {
        "batching": {"maxBatchSize": 4, "batchIntervalSeconds": 0.001},
        "monitoring": {"modelType": "classification", "key": "label"},
        "predictionLog": {"sink": "stdout"},
    }
    with supervised(tmp_path, SOURCE, processesPerReplica=2, **settings) as (server, probes):
        for number in range(2 * MAX_CLASSES):
            server.predict({"label": f"class-{number}"})
        server.predict({}, "/v1/models/iris:explain")
        for status in range(400, 600):
            server.predict({"status": status})
        for number in range(20):
            server.client.request(f"VERB{number}", "/predict")
            server.client.request("POST", f"/path/{number}")
            server.client.post("/predict", content=b"{", headers={"content-type": f"a/{number}"})
            server.client.post(f"/v2/models/m{number}/infer", json={"inputs": []})
            server.client.post(f"/v2/models/iris/versions/{number}/infer", json={"inputs": []})
        until(
            lambda: series(probes.get("/metrics").text)["predictor_requests_total"] > MAX_CODES,
            what=lambda: probes.get("/metrics").text,
        )
        found = series(probes.get("/metrics").text)
    assert sum(found.values()) < MOST - 2, found  # two reasons to restart a worker
    assert found["predictor_predictions_total"] == MAX_CLASSES + 1
    assert MAX_CODES < found["predictor_requests_total"] <= MAX_CODES + 3


TREACHEROUS = (
    "a\x00b", "\x01\x1b[2J", 'quote"', "back\\slash", "line\nbreak\r", "\ud800", "\U0001f600", "\u202e", "{}", "# EOF",
    "", " ", "\ufeffx", "\x85\u2028", 'a",class="b', "x" * 500, "\\n", "a\ud83d",
)  # fmt: skip


def test_a_prometheus_reads_classes_of_any_name(tmp_path: Path) -> None:
    settings = {"monitoring": {"modelType": "classification", "key": "label"}}
    source = f"""
        NAMES = {TREACHEROUS!r}

        class PythonPredictor:
            def predict(self, payload):
                return [{{"label": name}} for name in NAMES] + [{{"label": "usual"}}]
    """
    with supervised(tmp_path, source, processesPerReplica=2, **settings) as (server, probes):
        server.predict({})
        until(lambda: 'class="usual"' in probes.get("/metrics").text)
        address = f"127.0.0.1:{probes.base_url.port}"
        with prometheus_scraping({address: {}}, {"groups": []}, tmp_path) as url:
            until(lambda: asked(url, "up"))
            health = httpx.get(f"{url}/api/v1/targets").json()["data"]["activeTargets"][0]
            assert (health["health"], health["lastError"]) == ("up", "")
            classes = {
                each["metric"].get("class") for each in asked(url, "predictor_predictions_total")
            }
    assert classes >= {
        "usual",
        'quote"',
        "back\\slash",
        "line\nbreak\r",
        "\U0001f600",
        "# EOF",
        'a",class="b',
    }


def asked(url: str, query: str) -> list[Any]:
    found: list[Any] = httpx.get(f"{url}/api/v1/query", params={"query": query}).json()["data"][
        "result"
    ]
    return found
