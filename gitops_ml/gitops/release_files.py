"""Write the files of the GitOps repository: equal releases give equal bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from gitops_ml.documents.plain_data import within, without_empty
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.git.commits import RenderedFile
from gitops_ml.gitops import argo, layout
from gitops_ml.gitops.release_yaml import (
    Provenance,
    Refresh,
    deployment_id,
    deployment_id_of,
    own_text,
    read_fields,
    split_provenance,
)
from gitops_ml.helm.charts import Chart
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.project import ClusterSpec, Project
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.release.values.chart import chart_values, pod_part


@dataclass(frozen=True, slots=True)
class ReleaseText:
    """The files of a release, without its provenance."""

    deployment_id: str
    values: str
    """``values.yaml``."""
    facts: str
    """``release.yaml`` up to the provenance."""
    data: str
    """The values as JSON, which Helm's engines take and which parses a hundred times faster."""

    def refreshed(self, refresh: Refresh | None) -> ReleaseText:
        """The text with the refresh of the current release, if it refreshed the same deployment."""
        if refresh is None or refresh.of != self.deployment_id:
            return self
        before, after = f'"deploymentId": "{refresh.of}"', refresh.deployment_id
        return ReleaseText(
            deployment_id=after,
            values=refresh.values(self.values, before=refresh.of),
            facts=refresh.facts(self.facts, before=refresh.of),
            data=self.data.replace(before, f'"deploymentId": "{after}"', 1),
        )

    @property
    def has_alerts(self) -> bool:
        return '"alerts": {' in self.data

    def with_alert_origin(
        self, release: bytes | None, values: bytes | None, *, commit: str | None
    ) -> ReleaseText:
        """The text whose alerts name the source commit, and the deployment to compare predictions with.

        ``release`` and ``values`` are the files of the current release: both facts are kept while the
        deployment id is the same.
        """
        made = json.loads(self.data)
        alerts = made.get("monitoring", {}).get("alerts")
        if alerts is None:
            return self
        before = deployment_id_of(release)
        if before == self.deployment_id:
            alerts |= _alert_origin(values)
        else:
            alerts |= without_empty(commit=commit, previousDeploymentId=before)
        data = json.dumps(made, ensure_ascii=False)
        return replace(self, values=write_yaml(made), data=data)


_MONITORING = re.compile(r"^monitoring:\n(?: .*\n)+", re.M)


def _alert_origin(values: bytes | None) -> dict[str, str]:
    """The facts of `ReleaseText.with_alert_origin` in a ``values.yaml``."""
    match = _MONITORING.search(own_text(values))
    alerts = within(read_fields(match[0] if match else None), "monitoring", "alerts")
    names = ("commit", "previousDeploymentId")
    return {name: str(alerts[name]) for name in names if alerts.get(name)}


@dataclass(frozen=True, slots=True)
class Release:
    """One rendered release."""

    name: str
    environment: str
    team: str
    namespace: str
    image: ImageRef
    content_hash: str | None
    """Of the image's inputs, 64 hex; ``None`` for a ready-made image."""
    chart: Chart
    text: ReleaseText

    @property
    def deployment_id(self) -> str:
        return self.text.deployment_id

    @property
    def directory(self) -> str:
        return layout.release_directory(self.environment, self.name)


def release_text(
    spec: ReleaseSpec,
    cluster: ClusterSpec,
    *,
    image: ImageRef,
    proxy: ImageRef | None = None,
    content_hash: str | None,
    chart: Chart,
    project: str,
    manifest: Mapping[str, Any],
    manifest_file: str,
) -> ReleaseText:
    """The values, deployment id and ``release.yaml`` of ``spec``.

    ``manifest`` is the API as submitted; ``manifest_file`` is relative to the source project.
    """
    values = chart_values(spec, cluster, image=image, proxy=proxy)
    identity = deployment_id(
        spec.name, {"chart": [chart.name, chart.pod_version], "values": pod_part(values)}
    )
    values["api"]["deploymentId"] = identity
    facts = {
        "name": spec.name,
        "environment": spec.environment,
        "team": spec.team,
        "namespace": spec.namespace,
        "server": cluster.server,
        "project": project,
        "deployment_id": identity,
        "chart": {"name": chart.name, "version": chart.version},
        "image": _image(image),
        **({"proxy": _image(proxy)} if proxy else {}),
        "content_hash": content_hash,
        "manifest_file": manifest_file,
        "manifest": manifest,
    }
    data = json.dumps(values, ensure_ascii=False)
    return ReleaseText(identity, write_yaml(values), write_yaml(facts), data)


