"""What the requests of this room need from Kubernetes RBAC, as roles that an administrator grants.

`KubernetesCluster` sends nothing else, and no role holds what it does not send; tests hold both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Right:
    """One verb of one resource."""

    group: str
    resource: str
    verb: str


@dataclass(frozen=True, slots=True)
class Role:
    """A ClusterRole, to be bound in a namespace."""

    name: str
    why: str
    is_for_argo_cd: bool
    """Whether it is bound in Argo CD's namespace, and not in those of the releases."""
    rights: tuple[Right, ...]

    def binding(self, namespace: str) -> str:
        """The command that gives the role to a group of people in one namespace."""
        return (
            f"kubectl create rolebinding {self.name} -n {namespace} --clusterrole={self.name} "
            "--group=<group>"
        )


READER = Role(
    "gitops-ml-reader",
    "`get`, `describe`, `logs` and `--wait`: pods, their logs and what scales them",
    is_for_argo_cd=False,
    rights=(
        Right("", "events", "list"),
        Right("", "pods", "list"),
        Right("", "pods/log", "get"),
        Right("apps", "deployments", "list"),
        Right("batch", "jobs", "list"),
        Right("keda.sh", "scaledobjects", "list"),
    ),
)
CALLER = Role(
    "gitops-ml-caller",
    "`predict` on a cluster without a gateway: requests to every Service of the namespace",
    is_for_argo_cd=False,
    rights=(Right("", "services/proxy", "create"),),
)
METRICS_READER = Role(
    "gitops-ml-metrics-reader",
    "predictions in `get`, `describe` and `compare`: the metrics of pods, and queries to Prometheus where it "
    "is bound in its namespace, too. Kubernetes cannot limit it to metrics: it allows any GET request to pods "
    "and Services of the namespace",
    is_for_argo_cd=False,
    rights=(Right("", "pods/proxy", "get"), Right("", "services/proxy", "get")),
)
DRIFT_READER = Role(
    "gitops-ml-drift-reader",
    "`diff --live`, together with gitops-ml-reader: the other objects of a release, but for ConfigMaps",
    is_for_argo_cd=False,
    rights=(
        Right("", "serviceaccounts", "list"),
        Right("", "services", "list"),
        Right("external-secrets.io", "externalsecrets", "list"),
        Right("gateway.networking.k8s.io", "httproutes", "list"),
        Right("grafana.integreatly.org", "grafanadashboards", "list"),
        Right("http.keda.sh", "interceptorroutes", "list"),
        Right("keda.sh", "triggerauthentications", "list"),
        Right("monitoring.coreos.com", "podmonitors", "list"),
        Right("monitoring.coreos.com", "prometheusrules", "list"),
        Right("networking.k8s.io", "ingresses", "list"),
        Right("networking.k8s.io", "networkpolicies", "list"),
        Right("policy", "poddisruptionbudgets", "list"),
    ),
)
SYNC_READER = Role(
    "gitops-ml-sync-reader",
    "`get`, `describe` and `--wait`: what Argo CD says about a release",
    is_for_argo_cd=True,
    rights=(
        Right("argoproj.io", "applications", "list"),
        Right("argoproj.io", "applicationsets", "list"),
    ),
)
REFRESHER = Role(
    "gitops-ml-refresher",
    "`--wait`, to have Argo CD read a commit at once. Kubernetes cannot limit a patch to annotations: it "
    "allows any change of Applications, so give it to CI and to administrators only",
    is_for_argo_cd=True,
    rights=(
        Right("argoproj.io", "applications", "patch"),
        Right("argoproj.io", "applicationsets", "patch"),
    ),
)
ROLES = (READER, CALLER, METRICS_READER, DRIFT_READER, SYNC_READER, REFRESHER)


def role_for(resource: str) -> Role:
    """The role of requests to ``pods``, ``services``, …; `READER` for what is in no role."""
    for role in ROLES:
        if any(right.resource.partition("/")[0] == resource for right in role.rights):
            return role
    return READER
