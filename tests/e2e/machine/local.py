"""The local cluster and what runs beside it, started once for all tests, whatever number of processes they run in."""

from __future__ import annotations

import pickle
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.cluster import Cluster
from tests.e2e.machine import argocd, binaries, gitea, http_add_on, keda, kubernetes, registry
from tests.e2e.machine.processes import Component, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Local:
    """``base`` is the base image of predictors, which the node can pull, and its Python."""

    folder: Path
    registry: registry.Registry
    base: tuple[str, str]
    node: kubernetes.Node
    cluster: Cluster
    forge: gitea.Gitea
    lacking: Mapping[str, list[str]]
    """By part (``scaler``, ``add_on``, ``argo_cd``, ``forge``): what this machine lacks to run it."""

    def write(self, path: Path) -> None:
        """For `read` in another process, which can ask the parts and cannot stop them."""
        path.write_bytes(pickle.dumps(self))


def read(path: Path) -> Local:
    # The file is that of the process that started this one.
    found: Local = pickle.loads(path.read_bytes())
    return found


def missing() -> list[str]:
    """What this machine lacks for the cluster and its registry, in words."""
    return kubernetes.missing() + binaries.missing(*registry.PROGRAMS) + registry.missing_base()


def missing_parts() -> dict[str, list[str]]:
    scaler = keda.missing()
    return {
        "scaler": scaler, "add_on": scaler + http_add_on.missing(), "argo_cd": argocd.missing(),
        "forge": gitea.missing(),
    }  # fmt: skip


@contextmanager
def started(folder: Path) -> Iterator[Local]:
    """All parts that this machine has the programs of; they are stopped in the opposite order."""
    lacking = missing_parts()
    with ExitStack() as parts:
        images = parts.enter_context(running(registry.Registry(folder / "registry")))
        node = parts.enter_context(running(kubernetes.Node(folder / "node", images.host)))
        cluster = _defined(Cluster(node.kubeconfig, binaries.path("kubectl") or "kubectl"))
        forge = gitea.Gitea(folder / "gitea")
        makers: dict[str, Callable[[], Component]] = {
            "scaler": lambda: keda.Keda(folder / "keda", cluster, node.address),
            "add_on": lambda: http_add_on.HttpAddOn(folder / "add-on", cluster, node.address),
            "argo_cd": lambda: argocd.ArgoCD(folder / "argocd", cluster),
            "forge": lambda: forge,
        }
        for name, make in makers.items():
            if not lacking[name]:
                parts.enter_context(running(make()))
        yield Local(folder, images, images.base_image(), node, cluster, forge, lacking)


def _defined(cluster: Cluster) -> Cluster:
    """The cluster, which then has the definitions of all custom resources."""
    for each in sorted(binaries.definitions().glob("*")):
        cluster.apply(kubernetes.definitions(each))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    return cluster