def _image(image: ImageRef) -> dict[str, str | None]:
    return {"repository": image.repository, "tag": image.tag, "digest": image.digest}


def release_files(
    release: Release,
    *,
    provenance: Provenance | Mapping[str, Any],
    previous: bytes | None,
    manifests: bytes | None = None,
) -> tuple[RenderedFile, ...]:
    """``values.yaml``, ``release.yaml`` and, in mode ``manifests``, ``manifest.yaml``.

    ``previous`` is the ``release.yaml`` of the current release: its provenance is kept while the
    deployment id is the same, as it states where the pods came from. Who changed only the scaling or a
    route is in the commit. A release that is derived from another one has that one's provenance, as a
    mapping.
    """
    facts = _with_provenance(release.text, provenance, previous)
    files = [
        RenderedFile(f"{release.directory}/{layout.RELEASE}", facts),
        RenderedFile(f"{release.directory}/{layout.VALUES}", release.text.values.encode()),
    ]
    if manifests is not None:
        files.append(RenderedFile(f"{release.directory}/{layout.MANIFEST}", manifests))
    return tuple(files)


def _with_provenance(
    text: ReleaseText, provenance: Provenance | Mapping[str, Any], previous: bytes | None
) -> bytes:
    head, kept = split_provenance(previous)
    if kept and deployment_id_of(head) == text.deployment_id:
        return (text.facts + kept).encode()
    fields = provenance.fields() if isinstance(provenance, Provenance) else provenance
    return (text.facts + write_yaml({"provenance": fields})).encode()


def with_provenance(text: str, provenance: Mapping[str, Any]) -> str:
    """A ``release.yaml`` with its provenance replaced by this one."""
    return split_provenance(text)[0] + write_yaml({"provenance": provenance})


def environment_files(
    project: Project,
    environments: Iterable[str],
    teams: Iterable[str],
    *,
    others: Mapping[str, Iterable[argo.Destination]],
    mode_of: Mapping[str, str | None] = MappingProxyType({}),
) -> tuple[RenderedFile, ...]:
    """The ApplicationSets of ``environments`` and the AppProjects of every team.

    ``others`` are the destinations of other projects' releases, by team; ``mode_of`` the project
    that decides the mode, by environment.
    """
    gitops = project.gitops
    if gitops is None:
        return ()
    files = []
    for name in environments:
        environment = project.environments[name]
        document = argo.application_set(environment, gitops, mode_of=mode_of.get(name))
        files.append(_document(layout.application_set_path(name), document))
    for team in argo.teams_of(project, teams):
        document = argo.app_project(team, project, gitops, others=others.get(team, ()))
        files.append(_document(layout.app_project_path(team), document))
    return tuple(sorted(files))


def _document(path: str, data: Mapping[str, Any]) -> RenderedFile:
    return RenderedFile(path, write_yaml(data).encode())


def chart_files(charts: Iterable[Chart]) -> tuple[RenderedFile, ...]:
    """The files of the base charts, at their paths in the GitOps repository."""
    return tuple(
        RenderedFile(
            f"{layout.chart_directory(chart.name, chart.version)}/{file.path}", file.content
        )
        for chart in charts
        for file in chart.files
    )


def objects_text(objects: Iterable[Mapping[str, Any]]) -> bytes:
    """Rendered Kubernetes objects as one YAML stream, in Helm's order."""
    return "".join(f"---\n{write_yaml(item)}" for item in objects).encode()
