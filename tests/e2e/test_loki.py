"""`gitops-ml trace REQUEST-ID` asks a real Loki; no cluster is needed."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator

import pytest
import yaml

from tests.e2e.machine import binaries
from tests.support.life_of_a_release import Life
from tests.support.person import container_api
from tests.support.ports import free_port
from tests.support.real import running

TENANT = {"X-Scope-OrgID": "ml"}
ID = "order-0190f3c9"


def settings(folder, port: int) -> dict:
    local = {"http_listen_address": "127.0.0.1", "grpc_listen_address": "127.0.0.1"}
    ports = {"http_listen_port": port, "grpc_listen_port": free_port()}
    ring = {"kvstore": {"store": "inmemory"}, "replication_factor": 1}
    index = {"prefix": "index_", "period": "168h"}
    schema = {
        "from": "2018-04-15",
        "store": "boltdb",
        "object_store": "filesystem",
        "schema": "v11",
        "index": index,
    }
    return {
        "auth_enabled": True,
        "server": {**local, **ports, "log_level": "warn"},
        "ingester": {
            "lifecycler": {"address": "127.0.0.1", "ring": ring, "final_sleep": "0s"},
            "max_transfer_retries": 0,
        },
        "schema_config": {"configs": [schema]},
        "storage_config": {
            "boltdb": {"directory": str(folder / "index")},
            "filesystem": {"directory": str(folder / "chunks")},
        },
        "limits_config": {"enforce_metric_name": False, "reject_old_samples": False},
    }  # fmt: skip


def ask(address: str, path: str, body: dict | None = None) -> bytes:
    head = {**TENANT, "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(address + path, content, head), timeout=5
    ) as answer:
        return answer.read()


@pytest.fixture
def loki(tmp_path) -> Iterator[str]:
    if lacking := binaries.missing("grafana-loki"):
        pytest.skip(f"this machine lacks {lacking[0]}")
    address = f"http://127.0.0.1:{(port := free_port())}"
    (tmp_path / "loki.yaml").write_text(yaml.safe_dump(settings(tmp_path, port)))

    def is_ready() -> bool:
        try:
            return bool(ask(address, "/loki/api/v1/labels"))
        except OSError:
            return False

    command = [binaries.path("grafana-loki"), f"-config.file={tmp_path / 'loki.yaml'}"]
    with running(command, log=tmp_path / "loki.log", is_ready=is_ready):
        yield address


def ship(address: str, namespace: str, *lines: str) -> None:
    """As Promtail and Alloy do from a pod's log."""
    labels = {"namespace": namespace, "pod": "iris-gone", "container": "predictor", "app": "iris"}
    now = time.time_ns()
    values = [[str(now - (len(lines) - n) * 10**9), line] for n, line in enumerate(lines)]
    ask(address, "/loki/api/v1/push", {"streams": [{"stream": labels, "values": values}]})


def uses(life: Life, **entry: str) -> None:
    server = "https://kubernetes.default.svc"
    life.ann.configures(clusters={"main": {"server": server, "loki": entry}})


def test_a_request_leads_to_a_pod_that_ended_and_its_commit(life: Life, loki: str) -> None:
    deployment = life.deploys(container_api("iris"))
    namespace = life.ann.release("iris", "staging")["namespace"]
    line = json.dumps({"message": 'a "quoted" word', "request_id": ID, "deployment_id": deployment})
    ship(
        loki,
        namespace,
        "starting",
        line.replace(ID, f"{ID}0"),
        f"2026-11-30T08:00:00Z stdout F {line}",
    )
    ship(loki, "kube-system", line.replace(deployment, "iris-0000000000ab"))
    uses(life, address=loki, tenant="ml")
    result = life.ann.runs("trace", ID, "-o", "json")
    assert result.code == 0, result
    found = result.json
    assert (found["deployment_id"], found["request"]["pod"]) == (deployment, "iris-gone")
    assert life.ann.head() in result.out
    assert life.ann.runs("trace", "order-unknown").code == 2
    report = life.ann.runs("doctor", "-o", "json", "--timeout", "5").json["checks"]
    assert {each["subject"]: each["outcome"] for each in report}["cluster main: Loki"] == "ok"


def test_a_tenant_that_is_not_named_is_reported_with_the_remedy(life: Life, loki: str) -> None:
    life.deploys(container_api("iris"))
    uses(life, address=loki)
    result = life.ann.runs("trace", ID)
    assert "refuses access (401: no org id): set loki.token_env" in result.err
