"""Many APIs of a plausible mix, for measurements."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PROJECT = """\
project: fleet
image: {{repository: registry.example.org/ml, base: "docker.io/library/python:3.12-slim@sha256:{base}"}}
gitops: {{repository: "{repository}", branch: main, mode: {mode}}}
clusters:
  main:
    server: https://kubernetes.default.svc
    gateway: {{type: gateway-api, name: public, namespace: gateways, hosts: [ml.example.org]}}
    prometheus: {{address: "http://prometheus.monitoring:9090", namespace: monitoring, pod_monitors: true}}
    gpu_classes:
      t4: {{preset: gke, model: t4}}
environments:
  staging: {{cluster: main, namespace: ml-staging}}
  production: {{cluster: main, namespace: ml-production, protected: true}}
teams:
  search: {{}}
  vision: {{}}
default_team: search
"""

_API = """\
- name: api-{number:05d}
  kind: RealtimeAPI
  team: {team}
  container:
    image: registry.example.org/ml/model-{number:05d}@sha256:{digest}
    port: 8080
    env: {{MODEL: model-{number:05d}, LOG_LEVEL: info, THRESHOLD: "0.{number}"}}
    max_concurrency: 4
    metrics_path: /metrics
    in_flight_metric: requests_in_progress
    readiness_probe: {{httpGet: {{path: /ready, port: 8080}}, periodSeconds: 5}}
    liveness_probe: {{httpGet: {{path: /live, port: 8080}}}}
  compute: {{cpu: {cpu}m, mem: 512Mi{gpu}}}
  autoscaling:
    min_replicas: 1
    max_replicas: {most}
    target_in_flight: 4
    window: 1m
  networking: {{endpoint: /models/{number}, timeout: 30s}}
  environments:
    production:
      autoscaling: {{min_replicas: 2}}
      compute: {{cpu: "1"}}
"""


_PREDICTOR_API = """\
- name: api-{number:05d}
  kind: RealtimeAPI
  predictor: {{type: python, path: predictor.py}}
  compute: {{cpu: 500m, mem: 512Mi}}
  autoscaling: {{min_replicas: 1, max_replicas: {most}}}
"""
_PREDICTOR = """\
class PythonPredictor:
    def __init__(self, config):
        self.number = {number}

    def predict(self, payload):
        return {{"number": self.number}}
"""


def write_fleet(folder: Path, count: int, *, repository: str, mode: str = "chart") -> Path:
    """``count`` APIs, one file each, with a project of two environments."""
    folder.mkdir(parents=True)
    project = _PROJECT.format(repository=repository, mode=mode, base="0" * 64)
    (folder / "gitops-ml.yaml").write_text(project)
    for number in range(count):
        directory = folder / "apis" / f"api-{number:05d}"
        directory.mkdir(parents=True)
        (directory / "api.yaml").write_text(manifest(number))
    return folder


def write_predictor(folder: Path, number: int, *, most: int = 10) -> None:
    """The API with a predictor, and so with a build context, in place of a ready-made image."""
    directory = folder / "apis" / f"api-{number:05d}"
    (directory / "api.yaml").write_text(_PREDICTOR_API.format(number=number, most=most))
    (directory / "predictor.py").write_text(_PREDICTOR.format(number=number))


def add_dashboards(project: Path) -> None:
    """Give each release a dashboard with its cost."""
    file = project / "gitops-ml.yaml"
    more = "    grafana: {}\n    prices: {cpu_hour: 0.04, memory_hour: 0.005}\n    gateway:"
    file.write_text(file.read_text().replace("    gateway:", more))


def manifest(number: int, *, most: int = 10) -> str:
    """The manifest of one API."""
    return _API.format(
        number=number,
        team=("search", "vision")[number % 2],
        digest=f"{number:064x}",
        cpu=200 + number % 8 * 100,
        gpu=", gpu: 1, gpu_class: t4" if number % 10 == 0 else "",
        most=most,
    )


def make_bare_repository(folder: Path) -> str:
    """An empty repository; returns its address."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(folder)], check=True)
    return folder.as_uri()
