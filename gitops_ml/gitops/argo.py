"""Make Argo CD's objects: one ApplicationSet per environment, one AppProject per team, and the root.

The root is the Application that keeps ``argocd/`` in sync, with an AppProject. An administrator applies it once.
Nothing syncs its file: what is merged cannot change what the root may do. The fields are those of Argo CD 3.5 (pages
`applicationset`, `auto_sync`, `sync-options` and `project` of its manual).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import yaml

from gitops_ml.documents.yaml_reader import load_yaml
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.git.commits import RenderedFile
from gitops_ml.gitops import layout
from gitops_ml.project.project import ARGO_CDS_OWN, OWN_PREFIX, EnvironmentSpec, GitopsSpec, Project

Destination = tuple[str, str]
"""The API server's address and a namespace."""

API_VERSION = "argoproj.io/v1alpha1"
MANAGED_BY = {"app.kubernetes.io/managed-by": "gitops-ml"}
SYNC_WAVE = "argocd.argoproj.io/sync-wave"
MODE_OF = "gitops-ml.dev/mode-of"
"""The annotation of an ApplicationSet that names the project which switched a shared environment."""

_RETRY = {
    "limit": 5,
    "refresh": True,
    "backoff": {"duration": "5s", "factor": 2, "maxDuration": "3m"},
}
NOT_IN_GIT = [{"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}]
"""KEDA owns the number of replicas. Without this, Argo CD would revert the autoscaler after a manual scale or an
older Deployment with `replicas`."""

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
    # No other file has this name, since `*` of the generator matches slashes, too.
    generator = {
        "repoURL": gitops.argocd_url,
        "revision": f"refs/heads/{gitops.branch}",
        "files": [{"path": f"{layout.RELEASES}/{environment.name}/*/{layout.RELEASE}"}],
        "requeueAfterSeconds": 180,
    }
    # A mistake in Git does not delete the Applications of a protected environment, nor their objects.
    policy = {"applicationsSync": "create-update", "preserveResourcesOnDeletion": True}
    template = {
        "metadata": _application_metadata(environment),
        "spec": _application_spec(environment, gitops),
    }
    return argo_object(
        "ApplicationSet",
        f"{OWN_PREFIX}{environment.name}",
        gitops,
        set_spec({"git": generator}, template, policy if environment.protected else None),
        labels={"gitops-ml.dev/environment": environment.name},
        # The root writes the AppProjects before: without its AppProject an Application is refused, and tried
        # again only after three minutes.
        annotations={SYNC_WAVE: "1", **({MODE_OF: mode_of} if mode_of else {})},
    )


def argo_object(
    kind: str,
    name: str,
    gitops: GitopsSpec,
    spec: Mapping[str, Any],
    *,
    labels: Mapping[str, str] = MappingProxyType({}),
    annotations: Mapping[str, str] | None = None,
) -> Mapping[str, Any]:
    """An object in the namespace of Argo CD."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": gitops.argocd_namespace,
        "labels": {**MANAGED_BY, **labels},
    }
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def set_spec(
    generator: Mapping[str, Any],
    template: Mapping[str, Any],
    policy: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    """The spec of an ApplicationSet."""
    return {
        "goTemplate": True,
        "goTemplateOptions": ["missingkey=error"],
        "generators": [generator],
        **({"syncPolicy": policy} if policy else {}),
        "template": template,
    }


def kinds_of(kinds: Iterable[tuple[str, str]]) -> list[Mapping[str, str]]:
    """Groups and kinds as an AppProject lists them."""
    return [{"group": group, "kind": kind} for group, kind in kinds]


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
            "retry": _RETRY,
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
        "ignoreDifferences": NOT_IN_GIT,
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
    known = project.teams.get(team)
    own = (
        (project.clusters[each.cluster].server, each.namespace)
        for each in project.environments.values()
        if known is None or not known.namespaces or each.namespace in known.namespaces
    )
    destinations = [
        {"server": server, "namespace": namespace} for server, namespace in sorted({*own, *others})
    ]
    namespaces = sorted({destination["namespace"] for destination in destinations})
    spec = {
        "description": f"Prediction APIs of {team}, written by gitops-ml",
        "sourceRepos": [gitops.argocd_url],
        "destinations": destinations,
        "clusterResourceWhitelist": [
            {"group": "", "kind": "Namespace", "name": namespace} for namespace in namespaces
        ],
        "namespaceResourceWhitelist": kinds_of(CHART_KINDS),
        **_roles(team, project),
    }
    return argo_object("AppProject", team, gitops, spec)


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


def root_file(gitops: GitopsSpec) -> RenderedFile:
    """``bootstrap/root.yaml``: the same bytes for every project that uses this repository."""
    return yaml_file(layout.ROOT, _root_project(gitops), _root(gitops))


def yaml_file(path: str, *documents: Mapping[str, Any]) -> RenderedFile:
    """A file with the documents, each after a ``---``."""
    text = "".join(f"---\n{write_yaml(each)}" for each in documents)
    return RenderedFile(path, text.encode())


def root_name(gitops: GitopsSpec) -> str:
    """The name of the root: one per repository, however a project file spells its address."""
    address = re.sub(r"^[a-z+]+://", "", gitops.argocd_url).rpartition("@")[2]
    plain = address.replace(":", "/", 1).rstrip("/").removesuffix(".git").lower()
    return f"{OWN_PREFIX}root-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def _root_project(gitops: GitopsSpec) -> Mapping[str, Any]:
    """Only ApplicationSets and AppProjects, only of this repository, only beside Argo CD itself."""
    own = (("argoproj.io", "AppProject"), ("argoproj.io", "ApplicationSet"))
    spec = {
        "description": f"{layout.ARGOCD}/ of {gitops.argocd_url}, written by gitops-ml",
        "sourceRepos": [gitops.argocd_url],
        "destinations": [{"server": ARGO_CDS_OWN, "namespace": gitops.argocd_namespace}],
        # Without a list of kinds for the cluster, Argo CD permits none of them.
        "namespaceResourceWhitelist": kinds_of(own),
    }
    return argo_object("AppProject", root_name(gitops), gitops, spec)


def _root(gitops: GitopsSpec) -> Mapping[str, Any]:
    """Without a finalizer: the removal of the root removes nothing that it synced."""
    spec = {
        "project": root_name(gitops),
        "source": {
            "repoURL": gitops.argocd_url,
            "targetRevision": f"refs/heads/{gitops.branch}",
            "path": layout.ARGOCD,
            "directory": {"recurse": True, "include": "*.yaml"},
        },
        "destination": {"server": ARGO_CDS_OWN, "namespace": gitops.argocd_namespace},
        "syncPolicy": {
            # A file that is removed from Git removes no environment: an ApplicationSet that goes
            # takes its Applications with it. An administrator prunes in Argo CD.
            "automated": {"prune": False, "selfHeal": True, "allowEmpty": False},
            "retry": _RETRY,
            "syncOptions": ["ServerSideApply=true"],
        },
    }
    return argo_object("Application", root_name(gitops), gitops, spec)
