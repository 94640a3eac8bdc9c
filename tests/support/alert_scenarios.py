"""Series of an API as a Prometheus with the usual sources has them, for promtool's tests of rules."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Values = list[float | None]
"""One for each step; `None` where there is no sample."""
BEFORE, NOW = "iris-ba9876543210", "iris-0123456789ab"
PODS = 'namespace="ml",app_kubernetes_io_instance="iris"'
DEPLOYMENT = 'namespace="ml",deployment="iris"'
BUCKETS = ("0.1", "0.25", "0.5", "1.0", "+Inf")
CLASSES = ("setosa", "versicolor", "virginica")


@dataclass
class Pod:
    """A replica, from one step to another; all rates are for one step."""

    name: str
    deployment: str
    begin: int = 0
    end: int = 10**9
    requests: Callable[[int], float] = lambda _: 600.0
    failed: Callable[[int], float] = lambda _: 0.0
    """The share of requests."""
    slow: Callable[[int], float] = lambda _: 0.01
    """The share of requests that take between half a second and a second."""
    in_progress: Callable[[int], float] = lambda _: 2.0
    refused: Callable[[int], float] = lambda _: 0.0
    ready: Callable[[int], float] = lambda _: 1.0
    restarts: Callable[[int], float] = lambda _: 0.0
    classes: Callable[[int], tuple[float, ...]] = lambda _: (0.5, 0.3, 0.2)
    """The share of each class."""


@dataclass
class Scenario:
    """Pods, and what others report about the release, by step."""

    steps: int
    pods: list[Pod] = field(default_factory=list)
    ready: Callable[[int], float] = lambda _: 2.0
    stalled: Callable[[int], float] = lambda _: 0.0
    preflight_failed: Callable[[int], float] = lambda _: 0.0
    scaler_errors: Callable[[int], float] = lambda _: 0.0
    """More of them in each step."""

    def series(self) -> list[dict[str, str]]:
        """As ``input_series`` of promtool."""
        found: dict[str, Values] = {}
        for pod in self.pods:
            found |= self._pod(pod)
        job = 'namespace="ml",job_name="iris-preflight-0a1b2c3d"'
        keda = 'exported_namespace="ml",namespace="keda",scaledObject="iris",scaler="prometheus"'
        condition = f'{DEPLOYMENT},condition="Progressing",status="false"'
        found |= {
            f"kube_deployment_status_replicas_ready{{{DEPLOYMENT}}}": self._gauge(self.ready),
            f"kube_deployment_spec_replicas{{{DEPLOYMENT}}}": self._gauge(lambda _: 2),
            f"kube_deployment_created{{{DEPLOYMENT}}}": self._gauge(lambda _: -100_000),
            f"kube_deployment_status_condition{{{condition}}}": self._gauge(self.stalled),
            f"kube_job_status_failed{{{job}}}": self._gauge(self.preflight_failed),
            f"keda_scaler_detail_errors_total{{{keda}}}": self._counter(self.scaler_errors),
        }
        return [{"series": name, "values": _notation(values)} for name, values in found.items()]

    def _pod(self, pod: Pod) -> dict[str, Values]:
        labels = f'{PODS},pod="{pod.name}"'
        kube = f'namespace="ml",pod="{pod.name}",container="predictor"'

        def counter(rate: Callable[[int], float]) -> Values:
            return self._counter(rate, begin=pod.begin, end=pod.end)

        def gauge(value: Callable[[int], float]) -> Values:
            return self._gauge(value, begin=pod.begin, end=pod.end)

        found = {
            f"predictor_request_duration_seconds_count{{{labels}}}": counter(pod.requests),
            f"predictor_requests_in_progress{{{labels}}}": gauge(pod.in_progress),
            f"predictor_model_ready{{{labels}}}": gauge(pod.ready),
            f'predictor_rejected_total{{{labels},reason="queue_full"}}': counter(pod.refused),
            f"kube_pod_container_status_restarts_total{{{kube}}}": counter(pod.restarts),
        }
        for code, share in (("200", lambda t: 1 - pod.failed(t)), ("500", pod.failed)):
            name = f'predictor_requests_total{{{labels},code="{code}"}}'
            found[name] = counter(lambda t, share=share: pod.requests(t) * share(t))
        for bound in BUCKETS:
            name = f'predictor_request_duration_seconds_bucket{{{labels},le="{bound}"}}'
            quick = {"0.1": 0.9, "0.25": 1.0, "0.5": 1.0}.get(bound)
            found[name] = counter(
                lambda t, quick=quick: (
                    pod.requests(t) * (1 if quick is None else quick * (1 - pod.slow(t)))
                )
            )
        for index, each in enumerate(CLASSES):
            tracked = f'{labels},deployment_id="{pod.deployment}",class="{each}"'
            found[f"predictor_predictions_total{{{tracked}}}"] = counter(
                lambda t, index=index: pod.requests(t) * pod.classes(t)[index]
            )
        return found

    def _gauge(self, value: Callable[[int], float], *, begin: int = 0, end: int = 10**9) -> Values:
        return [value(t) if begin <= t < end else None for t in range(self.steps)]

    def _counter(self, rate: Callable[[int], float], *, begin: int = 0, end: int = 10**9) -> Values:
        total, found = 0.0, []
        for t in range(self.steps):
            found.append(total if begin <= t < end else None)
            total += rate(t) if begin <= t < end else 0
        return found


def _notation(values: Iterable[float | None]) -> str:
    return " ".join("_" if value is None else f"{value:.10g}" for value in values)


def from_step(first: int, value: float, *, before: float = 0.0) -> Callable[[int], float]:
    """``before`` up to a step, and ``value`` from then on."""
    return lambda t: value if t >= first else before


def by_day(low: float, high: float, *, day: int) -> Callable[[int], float]:
    """Between ``low`` at night and ``high`` at noon."""
    return lambda t: low + (high - low) * (1 - math.cos(2 * math.pi * t / day)) / 2


def firing(
    rules: Mapping[str, Any],
    scenario: Scenario,
    *,
    expected: Mapping[int, Iterable[str]],
    promtool: str,
    folder: Path,
    step: int = 60,
    evaluated: int | None = None,
    label: str = "alertname",
) -> str:
    """Check the names (or another label) of the alerts that fire, by minute.

    There is a sample each ``step`` seconds. The result is what promtool says, empty where it is as expected.
    """
    (folder / "rules.yaml").write_text(json.dumps(rules))
    wanted = [
        {
            "expr": f'group by ({label}) (ALERTS{{alertstate="firing"}})',
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": f'{{{label}="{name}"}}', "value": 1} for name in names],
        }
        for minute, names in expected.items()
    ]
    group = {
        "interval": f"{step}s",
        "input_series": scenario.series(),
        "promql_expr_test": wanted,
    }
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": f"{evaluated or step}s",
        "tests": [group],
    }
    (folder / "test.yaml").write_text(json.dumps(test))
    command = [promtool, "test", "rules", str(folder / "test.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def shortened(rules: Mapping[str, Any], factor: int) -> dict[str, Any]:
    """The rules with each window, interval and `for` divided: a test has no hours. Nothing else is changed."""
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}

    def shorter(match: re.Match[str]) -> str:
        whole = int(match[1]) * seconds[match[2]]
        return f"{max(1, math.ceil(whole / factor))}s"

    def inside(match: re.Match[str]) -> str:
        return re.sub(r"(\d+)([smhd])", shorter, match[0])

    text = re.sub(r"\[\d+[smhd]\]|offset \d+[smhd]", inside, json.dumps(rules))
    text = re.sub(r'"(?:for|interval)": "\d+[smhd]"', inside, text)
    made: dict[str, Any] = json.loads(text)
    return made
