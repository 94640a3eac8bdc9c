"""Write the files of a GitOps repository that people own, and those that an administrator applies.

README, CODEOWNERS and .gitattributes have a block from gitops-ml, which is replaced only while it is unedited: its
first line has the project's name and the beginning of a hash of the text, so that an edit is detected without the
history. The ClusterRoles of people and of CI, and the dashboard of each environment with all of its APIs, are applied
by an administrator, who finds the next steps in the README.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from gitops_ml.cluster.rights import ROLES, Role
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.git.commits import RenderedFile
from gitops_ml.gitops import layout
from gitops_ml.gitops.argo import MANAGED_BY, root_name, yaml_file
from gitops_ml.project.project import (
    ARGO_CDS_OWN,
    ClusterSpec,
    EnvironmentSpec,
    GatewaySpec,
    GitopsSpec,
    GrafanaSpec,
    Project,
)
from gitops_ml.system.resources import resource_text, template

README, CODEOWNERS, GITATTRIBUTES = "README.md", "CODEOWNERS", ".gitattributes"


@dataclass(frozen=True, slots=True)
class Webhook:
    """How a forge reports a push to Argo CD."""

    forge: str
    where: str
    event: str
    secret: str
    """The key of the Secret `argocd-secret` that holds the webhook's secret."""
    reaches_application_sets: bool
    """Whether the ApplicationSet controller reads this forge's webhooks."""


