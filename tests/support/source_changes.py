"""A source repository with a few APIs, and changes of it as a person makes them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from gitops_ml.commands.check import CheckOptions, check
from gitops_ml.review.review import Review
from tests.support.git_servers import git

DIGEST = "sha256:" + "1" * 64
OTHER_DIGEST = "sha256:" + "2" * 64
PREDICTOR = """\
class PythonPredictor:
    def __init__(self, config):
        self.config = config

    def predict(self, payload):
        return {"answer": payload}
"""
PROJECT: dict[str, Any] = {
    "project": "shop",
    "image": {"repository": "registry.example.org/ml"},
    "gitops": {"repository": "https://git.example.org/gitops.git"},
    "clusters": {
        "main": {
            "kubernetes_version": "1.36",
            "gateway": {"name": "public", "namespace": "gateways", "hosts": ["ml.example.org"]},
            "prometheus": {"address": "http://prometheus.monitoring:9090", "pod_monitors": True},
            "gpu_classes": {
                "t4": {"preset": "gke", "model": "t4", "quota": 4},
                "l4": {"preset": "gke", "model": "l4", "spare": True, "quota": 8},
            },
            "spot": {"preset": "gke"},
            "prices": {"preset": "gcp"},
        }
    },
    "policy": {"hosts": ["*.example.org"]},
    "environments": {
        "staging": {"cluster": "main", "namespace": "ml-staging"},
        "production": {"cluster": "main", "namespace": "ml-production", "protected": True},
    },
}
APIS: dict[str, dict[str, Any]] = {
    "iris": {
        "name": "iris",
        "kind": "RealtimeAPI",
        "predictor": {"path": "predictor.py", "config": {"threshold": 0.5}},
        "compute": {"cpu": "500m", "mem": "1Gi"},
        "autoscaling": {"min_replicas": 2, "max_replicas": 5},
        "environments": {"production": {"autoscaling": {"min_replicas": 3}}},
    },
    "forest": {
        "name": "forest",
        "kind": "RealtimeAPI",
        "container": {"image": f"registry.example.org/forest@{DIGEST}", "port": 8080},
        "autoscaling": {"min_replicas": 1, "max_replicas": 4},
    },
    "painter": {
        "name": "painter",
        "kind": "RealtimeAPI",
        "predictor": {"path": "predictor.py"},
        "compute": {"gpu": 1, "gpu_class": "t4"},
        "autoscaling": {"min_replicas": 1, "max_replicas": 1},
    },
}


class Source:
    """The repository: ``main`` has the APIs, and each change is on top of it."""

    def __init__(self, folder: Path, project: dict[str, Any] | None = None) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.project: dict[str, Any] = copy.deepcopy(project or PROJECT)
        self.apis: dict[str, dict[str, Any]] = copy.deepcopy(APIS)
        self.folders = {name: name for name in self.apis}
        self.writes()
        git("init", "-q", "-b", "main", cwd=folder)
        self.commits()
        git("checkout", "-q", "-b", "change", cwd=folder)

    def resets(self) -> None:
        """Back to ``main``, for the next change."""
        git("checkout", "-q", "-f", "change", cwd=self.folder)
        git("reset", "-q", "--hard", "main", cwd=self.folder)
        git("clean", "-qfdx", cwd=self.folder)
        self.project, self.apis = copy.deepcopy(PROJECT), copy.deepcopy(APIS)
        self.folders = {name: name for name in self.apis}

    def writes(self) -> None:
        """The documents to the disk."""
        self.text("gitops-ml.yaml", yaml.safe_dump(self.project, sort_keys=False))
        for name, api in self.apis.items():
            folder = self.folders[name]
            self.text(f"{folder}/api.yaml", yaml.safe_dump([api], sort_keys=False))
            if "predictor" in api and not (self.folder / folder / "predictor.py").exists():
                self.text(f"{folder}/predictor.py", PREDICTOR)

    def commits(self) -> str:
        git("add", "--all", cwd=self.folder)
        git("commit", "-q", "--allow-empty", "-m", "Work", cwd=self.folder)
        return git("rev-parse", "HEAD", cwd=self.folder)

    # -- what people do ------------------------------------------------------------------------

    def text(self, path: str, content: str | bytes) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def sets(self, api: str, path: str, value: Any) -> None:
        """A field of a manifest; `None` removes it."""
        _set(self.apis[api], path.split("."), value)
        self.writes()

    def configures(self, path: str, value: Any) -> None:
        """A field of the project file; `None` removes it."""
        _set(self.project, path.split("."), value)
        self.writes()

    def adds(self, name: str, like: str, **changes: Any) -> None:
        self.apis[name] = {**copy.deepcopy(self.apis[like]), "name": name, **changes}
        self.folders[name] = name
        self.writes()

    def removes(self, name: str) -> None:
        import shutil

        shutil.rmtree(self.folder / self.folders[name])
        del self.apis[name]

    def checked(self, *, base: str = "main", **options: Any) -> Review:
        return check(self.folder, CheckOptions(base=base, **options))


def _set(fields: dict[str, Any], path: list[str], value: Any) -> None:
    *above, last = path
    for key in above:
        fields = fields.setdefault(key, {})
    if value is None:
        fields.pop(last, None)
    else:
        fields[last] = value
