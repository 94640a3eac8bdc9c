"""Counts of real predictors, as a real Prometheus and their own metrics have them."""

from __future__ import annotations

import json
import time
import urllib.request
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from gitops_ml.cluster.monitoring import Prometheus, proxy_path
from gitops_ml.errors import ServerFailed
from gitops_ml.predictions.comparison import DIFFERENT, UNKNOWN, compare
from gitops_ml.predictions.from_cluster import (
    deployments_of,
    from_prometheus,
    metrics_port,
    predictions_of,
    read_sums,
)
from tests.support.ports import free_port
from tests.support.predictor_server import serving, until
from tests.support.prometheus import prometheus_with
from tests.support.real import require, running

OLD, NEW = "iris-0123456789ab", "iris-ba9876543210"
SOURCE = """\
class PythonPredictor:
    def __init__(self, config):
        self.limit = config["limit"]

    def predict(self, payload):
        if payload["x"] < 0:
            raise RuntimeError("negative")
        return {"label": "low" if payload["x"] < self.limit else "high"}
"""
TRACKED = {"monitoring": {"modelType": "classification", "key": "label"}}


def test_counts_are_those_of_the_predictors(tmp_path):
    require("prometheus")
    with ExitStack() as stack:
        servers = {}
        for id, limit in ((OLD, 50), (NEW, 10)):
            folder = tmp_path / id
            folder.mkdir()
            server = stack.enter_context(
                serving(folder, SOURCE, deploymentId=id, config={"limit": limit}, **TRACKED)
            )
            servers[id] = server
            for number in range(100):
                server.predict({"x": number})
            server.predict({"x": -1})
        prometheus = stack.enter_context(scraping(tmp_path, servers))
        until(lambda: len(deployments_of(prometheus, "iris")) == 2)
        until(lambda: from_prometheus(prometheus, NEW).total == 100)
        old, new = (from_prometheus(prometheus, id) for id in (OLD, NEW))
        text = servers[NEW].client.get("/metrics").text
    assert old.classes == {"low": 50, "high": 50}
    assert new.classes == {"low": 10, "high": 90}
    assert (new.requests, new.errors) == ({"200": 100, "500": 1}, 1)
    assert new.latency is not None
    assert new.latency.total == 101
    assert "1 pod of the last 7 days" in new.source
    own = predictions_of(read_sums([text]), deployment_id=NEW, source="")
    assert (own.classes, own.requests) == (new.classes, new.requests)
    assert compare(old, new).verdict == DIFFERENT


def test_a_restart_keeps_what_was_counted_and_another_pod_at_the_same_address_adds_nothing(
    tmp_path,
):
    now = time.time() // 15 * 15
    samples = []
    for n in range(100):
        at = now - 15 * (200 - n)
        pods = (("a", OLD, at, n % 50), ("b", "roses-0123456789ab", at + 15 * 100, 1000 + n))
        for pod, id, moment, count in pods:
            place = {"namespace": "ml", "pod": pod, "instance": "10.0.0.7:8082"}
            samples.append(("predictor_info", {**place, "deployment_id": id}, moment, 1))
            samples.append(
                ("predictor_predictions_total", {**place, "class": "low"}, moment, count)
            )
    with prometheus_with(samples, tmp_path) as address:
        prometheus = Prometheus(address, SimpleNamespace(environ={}))
        found = from_prometheus(prometheus, OLD, days=1)
        assert deployments_of(prometheus, "iris", days=1) == (OLD,)
    assert found.classes["low"] == pytest.approx(98, abs=3)


class scraping:
    """A Prometheus that reads these servers."""

    def __init__(self, folder, servers):
        port = free_port()
        targets = [f"127.0.0.1:{server.port}" for server in servers.values()]
        document = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "p", "static_configs": [{"targets": targets}]}],
        }
        (folder / "prometheus.json").write_text(json.dumps(document))
        self.url = f"http://127.0.0.1:{port}"
        command = [
            "prometheus", f"--config.file={folder / 'prometheus.json'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
        ]  # fmt: skip
        self._running = running(command, log=folder / "prometheus.log", is_ready=self._is_ready)

    def __enter__(self) -> Prometheus:
        self._running.__enter__()
        return Prometheus(self.url, SimpleNamespace(environ={}))

    def __exit__(self, *error: object) -> None:
        self._running.__exit__(*error)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("http://prometheus.monitoring.svc:9090", "monitoring/services/http:prometheus:9090/proxy"),
        ("http://p.m.svc.cluster.local", "m/services/http:p:80/proxy"),
        ("https://p.m.svc/prefix", "m/services/https:p:443/proxy/prefix"),
        ("https://prometheus.acme.example", None),
        ("http://127.0.0.1:9090", None),
        ("http://prometheus:9090", None),
    ],
)
def test_an_address_inside_of_the_cluster_goes_through_the_api_server(address, path):
    assert proxy_path(address) == (path and f"/api/v1/namespaces/{path}")


def test_metrics_are_on_the_port_of_the_probes_unless_the_container_is_ready_made():
    assert metrics_port({"runtime": {"path": "p"}, "container": {"port": 8080}}) == "8082/metrics"
    assert (
        metrics_port({"runtime": {"path": "p"}, "container": {"probePort": 9000}}) == "9000/metrics"
    )
    made = {"container": {"port": 3000}, "metrics": {"path": "/stats"}}
    assert metrics_port(made) == "3000/stats"


CLASSES = 'predictor_predictions_total{class="a"} '
BUCKET = "predictor_prediction_value_bucket"


@pytest.mark.parametrize(
    "text",
    [
        *(f"{CLASSES}{value}" for value in ("NaN", "+Inf", "-Inf", "-5", "1e300")),
        *(f'{BUCKET}{{le="{bound}"}} 5' for bound in ("NaN", "many", "", "1e999x")),
        "predictor_requests_total NaN", "", "# EOF", "no_such_series 1",
    ],
)  # fmt: skip
def test_numbers_that_are_no_counts_are_left_out(text):
    found = predictions_of(read_sums([text + "\n"]), deployment_id="x", source="")
    assert (found.total, found.requests, found.values) == (0, {}, None)
    assert compare(found, found).verdict == UNKNOWN


@pytest.mark.parametrize(
    "text", ["{{{{ 1", 'x{a="} 1', "<html>", f"x 1 {'9' * 400}", f"{CLASSES}{'9' * 400}"]
)
def test_a_text_that_is_not_prometheus_format_is_an_error(text):
    with pytest.raises(ServerFailed, match="not in Prometheus' format"):
        read_sums([text])
