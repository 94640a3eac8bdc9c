"""Workloads and preflights of JSON objects, as `KubernetesCluster` reads them of pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gitops_ml.cluster.kubernetes_objects import (
    join_preflights,
    join_workloads,
    read_api_pod,
    read_deployment,
    read_job,
    read_job_pod,
    read_target,
)
from gitops_ml.cluster.observed import Preflight, Workload


def read_workloads(
    deployments: Iterable[dict[str, Any]],
    pods: Iterable[dict[str, Any]],
    scaled_objects: Iterable[dict[str, Any]],
) -> tuple[Workload, ...]:
    return join_workloads(
        map(read_deployment, deployments), map(read_api_pod, pods), map(read_target, scaled_objects)
    )


def read_preflights(
    jobs: Iterable[dict[str, Any]], pods: Iterable[dict[str, Any]]
) -> tuple[Preflight, ...]:
    return join_preflights(map(read_job, jobs), map(read_job_pod, pods))
