"""The cluster's DNS: CoreDNS as a process of this machine, behind the Service `kube-dns`.

A program of this machine that asks for Services by name begins with `resolving`. It then has a
resolv.conf like that of a pod, in a mount namespace of its own: no file of this machine changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.machine import binaries
from tests.e2e.machine.processes import Processes, answers, until
from tests.e2e.machine.services import Port, service_to
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.cluster import Cluster

PROGRAMS = ("coredns",)
ADDRESS = "10.96.0.10"
_RESOLV_CONF = f"""\
nameserver {ADDRESS}
search svc.cluster.local cluster.local
options ndots:5
"""
_COREFILE = """\
.:{port} {{
    errors
    kubernetes cluster.local {{
        kubeconfig {kubeconfig}
    }}
}}
"""


def resolving(folder: Path) -> tuple[str, ...]:
    """The first words of a command that resolves the names of Services."""
    resolv_conf = folder / "resolv.conf"
    resolv_conf.write_text(_RESOLV_CONF)
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, str(resolv_conf))


class ClusterDns:
    def __init__(self, folder: Path, cluster: Cluster, address: str) -> None:
        self._cluster, self._address = cluster, address
        self._processes = Processes(folder)

    def start(self) -> None:
        port = free_port()
        ports = (Port(53, port, "dns", "UDP"), Port(53, port, "dns-tcp"))
        self._cluster.apply(service_to(
            self._address, "kube-dns", *ports, namespace="kube-system", clusterIP=ADDRESS
        ))  # fmt: skip
        corefile = self._processes.folder / "Corefile"
        corefile.write_text(_COREFILE.format(port=port, kubeconfig=self._cluster.kubeconfig))
        self._processes.start("coredns", binaries.path("coredns") or "coredns", "-conf", corefile)
        until(lambda: answers(53, ADDRESS), "the cluster's DNS listens", seconds=60,
              impossible=self._processes.check)  # fmt: skip

    def stop(self) -> None:
        self._processes.stop()
