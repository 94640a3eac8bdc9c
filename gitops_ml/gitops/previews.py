"""Make Argo CD's objects for previews: releases of labelled pull requests, each in a namespace of its own.

The pull request is one of the GitOps repository. Its label chooses it, its branch or a second label the
API: ``gitops-ml/deploy/staging/iris`` or ``preview-iris``. From the pull request come the values alone: the
charts are those of the branch that Argo CD syncs. The values below are laid over them, so that a preview
has no secret, no route, no identity and no volume, whatever the pull request says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.git.commits import RenderedFile
from gitops_ml.gitops import layout
from gitops_ml.gitops.argo import API_VERSION, CHART_KINDS, MANAGED_BY
from gitops_ml.gitops.proposal_branch import PREFIX
from gitops_ml.project.project import OWN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.forge.address import ForgeAddress
    from gitops_ml.project.project import (
        ClusterSpec,
        EnvironmentSpec,
        GitopsSpec,
        GpuClass,
        PreviewSpec,
    )

CHART, CHART_VERSION = "preview", "0.1.0"
"""Of `charts/preview`; a test compares."""
_REQUEUE_SECONDS = 180
_NEVER = frozenset({
    "ExternalSecret", "HTTPRoute", "Ingress", "InterceptorRoute", "PodMonitor", "TriggerAuthentication",
})  # fmt: skip
"""Kinds of the charts that a preview does not have: secrets, routes, and what reads them."""
_OVER_THE_VALUES: Mapping[str, Any] = {
    "secretEnv": [],
    "externalSecrets": [],
    "imagePullSecrets": [],
    "volumes": [],
    "hostAliases": [],
    "serviceAccount": {"annotations": None},
    "podAnnotations": None,
    "route": {"type": "none"},
    "podMonitor": {"enabled": False},
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

    @property
    def name(self) -> str:
        return f"{OWN_PREFIX}previews-{self.environment.name}"

    @property
    def namespaces(self) -> str:
        return f"{self.previews.namespace}-*"

    @property
    def gpu_class(self) -> GpuClass | None:
        chosen = self.previews.gpu_class
        return self.cluster.gpu_classes[chosen] if chosen else None


def previews_path(environment: str) -> str:
    return f"{layout.ARGOCD}/previews/{environment}.yaml"


def previews_file(place: PreviewPlace) -> RenderedFile:
    """``argocd/previews/<environment>.yaml``: the AppProject and the ApplicationSet of the previews."""
    documents = (preview_project(place), preview_set(place))
    text = "".join(f"---\n{write_yaml(each)}" for each in documents)
    return RenderedFile(previews_path(place.environment.name), text.encode())


def preview_project(place: PreviewPlace) -> Mapping[str, Any]:
    """What previews may have: the kinds of the charts without secrets and routes, in their namespaces."""
    kinds = [("", "LimitRange"), ("", "ResourceQuota"), *CHART_KINDS]
    return {
        "apiVersion": API_VERSION,
        "kind": "AppProject",
        "metadata": _metadata(place, wave="0"),
        "spec": {
            "description": f"Previews of pull requests for {place.environment.name}, written by gitops-ml",
            "sourceRepos": [place.gitops.argocd_url],
            "destinations": [{"server": place.cluster.server, "namespace": place.namespaces}],
            "clusterResourceWhitelist": [
                {"group": "", "kind": "Namespace", "name": place.namespaces}
            ],
            "namespaceResourceWhitelist": [
                {"group": group, "kind": kind}
                for group, kind in sorted(kinds)
                if kind not in _NEVER
            ],
        },
    }


def preview_set(place: PreviewPlace) -> Mapping[str, Any]:
    """The ApplicationSet that makes an Application of each labelled pull request."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ApplicationSet",
        "metadata": _metadata(place, wave="1"),
        "spec": {
            "goTemplate": True,
            "goTemplateOptions": ["missingkey=error"],
            "generators": [{"matrix": {"generators": [_pull_requests(place), _release(place)]}}],
            "template": {
                "metadata": {
                    "name": f"preview-{place.environment.name}-{{{{ .number }}}}-{{{{ .name }}}}",
                    "labels": {**MANAGED_BY, "gitops-ml.dev/preview": "{{ .number }}"},
                    # The pull request is closed: the Application goes, and its namespace with it.
                    "finalizers": ["resources-finalizer.argocd.argoproj.io"],
                },
                "spec": _application(place),
            },
        },
    }


