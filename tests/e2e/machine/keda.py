"""KEDA's operator, metrics adapter and admission webhook as processes of this machine.

Services without a selector lead the API server to the adapter and the webhook. The operator resolves
names of Services where the cluster's DNS runs.
"""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING

from tests.e2e.machine import binaries, dns
from tests.e2e.machine.processes import Processes, answers, until
from tests.e2e.machine.services import Port, service_to
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.cluster import Cluster

PROGRAMS = ("keda-operator", "keda-adapter", "keda-webhooks", "openssl")
NAMESPACE = "keda"


def missing() -> list[str]:
    return binaries.missing(*PROGRAMS)


class Keda:
    def __init__(self, folder: Path, cluster: Cluster, address: str) -> None:
        self._cluster, self._address = cluster, address
        self._processes = Processes(folder)
        self._certificates = folder / "certificates"
        self._metrics, self._adapter, self._webhook = (free_port() for _ in range(3))

    def start(self) -> None:
        self._make_certificates()
        self._cluster.apply([
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            *self._service("keda-metrics-apiserver", self._adapter),
            *self._service("keda-admission-webhooks", self._webhook),
            _METRICS_API, self._admission(),
        ])  # fmt: skip
        self._start_programs()
        for port in (self._metrics, self._adapter, self._webhook):
            until(lambda port=port: answers(port), f"KEDA listens on port {port}", seconds=60,
                  impossible=self.broken)  # fmt: skip

    def stop(self) -> None:
        self._processes.stop()

    def broken(self) -> None:
        self._processes.check()

    def _start_programs(self) -> None:
        keys, kubeconfig = self._certificates, self._cluster.kubeconfig
        self._start(
            "keda-operator", "--leader-elect=false", f"--metrics-bind-address=127.0.0.1:{free_port()}",
            f"--health-probe-bind-address=127.0.0.1:{free_port()}",
            f"--metrics-service-bind-address=127.0.0.1:{self._metrics}",
        )  # fmt: skip
        until(
            lambda: answers(self._metrics),
            "KEDA's operator listens",
            seconds=60,
            impossible=self.broken,
        )
        self._start(
            "keda-adapter", f"--secure-port={self._adapter}", f"--port={free_port()}",
            f"--client-ca-file={keys / 'ca.crt'}", f"--tls-cert-file={keys / 'tls.crt'}",
            f"--tls-private-key-file={keys / 'tls.key'}",
            f"--metrics-service-address=localhost:{self._metrics}",
            *(f"--{each}-kubeconfig={kubeconfig}" for each in ("authentication", "authorization", "lister")),
        )  # fmt: skip
        self._start(
            "keda-webhooks", f"--metrics-bind-address=127.0.0.1:{free_port()}",
            f"--health-probe-bind-address=127.0.0.1:{free_port()}", f"--port={self._webhook}",
        )  # fmt: skip

    def _start(self, program: str, *arguments: str) -> None:
        environ = {
            "POD_NAME": "keda-operator", "POD_NAMESPACE": NAMESPACE, "WATCH_NAMESPACE": "",
            "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE, "KEDA_HTTP_DEFAULT_TIMEOUT": "3000",
        }  # fmt: skip
        keys = ("--ca-dir", self._certificates) if program == "keda-operator" else ()
        self._processes.start(
            program, *dns.resolving(self._processes.folder), binaries.path(program) or program,
            *arguments, *map(str, keys),
            "--cert-dir", self._certificates, "--kubeconfig", self._cluster.kubeconfig, environ=environ,
        )  # fmt: skip

    def _make_certificates(self) -> None:
        folder = self._certificates
        folder.mkdir()
        names = ",".join(f"DNS:{name}" for name in (
            "localhost", "keda-operator.keda.svc", "keda-metrics-apiserver.keda.svc",
            "keda-admission-webhooks.keda.svc",
        ))  # fmt: skip
        (folder / "extensions").write_text(
            f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n"
        )
        for command in (
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=keda-ca",
            "req -newkey rsa:2048 -nodes -keyout tls.key -out tls.csr -subj /CN=keda-operator",
            "x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out tls.crt -days 30"
            " -extfile extensions",
        ):
            subprocess.run(
                ["openssl", *command.split()], cwd=folder, capture_output=True, check=True
            )

    def _service(self, name: str, port: int) -> tuple[dict, dict]:
        return service_to(self._address, name, Port(443, port, "https"), namespace=NAMESPACE)

    def _admission(self) -> dict:
        service = {
            "name": "keda-admission-webhooks", "namespace": NAMESPACE,
            "path": "/validate-keda-sh-v1alpha1-scaledobject",
        }  # fmt: skip
        trusted = base64.b64encode((self._certificates / "ca.crt").read_bytes()).decode()
        rule = {
            "apiGroups": ["keda.sh"], "apiVersions": ["v1alpha1"],
            "operations": ["CREATE", "UPDATE"], "resources": ["scaledobjects"],
        }  # fmt: skip
        webhook = {
            "name": "vscaledobject.kb.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 10, "rules": [rule],
            "clientConfig": {"caBundle": trusted, "service": service},
        }  # fmt: skip
        return {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "keda-admission"}, "webhooks": [webhook],
        }  # fmt: skip


_METRICS_API = {
    "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
    "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
    "spec": {
        "service": {"name": "keda-metrics-apiserver", "namespace": NAMESPACE},
        "group": "external.metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100,
        "versionPriority": 100, "insecureSkipTLSVerify": True,
    },
}  # fmt: skip
