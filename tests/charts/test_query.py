"""The autoscaler's query, answered by Prometheus' own engine."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

METRIC = "predictor_requests_in_progress"


def series(
    pod: str, values: str, *, release: str = "iris", namespace: str = "ml"
) -> dict[str, str]:
    labels = f'namespace="{namespace}",app_kubernetes_io_instance="{release}",pod="{pod}"'
    return {"series": f"{METRIC}{{{labels}}}", "values": values}


OTHERS = [
    series("x", "100x40", release="irises"),
    series("y", "100x40", namespace="ml-test"),
]


@pytest.fixture
def answer(
    render: Callable[..., Any], promtool: str, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Ask the query after 305 seconds, with a sample every 15 seconds."""

    def answer(samples: list[dict[str, str]], *, least: int, expected: float | None) -> Any:
        cron = {"timezone": "UTC", "start": "0 8 * * *", "end": "0 9 * * *", "replicas": 1}
        autoscaling = {
            "enabled": True,
            "minReplicas": least,
            "cron": [cron],
            "inFlight": {"prometheus": {"address": "http://prometheus:9090", "windowSeconds": 60}},
        }
        query = render({"autoscaling": autoscaling}).trigger("in-flight")["metadata"]["query"]
        sought = {
            "expr": query,
            "eval_time": "305s",
            "exp_samples": [] if expected is None else [{"labels": "{}", "value": expected}],
        }
        group = {"interval": "15s", "input_series": samples, "promql_expr_test": [sought]}
        rules = tmp_path / "query.yaml"
        rules.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [group]}))
        command = [promtool, "test", "rules", str(rules)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return answer


def test_the_releases_own_pods_are_added_up(answer: Callable[..., Any]) -> None:
    answer([series("a", "3x40"), series("b", "4x40"), *OTHERS], least=1, expected=7)


def test_a_pod_that_came_within_the_window_counts_for_as_long_as_it_was_there(
    answer: Callable[..., Any],
) -> None:
    # 6 instants in 60 s at a resolution of 10 s (250, 260, …); pod b exists at the last 2 of them.
    answer([series("a", "3x40"), series("b", "_x19 6")], least=1, expected=3 + 6 * 2 / 6)


def test_without_series_there_is_no_answer_so_that_keda_does_not_read_a_zero(
    answer: Callable[..., Any],
) -> None:
    answer(OTHERS, least=1, expected=None)


def test_a_release_that_may_sleep_reads_as_zero_while_it_does(answer: Callable[..., Any]) -> None:
    answer(OTHERS, least=0, expected=0)
    answer([series("a", "3x40")], least=0, expected=3)
