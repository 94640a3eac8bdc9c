"""The cluster, if there is one that these tests may use; see the README beside this file."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import pytest

from tests.cli.fixtures import ann, nobodys_settings
from tests.e2e.cluster import Cluster

__all__ = ["ann", "nobodys_settings"]

# Read now: the tests themselves do not see what the person who runs them has set.
KUBECONFIG = os.environ.get("GITOPS_ML_E2E_KUBECONFIG")
WANTS_KIND = os.environ.get("GITOPS_ML_E2E") == "kind"
NO_CLUSTER = (
    "no Kubernetes cluster that may be used: name one in GITOPS_ML_E2E_KUBECONFIG, or set "
    "GITOPS_ML_E2E=kind and have pytest-kind make one (tests/e2e/README.md)"
)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    if KUBECONFIG:
        return _named(Path(KUBECONFIG).expanduser())
    if WANTS_KIND:
        return _made(request)
    pytest.skip(NO_CLUSTER)


def _named(kubeconfig: Path) -> Cluster:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.fail("GITOPS_ML_E2E_KUBECONFIG names a cluster, and kubectl is not on PATH")
    cluster = Cluster(kubeconfig, kubectl)
    cluster.kubectl("version", "-o", "json")
    return cluster


def _made(request: pytest.FixtureRequest) -> Cluster:
    if shutil.which("docker") is None:
        pytest.fail("GITOPS_ML_E2E=kind needs Docker, and docker is not on PATH")
    if not request.config.pluginmanager.hasplugin("pytest-kind"):
        pytest.fail("GITOPS_ML_E2E=kind needs the package pytest-kind")
    made = request.getfixturevalue("kind_cluster")
    made.ensure_kubectl()
    return Cluster(made.kubeconfig_path.absolute(), str(made.kubectl_path.absolute()))


@pytest.fixture
def namespace(cluster: Cluster):
    """A namespace of its own, as strict as the one that Argo CD makes for us."""
    name = f"gitops-ml-e2e-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": labels}
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
