"""The predictor's own metrics: what it records is what Prometheus scrapes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from predictor_base.telemetry.metrics_client import MAX_SERIES, MetricsClient

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def client(registry: CollectorRegistry) -> MetricsClient:
    return MetricsClient(registry)


def test_counters_gauges_and_histograms_are_scraped_with_their_tags(
    client: MetricsClient, registry: CollectorRegistry
) -> None:
    client.increment("rows", value=3, tags={"source": "web"})
    client.increment("rows", tags={"source": "web"})
    client.gauge("temperature", -4.5)
    client.histogram("price", 12.0, tags={"currency": "EUR"})
    assert registry.get_sample_value("rows_total", {"source": "web"}) == 4
    assert registry.get_sample_value("temperature") == -4.5
    assert registry.get_sample_value("price_sum", {"currency": "EUR"}) == 12
    assert registry.get_sample_value("price_bucket", {"currency": "EUR", "le": "10.0"}) == 0
    assert registry.get_sample_value("price_bucket", {"currency": "EUR", "le": "25.0"}) == 1


def test_the_tags_of_a_metric_may_differ_and_it_stays_one_family(
    client: MetricsClient, registry: CollectorRegistry
) -> None:
    client.increment("rows")
    client.increment("rows", tags={"source": "web"})
    client.increment("rows", tags={"source": "web", "country": "fi"})
    text = generate_latest(registry).decode()
    families = {each.name: each for each in text_string_to_metric_families(text)}
    assert text.count("# TYPE rows_total counter") == 1
    assert sum(sample.value for sample in families["rows"].samples if "total" in sample.name) == 3


@pytest.mark.parametrize("name", ["cortex_x", "istio_x", "predictor_x", "predictor.x"])
def test_the_runtimes_own_names_are_refused(client: MetricsClient, name: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        client.increment(name)


def test_names_of_statsd_become_names_of_prometheus(
    client: MetricsClient, registry: CollectorRegistry
) -> None:
    client.gauge("queue.depth-now", 7, tags={"the.region": "eu"})
    assert registry.get_sample_value("queue_depth_now", {"the_region": "eu"}) == 7


def test_a_wrong_call_is_logged_once_and_never_raises(
    client: MetricsClient, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    client.increment("rows")
    for _ in range(3):
        client.gauge("rows", 1)
        client.increment("rows", value=-1)
        client.histogram("time", "soon")  # type: ignore[arg-type]
        client.gauge("time2", float("nan"))
        client.histogram("size", 1, tags={"le": "x"})
    assert registry.get_sample_value("rows_total") == 1
    assert len(caplog.records) == 5
    assert "rows: is a counter already" in caplog.text


def test_a_tag_that_takes_too_many_values_stops_to_be_counted(
    client: MetricsClient, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(MAX_SERIES + 10):
        client.increment("users", tags={"id": str(number)})
    client.increment("users", tags={"id": "0"})
    text = generate_latest(registry).decode()
    assert text.count("users_total{") == MAX_SERIES
    assert registry.get_sample_value("users_total", {"id": "0"}) == 2
    assert len(caplog.records) == 1


def test_several_processes_are_scraped_as_one(tmp_path: Path) -> None:
    code = """
        import os
        from prometheus_client import CollectorRegistry
        from predictor_base.telemetry.metrics_client import MetricsClient
        client = MetricsClient(CollectorRegistry())
        client.increment("rows", value=2, tags={"source": "web"})
        client.increment("rows")
        client.histogram("price", 3)
        client.gauge("size", float(os.environ["SIZE"]))
    """
    scrape = """
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        print(generate_latest(registry).decode())
    """

    def run(source: str, size: str = "0") -> str:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "SIZE": size}
        command = [sys.executable, "-c", textwrap.dedent(source)]
        return subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE
        ).stdout.decode()

    run(code, size="7")
    run(code, size="5")
    text = run(scrape)
    assert 'rows_total{source="web"} 4.0' in text
    assert "rows_total 2.0" in text
    assert "price_count 2.0" in text
    assert "\nsize 5.0" in text
