"""Rights of the caller in the clusters, asked for by SelfSubjectAccessReview, one for each verb."""

from __future__ import annotations

from collections.abc import Iterator

from gitops_ml.cluster.cluster_facts import ClusterFacts
from gitops_ml.cluster.rights import CALLER, READER, REFRESHER, SYNC_READER, Right, Role
from gitops_ml.doctor.argo_checks import SERVER
from gitops_ml.doctor.outcome import Check, Probe, finding, ok, skipped
from gitops_ml.project.project import ClusterSpec, EnvironmentSpec


def environment_rights(
    environment: EnvironmentSpec, spec: ClusterSpec, facts: ClusterFacts
) -> Iterator[Probe]:
    place = environment.namespace
    subject = f"environment {environment.name}: rights"
    server = f"cluster {spec.name}"
    yield _probe(subject, READER, place, facts, server=server)
    if spec.gateway is None:
        yield _probe(f"{subject} to predict", CALLER, place, facts, server=server)


def argo_rights(namespace: str, facts: ClusterFacts) -> Iterator[Probe]:
    yield _probe("Argo CD: rights", SYNC_READER, namespace, facts, server=SERVER)
    subject = "Argo CD: rights to refresh"
    yield _probe(subject, REFRESHER, namespace, facts, server=SERVER, is_needed=False)


def _probe(
    subject: str, role: Role, namespace: str, facts: ClusterFacts, *, server: str,
    is_needed: bool = True,
) -> Probe:  # fmt: skip
    def look() -> Iterator[Check]:
        missing = [right for right in role.rights if not facts.may(right, namespace)]
        grant = f"an administrator of the cluster can allow it: {role.binding(namespace)}"
        text = f"no right to {', '.join(map(written, missing))} in the namespace {namespace}"
        if not missing:
            yield ok(subject, f"{', '.join(map(written, role.rights))} in {namespace}")
        elif is_needed:
            yield finding(subject, text, grant)
        else:
            yield skipped(subject, f"{text}; `--wait` waits for Argo CD's own poll", grant)

    return Probe(subject, look, server)


def written(right: Right) -> str:
    """``list deployments.apps``."""
    return f"{right.verb} {right.resource}{f'.{right.group}' if right.group else ''}"
