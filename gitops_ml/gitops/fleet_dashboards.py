"""Write the dashboard of each environment, with all of its APIs, for an administrator to apply."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.git.commits import RenderedFile
from gitops_ml.gitops import layout
from gitops_ml.gitops.argo import MANAGED_BY
from gitops_ml.project.project import EnvironmentSpec, GrafanaSpec, Project
from gitops_ml.system.resources import resource_text

_TEMPLATE = "bootstrap/fleet.json"


def fleet_dashboards(project: Project, environments: Iterable[str]) -> tuple[RenderedFile, ...]:
    """``bootstrap/dashboards/<environment>.yaml`` where the cluster has a Grafana.

    The root does not sync it: its AppProject allows no ConfigMap, since Argo CD's own rights are in one.
    """
    found = []
    for name in environments:
        place = project.environments[name]
        if (grafana := project.clusters[place.cluster].grafana) is not None:
            text = write_yaml(_object(place, grafana, _dashboard(place)))
            found.append(RenderedFile(layout.fleet_dashboard_path(name), text.encode()))
    return tuple(found)


def _dashboard(place: EnvironmentSpec) -> str:
    """The dashboard as `python -m dashboards` wrote it, for this environment."""
    uid = hashlib.sha256(f"{place.cluster}/{place.namespace}".encode()).hexdigest()[:20]
    inserted = {"NAMESPACE": place.namespace, "ENVIRONMENT": place.name, "UID": f"gitops-ml-{uid}"}
    text = resource_text(_TEMPLATE)
    for name, value in inserted.items():
        text = text.replace(f"@{name}@", value)
    return text


def _object(place: EnvironmentSpec, grafana: GrafanaSpec, dashboard: str) -> Mapping[str, Any]:
    metadata: dict[str, Any] = {
        "name": f"gitops-ml-fleet-{place.name}",
        "namespace": place.namespace,
        "labels": {**MANAGED_BY, "gitops-ml.dev/environment": place.name, **grafana.labels},
    }
    if grafana.type == "config_map":
        if grafana.folder:
            metadata["annotations"] = {"grafana_folder": grafana.folder}
        data = {f"{place.namespace}-fleet.json": dashboard}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    return {
        "apiVersion": "grafana.integreatly.org/v1beta1",
        "kind": "GrafanaDashboard",
        "metadata": metadata,
        "spec": {
            "allowCrossNamespaceImport": True,
            "instanceSelector": {"matchLabels": dict(grafana.instance_selector)},
            **({"folder": grafana.folder} if grafana.folder else {}),
            "json": dashboard,
        },
    }
