"""A release that lives: in Git, in Argo CD, in a cluster that its chart's objects were applied to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace, open_settings
from tests.support import controllers as k8s
from tests.support.kubernetes_server import ApiServer
from tests.support.person import NO_REGISTRY, Person, container_api


@dataclass
class Life:
    ann: Person
    server: ApiServer
    applied: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """The objects as rendered: by API, then by kind."""

    def __post_init__(self) -> None:
        self.server.kinds.add(("argoproj.io/v1alpha1", "applications"))

    def has_kubeconfig(self) -> Path:
        file = self.server.kubeconfig(self.ann.home / "kubeconfig")
        self.ann.monkeypatch.setenv("KUBECONFIG", str(file))
        return file

    def deploys(self, *apis: dict[str, Any], environment: str = "staging") -> str:
        """Into Git; returns the first API's deployment id."""
        apis = apis or (container_api("iris"),)
        self.ann.has(*apis)
        self.ann.deploys("-e", environment, *NO_REGISTRY)
        return self.ann.release(apis[0]["name"], environment)["deployment_id"]

    def syncs(self, api: str = "iris", environment: str = "staging") -> None:
        """What Argo CD does: renders the chart, applies its objects, and says that it has."""
        self._applies(api, environment)
        self.argo_cd_says(k8s.synced(self.ann.head()), api=api, environment=environment)

    def argo_cd_says(
        self, status: dict[str, Any], *, api: str = "iris", environment: str = "staging"
    ) -> None:
        """It compares the Application, which ends a refresh that was asked for."""
        application_set = self.ann.yaml(f"argocd/{environment}.yaml")
        release = self.ann.release(api, environment)
        self.server.has(k8s.application(application_set, release, **status))

    def refreshes(self) -> list[str]:
        """What Argo CD was asked to read again, by name."""
        patches = [each.split()[1] for each in self.server.requests if each.startswith("PATCH ")]
        names = [path.rpartition("/")[2] for path in patches]
        return ["the root" if each.startswith("gitops-ml-root-") else each for each in names]

    def is_gone(self, api: str = "iris", environment: str = "staging") -> None:
        """Argo CD has deleted the Application and all of its objects."""
        self.server.objects = {
            key: item
            for key, item in self.server.objects.items()
            if item["metadata"].get("labels", {}).get("gitops-ml.dev/api") != api
            or item["metadata"]["labels"]["gitops-ml.dev/environment"] != environment
        }

    def runs(
        self, *statuses: dict[str, Any], api: str = "iris", replicas: int | None = None, **how: Any
    ) -> None:
        """Its replicas, one for each status."""
        deployment = k8s.deployed(
            self.applied[api]["Deployment"],
            replicas=len(statuses) if replicas is None else replicas,
            **how,
        )
        self.server.loses("Pod")
        self.server.has(deployment)
        self.server.has(*(k8s.pod(deployment, f"p{n}", **each) for n, each in enumerate(statuses)))

    def tries(self, *statuses: dict[str, Any], api: str = "iris", **status: Any) -> None:
        """The preflight of the release in Git, with a pod for each status."""
        self._applies(api, "staging")
        job = k8s.job(self.applied[api]["Job"], **status)
        self.server.has(job)
        self.server.has(*(k8s.job_pod(job, f"p{n}", **each) for n, each in enumerate(statuses)))

    def pod(self, number: int = 0, api: str = "iris") -> dict[str, Any]:
        name = f"{api}-7d9f8c6b5d-p{number}"
        return next(item for key, item in self.server.objects.items() if key[3] == name)

    def asks(self, environment: str = "staging") -> tuple[Workspace, Clients]:
        """What a verb is called with from Python."""
        workspace = open_settings(environments=[environment])
        return workspace, Clients(project=workspace.project, root=workspace.root)

    def _applies(self, api: str, environment: str) -> None:
        result = self.ann.runs(
            "render", "--offline", "--manifests", "-e", environment, "-a", api, "-o", "json"
        )
        assert result.code == 0, result
        (objects,) = result.json["objects"].values()
        for item in objects:
            if item["kind"] in ("Deployment", "Job", "ScaledObject"):
                self.applied.setdefault(api, {})[item["kind"]] = item
        if "ScaledObject" in self.applied[api]:
            self.server.has(k8s.scaled(self.applied[api]["ScaledObject"]))
