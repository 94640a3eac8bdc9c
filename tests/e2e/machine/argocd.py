"""Argo CD's controllers as processes of this machine; they read http:// and git:// of loopback."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.machine import binaries
from tests.e2e.machine.processes import Processes, answers, until
from tests.support.ports import free_port

if TYPE_CHECKING:
    from tests.e2e.cluster import Cluster

PROGRAMS = ("argocd", "git-verify-wrapper.sh", "redis-server", "helm")
NAMESPACE = "argocd"
POLL_SECONDS = 20
SHARED_MEMORY = Path("/dev/shm")
"""Where Argo CD keeps temporary files of secrets, if it exists."""


def missing() -> list[str]:
    lacking = binaries.missing(*PROGRAMS)
    if not (binaries.definitions() / "argo-cd").is_dir():
        lacking.append(f"Argo CD's definitions in {binaries.definitions() / 'argo-cd'}")
    return lacking


class ArgoCD:
    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self._cluster = cluster
        self._processes = Processes(folder)
        self.folder = folder
        self._redis, self._repository = free_port(), free_port()

    def start(self) -> None:
        self._cluster.apply(_settings())
        self._processes.start("redis", "redis-server", "--port", str(self._redis), "--bind", "127.0.0.1",
                              "--save", "", "--appendonly", "no")  # fmt: skip
        # Else a poll sees the commit of three minutes ago.
        self._start("repo-server", "--port", str(self._repository), *self._cache,
                    "--revision-cache-expiration", f"{POLL_SECONDS // 2}s")  # fmt: skip
        until(lambda: answers(self._repository), "Argo CD's repo-server listens", seconds=60,
              impossible=self.broken)  # fmt: skip
        server = f"127.0.0.1:{self._repository}"
        self._start("application-controller", "--repo-server", server, *self._cache,
                    "--app-resync", str(POLL_SECONDS))  # fmt: skip
        self._start("applicationset-controller", "--argocd-repo-server", server,
                    "--namespace", NAMESPACE, "--metrics-addr", "127.0.0.1:0",
                    "--probe-addr", f"127.0.0.1:{free_port()}")  # fmt: skip

    def stop(self) -> None:
        self._processes.stop()
        self._remove_left_kubeconfigs()

    def _remove_left_kubeconfigs(self) -> None:
        """A controller writes one for each kubectl, to shared memory; ended meanwhile, it leaves it there."""
        view = ("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
        server = f"server: {self._cluster.kubectl(*view)}\n".encode()
        for file in SHARED_MEMORY.glob("[0-9]*"):
            with suppress(OSError):  # one of another cluster, removed at this moment
                if server in file.read_bytes():
                    file.unlink()

    def broken(self) -> None:
        self._processes.check()

    @property
    def _cache(self) -> tuple[str, ...]:
        return ("--redis", f"127.0.0.1:{self._redis}")

    def _start(self, name: str, *arguments: str) -> None:
        ports = () if name == "applicationset-controller" else ("--metrics-port", str(free_port()))
        self._processes.start(
            name,
            binaries.path("argocd") or "argocd",
            *arguments,
            *ports,
            environ=self._environ(name),
        )

    def _environ(self, name: str) -> dict[str, str]:
        for made in ("tls", "ssh", "gpg/source", "gpg/keys", "plugins"):
            (self.folder / made).mkdir(parents=True, exist_ok=True)
        kubeconfig = self.folder / "kubeconfig"
        if not kubeconfig.exists():
            # The controllers take their namespace from the context.
            text = self._cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json")
            kubeconfig.write_text(
                text.replace('"context": {', f'"context": {{"namespace": "{NAMESPACE}",', 1)
            )
        return {
            "ARGOCD_BINARY_NAME": f"argocd-{name}", "ARGOCD_FAKE_IN_CLUSTER": "true",
            "KUBECONFIG": str(kubeconfig), "HOSTNAME": "controller-1",
            "PATH": f"{binaries.folder()}{os.pathsep}{os.environ['PATH']}",
            "ARGOCD_TLS_DATA_PATH": str(self.folder / "tls"),
            "ARGOCD_SSH_DATA_PATH": str(self.folder / "ssh"),
            "ARGOCD_GPG_DATA_PATH": str(self.folder / "gpg/source"),
            "ARGOCD_GNUPGHOME": str(self.folder / "gpg/keys"), "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_PLUGINSOCKFILEPATH": str(self.folder / "plugins"),
        }  # fmt: skip


def _settings() -> list[dict]:
    labels = {"app.kubernetes.io/part-of": "argocd"}

    def made(kind: str, name: str, **more: object) -> dict:
        metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}

    poll = {"timeout.reconciliation": f"{POLL_SECONDS}s", "timeout.reconciliation.jitter": "0s"}
    secret = {"server.secretkey": "a-secret-of-this-test-cluster", "admin.password": "none"}
    empty = ("argocd-rbac-cm", "argocd-tls-certs-cm", "argocd-ssh-known-hosts-cm",
             "argocd-gpg-keys-cm", "argocd-cmd-params-cm")  # fmt: skip
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        *(made("ConfigMap", name) for name in empty),
        made("ConfigMap", "argocd-cm", data=poll),
        made("Secret", "argocd-secret", stringData=secret),
    ]
