"""The results of the verbs as plain data."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from gitops_ml.cluster.replicas import preflight_note
from gitops_ml.facts.shapes import RELEASE, Facts, Result, picked, rows, shaped, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitops_ml.cluster.replicas import Replica
    from gitops_ml.commands.base import BaseMove
    from gitops_ml.commands.bench import Benchmark
    from gitops_ml.commands.bootstrap import Bootstrapped
    from gitops_ml.commands.build import Builds
    from gitops_ml.commands.cost import Costs
    from gitops_ml.commands.deploy import Deployment
    from gitops_ml.commands.diff import Differences, Drift
    from gitops_ml.commands.doctor import Diagnosis
    from gitops_ml.commands.get import Description, LiveRelease, Overview
    from gitops_ml.commands.history import History
    from gitops_ml.commands.inspect import Inspection, Preview, Previews
    from gitops_ml.commands.lock import Locked
    from gitops_ml.commands.predict import Prediction
    from gitops_ml.commands.render import Rendering
    from gitops_ml.commands.trace_request import FoundRequest
    from gitops_ml.delivery.change import ChangeResult
    from gitops_ml.forge.pull_request import PullRequest
    from gitops_ml.git.commits import Change
    from gitops_ml.gitops.drift import LiveDifference
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.gitops.release_history import Entry, FoundDeployment
    from gitops_ml.predictions.comparison import Comparison
    from gitops_ml.predictions.observed_predictions import Histogram, Predictions

_FIELD = "path action before after"


def release_facts(release: Release) -> Facts:
    return picked(
        release,
        "api=name environment team namespace deployment_id image content_hash chart directory",
        chart=f"{release.chart.name}-{release.chart.version}",
    )


def _with_pods(release: Release, pods: Mapping[str, str]) -> Facts:
    return {**release_facts(release), "pods": pods.get(release.directory)}


def builds_facts(builds: Builds) -> Result:
    names = "apis image content_hash digest state builder=choice.builder reason=choice.reason"
    return shaped("build", builds, images=rows(builds.images, names))


def inspection_facts(found: Inspection) -> Result:
    contents = found.found.contents
    return shaped(
        "inspect",
        found,
        kind="model" if contents.is_model else "image",
        platforms=list(found.found.platforms) or [contents.platform],
        layers=rows(
            contents.layers, "role size=descriptor.size digest=descriptor.digest created_by"
        ),
        packages=rows(found.packages, "name version licence?"),
        attached=rows(found.attached, "type=artifact_type digest"),
        signatures=rows(found.signatures, "key verified=is_verified"),
    )


def previews_facts(previews: Previews) -> Result:
    return shaped("inspect --changes", previews, images=list(map(_preview, previews.images)))


def _preview(preview: Preview) -> Facts:
    size = blobs = None
    if preview.blobs is not None:
        size = sum(blob.descriptor.size for blob in preview.blobs if not blob.is_there)
        blobs = rows(preview.blobs, "role size=descriptor.size digest=descriptor.digest is_there")
    names = "apis image builder=choice.builder reason=choice.reason bytes blobs"
    return picked(preview, names, bytes=size, blobs=blobs)


def locks_facts(locks: Iterable[Locked]) -> Result:
    return shaped("lock", locks=list(map(_lock, locks)))


def _lock(locked: Locked) -> Facts:
    lock = locked.lock
    return picked(
        locked,
        "apis path state python platforms packages changes",
        path=str(locked.path),
        python=lock.python if lock else None,
        platforms=lock.platforms if lock else [],
        packages=rows(lock.packages if lock else (), "name version sha256 machine? path?"),
    )


def bases_facts(moves: Iterable[BaseMove]) -> Result:
    return shaped("base update", images=rows(moves, "file line? path before after state"))


def bootstrap_facts(done: Bootstrapped) -> Result:
    return shaped(
        "bootstrap",
        done,
        pull_request=pull_request_facts(done.pull_request),
        changes=change_facts(done.changes),
        kept=[{"path": path, "difference": difference} for path, difference in done.kept],
        steps=rows(done.steps, "title commands"),
    )


def rendering_facts(rendering: Rendering) -> Result:
    return shaped(
        "render",
        rendering,
        releases=[release_facts(item) for item in rendering.releases],
        files={file.path: file.content.decode() for file in rendering.files},
        objects={release.directory: list(objects) for release, objects in rendering.objects},
    )


def differences_facts(differences: Differences) -> Result:
    return shaped(
        "diff",
        differences,
        releases=[_with_pods(item, differences.pods) for item in differences.changed],
        changes=[
            picked(each, _FIELD, before=_text(each.before), after=_text(each.after))
            for each in differences.changes
        ],
        objects=[
            {"release": directory}
            | picked(change, "kind name action fields", fields=rows(change.fields, _FIELD))
            for directory, changes in differences.objects
            for change in changes
        ],
    )


def deployment_facts(deployment: Deployment) -> Result:
    return shaped(
        "deploy",
        deployment,
        pull_request=pull_request_facts(deployment.pull_request),
        releases=[_with_pods(item, deployment.pods) for item in deployment.releases],
        changes=change_facts(deployment.changes),
        images=rows(deployment.images, "image builder=choice.builder reason=choice.reason"),
    )


def change_facts(changes: Iterable[Change]) -> list[Facts]:
    return rows(changes, "path action")


def pull_request_facts(pull_request: PullRequest | None) -> Facts | None:
    names = "number? url? title state draft=is_draft head base commit merge_commit"
    return picked(pull_request, names) if pull_request else None


def changed_facts(changed: ChangeResult) -> Result:
    release = "api environment before deployment_id=after image pods fields differs"
    return shaped(
        changed.action,
        changed,
        pull_request=pull_request_facts(changed.pull_request),
        releases=[
            picked(
                each,
                release,
                fields=rows(each.fields, _FIELD),
                differs=rows(each.differs, _FIELD),
            )
            for each in changed.releases
        ],
        changes=change_facts(changed.changes),
    )


def history_facts(found: History, api: str) -> Result:
    return shaped("history", found, api=api, deployments=list(map(entry_facts, found.entries)))


def entry_facts(entry: Entry) -> Facts:
    return picked(
        entry,
        "api environment deployment_id action when author commit pull_request image chart "
        "is_current changes",
        changes=rows(entry.changes, _FIELD),
    )


def trace_facts(found: FoundDeployment, request: FoundRequest | None = None) -> Result:
    return shaped(
        "trace",
        found,
        chart=f"{found.release.chart}-{found.release.chart_version}",
        deployments=list(map(entry_facts, found.entries)),
        request=picked(request, "id=request_id pod lines", lines=rows(request.lines, "at text"))
        if request
        else None,
    )


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="replace")


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