# Argo CD's manual, page "Git Webhook Configuration", and what its two servers read: Gitea and Forgejo
# send the head of Gogs, too.
WEBHOOKS = (
    Webhook("GitHub", "Settings, Webhooks, Add webhook", "push", "webhook.github.secret", True),
    Webhook("GitLab", "Settings, Webhooks", "Push events", "webhook.gitlab.secret", True),
    Webhook("Gitea, Forgejo", "Settings, Webhooks, Add webhook, Gitea or Forgejo", "Push events",
            "webhook.gogs.secret", False),
    Webhook("Bitbucket Data Center", "Repository settings, Webhooks", "Repository: Push",
            "webhook.bitbucketserver.secret", False),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Component:
    """Software that a cluster needs, with its oldest supported version."""

    name: str
    version: str
    why: str


def components(cluster: ClusterSpec) -> tuple[Component, ...]:
    """What the releases on this cluster need, given its entry in the project file."""
    namespace, prometheus = cluster.keda_namespace, cluster.prometheus
    found = [
        Component("Kubernetes", cluster.kubernetes_version or "1.30", "everything runs on it"),
        Component("KEDA", "2.20", f"autoscaling; in namespace `{namespace}`"),
    ]
    if cluster.gateway is not None:
        found.append(_gateway(cluster.gateway))
    if cluster.http_addon:
        why = f"APIs that sleep; in namespace `{namespace}`, with a ReferenceGrant"
        found.append(Component("KEDA's HTTP add-on", "0.14", why))
    if prometheus.pod_monitors:
        found.append(Component("Prometheus Operator", "any", "finds the pods by PodMonitor v1"))
    if prometheus.address:
        why = f"what KEDA scales on; `{prometheus.address}`"
        found.append(Component("Prometheus", "any", why))
    for source in prometheus.sources:
        name = source.replace("_", "-")
        found.append(Component(f"{name} in Prometheus", "any", "alerts and panels about it"))
    if cluster.grafana is not None:
        found.append(Component("Grafana", "11.6", "the dashboards of the releases"))
    if cluster.external_secrets:
        why = "secrets by reference (external-secrets.io/v1)"
        found.append(Component("External Secrets", "0.16", why))
    return tuple(found)


def _gateway(gateway: GatewaySpec) -> Component:
    if gateway.type == "ingress":
        return Component("an ingress controller", "any", f"routes; the class `{gateway.name}`")
    why = f"routes; the Gateway `{gateway.name}` in namespace `{gateway.namespace}`"
    return Component("Gateway API", "1.2", why)


@dataclass(frozen=True, slots=True)
class Steps:
    """Commands for an administrator, in order."""

    title: str
    commands: tuple[str, ...]


def steps(
    project: Project, gitops: GitopsSpec, environments: Iterable[EnvironmentSpec]
) -> tuple[Steps, ...]:
    """What an administrator does once, in a checkout of the repository."""
    places = tuple(environments)
    namespace = gitops.argocd_namespace
    servers = dict.fromkeys(project.clusters[place.cluster].server for place in places)
    foreign = [server for server in servers if server != ARGO_CDS_OWN]
    found = [
        Steps(
            "Let Argo CD read this repository (a private one needs a deploy key or a token)",
            (f"argocd repo add {gitops.argocd_url}",),
        )
    ]
    if foreign:
        commands = tuple(f"argocd cluster add <context of {server}>" for server in foreign)
        found.append(Steps("Let Argo CD reach the other clusters", commands))
    return (
        *found,
        Steps(
            f"Start every environment: Argo CD keeps {layout.ARGOCD}/ in sync from now on",
            (f"kubectl apply -n {namespace} -f {layout.ROOT}",),
        ),
        Steps(
            "Create the roles of people and of CI, on each cluster",
            (f"kubectl apply -f {layout.RIGHTS}",),
        ),
        *_dashboards(project, places),
    )


def _dashboards(project: Project, places: Iterable[EnvironmentSpec]) -> tuple[Steps, ...]:
    paths = [
        layout.fleet_dashboard_path(place.name)
        for place in places
        if project.clusters[place.cluster].grafana is not None
    ]
    if not paths:
        return ()
    title = "Show all APIs of an environment in Grafana, once its namespace exists"
    return (Steps(title, tuple(f"kubectl apply -f {path}" for path in paths)),)


def readme(project: Project, gitops: GitopsSpec) -> Block:
    """The block of gitops-ml in the repository's README, for the administrators of the clusters."""
    places = tuple(project.environments.values())
    used = sorted({place.cluster for place in places})
    text = template("bootstrap/README.md.j2").render(
        project=project.name,
        gitops=gitops,
        environments=places,
        clusters=[project.clusters[name] for name in used],
        components=components,
        steps=steps(project, gitops, places),
        protected=[place for place in places if place.protected],
        bindings=bindings(gitops, places),
        root=root_name(gitops),
        webhooks=WEBHOOKS,
        advice=advice(project, gitops),
    )
    return Block(project.name, text, ("<!-- ", " -->"))


def codeowners(project: Project, gitops: GitopsSpec) -> Block:
    """The owners who approve changes; comments where the project file names no owners."""
    paths = ["/argocd/", "/bootstrap/", "/charts/", "/CODEOWNERS", "/policy.yaml"]
    paths += [
        f"/{layout.RELEASES}/{place.name}/"
        for place in project.environments.values()
        if place.protected
    ]
    owners = " ".join(gitops.owners)
    lines = ["# Rules of your own go below this block: of several that fit, the last one counts."]
    if not owners:
        lines.append(
            "# Name the people in gitops.owners of gitops-ml.yaml, and run bootstrap again."
        )
    width = max(map(len, paths))
    lines += [f"{path:<{width}} {owners}" if owners else f"# {path}" for path in paths]
    return Block(project.name, "".join(f"{line}\n" for line in lines), ("# ", ""))


def gitattributes() -> Block:
    """Keeps line ends on every system, and folds generated files in diffs."""
    lines = (
        "/argocd/** text eol=lf",
        "/bootstrap/** text eol=lf",
        "/charts/** text eol=lf linguist-generated gitlab-generated",
        "/releases/** text eol=lf",
        f"/releases/**/{layout.MANIFEST} linguist-generated gitlab-generated",
    )
    return Block("files", "".join(f"{line}\n" for line in lines), ("# ", ""))


def advice(project: Project, gitops: GitopsSpec) -> tuple[str, ...]:
    """How to protect the branch, given how changes are delivered to it."""
    pushed = [place.name for place in project.environments.values() if place.delivery == "push"]
    reviewed = [name for name in project.environments if name not in pushed]
    found = [f"protect the branch {gitops.branch}: no force pushes and no deletion"]
    if not gitops.owners:
        found.append(
            f"name the owners of {layout.ARGOCD}/ in gitops.owners of gitops-ml.yaml: the root syncs "
            "what is merged there, and it decides where each team may deploy to"
        )
    if reviewed:
        found.append(
            f"require a pull request with an approval of a code owner: {', '.join(reviewed)} "
            f"{'is' if len(reviewed) == 1 else 'are'} delivered by pull request"
        )
    if pushed and reviewed:
        found.append(
            f"{', '.join(pushed)} {'is' if len(pushed) == 1 else 'are'} pushed to the same branch: "
            "let only the identity of that token bypass the rule"
        )
    elif pushed:
        found.append(
            "everything is pushed: set `delivery: pull_request` in an environment to require reviews"
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of gitops-ml in a file; ``name`` identifies a block in its file."""

    name: str
    text: str
    comment: tuple[str, str]
    """The begin and end of a comment: ``("<!-- ", " -->")``, ``("# ", "")``."""

    def written(self) -> str:
        """The block with its marks."""
        begin, end = self._marks(_fingerprint(self.text))
        return f"{begin}\n{self.text}{end}\n"

    def found_in(self, content: str) -> re.Match[str] | None:
        begin, end = (re.escape(mark) for mark in self._marks("\0"))
        begin = begin.replace(re.escape("\0"), r"(?P<fingerprint>[0-9a-f]*)")
        return re.search(rf"^{begin}\n(?P<text>.*?)^{end}(?:\n|\Z)", content, re.M | re.S)

    def _marks(self, fingerprint: str) -> tuple[str, str]:
        left, right = self.comment
        return (
            f"{left}gitops-ml {self.name}: begin {fingerprint}{right}",
            f"{left}gitops-ml {self.name}: end{right}",
        )


@dataclass(frozen=True, slots=True)
class BlockUpdate:
    """A file with the block in it."""

    content: str
    edited: str | None
    """The block as a person edited it, if so; the file is left as it is."""


def placed(content: str | None, block: Block, *, at_the_end: bool) -> BlockUpdate:
    """The file with the block created, added at one end, or updated."""
    if content is None or not content.strip():
        return BlockUpdate(block.written(), None)
    content = content.replace("\r\n", "\n")
    match = block.found_in(content)
    if match is None:
        parts = (content.rstrip("\n") + "\n", block.written())
        return BlockUpdate("\n".join(parts if at_the_end else reversed(parts)), None)
    if _fingerprint(match["text"]) != match["fingerprint"]:
        edited = None if match["text"] == block.text else match["text"]
        return BlockUpdate(content, edited)
    return BlockUpdate(content[: match.start()] + block.written() + content[match.end() :], None)


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Binding:
    """A role, and the command that gives it to a group in one namespace."""

    role: Role
    command: str


def rights_file() -> RenderedFile:
    """``bootstrap/rights.yaml``: the same bytes for every project.

    The root does not sync it: what is merged grants no right in Kubernetes.
    """
    return yaml_file(layout.RIGHTS, *map(_cluster_role, ROLES))


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
