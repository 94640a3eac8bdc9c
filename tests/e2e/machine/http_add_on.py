"""KEDA's HTTP add-on as processes of this machine, under the Services' names of an installation.

KEDA's operator asks the scaler by name, and the interceptor the Services of the APIs: both resolve
them by the cluster's own DNS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.machine import binaries, dns
from tests.e2e.machine.keda import NAMESPACE
from tests.e2e.machine.processes import Processes, answers, until
from tests.e2e.machine.services import Port, service_to
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.cluster import Cluster

PROGRAMS = ("keda-http-operator", "keda-http-interceptor", "keda-http-scaler", *dns.PROGRAMS)
_SCALER, _PROXY, _ADMIN = (
    f"keda-add-ons-http-{name}"
    for name in ("external-scaler", "interceptor-proxy", "interceptor-admin")
)


def missing() -> list[str]:
    lacking = binaries.missing(*PROGRAMS)
    if not (binaries.definitions() / "http-add-on").is_dir():
        lacking.append("the definitions of KEDA's HTTP add-on (make e2e-binaries)")
    return lacking


class HttpAddOn:
    def __init__(self, folder: Path, cluster: Cluster, address: str) -> None:
        self._cluster, self._address = cluster, address
        self._processes = Processes(folder)
        self._dns = dns.ClusterDns(folder / "dns", cluster, address)
        self._scaler, self._proxy, self._admin, self._probes = (free_port() for _ in range(4))

    def start(self) -> None:
        self._dns.start()
        self._cluster.apply([
            *self._service(_SCALER, 9090, self._scaler),
            *self._service(_PROXY, 8080, self._proxy),
            *self._service(_ADMIN, 9090, self._admin),
        ])  # fmt: skip
        self._start_programs()
        for port in (self._proxy, self._admin, self._scaler, self._probes):
            until(lambda port=port: answers(port), f"the HTTP add-on listens on port {port}",
                  seconds=60, impossible=self._processes.check)  # fmt: skip

    def stop(self) -> None:
        self._processes.stop()
        self._dns.stop()

    def _start_programs(self) -> None:
        self._start("keda-http-interceptor", {
            "KEDA_HTTP_PROXY_PORT": self._proxy, "KEDA_HTTP_ADMIN_PORT": self._admin,
            "KEDA_HTTP_SHUTDOWN_DELAY": "0s", "KEDA_HTTP_DRAIN_TIMEOUT": "1s",
        })  # fmt: skip
        self._start("keda-http-scaler", {
            "KEDA_HTTP_SCALER_PORT": self._scaler, "KEDA_HTTP_SCALER_TARGET_ADMIN_NAMESPACE": NAMESPACE,
            "KEDA_HTTP_SCALER_TARGET_ADMIN_SERVICE": _ADMIN,
            "KEDA_HTTP_SCALER_TARGET_ADMIN_DEPLOYMENT": "keda-add-ons-http-interceptor",
            "KEDA_HTTP_SCALER_TARGET_ADMIN_PORT": self._admin,
        })  # fmt: skip
        settings = {
            "KEDA_HTTP_OPERATOR_NAMESPACE": NAMESPACE,
            "KEDA_HTTP_OPERATOR_EXTERNAL_SCALER_SERVICE": _SCALER,
            "KEDA_HTTP_OPERATOR_EXTERNAL_SCALER_PORT": 9090,
        }
        probes = f"--health-probe-bind-address=127.0.0.1:{self._probes}"
        self._start("keda-http-operator", settings, "--metrics-bind-address=0", probes)

    def _start(self, program: str, settings: dict[str, str | int], *arguments: str) -> None:
        environ = {
            "KUBECONFIG": str(self._cluster.kubeconfig), "OTEL_PROM_EXPORTER_ENABLED": "false",
            **{name: str(value) for name, value in settings.items()},
        }  # fmt: skip
        self._processes.start(
            program, *dns.resolving(self._processes.folder), binaries.path(program) or program,
            *arguments, environ=environ,
        )  # fmt: skip

    def _service(self, name: str, number: int, target: int) -> tuple[dict, dict]:
        return service_to(self._address, name, Port(number, target, "http"), namespace=NAMESPACE)
