"""The cluster and what runs beside it, if these tests may use one; see the README beside this file."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_ml.project.reader import default_project
from tests.e2e.cluster import Cluster
from tests.e2e.machine import local as machine
from tests.e2e.machine import registry
from tests.e2e.machine.processes import Failed
from tests.e2e.story import Site, Story

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.machine.local import Local
    from tests.support.person import Person

# Read now: the tests themselves do not see the settings of the person who runs them.
KUBECONFIG = os.environ.get("GITOPS_ML_E2E_KUBECONFIG")
WAY = os.environ.get("GITOPS_ML_E2E")
IS_LOCAL = WAY == "local" and not KUBECONFIG
SHARED = os.environ.get("GITOPS_ML_E2E_SHARED")
"""Where the process that started this one wrote down the local cluster."""
IMAGES = os.environ.get("GITOPS_ML_E2E_REPOSITORY")
UNTIL = os.environ.get("GITOPS_ML_E2E_UNTIL")
"""No test of a cluster begins after this time, in seconds of the epoch."""
NO_CLUSTER = (
    "no Kubernetes cluster that may be used: GITOPS_ML_E2E=local makes one of binaries, =kind has "
    "pytest-kind make one, and GITOPS_ML_E2E_KUBECONFIG names one (tests/e2e/README.md)"
)


def pytest_configure(config: pytest.Config) -> None:
    """Start the one cluster of all processes, if the tests run in several."""
    workers = getattr(config.option, "numprocesses", None)
    if not IS_LOCAL or SHARED or not workers or config.option.collectonly or machine.missing():
        return
    parts = ExitStack()
    config.add_cleanup(parts.close)
    folder = parts.enter_context(_short_folder())
    try:
        parts.enter_context(machine.started(folder)).write(folder / "local")
    except Failed as problem:
        pytest.exit(f"the cluster did not start: {problem}", returncode=1)
    os.environ["GITOPS_ML_E2E_SHARED"] = str(folder / "local")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file run one after the other; the longest files begin first, those that need the node alone last."""
    own = [item for item in items if item.path.parent == Path(__file__).parent]
    marked = {
        name: {item.path for item in own if item.get_closest_marker(name)}
        for name in ("alone", "long")
    }
    own.sort(key=lambda item: (item.path in marked["alone"], item.path not in marked["long"]))
    for item in own:
        item.add_marker(pytest.mark.e2e)
        item.add_marker(pytest.mark.xdist_group(item.path.stem if SHARED else "cluster"))
    items[:] = [*(item for item in items if item not in own), *own]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if UNTIL and time.time() > float(UNTIL):
        pytest.skip("the time for tests on a cluster is over (GITOPS_ML_E2E_UNTIL)")


@pytest.fixture(autouse=True)
def _turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that is marked ``alone`` changes the node: no other one runs beside it."""
    if SHARED is None:
        yield
        return
    with Path(SHARED).open("rb") as turn:
        is_alone = request.node.get_closest_marker("alone")
        fcntl.flock(turn, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        yield


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
    # Within that of the cluster, which is removed even where a worker is killed.
    with _short_folder(Path(SHARED).parent if SHARED else None) as made:
        yield made


@contextmanager
def _short_folder(above: Path | None = None) -> Iterator[Path]:
    """A folder with a short name: the path of a socket has at most 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="gitops-ml-e2e-", dir=above))
    # A job that is cancelled ends its cluster, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield made
    if not os.environ.get("GITOPS_ML_E2E_KEEP"):
        shutil.rmtree(made)


@pytest.fixture(scope="session")
def local(request: pytest.FixtureRequest) -> Iterator[Local]:
    """The cluster of binaries, with all that this machine has the programs of."""
    if not IS_LOCAL:
        pytest.skip("these tests start Argo CD and more themselves: they need GITOPS_ML_E2E=local")
    _need(machine.missing())
    if SHARED:
        yield machine.read(Path(SHARED))
        return
    with machine.started(request.getfixturevalue("folder")) as made:
        yield made


@pytest.fixture(scope="session")
def python_image(request: pytest.FixtureRequest) -> str:
    """An image with ``python`` that the nodes can pull."""
    if IS_LOCAL:
        local: Local = request.getfixturevalue("local")
        return local.base[0]
    return registry.NAMED_BASE or default_project().image.base


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    if KUBECONFIG:
        return _named(Path(KUBECONFIG).expanduser())
    if IS_LOCAL:
        local: Local = request.getfixturevalue("local")
        return local.cluster
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
def scaler(request: pytest.FixtureRequest, cluster: Cluster) -> None:
    """KEDA."""
    if IS_LOCAL:
        _need(request.getfixturevalue("local").lacking["scaler"])
    elif not cluster.has("ScaledObject"):
        pytest.skip("the cluster has no ScaledObject: KEDA is missing")


@pytest.fixture(scope="session")
def add_on(local: Local) -> None:
    """KEDA's HTTP add-on."""
    _need(local.lacking["add_on"])


def _need(lacking: list[str]) -> None:
    if lacking:
        pytest.skip(f"this machine lacks {', '.join(lacking)}")


@pytest.fixture(scope="session")
def site(local: Local) -> Site:
    """The cluster with Argo CD, a forge and a registry that both this machine and pods reach."""
    _need([each for part in ("scaler", "argo_cd", "forge") for each in local.lacking[part]])
    base, python = local.base
    images = f"{local.registry.host}/apis"
    return Site(local.cluster, local.forge, images, base, python, local.folder / "cache")


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