def _metadata(place: PreviewPlace, *, wave: str) -> Mapping[str, Any]:
    return {
        "name": place.name,
        "namespace": place.gitops.argocd_namespace,
        "labels": MANAGED_BY,
        "annotations": {"argocd.argoproj.io/sync-wave": wave},
    }


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
    return {
        "pullRequest": {
            place.forge.type: fields,
            "filters": [{"branchMatch": f"^{PREFIX}"}],
            "requeueAfterSeconds": _REQUEUE_SECONDS,
        }
    }


def _release(place: PreviewPlace) -> Mapping[str, Any]:
    """The release of the API that the branch names, or the label ``<label>-<api>``."""
    name, prefix = place.environment.name, f"{place.previews.label}-"
    chosen = (
        f"{{{{- $api := trimPrefix `{PREFIX}deploy/{name}/` .branch -}}}}"
        f"{{{{- range .labels -}}}}{{{{- if hasPrefix `{prefix}` . -}}}}"
        f"{{{{- $api = trimPrefix `{prefix}` . -}}}}"
        "{{- end -}}{{- end -}}"
    )
    return {
        "git": {
            "repoURL": place.gitops.argocd_url,
            "revision": "{{ .head_sha }}",
            "files": [
                {"path": f"{chosen}{layout.release_directory(name, '{{ $api }}')}/{layout.RELEASE}"}
            ],
        }
    }


def _application(place: PreviewPlace) -> Mapping[str, Any]:
    namespace = f"{place.previews.namespace}-{{{{ .number }}}}-{{{{ .name }}}}"
    source = {
        "repoURL": place.gitops.argocd_url,
        "targetRevision": f"refs/heads/{place.gitops.branch}",
    }
    directory = layout.release_directory(place.environment.name, "{{ .name }}")
    return {
        "project": place.name,
        "sources": [
            {
                **source,
                "path": layout.chart_directory(CHART, CHART_VERSION),
                "helm": {"releaseName": "preview", "valuesObject": _quota(place, namespace)},
            },
            {
                **source,
                "path": layout.chart_directory("{{ .chart.name }}", "{{ .chart.version }}"),
                "helm": {
                    "releaseName": "{{ .name }}",
                    "valueFiles": [f"$proposal/{directory}/{layout.VALUES}"],
                    "valuesObject": preview_values(place),
                },
            },
            {"repoURL": source["repoURL"], "targetRevision": "{{ .head_sha }}", "ref": "proposal"},
        ],
        # Not from the pull request, which could name any namespace.
        "destination": {"server": place.cluster.server, "namespace": namespace},
        "syncPolicy": {
            "automated": {"prune": True, "selfHeal": True},
            "retry": {"limit": 5, "backoff": {"duration": "5s", "factor": 2, "maxDuration": "3m"}},
            "syncOptions": ["ServerSideApply=true", "RespectIgnoreDifferences=true"],
        },
        "ignoreDifferences": [
            {"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}
        ],
    }


def _quota(place: PreviewPlace, namespace: str) -> Mapping[str, Any]:
    quota, chosen = place.previews.quota, place.gpu_class
    gpus = {each.resource: 0 for each in place.cluster.gpu_classes.values()}
    if chosen is not None:
        gpus[chosen.resource] = quota.gpus
    return {
        "namespace": namespace,
        "pullRequest": "{{ .number }}",
        "quota": {"cpu": quota.cpu, "memory": quota.memory, "pods": quota.pods, "gpus": gpus},
    }


def preview_values(place: PreviewPlace) -> Mapping[str, Any]:
    """The values that are laid over those of the release."""
    return {
        **_OVER_THE_VALUES,
        "autoscaling": _autoscaling(place.previews),
        "resources": {"gpu": _gpu(place.gpu_class)},
    }


def _autoscaling(previews: PreviewSpec) -> Mapping[str, Any]:
    """One replica; with hours, none outside of them: a schedule exists while nothing runs."""
    if previews.hours is None:
        return {"enabled": False}
    hours = {
        "timezone": previews.hours.time_zone, "start": previews.hours.start,
        "end": previews.hours.end, "replicas": 1,
    }  # fmt: skip
    return {
        "enabled": True,
        "minReplicas": 0,
        "maxReplicas": 1,
        "paused": False,
        "inFlight": {"enabled": False},
        "httpAddon": {"enabled": False},
        "cpu": {"enabled": False},
        "fallback": {"replicas": None},
        "triggers": [],
        "cron": [hours],
    }


def _gpu(chosen: GpuClass | None) -> Mapping[str, Any]:
    if chosen is None:
        return {"count": 0}
    return {
        "resource": chosen.resource,
        "nodeSelector": dict(chosen.node_selector),
        "tolerations": list(chosen.tolerations),
    }
