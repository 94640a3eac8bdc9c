"""Make the root: the Application that keeps ``argocd/`` of a GitOps repository in sync, and its AppProject.

An administrator applies it once. Nothing syncs its file: what is merged cannot change what the root may do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.git.commits import RenderedFile
from gitops_ml.gitops import layout
from gitops_ml.gitops.argo import API_VERSION, MANAGED_BY
from gitops_ml.project.project import ARGO_CDS_OWN, OWN_PREFIX, GitopsSpec


def root_file(gitops: GitopsSpec) -> RenderedFile:
    """``bootstrap/root.yaml``: the same bytes for every project that uses this repository."""
    documents = (_app_project(gitops), _application(gitops))
    text = "".join(f"---\n{write_yaml(each)}" for each in documents)
    return RenderedFile(layout.ROOT, text.encode())


def root_name(gitops: GitopsSpec) -> str:
    """The name of the root: one per repository, however a project file spells its address."""
    address = re.sub(r"^[a-z+]+://", "", gitops.argocd_url).rpartition("@")[2]
    plain = address.replace(":", "/", 1).rstrip("/").removesuffix(".git").lower()
    return f"{OWN_PREFIX}root-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def _metadata(gitops: GitopsSpec) -> Mapping[str, Any]:
    return {
        "name": root_name(gitops),
        "namespace": gitops.argocd_namespace,
        "labels": MANAGED_BY,
    }


def _app_project(gitops: GitopsSpec) -> Mapping[str, Any]:
    """Only ApplicationSets and AppProjects, only of this repository, only beside Argo CD itself."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AppProject",
        "metadata": _metadata(gitops),
        "spec": {
            "description": f"{layout.ARGOCD}/ of {gitops.argocd_url}, written by gitops-ml",
            "sourceRepos": [gitops.argocd_url],
            "destinations": [{"server": ARGO_CDS_OWN, "namespace": gitops.argocd_namespace}],
            # Without a list of kinds for the cluster, Argo CD permits none of them.
            "namespaceResourceWhitelist": [
                {"group": "argoproj.io", "kind": "AppProject"},
                {"group": "argoproj.io", "kind": "ApplicationSet"},
            ],
        },
    }


def _application(gitops: GitopsSpec) -> Mapping[str, Any]:
    """Without a finalizer: the removal of the root removes nothing that it synced."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Application",
        "metadata": _metadata(gitops),
        "spec": {
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
                "retry": {
                    "limit": 5,
                    "refresh": True,
                    "backoff": {"duration": "5s", "factor": 2, "maxDuration": "3m"},
                },
                "syncOptions": ["ServerSideApply=true"],
            },
        },
    }
