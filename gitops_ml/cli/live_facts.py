"""Live releases as JSON, and the sentence that explains a status to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from gitops_ml.commands.get import Description, LiveRelease, Overview


def explanation(live: LiveRelease) -> str:
    """The reason of the status and the remedy; empty for a live release."""
    parts = (live.status.reason, live.status.remedy, *live.notes)
    return "; ".join(part for part in parts if part)


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
        "last_update": _time(live.updated_at),
        "argo_cd": None
        if application is None
        else {
            "application": application.name,
            "sync": application.sync,
            "health": application.health,
            "revision": application.revision,
        },
    }


def description_facts(found: Description) -> Mapping[str, Any]:
    scaler = found.live.seen.workload.scaler if found.live.seen.workload else None
    return {
        **live_facts(found.live),
        "endpoint": found.endpoint.url if found.endpoint else None,
        "autoscaler": None
        if scaler is None
        else {"min_replicas": scaler.min_replicas, "max_replicas": scaler.max_replicas},
        "replicas": [
            {
                "name": replica.pod.name,
                "state": replica.state,
                "reason": replica.problem.reason if replica.problem else None,
                "deployment_id": replica.pod.deployment_id,
                "restarts": sum(container.restarts for container in replica.pod.containers),
                "node": replica.pod.node,
                "created_at": _time(replica.pod.created_at),
            }
            for replica in found.replicas
        ],
        "events": [
            {
                "at": _time(event.at),
                "object": event.object,
                "reason": event.reason,
                "message": event.message,
                "count": event.count,
            }
            for event in found.events
        ],
        "unseen": list(found.unseen),
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
