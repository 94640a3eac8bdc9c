"""Read what a deployment predicted: from the Prometheus of its cluster, else from its pods, whose metrics are text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.documents.findings import count_of
from gitops_ml.errors import GitopsMlError, ServerFailed
from gitops_ml.predictions.observed_predictions import Histogram, Predictions

if TYPE_CHECKING:
    from gitops_ml.cluster.kubernetes import KubernetesCluster
    from gitops_ml.cluster.monitoring import Prometheus

CLASSES = "predictor_predictions_total"
VALUES = "predictor_prediction_value_bucket"
REQUESTS = "predictor_requests_total"
LATENCY = "predictor_request_duration_seconds_bucket"
_MOST_CLASSES = 10_000
_LARGEST = 1e15
"""More than any pod can count."""

Sum = tuple[str, str]
"""A series' name, and the value of the label by which it is divided."""
PART = {CLASSES: "class", VALUES: "le", REQUESTS: "code", LATENCY: "le"}


def read_sums(texts: Iterable[str]) -> dict[Sum, float]:
    """The sums of the series of all texts.

    Raises:
        ServerFailed: a text is not in Prometheus' format.
    """
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[Sum, float] = {}
    try:
        for text in texts:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if part := PART.get(sample.name):
                        key = (sample.name, sample.labels.get(part, ""))
                        found[key] = found.get(key, 0.0) + sample.value
    except (ValueError, LookupError, ArithmeticError) as error:
        raise ServerFailed(
            f"the metrics of a pod are not in Prometheus' format: {error}"
        ) from error
    return found


def predictions_of(sums: Mapping[Sum, float], *, deployment_id: str, source: str) -> Predictions:
    """The predictions whose series were summed."""
    by_name: dict[str, dict[str, float]] = {name: {} for name in PART}
    for (name, part), value in sums.items():
        # A pod may send any number and any bound.
        is_count = 0 <= value < _LARGEST and (PART[name] != "le" or _is_bound(part))
        if is_count:
            by_name[name][part] = value
    classes = dict(sorted(by_name[CLASSES].items(), key=lambda each: -each[1])[:_MOST_CLASSES])
    return Predictions(
        deployment_id=deployment_id,
        source=source,
        classes={name: number for name, number in classes.items() if number},
        values=_histogram(by_name[VALUES]),
        requests={code: number for code, number in by_name[REQUESTS].items() if number},
        latency=_histogram(by_name[LATENCY]),
    )


