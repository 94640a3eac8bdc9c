"""Results of the verbs as JSON, with the same facts as the tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitops_ml.cluster.preflight import preflight_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from gitops_ml.cluster.observed import Application
    from gitops_ml.cluster.replicas import Replica
    from gitops_ml.commands.build import Built
    from gitops_ml.commands.deploy import Deployment
    from gitops_ml.commands.diff import Differences
    from gitops_ml.commands.get import Description, LiveRelease, Overview
    from gitops_ml.commands.history import History
    from gitops_ml.commands.inspect import Inspection, Preview
    from gitops_ml.commands.lock import Locked
    from gitops_ml.commands.render import Rendering
    from gitops_ml.delivery.change import ChangeResult, ReleaseChange
    from gitops_ml.forge.pull_request import PullRequest
    from gitops_ml.git.commits import Change
    from gitops_ml.gitops.differences import FieldChange
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.gitops.release_history import Entry, FoundDeployment
    from gitops_ml.image.base_images import BaseMove
    from gitops_ml.image.contents import LayerFacts
    from gitops_ml.release.model_artifacts import PulledModel, PushedModel


def release_facts(release: Release) -> Mapping[str, Any]:
    return {
        "api": release.name,
        "environment": release.environment,
        "team": release.team,
        "namespace": release.namespace,
        "deployment_id": release.deployment_id,
        "image": str(release.image),
        "content_hash": release.content_hash,
        "chart": f"{release.chart.name}-{release.chart.version}",
        "directory": release.directory,
    }


def image_facts(built: Built) -> Mapping[str, Any]:
    return {
        "apis": list(built.apis),
        "image": built.image,
        "content_hash": built.content_hash,
        "digest": built.digest,
        "state": built.state,
        "builder": built.choice.builder,
        "reason": built.choice.reason,
    }


def inspection_facts(found: Inspection) -> Mapping[str, Any]:
    contents = found.found.contents
    return {
        "image": str(found.found.image),
        "kind": "model" if contents.is_model else "image",
        "deployment_id": found.deployment_id,
        "platform": contents.platform,
        "platforms": list(found.found.platforms) or [contents.platform],
        "size": contents.size,
        "content_hash": contents.content_hash,
        "lock": contents.lock,
        "entrypoint": list(contents.entrypoint),
        "user": contents.user,
        "labels": dict(contents.labels),
        "layers": [_layer_facts(layer) for layer in contents.layers],
        "packages": [
            {"name": each.name, "version": each.version, "licence": each.licence or None}
            for each in found.packages
        ],
        "attached": [
            {"type": each.artifact_type, "digest": each.digest} for each in found.attached
        ],
        "signatures": [
            {"key": each.key, "verified": each.is_verified} for each in found.signatures
        ],
    }


def _layer_facts(layer: LayerFacts) -> Mapping[str, Any]:
    return {
        "role": layer.role,
        "size": layer.descriptor.size,
        "digest": layer.descriptor.digest,
        "created_by": layer.created_by,
    }


def preview_facts(preview: Preview) -> Mapping[str, Any]:
    facts: dict[str, Any] = {
        "apis": list(preview.apis),
        "image": preview.image,
        "builder": preview.choice.builder,
        "reason": preview.choice.reason,
        "bytes": None,
        "blobs": None,
    }
    if (blobs := preview.blobs) is not None:
        facts["bytes"] = sum(blob.descriptor.size for blob in blobs if not blob.is_there)
        facts["blobs"] = [
            {
                "role": blob.role,
                "size": blob.descriptor.size,
                "digest": blob.descriptor.digest,
                "is_there": blob.is_there,
            }
            for blob in blobs
        ]
    return facts


def lock_facts(locked: Locked) -> Mapping[str, Any]:
    packages = locked.lock.packages if locked.lock else ()
    return {
        "apis": list(locked.apis),
        "path": str(locked.path),
        "state": locked.state,
        "python": locked.lock.python if locked.lock else None,
        "platforms": list(locked.lock.platforms) if locked.lock else [],
        "packages": [
            {
                "name": package.name,
                "version": package.version,
                "sha256": package.sha256,
                "machine": package.machine or None,
                "path": package.path or None,
            }
            for package in packages
        ],
        "changes": list(locked.changes),
    }


def base_facts(move: BaseMove) -> Mapping[str, Any]:
    return {
        "file": move.file,
        "line": move.line or None,
        "path": move.path,
        "before": move.before,
        "after": move.after,
        "state": move.state,
    }


def pushed_model_facts(pushed: PushedModel) -> Mapping[str, Any]:
    return {
        "location": pushed.location,
        "digest": pushed.image.digest,
        "files": pushed.files,
        "size": pushed.size,
        "bytes_sent": pushed.bytes_sent,
        "moved_from": pushed.moved_from,
    }


def pulled_model_facts(pulled: PulledModel, directory: Path) -> Mapping[str, Any]:
    return {
        "directory": str(directory),
        "digest": pulled.image.digest,
        "files": pulled.files,
        "size": pulled.size,
    }


def rendering_facts(rendering: Rendering) -> Mapping[str, Any]:
    return {
        "releases": [release_facts(item) for item in rendering.releases],
        "files": {file.path: file.content.decode() for file in rendering.files},
        "objects": {release.directory: list(objects) for release, objects in rendering.objects},
        "warnings": list(rendering.warnings),
    }


def differences_facts(differences: Differences) -> Mapping[str, Any]:
    return {
        "releases": [release_facts(item) for item in differences.changed],
        "changes": [
            {**_change_facts(each), "before": _text(each.before), "after": _text(each.after)}
            for each in differences.changes
        ],
        "objects": [
            {
                "release": directory,
                "kind": change.kind,
                "name": change.name,
                "action": change.action,
                "fields": [field_facts(field) for field in change.fields],
            }
            for directory, changes in differences.objects
            for change in changes
        ],
        "left": list(differences.left),
        "warnings": list(differences.warnings),
    }


def deployment_facts(deployment: Deployment) -> Mapping[str, Any]:
    return {
        "commit": deployment.commit,
        "pull_request": pull_request_facts(deployment.pull_request),
        "dry_run": deployment.dry_run,
        "releases": [release_facts(item) for item in deployment.releases],
        "changes": change_facts(deployment.changes),
        "removed": list(deployment.removed),
        "images": [
            {"image": made.image, "builder": made.choice.builder, "reason": made.choice.reason}
            for made in deployment.images
        ],
        "warnings": list(deployment.warnings),
    }


def change_facts(changes: Iterable[Change]) -> list[Mapping[str, str]]:
    return [_change_facts(change) for change in changes]


def _change_facts(change: Change) -> Mapping[str, str]:
    return {"path": change.path, "action": change.action}


def pull_request_facts(pull_request: PullRequest | None) -> Mapping[str, Any] | None:
    if pull_request is None:
        return None
    return {
        "number": pull_request.number or None,
        "url": pull_request.url or None,
        "title": pull_request.title,
        "state": pull_request.state,
        "draft": pull_request.is_draft,
        "head": pull_request.head,
        "base": pull_request.base,
        "commit": pull_request.commit,
        "merge_commit": pull_request.merge_commit,
    }


def changed_facts(changed: ChangeResult) -> Mapping[str, Any]:
    return {
        "action": changed.action,
        "commit": changed.commit,
        "dry_run": changed.dry_run,
        "pull_request": pull_request_facts(changed.pull_request),
        "releases": [release_change_facts(release) for release in changed.releases],
        "changes": change_facts(changed.changes),
        "warnings": list(changed.warnings),
    }


def release_change_facts(release: ReleaseChange) -> Mapping[str, Any]:
    return {
        "api": release.api,
        "environment": release.environment,
        "before": release.before,
        "deployment_id": release.after,
        "image": str(release.image) if release.image else None,
        "fields": [field_facts(field) for field in release.fields],
        "differs": [field_facts(field) for field in release.differs],
    }


def history_facts(found: History) -> Mapping[str, Any]:
    return {
        "deployments": [entry_facts(entry) for entry in found.entries],
        "warnings": list(found.warnings),
    }


def entry_facts(entry: Entry) -> Mapping[str, Any]:
    return {
        "api": entry.api,
        "environment": entry.environment,
        "deployment_id": entry.deployment_id,
        "action": entry.action,
        "when": entry.when,
        "author": entry.author,
        "commit": entry.commit,
        "pull_request": entry.pull_request,
        "image": str(entry.image) if entry.image else None,
        "chart": entry.chart,
        "is_current": entry.is_current,
        "changes": [field_facts(change) for change in entry.changes],
    }


def field_facts(change: FieldChange) -> Mapping[str, Any]:
    return {
        "path": change.path,
        "action": change.action,
        "before": change.before,
        "after": change.after,
    }


def trace_facts(found: FoundDeployment) -> Mapping[str, Any]:
    release = found.release
    return {
        "deployment_id": found.deployment_id,
        "api": release.api,
        "environment": release.environment,
        "team": release.team,
        "namespace": release.namespace,
        "server": release.server,
        "project": release.project,
        "image": str(release.image),
        "digest": release.image.digest,
        "content_hash": release.content_hash,
        "chart": f"{release.chart}-{release.chart_version}",
        "commit": found.commit,
        "when": found.when,
        "author": found.author,
        "pull_request": found.pull_request,
        "is_current": found.is_current,
        "source": dict(release.provenance),
        "deployments": [entry_facts(entry) for entry in found.entries],
        "manifest_file": release.manifest_file,
        "manifest": dict(release.manifest),
    }


def overview_facts(overview: Overview) -> Mapping[str, Any]:
    return {
        "releases": [live_facts(live) for live in overview.releases],
        "unseen": list(overview.unseen),
    }


def live_facts(live: LiveRelease) -> Mapping[str, Any]:
    workload, application = live.seen.workload, live.seen.application
    return {
        "api": live.release.api,
        "environment": live.release.environment,
        "namespace": live.release.namespace,
        "status": live.status.code,
        "message": live.status.word,
        "reason": live.status.reason or None,
        "remedy": live.status.remedy or None,
        "notes": list(live.notes),
        "deployment_id": live.release.deployment_id,
        "running_deployment_id": live.running_id,
        "up_to_date": live.is_up_to_date,
        "ready": workload.ready if workload else None,
        "requested": workload.requested if workload else None,
        "image": str(live.release.image),
        "last_update": _moment(live.updated_at),
        "argo_cd": _application_facts(application) if application else None,
    }


def _application_facts(application: Application) -> Mapping[str, Any]:
    return {
        "application": application.name,
        "sync": application.sync,
        "health": application.health,
        "revision": application.revision,
    }


def description_facts(found: Description) -> Mapping[str, Any]:
    scaler = found.live.seen.workload.scaler if found.live.seen.workload else None
    preflight = found.live.seen.preflight
    return {
        **live_facts(found.live),
        "endpoint": found.endpoint.url if found.endpoint else None,
        "autoscaler": None
        if scaler is None
        else {"min_replicas": scaler.min_replicas, "max_replicas": scaler.max_replicas},
        "preflight": preflight_note(preflight) if preflight else None,
        "replicas": [_replica_facts(replica) for replica in found.replicas],
        "events": [
            {
                "at": _moment(event.at),
                "object": event.object,
                "reason": event.reason,
                "message": event.message,
                "count": event.count,
            }
            for event in found.events
        ],
        "unseen": list(found.unseen),
    }


def _replica_facts(replica: Replica) -> Mapping[str, Any]:
    pod = replica.pod
    return {
        "name": pod.name,
        "state": replica.state,
        "reason": replica.problem.reason if replica.problem else None,
        "deployment_id": pod.deployment_id,
        "restarts": sum(container.restarts for container in pod.containers),
        "node": pod.node,
        "created_at": _moment(pod.created_at),
    }


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="replace")
