"""The dashboards: what Grafana's own library wrote, and answers of a real Prometheus to each of their queries."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.__main__ import CHART, files
from dashboards.api import SECTIONS
from dashboards.fleet import fleet_dashboard
from tests.support.alert_scenarios import NOW, shortened
from tests.support.predictor_server import serving, until
from tests.support.prometheus import prometheus_scraping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MONITORED = yaml.safe_load((Path(__file__).parent / "values" / "monitored.yaml").read_text())
ABSENT = {
    "kube-state-metrics": "needs a cluster",
    "keda": "needs a cluster",
    "dcgm": "needs NVIDIA GPUs",
    "drift": "needs a previous deployment",
}
"""Sections of the dashboard whose source this machine does not have; tests/e2e/ has the first two."""
PREDICTOR = """
import time
class PythonPredictor:
    def __init__(self, config): pass
    def predict(self, payload):
        names = [each["do"] for each in payload]
        if "fail" in names:
            raise RuntimeError("as asked")
        if "slow" in names:
            time.sleep(0.3)
        return ["setosa" if len(name) > 2 else "virginica" for name in names]
"""


def rendered_dashboard(render: Callable[..., Any], **changes: Any) -> dict[str, Any]:
    found = [
        item
        for item in render({**MONITORED, **changes}).objects
        if item["metadata"]["name"] == "iris-dashboard"
    ]
    (content,) = found[0]["data"].values()
    made: dict[str, Any] = json.loads(content)
    return made


def queries(dashboard: dict[str, Any]) -> dict[str, list[str]]:
    """The PromQL of each panel by its title, and of the annotations."""
    found = {
        panel["title"]: [target["expr"] for target in panel["targets"]]
        for panel in dashboard["panels"]
        if panel["type"] != "row"
    }
    for each in dashboard["annotations"]["list"]:
        found[each["name"]] = [each["expr"]]
    return found


def test_the_dashboards_are_as_the_library_writes_them() -> None:
    written = files()
    assert {path: path.read_text() for path in written} == written, "run `make dashboards`"
    assert {path for path in written if path.parent == CHART} == set(CHART.iterdir())


@pytest.mark.parametrize("kind", ["api", "fleet"])
def test_grafanas_library_reads_a_dashboard_as_it_is(kind: str, render: Callable[..., Any]) -> None:
    made = rendered_dashboard(render) if kind == "api" else fleet_dashboard()
    read = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(made)))
    assert read == json.loads(json.dumps(made))
    ids = [panel["id"] for panel in made["panels"]]
    assert len(ids) == len(set(ids))
    cells = [
        (panel["gridPos"]["y"], column)
        for panel in made["panels"]
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
    ]
    assert len(cells) == len(set(cells)), "panels overlap"
    assert max(column for _, column in cells) < 24


def test_a_section_without_its_source_is_left_out(render: Callable[..., Any]) -> None:
    titles = {section.source: section.title for section in SECTIONS}
    whole = {panel["title"] for panel in rendered_dashboard(render)["panels"]}
    assert {titles["kube-state-metrics"], titles["keda"], titles["cost"]} <= whole
    assert titles["dcgm"] not in whole, "the release has no GPU"
    bare = {**MONITORED["monitoring"], "sources": {}, "alerts": {"enabled": False}}
    rows = [
        panel["title"]
        for panel in rendered_dashboard(render, monitoring=bare)["panels"]
        if panel["type"] == "row"
    ]
    assert rows == [titles["runtime"], titles["classification"], titles["cost"]]


def test_what_the_chart_inserts_is_inserted(render: Callable[..., Any]) -> None:
    made = rendered_dashboard(render)
    assert re.findall(r"@[A-Z]+@", json.dumps(made)) == []
    assert len(made["uid"]) <= 40


@pytest.fixture(scope="module")
def observed(
    render: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, httpx.Client]]:
    """A Prometheus that has scraped a predictor under load, with failures, slow and refused requests."""
    folder = tmp_path_factory.mktemp("observed")
    rules = shortened(render(MONITORED).one("PrometheusRule")["spec"], 60)
    settings: dict[str, Any] = {
        "batching": {"maxBatchSize": 2, "batchIntervalSeconds": 0.01},
        "monitoring": {"modelType": "classification"},
        "maxQueueLength": 2,
    }
    with serving(folder, PREDICTOR, **settings) as server:
        labels = {
            "namespace": "ml",
            "app_kubernetes_io_instance": "iris",
            "app_kubernetes_io_name": "predictor",
            "pod": "iris-7d9f8b6c5-aaaa1",
        }
        with (
            prometheus_scraping({f"127.0.0.1:{server.port}": labels}, rules, folder) as address,
            ThreadPoolExecutor(8) as pool,
            httpx.Client(base_url=address, params={"start": time.time()}) as client,
        ):
            for round_ in range(25):
                asked = ["ok", "slow", "fast"] + ["fail"] * (round_ % 3 == 0) + ["ok"] * 12
                list(pool.map(lambda name: server.predict({"do": name}).status_code, asked))
                time.sleep(0.1)
            until(lambda: scraped(client) == server.metric("predictor_requests_total") > 0)
            now = datetime.now(timezone.utc).isoformat()
            until(lambda: all(each["lastEvaluation"] > now for each in groups(client)))
            yield server.client.get("/metrics").text, client


def scraped(client: httpx.Client) -> float:
    """The requests that Prometheus knows of."""
    query = {"query": "sum(predictor_requests_total)"}
    found = client.get("/api/v1/query", params=query).json()["data"]["result"]
    return float(found[0]["value"][1]) if found else 0


def groups(client: httpx.Client) -> list[dict[str, Any]]:
    """The groups of rules, with the time of their last evaluation."""
    found: list[dict[str, Any]] = client.get("/api/v1/rules").json()["data"]["groups"]
    return found


one_worker = pytest.mark.xdist_group("observed")
"""So that one worker alone makes the load of `observed`."""


def answer(client: httpx.Client, expr: str) -> list[Any]:
    """The series of a query since the load began, however long other tests have taken since then."""
    window = {"query": expr.replace("$__rate_interval", "10s").replace("offset 5m", "offset 5s"),
              "end": time.time(), "step": 1}  # fmt: skip
    found = client.get("/api/v1/query_range", params=window).json()
    assert found["status"] == "success", found
    result: list[Any] = found["data"]["result"]
    return result


@one_worker
def test_every_query_of_the_dashboard_has_an_answer(
    observed: tuple[str, httpx.Client], render: Callable[..., Any]
) -> None:
    _, client = observed
    absent = {panel.title for each in SECTIONS if each.source in ABSENT for panel in each.panels}
    asked = queries(rendered_dashboard(render))
    empty = [
        (title, expr)
        for title, exprs in asked.items()
        if title not in absent
        for expr in exprs
        if not answer(client, expr)
    ]
    assert empty == []
    assert len(asked) - len(absent & asked.keys()) > 12


@one_worker
def test_every_query_of_the_fleet_has_an_answer(observed: tuple[str, httpx.Client]) -> None:
    _, client = observed
    whole = json.loads(json.dumps(fleet_dashboard()).replace("@NAMESPACE@", "ml"))
    idle = "Replicas without a request for an hour"
    empty = [
        (title, expr)
        for title, exprs in queries(whole).items()
        for expr in exprs
        if title != idle and not answer(client, expr)
    ]
    assert empty == []


@one_worker
def test_every_rule_is_evaluated_and_the_objectives_are_recorded(
    observed: tuple[str, httpx.Client],
) -> None:
    _, client = observed
    rules = [rule for group in groups(client) for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    (failed,) = answer(client, "max_over_time(predictor:failed:share1h[20s])")
    assert 0.01 < max(float(value) for _, value in failed["values"]) < 0.5
    (classes,) = answer(
        client, f'count(predictor:predictions_by_class:rate5m{{deployment_id="{NOW}"}})'
    )
    assert {value for _, value in classes["values"]} == {"2"}


@one_worker
def test_a_replica_has_fewer_than_300_series(observed: tuple[str, httpx.Client]) -> None:
    metrics, _ = observed
    series = [line for line in metrics.splitlines() if line and not line.startswith("#")]
    assert 50 < len(series) < 300
