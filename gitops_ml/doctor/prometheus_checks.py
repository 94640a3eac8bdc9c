"""The Prometheus and the Loki of a cluster's entry: whether they answer, and know the predictors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gitops_ml.cluster.loki import Loki
from gitops_ml.cluster.monitoring_server import proxy_path
from gitops_ml.cluster.prometheus import Prometheus
from gitops_ml.doctor.outcome import Check, Probe, finding, ok, skipped
from gitops_ml.project.project import ClusterSpec


def prometheus_probes(spec: ClusterSpec, prometheus: Prometheus | None) -> Iterator[Probe]:
    subject = f"cluster {spec.name}: Prometheus"
    server = _server(spec, spec.prometheus.address)
    yield Probe(subject, lambda: look(subject, spec, prometheus), server)


def look(subject: str, spec: ClusterSpec, prometheus: Prometheus | None) -> Iterator[Check]:
    if prometheus is None:
        text = (
            f"clusters.{spec.name}.prometheus.address is not set: KEDA and `compare` read the pods"
        )
        yield skipped(subject, text)
        return
    yield ok(subject, f"{prometheus.version()} at {prometheus.address}")
    predictors = prometheus.query("count(predictor_info)")
    if predictors and predictors[0].value:
        yield ok(f"{subject}: targets", f"it reads {predictors[0].value:g} predictors")
    else:
        yield finding(
            f"{subject}: targets",
            "it has no series predictor_info: it reads no predictor, or none runs",
            f"if one runs, set clusters.{spec.name}.prometheus.pod_monitors, or have Prometheus read pods with "
            f"the annotation prometheus.io/scrape; its namespace is {spec.prometheus.namespace} for the NetworkPolicy",
        )


def loki_probes(spec: ClusterSpec, open_loki: Callable[[], Loki | None]) -> Iterator[Probe]:
    subject = f"cluster {spec.name}: Loki"
    if spec.loki is not None:
        server = _server(spec, spec.loki.address)
        yield Probe(subject, lambda: look_at_loki(subject, spec, open_loki()), server)


def _server(spec: ClusterSpec, address: str | None) -> str:
    """The cluster, where its API server has to answer first."""
    return f"cluster {spec.name}" if address and proxy_path(address) else ""


def look_at_loki(subject: str, spec: ClusterSpec, loki: Loki | None) -> Iterator[Check]:
    assert loki is not None, "the entry names one"
    labels, wanted = loki.labels(), spec.loki.namespace_label if spec.loki else ""
    if wanted in labels:
        yield ok(subject, f"{loki.address} has streams with the label {wanted}")
        return
    known = ", ".join(sorted(labels)[:20]) or "none"
    yield finding(
        subject,
        f"no stream of the last hours at {loki.address} has the label {wanted}; labels are: {known}",
        f"set clusters.{spec.name}.loki.namespace_label to the label with the namespace of pods, and "
        "loki.tenant where Loki has tenants",
    )
