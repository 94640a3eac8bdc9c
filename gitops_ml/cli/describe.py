"""`gitops-ml describe`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import (
    ProjectChoice,
    api_argument,
    first_environment_option,
    looks,
    output_option,
    project_option,
    watch_option,
)
from gitops_ml.cli.recorded import show_predictions
from gitops_ml.cli.report import brief, short_id
from gitops_ml.cluster.observed import Event
from gitops_ml.cluster.replicas import Replica, preflight_note
from gitops_ml.commands.get import Description, describe, utc_now
from gitops_ml.facts.result_facts import description_facts
from gitops_ml.system.clean_text import one_line

_MOST_EVENTS = 10


@click.command("describe")
@api_argument
@project_option
@first_environment_option
@watch_option
@output_option
def command(api: str, project: ProjectChoice, watch: bool, output: str) -> None:
    """Show one release: status and reason, replicas, events, endpoint.

    \b
    Example:
      gitops-ml describe iris-classifier -e production
    """
    workspace, clients = project.open()
    environment = workspace.environments[0]
    for _ in looks(watch, output=output):
        found = describe(workspace, api, clients=clients, environment=environment)
        report.result(found, output, facts=description_facts, show=_show)


def _show(found: Description) -> None:
    live = found.live
    report.echo(f"{live.release.api} in {live.release.environment}: {live.status.state}")
    for name, value in _facts(found):
        report.hanging(f"  {name:<12}  ", value)
    report.section(
        ("replica", "state", "deployment id", "restarts", "node", "age"),
        (_replica(replica, found) for replica in found.replicas),
        cut="node",
        less=("deployment id", "node"),
    )
    report.section(
        ("event", "times", "last", "object", "message"),
        map(_event, found.events[-_MOST_EVENTS:]),
        cut="message",
        less=("object",),
    )
    show_predictions(found.predictions)
    report.warnings(found.unseen)


def _replica(replica: Replica, found: Description) -> tuple[object, ...]:
    pod = replica.pod
    return (
        pod.name,
        replica.state,
        short_id(pod.deployment_id, found.live.release.api),
        sum(container.restarts for container in pod.containers),
        pod.node or "-",
        report.age(pod.created_at, now=utc_now()),
    )


def _event(event: Event) -> tuple[object, ...]:
    return (
        event.reason,
        event.count,
        report.age(event.at, now=utc_now()),
        event.object,
        one_line(event.message, most=160),
    )


def _facts(found: Description) -> Iterator[tuple[str, str]]:
    live = found.live
    if live.status.reason:
        yield "why", live.status.reason
    if live.status.remedy:
        yield "what to do", live.status.remedy
    for note in live.notes:
        yield "note", note
    yield "Git wants", live.release.deployment_id
    if live.running_id and not live.is_up_to_date:
        yield "what runs", live.running_id
    application, workload = live.seen.application, live.seen.workload
    if application is not None:
        commit = f", commit {application.revision[:12]}" if application.revision else ""
        yield "Argo CD", f"{application.sync}, {application.health}{commit}"
    if workload is not None:
        limits = ""
        if scaler := workload.scaler:
            limits = f", KEDA keeps {scaler.min_replicas} to {scaler.max_replicas}"
        yield "replicas", f"{workload.ready} of {workload.requested} ready{limits}"
    if preflight := live.seen.preflight:
        yield "preflight", preflight_note(preflight)
    yield "image", brief(live.release.image)
    yield "endpoint", found.endpoint.url if found.endpoint else "inside the cluster only"
