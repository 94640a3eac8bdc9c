"""What is examined for a project, in the order of the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from gitops_ml.cluster.cluster_facts import ClusterFacts
from gitops_ml.doctor.argo_checks import argo_probes
from gitops_ml.doctor.cluster_checks import cluster_probes
from gitops_ml.doctor.git_checks import git_probes
from gitops_ml.doctor.gpu_checks import gpu_probes
from gitops_ml.doctor.machine_checks import machine_probes
from gitops_ml.doctor.outcome import SKIPPED, Check, Probe, finding, ok, skipped
from gitops_ml.doctor.prometheus_checks import loki_probes, prometheus_probes
from gitops_ml.doctor.registry_checks import registry_probes
from gitops_ml.doctor.rights_checks import argo_rights, environment_rights
from gitops_ml.documents.findings import count_of
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace


def probes_of(workspace: Workspace, clients: Clients) -> tuple[Probe, ...]:
    """Everything that the project relies on, but for its documents."""
    project = workspace.project
    apis = tuple(sorted({manifest.name for manifest in workspace.manifests}))
    return (
        *machine_probes(clients),
        *registry_probes(clients, apis),
        *git_probes(clients),
        *(_argo(workspace, clients) if project.gitops is not None else ()),
        *_clusters(workspace, clients),
    )


def _argo(workspace: Workspace, clients: Clients) -> Iterator[Probe]:
    gitops = workspace.project.gitops
    assert gitops is not None, "the caller looked"
    facts = ClusterFacts(clients.argo_cd.server)
    yield from argo_probes(gitops, workspace.environments, clients, facts)
    yield from argo_rights(gitops.argocd_namespace, facts)


def _clusters(workspace: Workspace, clients: Clients) -> Iterator[Probe]:
    project = workspace.project
    chosen = [project.environments[name] for name in workspace.environments]
    for name in dict.fromkeys(environment.cluster for environment in chosen):
        spec, facts = project.clusters[name], ClusterFacts(clients.cluster(name).server)
        yield from cluster_probes(spec, facts)
        yield from prometheus_probes(spec, clients.prometheus(name))
        yield from loki_probes(spec, partial(clients.loki, name))
        yield from gpu_probes(spec, facts)
        for environment in chosen:
            if environment.cluster == name:
                yield from environment_rights(environment, spec, facts)


def document_checks(workspace: Workspace) -> Iterator[Check]:
    """The project file and the manifests."""
    wrong = workspace.problems.errors
    for problem in wrong:
        remedy = "correct it; `gitops-ml validate` shows every problem"
        yield finding("documents", str(problem), remedy)
    if not workspace.has_project_file:
        yield finding(
            "documents",
            "there is no gitops-ml.yaml in this folder or above",
            "run `gitops-ml init`, or name the project file",
        )
    elif not wrong:
        apis, environments = len(workspace.manifests), ", ".join(workspace.environments)
        yield ok("documents", f"{count_of(apis, 'API')}, environments {environments or 'none'}")


def without(checks: Iterable[Check], subjects: tuple[str, ...]) -> Iterator[Check]:
    """The checks; findings about one of ``subjects``, or what is below it, do not count."""
    for check in checks:
        is_left_out = any(
            check.subject == each or check.subject.startswith(f"{each}:") for each in subjects
        )
        if is_left_out and check.outcome != SKIPPED:
            yield skipped(check.subject, f"left out: {check.text}", check.remedy)
        else:
            yield check
