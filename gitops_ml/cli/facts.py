"""Results of the verbs as JSON, with the same facts as the tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from gitops_ml.cli.recorded import predictions_facts
from gitops_ml.cluster.preflight import preflight_note
from gitops_ml.oci.reference import ImageRef

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gitops_ml.cluster.replicas import Replica
    from gitops_ml.commands.bootstrap import Bootstrapped
    from gitops_ml.commands.build import Built
    from gitops_ml.commands.deploy import Deployment
    from gitops_ml.commands.diff import Differences
    from gitops_ml.commands.get import Description, LiveRelease, Overview
    from gitops_ml.commands.history import History
    from gitops_ml.commands.inspect import Inspection, Preview
    from gitops_ml.commands.lock import Locked
    from gitops_ml.commands.predict import Prediction
    from gitops_ml.commands.render import Rendering
    from gitops_ml.delivery.change import ChangeResult
    from gitops_ml.forge.pull_request import PullRequest
    from gitops_ml.git.commits import Change
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.gitops.release_history import Entry, FoundDeployment
    from gitops_ml.image.base_images import BaseMove
    from gitops_ml.image.project_export import Exported
    from gitops_ml.release.model_artifacts import PulledModel, PushedModel

Facts = Mapping[str, Any]

_FIELD = "path action before after"


def _facts(value: object, names: str, **made: Any) -> dict[str, Any]:
    """The attributes of a value that ``names`` lists, in its order.

    ``key=path`` is an attribute of another name, and ``?`` after either stands for null in place of
    an empty one. ``made`` has keys of the list that are not attributes.

    >>> _facts(PushedModel(…), "location digest=image.digest moved_from?")
    """
    found: dict[str, Any] = {}
    for name in names.split():
        key, _, path = name.rstrip("?").partition("=")
        item = made[key] if key in made else _plain(attrgetter(path or key)(value))
        found[key] = None if name.endswith("?") and not item else item
    return found


def _plain(value: Any) -> Any:
    match value:
        case ImageRef():
            return str(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case Mapping():
            return dict(value)
    return value


def _each(values: Iterable[object], names: str) -> list[Facts]:
    return [_facts(value, names) for value in values]


def release_facts(release: Release) -> Facts:
    return _facts(
        release,
        "api=name environment team namespace deployment_id image content_hash chart directory",
        chart=f"{release.chart.name}-{release.chart.version}",
    )


def _with_pods(release: Release, pods: Mapping[str, str]) -> Facts:
    return {**release_facts(release), "pods": pods.get(release.directory)}


def image_facts(built: Built) -> Facts:
    return _facts(
        built,
        "apis image content_hash digest state builder=choice.builder reason=choice.reason",
    )


def inspection_facts(found: Inspection) -> Facts:
    contents = found.found.contents
    return _facts(
        found,
        "image=found.image kind deployment_id platform=found.contents.platform platforms "
        "size=found.contents.size content_hash=found.contents.content_hash "
        "lock=found.contents.lock entrypoint=found.contents.entrypoint user=found.contents.user "
        "labels=found.contents.labels layers packages attached signatures",
        kind="model" if contents.is_model else "image",
        platforms=list(found.found.platforms) or [contents.platform],
        layers=_each(
            contents.layers, "role size=descriptor.size digest=descriptor.digest created_by"
        ),
        packages=_each(found.packages, "name version licence?"),
        attached=_each(found.attached, "type=artifact_type digest"),
        signatures=_each(found.signatures, "key verified=is_verified"),
    )


def preview_facts(preview: Preview) -> Facts:
    size = blobs = None
    if preview.blobs is not None:
        size = sum(blob.descriptor.size for blob in preview.blobs if not blob.is_there)
        blobs = _each(preview.blobs, "role size=descriptor.size digest=descriptor.digest is_there")
    names = "apis image builder=choice.builder reason=choice.reason bytes blobs"
    return _facts(preview, names, bytes=size, blobs=blobs)


def lock_facts(locked: Locked) -> Facts:
    lock = locked.lock
    return _facts(
        locked,
        "apis path state python platforms packages changes",
        path=str(locked.path),
        python=lock.python if lock else None,
        platforms=lock.platforms if lock else [],
        packages=_each(lock.packages if lock else (), "name version sha256 machine? path?"),
    )


def base_facts(move: BaseMove) -> Facts:
    return _facts(move, "file line? path before after state")


def pushed_model_facts(pushed: PushedModel) -> Facts:
    return _facts(pushed, "location digest=image.digest files size bytes_sent moved_from")


def pulled_model_facts(pulled: PulledModel, directory: Path) -> Facts:
    names = "directory digest=image.digest files size"
    return _facts(pulled, names, directory=str(directory))


def exported_facts(exported: Exported, directory: Path) -> Facts:
    return _facts(exported, "directory files manifest", directory=str(directory))


def prediction_facts(prediction: Prediction) -> Facts:
    value = prediction.value
    return _facts(
        prediction,
        "prediction deployment_id request_id status seconds url",
        prediction=value.decode("latin-1") if isinstance(value, bytes) else value,
        seconds=round(prediction.seconds, 4),
    )


def bootstrap_facts(done: Bootstrapped) -> Facts:
    return _facts(
        done,
        "commit pull_request dry_run changes kept steps advice warnings",
        pull_request=pull_request_facts(done.pull_request),
        changes=change_facts(done.changes),
        kept=[{"path": path, "difference": difference} for path, difference in done.kept],
        steps=_each(done.steps, "title commands"),
    )


def rendering_facts(rendering: Rendering) -> Facts:
    return {
        "releases": [release_facts(item) for item in rendering.releases],
        "files": {file.path: file.content.decode() for file in rendering.files},
        "objects": {release.directory: list(objects) for release, objects in rendering.objects},
        "warnings": rendering.warnings,
    }


def differences_facts(differences: Differences) -> Facts:
    return {
        "releases": [_with_pods(item, differences.pods) for item in differences.changed],
        "changes": [
            _facts(each, _FIELD, before=_text(each.before), after=_text(each.after))
            for each in differences.changes
        ],
        "objects": [
            {"release": directory}
            | _facts(change, "kind name action fields", fields=_each(change.fields, _FIELD))
            for directory, changes in differences.objects
            for change in changes
        ],
        "left": differences.left,
        "warnings": differences.warnings,
    }


def deployment_facts(deployment: Deployment) -> Facts:
    return _facts(
        deployment,
        "commit pull_request dry_run releases changes removed images warnings",
        pull_request=pull_request_facts(deployment.pull_request),
        releases=[_with_pods(item, deployment.pods) for item in deployment.releases],
        changes=change_facts(deployment.changes),
        images=_each(deployment.images, "image builder=choice.builder reason=choice.reason"),
    )


def change_facts(changes: Iterable[Change]) -> list[Facts]:
    return _each(changes, "path action")


def pull_request_facts(pull_request: PullRequest | None) -> Facts | None:
    names = "number? url? title state draft=is_draft head base commit merge_commit"
    return _facts(pull_request, names) if pull_request else None


def changed_facts(changed: ChangeResult) -> Facts:
    release = "api environment before deployment_id=after image pods fields differs"
    return _facts(
        changed,
        "action commit dry_run pull_request releases changes warnings",
        pull_request=pull_request_facts(changed.pull_request),
        releases=[
            _facts(
                each,
                release,
                fields=_each(each.fields, _FIELD),
                differs=_each(each.differs, _FIELD),
            )
            for each in changed.releases
        ],
        changes=change_facts(changed.changes),
    )


def history_facts(found: History) -> Facts:
    return {
        "deployments": [entry_facts(entry) for entry in found.entries],
        "warnings": found.warnings,
    }


def entry_facts(entry: Entry) -> Facts:
    return _facts(
        entry,
        "api environment deployment_id action when author commit pull_request image chart "
        "is_current changes",
        changes=_each(entry.changes, _FIELD),
    )


def trace_facts(found: FoundDeployment) -> Facts:
    release = found.release
    return {
        "deployment_id": found.deployment_id,
        **_facts(
            release,
            "api environment team namespace server project image digest=image.digest "
            "content_hash chart",
            chart=f"{release.chart}-{release.chart_version}",
        ),
        **_facts(found, "commit when author pull_request is_current source=release.provenance"),
        "deployments": [entry_facts(entry) for entry in found.entries],
        **_facts(release, "manifest_file manifest"),
    }


def overview_facts(overview: Overview) -> Facts:
    return {
        "releases": [live_facts(live) for live in overview.releases],
        "unseen": overview.unseen,
        "predictions": list(map(predictions_facts, overview.predictions)),
    }


def live_facts(live: LiveRelease) -> Facts:
    workload, application = live.seen.workload, live.seen.application
    argo_cd = _facts(application, "application=name sync health revision") if application else None
    return _facts(
        live,
        "api=release.api environment=release.environment namespace=release.namespace "
        "status=status.code message=status.word reason=status.reason? remedy=status.remedy? notes "
        "deployment_id=release.deployment_id running_deployment_id=running_id "
        "up_to_date=is_up_to_date ready requested image=release.image last_update=updated_at "
        "argo_cd",
        ready=workload.ready if workload else None,
        requested=workload.requested if workload else None,
        argo_cd=argo_cd,
    )


def description_facts(found: Description) -> Facts:
    workload, preflight = found.live.seen.workload, found.live.seen.preflight
    scaler = workload.scaler if workload else None
    return {
        **live_facts(found.live),
        "endpoint": found.endpoint.url if found.endpoint else None,
        "autoscaler": _facts(scaler, "min_replicas max_replicas") if scaler else None,
        "preflight": preflight_note(preflight) if preflight else None,
        "replicas": [_replica_facts(replica) for replica in found.replicas],
        "events": _each(found.events, "at object reason message count"),
        "unseen": found.unseen,
        "predictions": list(map(predictions_facts, found.predictions)),
    }


def _replica_facts(replica: Replica) -> Facts:
    return _facts(
        replica,
        "name=pod.name state reason deployment_id=pod.deployment_id restarts node=pod.node "
        "created_at=pod.created_at",
        reason=replica.problem.reason if replica.problem else None,
        restarts=sum(container.restarts for container in replica.pod.containers),
    )


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="replace")
