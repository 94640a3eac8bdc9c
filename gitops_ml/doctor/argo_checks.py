"""Argo CD: its version and kinds, whether it reads the GitOps repository, and how soon after a push.

Its repository Secrets are not read: they hold credentials, and its conditions say whether they work.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator
from datetime import datetime

from gitops_ml.cluster.cluster_facts import ClusterFacts
from gitops_ml.cluster.kubernetes import KubernetesCluster
from gitops_ml.cluster.observed import Condition
from gitops_ml.doctor.cluster_checks import versioned
from gitops_ml.doctor.outcome import Check, Probe, finding, ok, skipped
from gitops_ml.doctor.versions import ARGO_CD, written
from gitops_ml.documents.findings import count_of
from gitops_ml.git.object_store import parse_commit
from gitops_ml.project.project import GitopsSpec
from gitops_ml.workspace.clients import Clients

SERVER = "cluster of Argo CD"
_KINDS = {"applications", "applicationsets", "appprojects"}
_READS = ("ComparisonError", "ErrorOccurred", "InvalidSpecError")
_COMMIT = re.compile("[0-9a-f]{40}([0-9a-f]{24})?")
_MOST_SYNCS = 20
_POLLS = 45.0
"""Seconds: Argo CD polls every two to three minutes, and a webhook needs a few."""


def argo_probes(
    gitops: GitopsSpec, environments: tuple[str, ...], clients: Clients, facts: ClusterFacts
) -> Iterator[Probe]:
    cluster = clients.argo_cd
    yield Probe("Argo CD", lambda: argo_cd(gitops, facts), SERVER)
    for environment in environments:
        subject = f"Argo CD: environment {environment}"
        yield Probe(subject, lambda e=environment: environment_read(gitops, e, cluster), SERVER)  # type: ignore[misc]
    yield Probe("Argo CD: webhook", lambda: webhook(gitops, clients, facts), SERVER)


def argo_cd(gitops: GitopsSpec, facts: ClusterFacts) -> Iterator[Check]:
    install = (
        f"install Argo CD {written(ARGO_CD)} or newer with its ApplicationSet controller, or set "
        "gitops.argocd_context to the context of the cluster that it runs in"
    )
    missing = _KINDS - facts.served("argoproj.io/v1alpha1")
    if missing:
        yield finding("Argo CD", f"the cluster has no {', '.join(sorted(missing))}", install)
        return
    versions = facts.versions(gitops.argocd_namespace, "app.kubernetes.io/name=argocd-server")
    yield versioned("Argo CD", versions, least=ARGO_CD, remedy=install)


def environment_read(
    gitops: GitopsSpec, environment: str, cluster: KubernetesCluster
) -> Iterator[Check]:
    """Whether Argo CD generates and compares the Applications of an environment."""
    subject, namespace = f"Argo CD: environment {environment}", gitops.argocd_namespace
    sets = cluster.application_sets(namespace, environment=environment)
    if not sets:
        yield finding(
            subject,
            "it has no ApplicationSet for this environment",
            "run `gitops-ml bootstrap`, and apply bootstrap/root.yaml of the GitOps repository once",
        )
        return
    applications = cluster.applications(namespace, environment=environment)
    conditions = [condition for each in sets for condition in each.conditions]
    conditions += [condition for each in applications for condition in each.conditions]
    problems = tuple(dict.fromkeys(_problems(conditions)))
    remedy = (
        f"if it cannot read {gitops.argocd_url}, give it credentials: `argocd repo add "
        f"{gitops.argocd_url}`, or a Secret in {namespace} with the label "
        "argocd.argoproj.io/secret-type: repository; set gitops.argocd_repository if it needs another URL"
    )
    for problem in problems:
        yield finding(subject, problem, remedy)
    if not problems:
        yield ok(subject, f"it reads the repository; {count_of(len(applications), 'Application')}")


def _problems(conditions: Iterable[Condition]) -> Iterator[str]:
    for condition in conditions:
        if condition.type in _READS and condition.status in ("", "True"):
            yield f"{condition.type}: {condition.message[:600]}"


def webhook(gitops: GitopsSpec, clients: Clients, facts: ClusterFacts) -> Iterator[Check]:
    """How long after its commit Argo CD began to sync, which shows whether a webhook reaches it."""
    subject = "Argo CD: webhook"
    delays = tuple(_delays(gitops, clients, facts))
    if not delays:
        yield skipped(subject, "no sync of a commit of the branch is known")
        return
    middle = statistics.median(delays)
    text = f"syncs began {middle:.0f} seconds after their commits (median of {len(delays)})"
    if middle <= _POLLS:
        yield ok(subject, text)
    else:
        yield finding(
            subject,
            f"{text}: no webhook of the forge seems to reach Argo CD, which polls",
            "add a webhook for pushes to https://<Argo CD>/api/webhook in the settings of "
            f"{clients.repository.remote}, with the secret of argocd-secret; `--wait` asks for a refresh itself",
        )


def _delays(gitops: GitopsSpec, clients: Clients, facts: ClusterFacts) -> Iterator[float]:
    """Seconds from a commit of the branch to the start of its sync."""
    starts = {each.revision: each for each in facts.syncs(gitops.argocd_namespace)}
    repository = clients.repository
    head = repository.fetch().commit if starts else None
    for revision, sync in list(starts.items())[:_MOST_SYNCS]:
        if (
            sync.started_at
            and _COMMIT.fullmatch(revision)
            and repository.contains(head or "", revision)
        ):
            text = repository.blobs([revision])[revision]
            committed_at = datetime.fromisoformat(parse_commit(revision, text, {}).when)
            yield max(0.0, (sync.started_at - committed_at).total_seconds())