def _is_bound(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _histogram(buckets: Mapping[str, float]) -> Histogram | None:
    found = Histogram.of_cumulative({float(bound): n for bound, n in buckets.items()})
    return found if found.total else None


DAYS = 7.0
PROBE_PORT = 8082
"""The chart's default of ``container.probePort``."""
DEFAULT_METRICS = f"{PROBE_PORT}/metrics"
_TARGET = "namespace, pod, instance"
"""An address alone is not enough: pods that ended left theirs to others."""
ANSWERS = "predictor_request_duration_seconds_count"
_SHORTEST_STEP, _LONGEST_STEP = 15, 300
"""Seconds between the times at which replicas are counted."""
_AT_ONCE = 8
_MOST_PODS = 200
_SECONDS_OF_A_DAY = 86400


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pods of an API run."""

    namespace: str
    environment: str
    api: str
    metrics: str
    """Port and path of the metrics: ``8081/metrics``."""


def deployments_of(prometheus: Prometheus, api: str, *, days: float = DAYS) -> tuple[str, ...]:
    """The ids of the deployments of an API whose pods were seen in the last ``days``."""
    pattern = f"{api}-[0-9a-f]{{12}}"
    info = f'predictor_info{{deployment_id=~"{pattern}"}}{_window(days)}'
    found = prometheus.query(f"count by (deployment_id) (last_over_time({info}))")
    ids = (sample.labels.get("deployment_id", "") for sample in found)
    return tuple(id for id in ids if re.fullmatch(pattern, id))


def _window(days: float) -> str:
    return f"[{max(60, int(days * _SECONDS_OF_A_DAY))}s]"


def from_prometheus(
    prometheus: Prometheus, deployment_id: str, *, days: float = DAYS
) -> Predictions:
    """What the pods of a deployment that were seen in the last ``days`` have counted since their start.

    Counters are read at their highest value: an increase would leave out what came before the first scrape. It is
    more where a container started again.
    """
    window = _window(days)
    info = f'last_over_time(predictor_info{{deployment_id="{deployment_id}"}}{window})'
    sums: dict[Sum, float] = {}
    for name, part in PART.items():
        series, most = f"{name}{window}", f"max_over_time({name}{window})"
        counts = f"increase({series}) > {most} and resets({series}) > 0 or {most}"
        query = f"sum by ({part}) (({counts}) and on ({_TARGET}) {info})"
        for sample in prometheus.query(query):
            sums[name, sample.labels.get(part, "")] = sample.value
    pods = prometheus.query(f"count({info})")
    count = pods[0].value if pods else 0
    source = (
        f"Prometheus: {count_of(int(count), 'pod')} of the last {days:g} days, each since its start"
    )
    return predictions_of(sums, deployment_id=deployment_id, source=source)


def replica_hours_and_requests(
    prometheus: Prometheus, deployment_id: str, *, days: float = DAYS
) -> tuple[float, float]:
    """How long replicas of a deployment were seen in the last ``days``, in hours, and what they answered."""
    window = _window(days)
    info = f'predictor_info{{deployment_id="{deployment_id}"}}'
    step = min(_LONGEST_STEP, max(_SHORTEST_STEP, int(days * _SECONDS_OF_A_DAY) // 60))
    seen = f"sum_over_time(count({info})[{window[1:-1]}:{step}s])"
    answered = f"sum(increase({ANSWERS}{window}) and on ({_TARGET}) last_over_time({info}{window}))"
    found = (prometheus.query(query) for query in (seen, answered))
    steps, requests = (max(0.0, samples[0].value) if samples else 0.0 for samples in found)
    return steps * step / 3600, requests


def from_pods(cluster: KubernetesCluster, place: Place) -> dict[str, Predictions]:
    """What the pods that run now have counted since their start, by deployment id.

    Raises:
        ServerFailed: no pod could be read; has the first reason.
    """
    pods = cluster.pods(place.namespace, environment=place.environment, api=place.api)
    running = [pod for pod in pods if pod.phase == "Running" and pod.deployment_id][:_MOST_PODS]

    def read(name: str) -> str | GitopsMlError:
        try:
            return cluster.pod_metrics(place.namespace, name, place.metrics)
        except GitopsMlError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(read, [pod.name for pod in running]))
    texts: dict[str, list[str]] = {}
    for pod, answer in zip(running, answers, strict=True):
        if isinstance(answer, str):
            texts.setdefault(pod.deployment_id or "", []).append(answer)
    failures = [each for each in answers if isinstance(each, GitopsMlError)]
    if failures and not texts:
        raise failures[0]
    return {id: _of_pods(id, found, unread=len(failures)) for id, found in texts.items()}


def _of_pods(deployment_id: str, texts: list[str], *, unread: int) -> Predictions:
    left = f"; {count_of(unread, 'pod')} of the API could not be read" if unread else ""
    pods = "1 pod that runs" if len(texts) == 1 else f"{len(texts)} pods that run"
    source = f"{pods} now, each since its start{left}"
    return predictions_of(read_sums(texts), deployment_id=deployment_id, source=source)


def metrics_port(values: Mapping[str, object]) -> str:
    """Port and path of the metrics of a release, from its values."""
    container, metrics = _part(values, "container"), _part(values, "metrics")
    own = container.get("probePort", PROBE_PORT) if values.get("runtime") else None
    return f"{own or container.get('port') or 8080}{metrics.get('path') or '/metrics'}"


def _part(values: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}
