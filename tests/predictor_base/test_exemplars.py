"""Exemplars: from a bucket of the request durations to the ids of a request, in a real Prometheus too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from predictor_base.telemetry.exemplars import (
    LONGEST,
    METRIC,
    RecentRequests,
    wants_openmetrics,
    written_exemplars,
)
from tests.predictor_base.test_supervisor import supervised
from tests.support.predictor_server import until
from tests.support.prometheus import prometheus_scraping

OPENMETRICS = {"accept": "application/openmetrics-text;version=1.0.0"}
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "text/plain;version=0.0.4;q=0.4,*/*;q=0.1"
)
SOURCE = """
    class PythonPredictor:
        def __init__(self, config, metrics_client):
            self.metrics = metrics_client

        def predict(self, payload):
            self.metrics.increment("rows.seen", tags={"source": "a\\\\b\\nc\\"d"})
            self.metrics.histogram("price", 3)
            self.metrics.gauge("level_total", 1)
            return payload
"""


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        ("Application/OpenMetrics-Text", True),
        ("text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.5", False),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=nan", False),
        ("application/openmetrics-text;q", True),
        (";;version=,=;q=;,", False),
    ],
)
def test_who_asks_for_openmetrics(accept: str, wanted: bool) -> None:
    assert wants_openmetrics(accept) is wanted


@given(st.text(st.characters(codec="latin-1")))
def test_no_accept_header_fails(accept: str) -> None:
    wants_openmetrics(accept)


@given(st.text("ab-9", max_size=LONGEST), st.booleans(), st.text("ab-9", max_size=60))
def test_the_labels_of_an_exemplar_fit(request_id: str, traced: bool, deployment_id: str) -> None:
    recent = RecentRequests(1, deployment_id=deployment_id, worker=0)
    recent.seen[0] = (request_id, f"00-{'a' * 32}-{'b' * 16}-01" if traced else "", 0.1, 1.0)
    recent.keep()
    (exemplar,) = recent.exemplars()
    assert exemplar is not None
    assert len("".join((*exemplar.labels, *exemplar.labels.values()))) <= LONGEST
    assert ("trace_id" in exemplar.labels) is traced


def test_a_file_of_others_has_no_exemplars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    odd = (b"", b"[", b"7", b"[7]", b"[[1,2,3]]", b'[[{"a":1},"x",1]]', b"[" * 20000, b'["abc"]')
    for content in odd:
        (tmp_path / "exemplars-0.json").write_bytes(content)
        assert written_exemplars() == [], content


def test_the_newest_of_all_workers_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    facts = {0: [[{"request_id": "old"}, 0.1, 5.0], None], 1: [[{"request_id": "new"}, 0.2, 6.0]]}
    for worker, each in facts.items():
        (tmp_path / f"exemplars-{worker}.json").write_bytes(orjson.dumps(each))
    first, second = written_exemplars()
    assert (first and first.labels, second) == ({"request_id": "new"}, None)


def test_a_bucket_leads_to_a_request_also_in_a_real_prometheus(tmp_path: Path) -> None:
    with supervised(tmp_path, SOURCE, processesPerReplica=2) as (server, probes):
        answers = [server.predict({"x": number}) for number in range(8)]
        ids = {each.headers["x-request-id"] for each in answers}
        until(lambda: exemplars_in(probes.get("/metrics", headers=OPENMETRICS)))
        for client in (probes, server.client):
            plain = client.get("/metrics")
            assert plain.headers["content-type"].startswith("text/plain")
            assert "# {" not in plain.text
            assert "# EOF" not in plain.text
            found = exemplars_in(client.get("/metrics", headers=OPENMETRICS))
            assert {each["request_id"] for each in found} <= ids
            assert all(each["deployment_id"] == "iris-0123456789ab" for each in found)
            assert series(plain.text) == series(client.get("/metrics", headers=OPENMETRICS).text)
        address = f"127.0.0.1:{probes.base_url.port}"
        with prometheus_scraping({address: {"pod": "iris-1"}}, {"groups": []}, tmp_path) as url:
            until(lambda: stored(url))
            (one, *_) = stored(url)
    assert one["labels"]["request_id"] in ids
    assert float(one["value"]) > 0


def exemplars_in(answer: httpx.Response) -> list[dict[str, str]]:
    """The labels of the exemplars of a scrape, which has to be in the format that it says."""
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = [*text_string_to_metric_families(answer.text)]  # type: ignore[no-untyped-call]
    samples = [each for family in families for each in family.samples if each.exemplar]
    assert {each.name for each in samples} <= {f"{METRIC}_bucket"}
    for each in samples:
        assert each.exemplar
        assert each.exemplar.value <= float(each.labels["le"])
    return [dict(each.exemplar.labels) for each in samples if each.exemplar]


def series(text: str) -> set[str]:
    """The names and labels."""
    return {
        re.split(r"(?<=}) | (?=[^ }]*$)", line)[0] for line in text.splitlines() if line[0] != "#"
    }


def stored(url: str) -> list[Any]:
    fields = {"query": f"{METRIC}_bucket", "start": "0", "end": "9999999999"}
    found = httpx.get(f"{url}/api/v1/query_exemplars", params=fields).json()["data"]
    assert all(each["seriesLabels"]["pod"] == "iris-1" for each in found)
    return [exemplar for each in found for exemplar in each["exemplars"]]
