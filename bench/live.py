"""`get` over many APIs and pods, and `logs` of busy ones, against an API server on the loopback.

The server is a process of its own (`python -m bench.live FOLDER`) that sends pages which are ready: what is measured is
the client. Objects have the size that the API server gives them: with managedFields, volumes and probes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import yaml

from bench import fleet
from bench.spent import GITOPS_ML, Row, spend

if TYPE_CHECKING:
    from collections.abc import Iterator

PODS_EACH = 5
LOG_PODS = 20
LINES_PER_SECOND = 5000
LOG_SECONDS = 4
_NAMESPACE = "ml-staging"
_AT = "2026-11-25T12:00:00Z"
_KINDS = ("applications", "deployments", "pods", "scaledobjects", "jobs")


def measure(apis: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        project = _deployed(folder, apis)
        ids = {
            file.parent.name: yaml.safe_load(file.read_text())["deployment_id"]
            for file in (folder / "files" / "releases" / "staging").glob("*/release.yaml")
        }
        for kind in _KINDS:
            items = [item for api in sorted(ids) for item in _objects(kind, api, ids[api])]
            (folder / f"{kind}.json").write_text(json.dumps(items))
        with _server(folder) as kubeconfig:
            command = [*GITOPS_ML, "get", "-e", "staging", "-o", "json"]
            environ = {"KUBECONFIG": str(kubeconfig)}
            runs = [
                spend(command, cwd=project, cache=folder / "cache", environ=environ)
                for _ in range(3)
            ]
            best = min(runs, key=lambda each: each.wall)
            found = json.loads(best.output)["releases"]
            assert len(found) == apis, len(found)
            assert {each["status"] for each in found} == {"status_live"}, found[0]
            follow = _followed(project, folder, environ)
    share = apis / 1000
    what = f"get, {apis} APIs and {apis * PODS_EACH} pods"
    return [
        Row(f"{what}, wall", f"{best.wall:.2f} s", f"<= {2 * share:g} s", best.wall <= 2 * share),
        Row("  its CPU", f"{best.cpu:.2f} s", "-"),
        Row("  its peak memory", f"{best.peak:.0f} MiB", "<= 200 MiB", best.peak <= 200),
        Row(
            f"logs --follow, {LOG_PODS} pods", f"{follow:.0f} lines/s", f">= {LINES_PER_SECOND * 0.98:.0f}",
            follow >= LINES_PER_SECOND * 0.98,
        ),
    ]  # fmt: skip


def _deployed(folder: Path, apis: int) -> Path:
    """A project whose releases are in a GitOps repository, and a checkout of that in ``files``."""
    repository = fleet.make_bare_repository(folder / "gitops.git")
    project = fleet.write_fleet(folder / "fleet", apis, repository=repository)
    command = [*GITOPS_ML, "deploy", "-e", "staging", "--offline", "--by-tag"]
    spend(command, cwd=project, cache=folder / "cache")
    subprocess.run(["git", "clone", "-q", repository, str(folder / "files")], check=True)
    return project


def _followed(project: Path, folder: Path, environ: dict[str, str]) -> float:
    """Lines per second that `logs --follow` shows of pods that write more than it needs to keep up."""
    process = subprocess.Popen(
        [*GITOPS_ML, "logs", "api-00000", "-e", "staging", "--follow"], cwd=project, stdout=subprocess.PIPE,
        env={**os.environ, **environ, "GITOPS_ML_CACHE": str(folder / "cache")},
    )  # fmt: skip
    assert process.stdout is not None
    count, begin = 0, 0.0
    expected = LINES_PER_SECOND * LOG_SECONDS
    for _ in process.stdout:
        begin = begin or time.perf_counter()
        count += 1
        if count == expected:
            break
    seconds = time.perf_counter() - begin
    process.terminate()
    process.wait(10)
    return count / max(seconds, LOG_SECONDS)


# -- objects ---------------------------------------------------------------------------------------


def _objects(kind: str, api: str, id: str) -> list[dict[str, Any]]:
    labels = {
        "gitops-ml.dev/api": api, "gitops-ml.dev/environment": "staging", "gitops-ml.dev/deployment-id": id,
        "app.kubernetes.io/name": api, "app.kubernetes.io/managed-by": "Helm",
    }  # fmt: skip
    if kind == "pods":
        count = LOG_PODS if api == "api-00000" else PODS_EACH
        return [_pod(f"{api}-7d9f8c6b5d-{n:05d}", labels) for n in range(count)]
    if kind == "jobs":
        return []
    metadata = _metadata(api if kind != "applications" else f"{api}-staging", labels)
    if kind == "applications":
        metadata["annotations"] = {"gitops-ml.dev/deployment-id": id}
        status = {
            "sync": {"status": "Synced", "revision": "a" * 40},
            "health": {"status": "Healthy"},
        }
        return [{"metadata": metadata, "spec": {"source": {"path": "x"}}, "status": status}]
    if kind == "scaledobjects":
        spec = {"scaleTargetRef": {"name": api}, "minReplicaCount": 1, "maxReplicaCount": 10}
        return [
            {
                "metadata": metadata,
                "spec": spec,
                "status": {"conditions": _conditions("Ready", "Active")},
            }
        ]
    count = LOG_PODS if api == "api-00000" else PODS_EACH
    template = {"metadata": {"labels": labels}, "spec": _pod_spec()}
    status = {
        "observedGeneration": 1, "replicas": count, "readyReplicas": count, "updatedReplicas": count,
        "availableReplicas": count, "conditions": _conditions("Available", "Progressing"),
    }  # fmt: skip
    return [
        {"metadata": metadata, "spec": {"replicas": count, "template": template}, "status": status}
    ]


def _metadata(name: str, labels: dict[str, str]) -> dict[str, Any]:
    fields = {f"f:field{n}": {"f:inner": {".": {}, f'k:{{"name":"{n}"}}': {}}} for n in range(40)}
    managed = [
        {"manager": "argocd-controller", "operation": "Apply", "time": _AT, "fieldsV1": fields}
    ]
    return {
        "name": name, "namespace": _NAMESPACE, "labels": labels, "creationTimestamp": _AT, "generation": 1,
        "uid": "0f0e6f5a-6c3b-4f0e-9a51-2f6d3b1f9d11", "resourceVersion": "1234567", "managedFields": managed,
    }  # fmt: skip


def _conditions(*types: str) -> list[dict[str, str]]:
    return [
        {
            "type": each,
            "status": "True",
            "reason": "Fine",
            "message": "as wanted",
            "lastTransitionTime": _AT,
        }
        for each in types
    ]


def _pod_spec() -> dict[str, Any]:
    probe = {
        "httpGet": {"path": "/readyz", "port": "probes"},
        "periodSeconds": 5,
        "failureThreshold": 3,
    }
    container = {
        "name": "predictor", "image": "registry.example.org/ml/model@sha256:" + "1" * 64,
        "env": [{"name": f"VARIABLE_{n}", "value": f"value {n}"} for n in range(10)],
        "readinessProbe": probe, "livenessProbe": probe, "startupProbe": probe,
        "resources": {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": f"v{n}", "mountPath": f"/mnt/{n}"} for n in range(4)],
    }  # fmt: skip
    volumes = [{"name": f"v{n}", "emptyDir": {"sizeLimit": "1Gi"}} for n in range(4)]
    return {
        "containers": [container],
        "volumes": volumes,
        "nodeName": "node-1",
        "serviceAccountName": "x",
    }


def _pod(name: str, labels: dict[str, str]) -> dict[str, Any]:
    state = {"running": {"startedAt": _AT}}
    statuses = [
        {"name": "predictor", "ready": True, "restartCount": 0, "state": state, "image": "x"}
    ]
    conditions = _conditions("Ready", "PodScheduled", "ContainersReady", "Initialized")
    return {
        "metadata": _metadata(name, labels), "spec": _pod_spec(),
        "status": {"phase": "Running", "conditions": conditions, "containerStatuses": statuses},
    }  # fmt: skip


# -- the server ------------------------------------------------------------------------------------


@contextmanager
def _server(folder: Path) -> Iterator[Path]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.live", str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    document = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {"token": "none"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(document))
    try:
        yield kubeconfig
    finally:
        process.terminate()
        process.wait(10)


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    items: dict[str, list[bytes]]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        *_, kind = parts.path.split("/")
        if kind == "log":
            self._log()
            return
        items = self.items.get(kind, [])
        if "gitops-ml.dev/api=api-00000" in query.get("labelSelector", ""):
            items = [each for each in items if b'"name": "api-00000' in each[:40]]
        start = int(query.get("continue", 0))
        end = min(start + int(query.get("limit", 500)), len(items))
        more = b'"%d"' % end if end < len(items) else b'""'
        body = b'{"metadata": {"continue": %b}, "items": [%b]}' % (
            more,
            b",".join(items[start:end]),
        )
        self._head(("Content-Length", str(len(body))), ("Content-Type", "application/json"))
        self.wfile.write(body)

    def _log(self) -> None:
        self._head(("Transfer-Encoding", "chunked"), ("Content-Type", "text/plain"))
        share = LINES_PER_SECOND // LOG_PODS
        begin = time.perf_counter()
        number = 0
        while number < share * LOG_SECONDS * 2:
            step = share // 10
            text = "".join(
                f"2026-11-25T12:{number // 60000 % 60:02d}:{(number + n) // 1000 % 60:02d}.{(number + n) % 1000:03d}"
                f'000000Z {{"level": "info", "message": "request {number + n} was answered in 3 ms"}}\n'
                for n in range(step)
            ).encode()  # fmt: skip
            number += step
            try:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(text), text))
            except OSError:
                return
            time.sleep(max(0.0, begin + number / share - time.perf_counter()))

    def _head(self, *headers: tuple[str, str]) -> None:
        self.send_response(200)
        for header in headers:
            self.send_header(*header)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


def serve(folder: Path) -> None:
    _Answers.items = {
        kind: [
            json.dumps(each).encode() for each in json.loads((folder / f"{kind}.json").read_text())
        ]
        for kind in _KINDS
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
