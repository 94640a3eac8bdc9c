"""Make Argo CD's objects for previews: what a labelled pull request changes, in a namespace of its own.

An ApplicationSet sees the number, the branch and the labels of a pull request, and not the files that it
changes. So a pull request brings a list, `previews/<environment>/<branch>.yaml`. Two ApplicationSets
read it at the head of the pull request:

* the one of places makes an Application with the namespace, its quota and its Pod Security level. It has
  the chart of the branch that Argo CD syncs, and an AppProject that allows no pods.
* the one of previews makes an Application of each release in the list. Chart and values are those of the
  pull request. Its AppProject allows no namespace, quota, secret or route: a chart that the pull request
  changes cannot loosen its place.

The values below are laid over those of the release: no secret, no route, no identity, no volume. The secrets of
previews, where the project file lists some, belong to the place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from gitops_ml.documents.plain_data import without_empty
from gitops_ml.documents.yaml_reader import load_all_yaml
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.forge.address import ForgeAddress
from gitops_ml.git.commits import RenderedFile
from gitops_ml.gitops import layout
from gitops_ml.gitops.argo import (
    CHART_KINDS,
    MANAGED_BY,
    NOT_IN_GIT,
    SYNC_WAVE,
    argo_object,
    kinds_of,
    set_spec,
    yaml_file,
)
from gitops_ml.project.project import (
    OWN_PREFIX,
    ClusterSpec,
    EnvironmentSpec,
    GitopsSpec,
    GpuClass,
    PreviewSpec,
)

CHART, CHART_VERSION = "preview", "0.2.0"
"""Of `charts/preview`; a test compares."""
_REQUEUE_SECONDS = 180
_PROJECT = "gitops-ml.dev/project"
_PLACE_KINDS = (("", "LimitRange"), ("", "ResourceQuota"))
_EXTERNAL_SECRET = ("external-secrets.io", "ExternalSecret")
_NEVER = frozenset({
    "ExternalSecret", "GrafanaDashboard", "HTTPRoute", "Ingress", "Job", "PodMonitor", "PrometheusRule",
    "TriggerAuthentication",
})  # fmt: skip
"""Kinds of the charts that a preview does not have: secrets, routes, monitoring, and what runs on its own."""
_OVER_THE_VALUES: Mapping[str, Any] = {
    "secretEnv": [],
    "externalSecrets": [],
    "imagePullSecrets": [],
    "volumes": [],
    "hostAliases": [],
    "serviceAccount": {"annotations": None},
    "podAnnotations": None,
    "podLabels": None,
    "scheduling": {"priorityClassName": ""},
    # Another pod beside the first one does not fit into a quota that is used.
    "updateStrategy": {"type": "Recreate"},
    "preflight": {"check": "none"},
    "route": {"type": "none"},
    "podMonitor": {"enabled": False},
    "monitoring": {"alerts": {"enabled": False}, "dashboard": {"type": "none"}},
    "podDisruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": True, "allowSameNamespace": True, "from": []},
    "replicas": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewPlace:
    """An environment with previews, and the forge that has the pull requests."""

    environment: EnvironmentSpec
    previews: PreviewSpec
    cluster: ClusterSpec
    gitops: GitopsSpec
    forge: ForgeAddress
    project: str
    """The project whose `previews` hold for the environment."""

    @property
    def name(self) -> str:
        """Of the ApplicationSet and the AppProject of previews."""
        return f"{OWN_PREFIX}previews-{self.environment.name}"

    @property
    def place_name(self) -> str:
        """Of the ApplicationSet and the AppProject of their namespaces."""
        return f"{OWN_PREFIX}preview-places-{self.environment.name}"

    @property
    def gpu_class(self) -> GpuClass | None:
        chosen = self.previews.gpu_class
        return self.cluster.gpu_classes[chosen] if chosen else None


def preview_list(releases: Iterable[tuple[str, str]]) -> bytes:
    """The list of a pull request: each API with its chart, ``predictor/0.2.0``."""
    items = [{"name": api, "chart": chart} for api, chart in releases]
    head = "# What a preview of this pull request shows. After the merge this file has no effect.\n"
    return (head + write_yaml({"releases": items})).encode()


def secrets_warning(
    previews: PreviewSpec, environment: str, wanted: Mapping[str, Iterable[tuple[str, str, str]]]
) -> str | None:
    """What previews of some APIs lack; ``wanted`` has the variable, the Secret and its key of each secret by API."""
    lacking = {
        api: [
            f"{variable} ({key} of {name})"
            for variable, name, key in secrets
            if previews.lacks(name, key)
        ]
        for api, secrets in sorted(wanted.items())
    }
    parts = [f"{api} has no {', '.join(each)}" for api, each in lacking.items() if each]
    if not parts:
        return None
    effect = (
        "their pods do not start"
        if previews.secrets
        else "these variables are not set, so an API that needs them does not start"
    )
    return (
        f"previews in {environment} lack secrets, and {effect}: {'; '.join(parts)}. The owner of "
        f"environments.{environment}.previews.secrets may list secrets that are made for previews"
    )


def previews_file(place: PreviewPlace) -> RenderedFile:
    """``argocd/previews/<environment>.yaml``: the AppProjects and the ApplicationSets of the previews."""
    documents = (place_project(place), preview_project(place), place_set(place), preview_set(place))
    return yaml_file(layout.previews_path(place.environment.name), *documents)


def previews_owner(content: bytes | None) -> str | None:
    """The project whose `previews` are in a file; `None` where there is no file of ours."""
    try:
        documents = load_all_yaml(content or b"")
        return str(documents[0]["metadata"]["annotations"][_PROJECT])
    except (yaml.YAMLError, IndexError, KeyError, TypeError):
        return None


def place_project(place: PreviewPlace) -> Mapping[str, Any]:
    """The namespaces of previews, their limits and secrets; no pods."""
    namespaces = {"group": "", "kind": "Namespace", "name": place.previews.namespaces}
    kinds = (*_PLACE_KINDS, *([_EXTERNAL_SECRET] if place.previews.secrets else ()))
    spec = {**_project(place, kinds), "clusterResourceWhitelist": [namespaces]}
    return _object(place, "AppProject", place.place_name, spec)


def preview_project(place: PreviewPlace) -> Mapping[str, Any]:
    """The kinds of the chart without secrets and routes, in the namespaces of previews only."""
    kinds = [(group, kind) for group, kind in CHART_KINDS if kind not in _NEVER]
    return _object(place, "AppProject", place.name, _project(place, kinds))


def _project(place: PreviewPlace, kinds: Iterable[tuple[str, str]]) -> Mapping[str, Any]:
    return {
        "description": f"Previews of pull requests for {place.environment.name}, written by gitops-ml",
        "sourceRepos": [place.gitops.argocd_url],
        "destinations": [
            {"server": place.cluster.server, "namespace": place.previews.namespaces}
        ],
        "namespaceResourceWhitelist": kinds_of(kinds),
    }  # fmt: skip


def place_set(place: PreviewPlace) -> Mapping[str, Any]:
    """The ApplicationSet that makes the namespace of each labelled pull request with a list."""
    source = {
        "targetRevision": f"refs/heads/{place.gitops.branch}",
        "path": layout.chart_directory(CHART, CHART_VERSION),
        "helm": {"releaseName": CHART, "valuesObject": _limits(place)},
    }
    return _set(place, place.place_name, _lists(place), suffix="", source=source)


def preview_set(place: PreviewPlace) -> Mapping[str, Any]:
    """The ApplicationSet that makes an Application of each release in these lists."""
    directory = layout.release_directory(place.environment.name, "{{ .name }}")
    source = {
        "targetRevision": "{{ .head_sha }}",
        "path": "charts/{{ .chart }}",
        "helm": {
            "releaseName": "{{ .name }}",
            "valueFiles": [f"/{directory}/{layout.VALUES}"],
            "valuesObject": preview_values(place),
        },
    }
    releases = {"list": {"elementsYaml": "{{ .releases | toJson }}"}}
    generator = {"matrix": {"generators": [_lists(place), releases]}}
    return _set(place, place.name, generator, suffix="-{{ .name }}", source=source)


def _set(
    place: PreviewPlace,
    name: str,
    generator: Mapping[str, Any],
    *,
    suffix: str,
    source: Mapping[str, Any],
) -> Mapping[str, Any]:
    metadata = {
        "name": f"preview-{place.environment.name}-{{{{ .number }}}}{suffix}",
        "labels": {**MANAGED_BY, "gitops-ml.dev/preview": "{{ .number }}"},
        # The pull request is closed or not labelled: what it made goes with its Application.
        "finalizers": ["resources-finalizer.argocd.argoproj.io"],
    }
    application = {"project": name, **_application(place, source)}
    spec = set_spec(generator, {"metadata": metadata, "spec": application})
    return _object(place, "ApplicationSet", name, spec)


def _object(
    place: PreviewPlace, kind: str, name: str, spec: Mapping[str, Any]
) -> Mapping[str, Any]:
    # An AppProject before the Applications that name it.
    wave = "0" if kind == "AppProject" else "1"
    annotations = {SYNC_WAVE: wave, _PROJECT: place.project}
    return argo_object(kind, name, place.gitops, spec, annotations=annotations)


def _lists(place: PreviewPlace) -> Mapping[str, Any]:
    """The labelled pull requests that have a list for the environment."""
    path = layout.preview_list_path(place.environment.name, "{{ .branch }}")
    lists = {
        "git": {
            "repoURL": place.gitops.argocd_url,
            "revision": "{{ .head_sha }}",
            "files": [{"path": path}],
        }
    }
    return {"matrix": {"generators": [_pull_requests(place), lists]}}


def _pull_requests(place: PreviewPlace) -> Mapping[str, Any]:
    base = place.forge.api_url
    for suffix in ("/api/v3", "/api/v4", "/api/v1"):
        base = base.removesuffix(suffix)
    owner, _, repository = place.forge.repository.partition("/")
    fields: dict[str, Any] = {"labels": [place.previews.label]}
    if place.forge.type == "gitlab":
        fields |= {
            "project": place.forge.repository,
            "api": f"{base}/",
            "pullRequestState": "opened",
        }
    else:
        fields |= {"owner": owner, "repo": repository}
        if base != "https://api.github.com":
            fields["api"] = f"{base}/"
    if secret := place.previews.token_secret:
        fields["tokenRef"] = {"secretName": secret.name, "key": secret.key}
    return {"pullRequest": {place.forge.type: fields, "requeueAfterSeconds": _REQUEUE_SECONDS}}


def _application(place: PreviewPlace, source: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "source": {"repoURL": place.gitops.argocd_url, **source},
        # Not from the pull request, which could name any namespace.
        "destination": {
            "server": place.cluster.server,
            "namespace": place.previews.namespace_of("{{ .number }}"),
        },
        "syncPolicy": {
            "automated": {"prune": True, "selfHeal": True},
            # The namespace may come after the first attempt.
            "retry": {"limit": 10, "backoff": {"duration": "5s", "factor": 2, "maxDuration": "1m"}},
            "syncOptions": ["ServerSideApply=true", "RespectIgnoreDifferences=true"],
        },
        "ignoreDifferences": NOT_IN_GIT,
    }


def _limits(place: PreviewPlace) -> Mapping[str, Any]:
    quota, chosen = place.previews.quota, place.gpu_class
    gpus = {each.resource: 0 for each in place.cluster.gpu_classes.values()}
    if chosen is not None:
        gpus[chosen.resource] = quota.gpus
    return {
        "namespace": place.previews.namespace_of("{{ .number }}"),
        "pullRequest": "{{ .number }}",
        "quota": {"cpu": quota.cpu, "memory": quota.memory, "pods": quota.pods, "gpus": gpus},
        **without_empty(externalSecrets=_external_secrets(place.previews)),
    }


def _external_secrets(previews: PreviewSpec) -> list[Mapping[str, Any]]:
    """One ExternalSecret for each Secret, with all of its keys."""
    found: dict[str, dict[str, Any]] = {}
    for each in previews.secrets:
        made = found.setdefault(
            each.name, {"name": each.name, "store": each.remote.store, "data": []}
        )
        optional = without_empty(property=each.remote.property)
        made["data"].append({"key": each.key, "remoteKey": each.remote.key, **optional})
    return list(found.values())


def preview_values(place: PreviewPlace) -> Mapping[str, Any]:
    """The values that are laid over those of the release.

    Where previews have secrets, the variables of the release stay: they name Secrets of the preview's namespace, which
    has no others.
    """
    kept = {"secretEnv"} if place.previews.secrets else set()
    return {
        **{key: value for key, value in _OVER_THE_VALUES.items() if key not in kept},
        "autoscaling": _autoscaling(place),
        "resources": {"gpu": _gpu(place.gpu_class)},
    }


def _autoscaling(place: PreviewPlace) -> Mapping[str, Any]:
    """Zero replicas while no request comes, where the cluster can do that; else one."""
    hours, addon = place.previews.hours, place.cluster.http_addon
    if hours is None and not addon:
        return {"enabled": False}
    windows = [] if hours is None else [{
        "timezone": hours.time_zone, "start": hours.start, "end": hours.end, "replicas": 1,
    }]  # fmt: skip
    return {
        "enabled": True,
        "minReplicas": 0,
        "maxReplicas": 1,
        "paused": False,
        "inFlight": {"enabled": False},
        "httpAddon": {"enabled": hours is None, "namespace": place.cluster.keda_namespace},
        "cpu": {"enabled": False},
        "fallback": {"replicas": None},
        "triggers": [],
        "cron": windows,
    }


def _gpu(chosen: GpuClass | None) -> Mapping[str, Any]:
    if chosen is None:
        return {"count": 0}
    return {
        "resource": chosen.resource,
        "nodeSelector": dict(chosen.node_selector),
        "tolerations": list(chosen.tolerations),
    }
