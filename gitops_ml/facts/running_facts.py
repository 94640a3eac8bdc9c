"""What runs, what it predicts and costs as plain data."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from gitops_ml.cluster.preflight import preflight_note
from gitops_ml.facts.shapes import RELEASE, Facts, Result, picked, rows, shaped, whole

if TYPE_CHECKING:
    from gitops_ml.cluster.replicas import Replica
    from gitops_ml.commands.bench import Benchmark
    from gitops_ml.commands.cost import Costs
    from gitops_ml.commands.doctor import Diagnosis
    from gitops_ml.commands.get import Description, LiveRelease, Overview
    from gitops_ml.commands.live import Drift
    from gitops_ml.commands.predict import Prediction
    from gitops_ml.gitops.drift import LiveDifference
    from gitops_ml.predictions.comparison import Comparison
    from gitops_ml.predictions.observed_predictions import Histogram, Predictions


def prediction_facts(prediction: Prediction) -> Result:
    value = prediction.value
    return shaped(
        "predict",
        prediction,
        value=value.decode("latin-1") if isinstance(value, bytes) else value,
        seconds=round(prediction.seconds, 4),
    )


def overview_facts(overview: Overview) -> Result:
    return shaped(
        "get",
        overview,
        releases=[live_facts(live) for live in overview.releases],
        predictions=list(map(predictions_facts, overview.predictions)),
    )


def live_facts(live: LiveRelease) -> Facts:
    workload, application = live.seen.workload, live.seen.application
    argo_cd = picked(application, "application=name sync health revision") if application else None
    return picked(
        live,
        RELEASE,
        ready=workload.ready if workload else None,
        requested=workload.requested if workload else None,
        argo_cd=argo_cd,
    )


def description_facts(found: Description) -> Result:
    workload, preflight = found.live.seen.workload, found.live.seen.preflight
    scaler = workload.scaler if workload else None
    return shaped(
        "describe",
        found,
        **live_facts(found.live),
        endpoint=found.endpoint.url if found.endpoint else None,
        autoscaler=picked(scaler, "min_replicas max_replicas") if scaler else None,
        preflight=preflight_note(preflight) if preflight else None,
        replicas=[_replica_facts(replica) for replica in found.replicas],
        events=rows(found.events, "at object reason message count"),
        predictions=list(map(predictions_facts, found.predictions)),
    )


def _replica_facts(replica: Replica) -> Facts:
    return picked(
        replica,
        "name=pod.name state reason deployment_id=pod.deployment_id restarts node=pod.node "
        "created_at=pod.created_at",
        reason=replica.problem.reason if replica.problem else None,
        restarts=sum(container.restarts for container in replica.pod.containers),
    )


_COST = "replica_hours requests replica_hour currency per_thousand"


def predictions_facts(found: Predictions) -> Facts:
    """The counts; the infinite bound of a histogram is null."""
    return picked(
        found,
        "deployment_id source predictions=total classes values requests latency_seconds judged right cost",
        values=_histogram_facts(found.values),
        latency_seconds=_histogram_facts(found.latency),
        cost=picked(found.cost, _COST) if found.cost else None,
    )


def _histogram_facts(histogram: Histogram | None) -> Facts | None:
    if histogram is None:
        return None
    filled = [pair for pair in zip(histogram.bounds, histogram.counts, strict=True) if pair[1]]
    return {
        "buckets": [
            {"up_to": None if math.isinf(bound) else bound, "count": count}
            for bound, count in filled
        ],
        "median": histogram.quantile(0.5),
        "p95": histogram.quantile(0.95),
    }


def comparison_facts(found: Comparison) -> Result:
    return shaped(
        "compare",
        found,
        aspects=[_finite(asdict(aspect)) for aspect in found.aspects],
        first=predictions_facts(found.first),
        second=predictions_facts(found.second),
    )


def _finite(aspect: Facts) -> Facts:
    """JSON has no infinite numbers."""
    figures = {k: v if math.isfinite(v) else None for k, v in aspect["figures"].items()}
    return {**aspect, "figures": figures}


def costs_facts(found: Costs) -> Result:
    totals = {
        currency: dict(zip(("day", "week", "month"), amounts, strict=True))
        for currency, amounts in found.totals().items()
    }
    return shaped("cost", found, releases=whole(found.releases), totals=totals)


def diagnosis_facts(found: Diagnosis) -> Result:
    return shaped("doctor", checks=whole(found.checks), findings=whole(found.findings))


def drift_facts(drift: Drift) -> Result:
    names = "api environment sync revision differences"
    releases = [
        picked(each, names, differences=list(map(_difference, each.differences)))
        for each in drift.releases
    ]
    return shaped("diff --live", drift, releases=releases, warnings=list(drift.warnings))


def _difference(each: LiveDifference) -> Facts:
    owner = each.owner
    return picked(
        each,
        "kind name path action git live owner manager at expected=is_expected",
        owner=owner.name if owner else None,
        manager=owner.manager if owner else None,
        at=owner.at.isoformat() if owner and owner.at else None,
    )


def benchmark_facts(found: Benchmark) -> Result:
    facts = asdict(found)
    for each, step in zip(facts["steps"], found.steps, strict=True):
        each["error_rate"] = round(step.error_rate, 6)
        each["throughput"] = round(step.throughput, 2)
        each["latency"] = each["latency"] and {k: round(v, 3) for k, v in each["latency"].items()}
        each |= each.pop("load")
    return shaped("bench", **facts)
