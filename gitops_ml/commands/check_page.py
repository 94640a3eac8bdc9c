"""The page of a check as a file, with the replicas that recorded traffic would need."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from gitops_ml.cluster.monitoring import IN_FLIGHT, recorded_load
from gitops_ml.errors import UsageError
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.review.reports.html import detailed, html_page
from gitops_ml.review.review import Review
from gitops_ml.review.traffic import NOTHING, WEEK, Record, read_record, weeks_of
from gitops_ml.system.files import link_of_a_checkout, write_report
from gitops_ml.system.project_files import read_named
from gitops_ml.workspace.clients import Clients

PROMETHEUS = "prometheus"


def write_page(
    review: Review, file: Path, *, traffic: str | None, clients: Clients | None, now: datetime
) -> None:
    """Write the page; ``clients`` are those of the project before the change.

    Raises:
        UsageError: the traffic cannot be read.
        InvalidDocument: the file with the traffic has errors.
    """
    record = _record(review, traffic, clients, now)
    clusters = clients.project.clusters.values() if clients else ()
    sources = (each.prices.source for each in clusters if each.prices and each.prices.source)
    page = html_page(review, weeks=weeks_of(detailed(review), record), prices=sorted({*sources}))
    write_report(file, page)


def _record(review: Review, traffic: str | None, clients: Clients | None, now: datetime) -> Record:
    if traffic is None:
        return NOTHING
    if traffic == PROMETHEUS:
        if clients is None:
            raise UsageError(
                "--traffic prometheus needs servers; leave --offline out, or name a file"
            )
        return _asked(review, clients, now)
    if link := link_of_a_checkout(Path(traffic)):
        # Such as to /proc/self/environ: a message about the file would hold the secrets of the job.
        raise UsageError(f"{traffic} is not read, because {link} is a link: name the file itself")
    try:
        text = read_named(Path(traffic)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{traffic} cannot be read as text: {error}") from error
    return read_record(text, file=traffic)


def _asked(review: Review, clients: Clients, now: datetime) -> Record:
    """What the Prometheus of each cluster recorded, for the releases that change."""
    project, loads = clients.project, {}
    for name, cluster in project.clusters.items():
        places = {n: e for n, e in project.environments.items() if e.cluster == name}
        touched = {each.environment for each in review.releases} & {*places}
        if not touched:
            continue
        prometheus = clients.prometheus(name)
        if prometheus is None:
            raise UsageError(f"set clusters.{name}.prometheus.address: it has no Prometheus to ask")
        for metric in _metrics(review, cluster):
            namespaces = {places[each].namespace: each for each in touched}
            end = now.timestamp()
            found = recorded_load(
                prometheus, namespaces, metric=metric, start=end - WEEK.total_seconds(), end=end
            )
            for (namespace, api), load in found.items():
                loads[namespaces.get(namespace, ""), api] = load
    return Record(loads)


def _metrics(review: Review, cluster: ClusterSpec) -> tuple[str, ...]:
    """The gauges of requests in progress that the releases have."""
    specs = [side.spec for each in review.releases for side in (each.before, each.after) if side]
    here = [spec for spec in specs if spec and spec.cluster == cluster.name]
    return tuple(dict.fromkeys(filter(None, map(in_flight_metric, here))))


def in_flight_metric(spec: ReleaseSpec) -> str | None:
    """The gauge of a release; a ready-made container may have none."""
    container = spec.container
    return IN_FLIGHT if container is None or container.proxy else container.in_flight_metric
