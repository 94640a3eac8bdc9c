"""A Kubernetes cluster, asked with kubectl."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

BUSY = re.compile(
    r"handshake timeout|i/o timeout|connection re(fused|set)|etcdserver: |Too ?Many ?Requests"
    r"|unable to retrieve the complete list|server is currently unable"
)
"""What a busy machine answers; a moment later it answers otherwise."""


@dataclass(frozen=True)
class Cluster:
    kubeconfig: Path
    kubectl_program: str

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        command = [self.kubectl_program, *arguments]
        deadline = time.monotonic() + 60
        while True:
            done = subprocess.run(
                command, input=input, env=self._environ, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return done.stdout
            passes = BUSY.search(done.stderr) and time.monotonic() < deadline
            assert passes, f"{' '.join(command)}: {done.stderr}"
            time.sleep(1)

    def apply(self, objects: Iterable[Mapping[str, Any]] | str, *options: str) -> None:
        """Server-side, as Argo CD does it; ``objects`` may be YAML."""
        # As JSON: PyYAML writes the text `n` without quotes, and Kubernetes reads it as false.
        text = (
            objects
            if isinstance(objects, str)
            else json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects]})
        )
        arguments = ("apply", "--server-side", "--field-manager=gitops-ml-e2e", "-f", "-")
        self.kubectl(*arguments, *options, input=text)

    def get(self, kind: str, name: str, *, namespace: str) -> Any:
        return json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))

    def patch(self, kind: str, name: str, change: Mapping[str, Any], *, namespace: str) -> None:
        self.kubectl("patch", kind, name, "-n", namespace, "--type=merge", "-p", json.dumps(change))

    def knows(self, item: Mapping[str, Any]) -> bool:
        """Whether the API server has a definition of this kind of object."""
        return (item["apiVersion"], item["kind"]) in self._kinds

    def has(self, kind: str) -> bool:
        return any(kind == known for _, known in self._kinds)

    @property
    def _kinds(self) -> frozenset[tuple[str, str]]:
        return _kinds(self)

    @property
    def _environ(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    @contextlib.contextmanager
    def forwarded(self, service: str, *, namespace: str) -> Iterator[str]:
        """The service's address on this machine."""
        command = [
            self.kubectl_program, "port-forward", f"service/{service}", ":80", "-n", namespace,
        ]  # fmt: skip
        process = subprocess.Popen(command, env=self._environ, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout
            line = process.stdout.readline()
            port = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert port, f"{' '.join(command)} says {line!r}"
            yield f"http://127.0.0.1:{port[1]}"
        finally:
            process.terminate()
            process.communicate()


@cache
def _kinds(cluster: Cluster) -> frozenset[tuple[str, str]]:
    """(apiVersion, kind) of everything that the API server knows."""
    found = set()
    for line in cluster.kubectl("api-resources", "--no-headers").splitlines():
        # NAME SHORTNAMES APIVERSION NAMESPACED KIND, of which the second may be empty
        version, _, kind = line.split()[-3:]
        found.add((version, kind))
    return frozenset(found)


def posted(url: str, payload: Any, *, seconds: float = 20) -> tuple[Any, Mapping[str, str]]:
    """The JSON answer and its headers."""
    body, head = json.dumps(payload).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, head), timeout=seconds) as answer:
        return json.loads(answer.read()), {k.lower(): v for k, v in answer.headers.items()}
