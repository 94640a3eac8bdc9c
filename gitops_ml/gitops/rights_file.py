"""Write the ClusterRoles of people and of CI, and the commands that bind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from gitops_ml.cluster.rights import ROLES, Role
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.git.commits import RenderedFile
from gitops_ml.gitops import layout
from gitops_ml.gitops.argo import MANAGED_BY
from gitops_ml.project.project import EnvironmentSpec, GitopsSpec


@dataclass(frozen=True, slots=True)
class Binding:
    """A role, and the command that gives it to a group in one namespace."""

    role: Role
    command: str


def rights_file() -> RenderedFile:
    """``bootstrap/rights.yaml``: the same bytes for every project.

    The root does not sync it: what is merged grants no right in Kubernetes.
    """
    text = "".join(f"---\n{write_yaml(_cluster_role(role))}" for role in ROLES)
    return RenderedFile(layout.RIGHTS, text.encode())


def _cluster_role(role: Role) -> Mapping[str, Any]:
    rules = [
        {"apiGroups": [group], "resources": [each.resource for each in rights], "verbs": [verb]}
        for (group, verb), rights in groupby(role.rights, lambda each: (each.group, each.verb))
    ]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": role.name, "labels": MANAGED_BY},
        "rules": rules,
    }


def bindings(gitops: GitopsSpec, environments: Iterable[EnvironmentSpec]) -> tuple[Binding, ...]:
    """How to bind each role: in Argo CD's namespace, or in that of the first environment."""
    own = next(iter(environments)).namespace
    return tuple(
        Binding(role, role.binding(gitops.argocd_namespace if role.is_for_argo_cd else own))
        for role in ROLES
    )
