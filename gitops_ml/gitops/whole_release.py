"""Check that rendered objects are a whole release, without annotations that would delete them.

Helm leaves out hooks when it renders, and Argo CD deletes what is not rendered any more. So a
``helm.sh/hook`` in the wrong place empties a release without an error. This is the last check before a
commit, for values from any source.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gitops_ml.documents.plain_data import within
from gitops_ml.documents.yaml_reader import load_all_yaml

_KIND = re.compile(r"^kind: [\"']?(\w+)", re.M)
_FROM_CHART = {
    "argocd.argoproj.io/sync-wave": re.compile(r"-?[0-9]+"),
    "helm.sh/chart": re.compile(r"[a-z-]+-[0-9.]+"),
    "app.kubernetes.io/managed-by": re.compile("Helm"),
}
"""The keys that Helm and Argo CD act on and that the chart writes, with their allowed values."""
_ACTED_ON = re.compile(
    r"(?:.*\.)?(?:argoproj\.io|helm\.sh)/.*|app\.kubernetes\.io/managed-by"
    r"|kubectl\.kubernetes\.io/last-applied-configuration"
)
_SUSPICIOUS = re.compile(
    r"^ +[\"']?(?!argocd\.argoproj\.io/sync-wave[\"']?: \"-?[0-9]+\"$)(?!helm\.sh/chart: [a-z]+-[0-9.]+$)"
    r"(?!app\.kubernetes\.io/managed-by: Helm$)[^\s:\"']*"
    r"(?:argoproj\.io/|helm\.sh/|managed-by|last-applied)",
    re.M,
)


def faults_of_text(values: Mapping[str, Any], text: str) -> tuple[str, ...]:
    """What is wrong with the ``manifest.yaml`` of these values; it is parsed only where its text may
    contain a key that Helm or Argo CD acts on."""
    faults = _missing(values, Counter(_KIND.findall(text)))
    if _SUSPICIOUS.search(text):
        faults += tuple(_acted_on(load_all_yaml(text)))
    return faults


def faults_of_values(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of a ``values.yaml`` that would change what Helm and Argo CD do with the objects."""
    metadata = [within(values, name) for name in ("annotations", "labels")]
    metadata += [within(values, name) for name in ("podAnnotations", "podLabels")]
    metadata.append(within(values, "serviceAccount", "annotations"))
    metadata.append(within(values, "route", "ingress", "annotations"))
    keys = sorted({key for each in metadata for key in each if _ACTED_ON.fullmatch(key)})
    return tuple(f"the values have {key}, which decides whether objects are kept" for key in keys)


def _missing(values: Mapping[str, Any], found: Counter[str]) -> tuple[str, ...]:
    lost = [kind for kind, count in expected_kinds(values).items() if found[kind] < count]
    return (f"Helm rendered no {', '.join(lost)}",) if lost else ()


def expected_kinds(values: Mapping[str, Any]) -> Counter[str]:
    """The least number of objects of each kind that the predictor chart renders for these values."""
    scaling, route = within(values, "autoscaling"), within(values, "route")
    kinds = Counter(("Deployment", "Service", "ServiceAccount"))
    has_preflight = within(values, "preflight").get("check", "none") != "none"
    if values.get("runtime"):
        kinds["ConfigMap"] += 1 + has_preflight
    if within(values, "networkPolicy").get("enabled", True):
        kinds["NetworkPolicy"] += 1 + has_preflight
    kinds["Job"] += has_preflight
    if scaling.get("enabled"):
        kinds["ScaledObject"] += 1
        triggers = [each for each in scaling.get("triggers") or () if isinstance(each, Mapping)]
        kinds["TriggerAuthentication"] += sum(bool(each.get("authentication")) for each in triggers)
    if within(scaling, "httpAddon").get("enabled"):
        kinds["InterceptorRoute"] += 1
    kinds[{"httpRoute": "HTTPRoute", "ingress": "Ingress"}.get(str(route.get("type")), "")] += 1
    kinds["ExternalSecret"] += len(values.get("externalSecrets") or ())
    if within(values, "podMonitor").get("enabled"):
        kinds["PodMonitor"] += 1
    kinds.update(_monitoring_kinds(values))
    del kinds[""]
    return +kinds


def _monitoring_kinds(values: Mapping[str, Any]) -> Iterator[str]:
    """A ready-made container may have no metrics that an alert or a panel is about."""
    monitoring = within(values, "monitoring")
    if values.get("runtime") or within(monitoring, "sources").get("kubeStateMetrics"):
        if within(monitoring, "alerts").get("enabled"):
            yield "PrometheusRule"
        kind = str(within(monitoring, "dashboard").get("type"))
        yield {"configMap": "ConfigMap", "grafanaDashboard": "GrafanaDashboard"}.get(kind, "")


def _acted_on(objects: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for item in objects:
        for metadata in _metadata_of(item):
            for section in ("annotations", "labels"):
                for key, value in (metadata.get(section) or {}).items():
                    allowed = _FROM_CHART.get(key)
                    if _ACTED_ON.fullmatch(key) and not (allowed and allowed.fullmatch(str(value))):
                        yield f"{item.get('kind')} has {key}, which decides whether it is kept"


def _metadata_of(item: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield item.get("metadata") or {}
    template = (item.get("spec") or {}).get("template")
    if isinstance(template, dict):
        yield template.get("metadata") or {}
