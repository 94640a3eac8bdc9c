"""The cluster and what runs beside it, if these tests may use one; see the README beside this file."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_ml.project.reader import default_project
from tests.cli.fixtures import ann, nobodys_settings
from tests.e2e.cluster import Cluster
from tests.e2e.machine import argocd, binaries, gitea, http_add_on, keda, kubernetes, registry
from tests.e2e.machine.processes import running
from tests.e2e.story import Site, Story

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.person import Person

__all__ = ["ann", "nobodys_settings"]

# Read now: the tests themselves do not see the settings of the person who runs them.
KUBECONFIG = os.environ.get("GITOPS_ML_E2E_KUBECONFIG")
WAY = os.environ.get("GITOPS_ML_E2E")
IMAGES = os.environ.get("GITOPS_ML_E2E_REPOSITORY")
UNTIL = os.environ.get("GITOPS_ML_E2E_UNTIL")
"""No test of a cluster begins after this time, in seconds of the epoch."""
NO_CLUSTER = (
    "no Kubernetes cluster that may be used: GITOPS_ML_E2E=local makes one of binaries, =kind has "
    "pytest-kind make one, and GITOPS_ML_E2E_KUBECONFIG names one (tests/e2e/README.md)"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests last, so that a run whose time is limited leaves out few."""
    items.sort(key=lambda item: item.get_closest_marker("long") is not None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if UNTIL and time.time() > float(UNTIL):
        pytest.skip("the time for tests on a cluster is over (GITOPS_ML_E2E_UNTIL)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the stories measured."""
    measured = [
        f"{name.replace('_', ' ')}: {value} ({report.nodeid})"
        for report in terminalreporter.getreports("passed")
        if report.when == "call"
        for name, value in report.user_properties
    ]
    if measured:
        terminalreporter.section("figures")
        terminalreporter.write("\n".join([*measured, ""]))


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder with a short name: the path of a socket has at most 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="gitops-ml-e2e-"))
    # A job that is cancelled ends its cluster, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield made
    if not os.environ.get("GITOPS_ML_E2E_KEEP"):
        shutil.rmtree(made)


@pytest.fixture(scope="session")
def local_registry(folder: Path) -> Iterator[registry.Registry]:
    _need(kubernetes.missing() + binaries.missing(*registry.PROGRAMS) + registry.missing_base())
    with running(registry.Registry(folder / "registry")) as made:
        yield made


@pytest.fixture(scope="session")
def local_base(local_registry: registry.Registry) -> tuple[str, str]:
    """The base image of predictors, which the node can pull, and its Python."""
    return local_registry.base_image()


@pytest.fixture(scope="session")
def python_image(request: pytest.FixtureRequest) -> str:
    """An image with ``python`` that the nodes can pull."""
    if WAY == "local" and not KUBECONFIG:
        return request.getfixturevalue("local_base")[0]
    return registry.NAMED_BASE or default_project().image.base


@pytest.fixture(scope="session")
def local_node(folder: Path, local_registry: registry.Registry) -> Iterator[kubernetes.Node]:
    with running(kubernetes.Node(folder / "node", local_registry.host)) as made:
        yield made


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    if KUBECONFIG:
        return _named(Path(KUBECONFIG).expanduser())
    if WAY == "local":
        node = request.getfixturevalue("local_node")
        made = Cluster(node.kubeconfig, binaries.path("kubectl") or "kubectl")
        for each in sorted(binaries.definitions().glob("*")):
            made.apply(kubernetes.definitions(each))
        made.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        return made
    if WAY == "kind":
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


@pytest.fixture(scope="session")
def scaler(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[None]:
    """KEDA."""
    if WAY != "local" or KUBECONFIG:
        if not cluster.has("ScaledObject"):
            pytest.skip("the cluster has no ScaledObject: KEDA is missing")
        yield
        return
    _need(keda.missing())
    node = request.getfixturevalue("local_node")
    with running(keda.Keda(node.folder.parent / "keda", cluster, node.address)):
        yield


@pytest.fixture(scope="session")
def add_on(request: pytest.FixtureRequest, cluster: Cluster, scaler: None) -> Iterator[None]:
    """KEDA's HTTP add-on."""
    _need_local()
    _need(http_add_on.missing())
    node = request.getfixturevalue("local_node")
    with running(http_add_on.HttpAddOn(node.folder.parent / "http-add-on", cluster, node.address)):
        yield


@pytest.fixture(scope="session")
def argo_cd(folder: Path, cluster: Cluster) -> Iterator[argocd.ArgoCD]:
    _need_local()
    _need(argocd.missing())
    with running(argocd.ArgoCD(folder / "argocd", cluster)) as made:
        yield made


@pytest.fixture(scope="session")
def forge(folder: Path) -> Iterator[gitea.Gitea]:
    """Gitea."""
    _need(gitea.missing())
    with running(gitea.Gitea(folder / "gitea")) as made:
        yield made


def _need_local() -> None:
    if WAY != "local" or KUBECONFIG:
        pytest.skip("these tests start Argo CD and more themselves: they need GITOPS_ML_E2E=local")


def _need(lacking: list[str]) -> None:
    if lacking:
        pytest.skip(f"this machine lacks {', '.join(lacking)}")


@pytest.fixture(scope="session")
def site(
    request: pytest.FixtureRequest,
    folder: Path,
    cluster: Cluster,
    scaler: None,
    argo_cd: argocd.ArgoCD,
    forge: gitea.Gitea,
) -> Site:
    """The cluster with Argo CD, a forge and a registry that both this machine and pods reach."""
    images: registry.Registry = request.getfixturevalue("local_registry")
    base, python = request.getfixturevalue("local_base")
    return Site(cluster, forge, f"{images.host}/apis", base, python, folder / "cache")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of its own, as strict as the one that Argo CD makes for us."""
    name = f"gitops-ml-e2e-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": labels}
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def story(site: Site, ann: Person) -> Iterator[Story]:
    """A project with an empty GitOps repository, a namespace of its own, and Argo CD to sync it."""
    made = Story(site, ann, uuid.uuid4().hex[:6])
    made.begin()
    yield made
    made.end()
