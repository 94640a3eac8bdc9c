"""Make Argo CD's objects: one ApplicationSet per environment, one AppProject per team.

The fields are those of Argo CD 3.5 (pages `applicationset`, `auto_sync`, `sync-options` and `project`
of its manual).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from gitops_ml.documents.yaml_reader import load_yaml
from gitops_ml.gitops import layout
from gitops_ml.project.project import OWN_PREFIX, EnvironmentSpec, GitopsSpec, Project

Destination = tuple[str, str]
"""The API server's address and a namespace."""

API_VERSION = "argoproj.io/v1alpha1"
MANAGED_BY = {"app.kubernetes.io/managed-by": "gitops-ml"}
MODE_OF = "gitops-ml.dev/mode-of"
"""The annotation of an ApplicationSet that names the project which switched a shared environment."""

# Exactly the kinds of the charts: with more, a team may create what it does not need; with less, the
# sync fails. A test compares this with the rendered charts.
CHART_KINDS = (
    ("", "ConfigMap"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("apps", "Deployment"),
    ("batch", "Job"),
    ("external-secrets.io", "ExternalSecret"),
    ("gateway.networking.k8s.io", "HTTPRoute"),
    ("grafana.integreatly.org", "GrafanaDashboard"),
    ("http.keda.sh", "InterceptorRoute"),
    ("keda.sh", "ScaledObject"),
    ("keda.sh", "TriggerAuthentication"),
    ("monitoring.coreos.com", "PodMonitor"),
    ("monitoring.coreos.com", "PrometheusRule"),
    ("networking.k8s.io", "Ingress"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("policy", "PodDisruptionBudget"),
)


# A person who may merge to releases/ chooses the team there, and must not get the rights of the root
# or of Argo CD's own AppProject: such an Application names an AppProject that does not exist.
_PROJECT = (
    f"{{{{ if or (eq .team `default`) (hasPrefix `{OWN_PREFIX}` .team) }}}}refused-{{{{ end }}}}"
    "{{ .team }}"
)


def application_set(
    environment: EnvironmentSpec, gitops: GitopsSpec, *, mode_of: str | None = None
) -> Mapping[str, Any]:
    """The ApplicationSet that turns each ``release.yaml`` of the environment into an Application.

    ``mode_of`` is the project that decides the mode of a shared environment.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "ApplicationSet",
        "metadata": {
            "name": f"{OWN_PREFIX}{environment.name}",
            "namespace": gitops.argocd_namespace,
            "labels": {**MANAGED_BY, "gitops-ml.dev/environment": environment.name},
            "annotations": {
                # The root writes the AppProjects before: without its AppProject an Application is
                # refused, and tried again only after three minutes.
                "argocd.argoproj.io/sync-wave": "1",
                **({MODE_OF: mode_of} if mode_of else {}),
            },
        },
        "spec": {
            "goTemplate": True,
            "goTemplateOptions": ["missingkey=error"],
            "generators": [{"git": _generator(environment, gitops)}],
            **_set_policy(environment),
            "template": {
                "metadata": _application_metadata(environment),
                "spec": _application_spec(environment, gitops),
            },
        },
    }


def _generator(environment: EnvironmentSpec, gitops: GitopsSpec) -> Mapping[str, Any]:
    # No other file has this name, since `*` of the generator matches slashes, too.
    return {
        "repoURL": gitops.argocd_url,
        "revision": f"refs/heads/{gitops.branch}",
        "files": [{"path": f"{layout.RELEASES}/{environment.name}/*/{layout.RELEASE}"}],
        "requeueAfterSeconds": 180,
    }


def _set_policy(environment: EnvironmentSpec) -> Mapping[str, Any]:
    """A mistake in Git does not delete the Applications of a protected environment, nor their objects."""
    if not environment.protected:
        return {}
    return {
        "syncPolicy": {"applicationsSync": "create-update", "preserveResourcesOnDeletion": True}
    }


def _application_metadata(environment: EnvironmentSpec) -> Mapping[str, Any]:
    directory = layout.release_directory(environment.name, "{{ .name }}")
    metadata: dict[str, Any] = {
        "name": "{{ .name }}-{{ .environment }}",
        "labels": {
            **MANAGED_BY,
            "gitops-ml.dev/api": "{{ .name }}",
            "gitops-ml.dev/environment": "{{ .environment }}",
            "gitops-ml.dev/team": "{{ .team }}",
        },
        "annotations": {
            # Argo CD renders the release again only for a change of these paths; without them it
            # would render every release for each commit.
            "argocd.argoproj.io/manifest-generate-paths": f".;/{directory}",
            "gitops-ml.dev/deployment-id": "{{ .deployment_id }}",
        },
    }
    if not environment.protected:
        metadata["finalizers"] = ["resources-finalizer.argocd.argoproj.io"]
    return metadata


def _application_spec(environment: EnvironmentSpec, gitops: GitopsSpec) -> Mapping[str, Any]:
    return {
        "project": _PROJECT,
        "source": {
            "repoURL": gitops.argocd_url,
            "targetRevision": f"refs/heads/{gitops.branch}",
            **_source(environment, gitops.mode),
        },
        # Both from the release: projects may use one name of an environment for different clusters.
        # The AppProject limits the clusters of a team.
        "destination": {"server": "{{ .server }}", "namespace": "{{ .namespace }}"},
        "syncPolicy": {
            "automated": {"prune": True, "selfHeal": True, "allowEmpty": False},
            "retry": {
                "limit": 5,
                "refresh": True,
                "backoff": {"duration": "5s", "factor": 2, "maxDuration": "3m"},
            },
            "syncOptions": [
                "CreateNamespace=true",
                "PruneLast=true",
                "RespectIgnoreDifferences=true",
                "ServerSideApply=true",
            ],
            "managedNamespaceMetadata": {
                "labels": {
                    "pod-security.kubernetes.io/enforce": "restricted",
                    "pod-security.kubernetes.io/warn": "restricted",
                }
            },
        },
        # KEDA owns the number of replicas, which is not in Git. Without this, Argo CD would revert
        # the autoscaler after a manual scale or an older Deployment with `replicas`.
        "ignoreDifferences": [
            {"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}
        ],
        "revisionHistoryLimit": 10,
    }


def _source(environment: EnvironmentSpec, mode: str) -> Mapping[str, Any]:
    """The source by mode: Helm's chart and values, or plain YAML."""
    directory = layout.release_directory(environment.name, "{{ .name }}")
    if mode == "manifests":
        return {"path": directory, "directory": {"include": layout.MANIFEST}}
    return {
        "path": layout.chart_directory("{{ .chart.name }}", "{{ .chart.version }}"),
        "helm": {"releaseName": "{{ .name }}", "valueFiles": [f"/{directory}/{layout.VALUES}"]},
    }


def app_project(
    team: str, project: Project, gitops: GitopsSpec, *, others: Iterable[Destination] = ()
) -> Mapping[str, Any]:
    """The AppProject of a team: this repository, its namespaces and the kinds of the charts only.

    ``others`` are destinations of releases of other projects of this team.
    """
    destinations = [
        {"server": server, "namespace": namespace}
        for server, namespace in sorted({*_destinations(team, project), *others})
    ]
    namespaces = sorted({destination["namespace"] for destination in destinations})
    return {
        "apiVersion": API_VERSION,
        "kind": "AppProject",
        "metadata": {
            "name": team,
            "namespace": gitops.argocd_namespace,
            "labels": MANAGED_BY,
        },
        "spec": {
            "description": f"Prediction APIs of {team}, written by gitops-ml",
            "sourceRepos": [gitops.argocd_url],
            "destinations": destinations,
            "clusterResourceWhitelist": [
                {"group": "", "kind": "Namespace", "name": namespace} for namespace in namespaces
            ],
            "namespaceResourceWhitelist": [
                {"group": group, "kind": kind} for group, kind in CHART_KINDS
            ],
            **_roles(team, project),
        },
    }


def destinations_in(content: bytes) -> set[Destination]:
    """The destinations of an AppProject's file; none where it is not valid."""
    try:
        found = load_yaml(content)["spec"]["destinations"]
        return {(str(each["server"]), str(each["namespace"])) for each in found}
    except (yaml.YAMLError, KeyError, TypeError):
        return set()


def roles_in(content: bytes) -> list[Any]:
    """The roles in the text of an AppProject; none where it cannot be read."""
    try:
        return list(load_yaml(content)["spec"].get("roles") or ())
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        return []


def mode_in(content: bytes) -> tuple[str, str | None] | None:
    """The mode in the text of an ApplicationSet, and the project that decides it, if one does.

    `None` where the text cannot be read.
    """
    try:
        found = load_yaml(content)
        source = found["spec"]["template"]["spec"]["source"]
        mode = "manifests" if "directory" in source else "chart"
        decider = (found["metadata"].get("annotations") or {}).get(MODE_OF)
        return mode, decider if isinstance(decider, str) else None
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError):
        return None


def _destinations(team: str, project: Project) -> list[Destination]:
    spec = project.teams.get(team)
    return [
        (project.clusters[environment.cluster].server, environment.namespace)
        for environment in project.environments.values()
        if spec is None or not spec.namespaces or environment.namespace in spec.namespaces
    ]


def _roles(team: str, project: Project) -> Mapping[str, Any]:
    spec = project.teams.get(team)
    if spec is None or not spec.groups:
        return {}
    policies = [
        f"p, proj:{team}:member, applications, {verb}, {team}/*, allow" for verb in ("get", "sync")
    ]
    return {"roles": [{"name": "member", "groups": list(spec.groups), "policies": policies}]}


def teams_of(project: Project, used: Iterable[str]) -> tuple[str, ...]:
    """Every team that gets an AppProject: the teams of the project file and of the APIs."""
    return tuple(sorted({*project.teams, *used}))
