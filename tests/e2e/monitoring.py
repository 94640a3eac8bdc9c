"""A Prometheus beside the cluster: it scrapes the pods, and evaluates the rules of the releases with short windows.

The cluster has neither the Prometheus Operator nor kube-state-metrics. Their part is done here: definitions that
accept the operator's objects, and the few series of kube-state-metrics, read from the API server at each scrape.
"""

from __future__ import annotations

import json
import threading
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import yaml

from tests.e2e.machine.processes import Processes, answers, until
from tests.support.alert_scenarios import shortened
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.cluster import Cluster

FACTOR = 15
"""Of the windows: an hour is four minutes. Only tests shorten them."""


def definitions() -> list[dict[str, Any]]:
    """CustomResourceDefinitions of the Prometheus Operator without its schemas."""
    return [
        _definition("PodMonitor", "podmonitors"),
        _definition("PrometheusRule", "prometheusrules"),
    ]


def _definition(kind: str, plural: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
    }  # fmt: skip
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced", "names": names,
            "versions": [version],
        },
    }  # fmt: skip


def _with_real_restarts(group: dict[str, Any]) -> dict[str, Any]:
    """Longer windows of restarts, which are real again when shortened: the kubelet's back-off is not shortened."""
    rules = [
        {**rule, "expr": rule["expr"].replace("[30m]", f"[{30 * FACTOR}m]")}
        if "restarts_total" in rule["expr"]
        else rule
        for rule in group["rules"]
    ]
    return {**group, "rules": rules}


class Monitoring:
    """Prometheus, and what it reads about a namespace."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self._cluster, self._namespace, self._folder = cluster, namespace, folder
        folder.mkdir(exist_ok=True)
        self._programs = Processes(folder)
        self._port = free_port()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def start(self) -> None:
        own = f"127.0.0.1:{self._server.server_port}"
        config = {
            "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "pods", "http_sd_configs": [{"url": f"http://{own}/pods", "refresh_interval": "5s"}]},
                {
                    "job_name": "state", "honor_labels": True, "scrape_interval": "5s",
                    "static_configs": [{"targets": [own]}],
                },
            ],
        }  # fmt: skip
        self.reads_rules(reload=False)
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._programs.start(
            "prometheus", "prometheus", f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}", "--web.enable-lifecycle",
            f"--web.listen-address=127.0.0.1:{self._port}",
        )  # fmt: skip
        until(lambda: answers(self._port), "Prometheus listens", seconds=30)

    def stop(self) -> None:
        self._programs.stop()
        self._server.shutdown()
        self._server.server_close()

    def reads_rules(self, *, reload: bool = True) -> None:
        """Take the PrometheusRules of the namespace, as the operator does."""
        items = self._items("prometheusrules.monitoring.coreos.com")
        groups = [group for item in items for group in item["spec"]["groups"]]
        rules = shortened({"groups": [_with_real_restarts(group) for group in groups]}, FACTOR)
        (self._folder / "rules.yml").write_text(yaml.safe_dump(rules))
        if reload:
            request = urllib.request.Request(
                f"http://127.0.0.1:{self._port}/-/reload", method="POST"
            )
            urllib.request.urlopen(request, timeout=10).close()

    def firing(self) -> dict[str, set[str]]:
        """The alerts that fire, by API."""
        found: dict[str, set[str]] = {}
        for each in self.asks('ALERTS{alertstate="firing"}'):
            found.setdefault(each["metric"]["api"], set()).add(each["metric"]["alertname"])
        return found

    def asks(self, query: str) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{self._port}/api/v1/query?query={urllib.parse.quote(query)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def _items(self, kind: str) -> list[dict[str, Any]]:
        text = self._cluster.kubectl("get", kind, "-n", self._namespace, "-o", "json")
        items: list[dict[str, Any]] = json.loads(text)["items"]
        return items

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_discovery = self.path == "/pods"
                text = json.dumps(outer._targets()) if is_discovery else outer._series()
                self.send_response(200)
                self.send_header(
                    "Content-Type",
                    "application/json" if is_discovery else "text/plain; version=0.0.4",
                )
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def _targets(self) -> list[dict[str, Any]]:
        """What a PodMonitor of each release selects."""
        found = []
        for pod in self._items("pods"):
            labels, address = pod["metadata"]["labels"], pod["status"].get("podIP")
            if labels.get("app.kubernetes.io/name") != "predictor" or not address:
                continue
            ports = {
                port["name"]: port["containerPort"]
                for container in pod["spec"]["containers"]
                for port in container.get("ports", ())
            }
            added = {
                "namespace": self._namespace,
                "pod": pod["metadata"]["name"],
                "app_kubernetes_io_name": "predictor",
                "app_kubernetes_io_instance": labels["app.kubernetes.io/instance"],
            }
            found.append({"targets": [f"{address}:{ports['probes']}"], "labels": added})
        return found

    def _series(self) -> str:
        """The series of kube-state-metrics that the rules use."""
        lines = []
        for item in self._items("deployments.apps"):
            of = f'namespace="{self._namespace}",deployment="{item["metadata"]["name"]}"'
            status = item["status"]
            lines += [
                f"kube_deployment_status_replicas_ready{{{of}}} {status.get('readyReplicas', 0)}",
                f"kube_deployment_spec_replicas{{{of}}} {item['spec']['replicas']}",
                f"kube_deployment_created{{{of}}} 0",
            ]
            for each in status.get("conditions", ()):
                value = int(each["status"] == "False")
                more = f'condition="{each["type"]}",status="false"'
                lines.append(f"kube_deployment_status_condition{{{of},{more}}} {value}")
        for item in self._items("jobs.batch"):
            of = f'namespace="{self._namespace}",job_name="{item["metadata"]["name"]}"'
            lines.append(f"kube_job_status_failed{{{of}}} {item['status'].get('failed', 0)}")
        for item in self._items("pods"):
            for each in item["status"].get("containerStatuses", ()):
                of = f'namespace="{self._namespace}",pod="{item["metadata"]["name"]}",container="{each["name"]}"'
                lines.append(
                    f"kube_pod_container_status_restarts_total{{{of}}} {each['restartCount']}"
                )
        return "\n".join(lines) + "\n"
