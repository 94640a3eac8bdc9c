"""A project whose releases Argo CD brings to the cluster: what the tests do, and what they ask."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from tests.e2e.cluster import posted
from tests.e2e.machine.argocd import NAMESPACE as ARGO_CD
from tests.e2e.machine.gitea import USER
from tests.e2e.machine.processes import until
from tests.support.git_servers import git

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.e2e.cluster import Cluster
    from tests.e2e.machine.gitea import Gitea
    from tests.support.person import CommandResult, Person

ID_HEADER = "x-deployment-id"
COMPUTE = {"cpu": "50m", "mem": "160Mi"}
PREDICTOR = """\
class PythonPredictor:
    def __init__(self, config):
        self.factor = config["factor"]

    def predict(self, payload):
        return {"answer": self.factor * payload["x"]}
"""


@dataclass(frozen=True)
class Site:
    """``images`` is a repository for images; ``base`` an image with ``python`` (`3.11`)."""

    cluster: Cluster
    forge: Gitea
    images: str
    base: str
    python: str
    cache: Path


@dataclass
class Story:
    """``mark`` makes the names of this test its own."""

    site: Site
    ann: Person
    mark: str
    repository: str = field(init=False)
    flags: tuple[str, ...] = ()
    """Further options of each deploy."""

    # -- the project -------------------------------------------------------------------------------

    @property
    def environment(self) -> str:
        return f"staging-{self.mark}"

    @property
    def namespace(self) -> str:
        return f"gitops-ml-e2e-{self.mark}"

    @property
    def cluster(self) -> Cluster:
        return self.site.cluster

    def begin(self) -> None:
        self.repository = self.site.forge.create_repository(f"gitops-{self.mark}")
        environ = {
            "GITOPS_ML_CACHE": str(self.site.cache),
            "GITOPS_TOKEN": self.site.forge.token,
            "GITOPS_ML_TOKEN_HOSTS": f"GITOPS_TOKEN=127.0.0.1:{self.site.forge.port}",
            "KUBECONFIG": str(self.cluster.kubeconfig),
        }
        for name, value in environ.items():
            self.ann.monkeypatch.setenv(name, value)
        self.configures()

    def end(self) -> None:
        """Remove the root, the applications and the namespaces, without a wait for their end."""
        root = self.ann.home / "checkout" / "bootstrap" / "root.yaml"
        if root.exists():
            self.cluster.kubectl("delete", "-f", str(root), "--ignore-not-found", "--wait=false")
        for each in self.applications():
            self._end_sync(each)
        for name in [f"gitops-ml-{place}" for place in self.environments]:
            self._delete("applicationsets.argoproj.io", name, ARGO_CD)
        for each in self.applications():
            self._delete("applications.argoproj.io", each["metadata"]["name"], ARGO_CD)
        for place in self.environments.values():
            self._delete("namespace", place["namespace"], "default")

    def _end_sync(self, application: dict[str, Any]) -> None:
        """A sync that still runs, of pods that crash for one, makes what is removed again."""
        if application.get("status", {}).get("operationState", {}).get("phase") == "Running":
            end = {"status": {"operationState": {"phase": "Terminating"}}}
            name = application["metadata"]["name"]
            with suppress(AssertionError):  # it has gone meanwhile
                self.cluster.patch("applications.argoproj.io", name, end, namespace=ARGO_CD)

    def _delete(self, kind: str, name: str, namespace: str) -> None:
        self.cluster.kubectl(
            "delete", kind, name, "-n", namespace, "--wait=false", "--ignore-not-found"
        )

    @property
    def environments(self) -> dict[str, dict[str, Any]]:
        return yaml.safe_load((self.ann.project / "gitops-ml.yaml").read_text())["environments"]

    def configures(self, **changes: Any) -> None:
        """Write the project file; ``gitops`` and ``environments`` are merged, other keys replace."""
        place = {"cluster": "main", "namespace": self.namespace}
        self.ann.configures(**{
            "project": f"shop-{self.mark}",
            "default_team": f"team-{self.mark}",
            "image": {
                "repository": self.site.images, "base": self.site.base,
                "python_version": self.site.python, "builder": "oci",
            },
            **changes,
            "environments": {self.environment: place, **changes.get("environments", {})},
            "gitops": {
                "repository": self.repository, "token_env": "GITOPS_TOKEN", "forge": {"type": "gitea"},
                **changes.get("gitops", {}),
            },
        })  # fmt: skip

    def has(self, *apis: dict[str, Any], predictor: str = PREDICTOR) -> None:
        (self.ann.project / "api.yaml").write_text(yaml.safe_dump(list(apis), sort_keys=False))
        (self.ann.project / "predictor.py").write_text(predictor)

    def runs(self, *arguments: str | Path) -> CommandResult:
        """The command, which must end well."""
        outcome = self.ann.runs(*arguments)
        assert outcome.code == 0, outcome
        return outcome

    def bootstraps(self) -> None:
        """Bootstrap the repository, and do once what its README asks an administrator for."""
        self.runs("bootstrap")
        # Gitea has no pull requests for a repository until it has processed the first push, some time after the push.
        place = f"/repos/{USER}/gitops-{self.mark}"
        until(
            lambda: not self.site.forge.ask("GET", place)["empty"],
            "Gitea has processed the first push",
            seconds=60,
        )
        self.applies("root.yaml")

    def applies(self, name: str) -> None:
        """A file of `bootstrap/`."""
        self.cluster.apply((self.checks_out() / "bootstrap" / name).read_text())

    def root(self) -> dict[str, Any]:
        """The Application that syncs `argocd/`, as it is in the cluster."""
        text = (self.checks_out() / "bootstrap" / "root.yaml").read_text()
        name = next(yaml.safe_load_all(text))["metadata"]["name"]
        return self.cluster.get("applications.argoproj.io", name, namespace=ARGO_CD)

    def checks_out(self) -> Path:
        """The GitOps repository as files, as it is now."""
        folder = self.ann.home / "checkout"
        if folder.exists():
            git("pull", "-q", "--ff-only", cwd=folder)
        else:
            git("clone", "-q", self.repository, folder)
        return folder

    def commits(self, changes: Mapping[str, str | None]) -> str:
        """Push files to the GitOps repository as a person would; `None` removes one."""
        folder = self.checks_out()
        for path, text in changes.items():
            if text is None:
                (folder / path).unlink()
            else:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)
        git("add", "-A", cwd=folder)
        git("commit", "-q", "-m", "by hand", cwd=folder)
        access = f"http://{USER}:{self.site.forge.token}@"
        git("push", "-q", self.repository.replace("http://", access), "HEAD:main", cwd=folder)
        return git("rev-parse", "HEAD", cwd=folder)

    def deploys(self, *options: str) -> CommandResult:
        return self.runs("deploy", "-e", self.environment, *self.waits, *self.flags, *options)

    waits = ("--wait", "--timeout", "300")

    # -- what runs ---------------------------------------------------------------------------------

    def applications(self) -> list[dict[str, Any]]:
        items = json.loads(self.cluster.kubectl(
            "get", "applications.argoproj.io", "-n", ARGO_CD, "-o", "json"
        ))["items"]  # fmt: skip
        return [each for each in items if self.mark in each["metadata"]["name"]]

    def pods(self, api: str = "answer") -> list[dict[str, Any]]:
        """The pods that are not terminating."""
        return self.pods_in(self.namespace, api)

    def pods_in(self, namespace: str, api: str = "answer") -> list[dict[str, Any]]:
        selector = f"app.kubernetes.io/name=predictor,app.kubernetes.io/instance={api}"
        items = json.loads(self.cluster.kubectl(
            "get", "pods", "-n", namespace, "-l", selector, "-o", "json"
        ))["items"]  # fmt: skip
        return [each for each in items if "deletionTimestamp" not in each["metadata"]]

    def release(self, api: str = "answer") -> dict[str, Any]:
        """``release.yaml`` as it is in Git now."""
        path = self.checks_out() / "releases" / self.environment / api / "release.yaml"
        return yaml.safe_load(path.read_text())

    def ready_pods(self, api: str = "answer") -> list[dict[str, Any]]:
        return [pod for pod in self.pods(api) if _is_ready(pod)]

    def settled(self, api: str = "answer") -> list[dict[str, Any]]:
        """The pods once the rollout is over: `--wait` ends with the new ones, before the old ones leave."""
        found: list[dict[str, Any]] = []

        def is_over() -> bool:
            found[:] = self.pods(api)
            wanted = self.cluster.get("deployment", api, namespace=self.namespace)["spec"]
            ids = {_identity(each) for each in (*found, wanted["template"])}
            return len(ids) == 1 and all(map(_is_ready, found))

        until(is_over, f"only the new pods of {api} are left", seconds=120)
        return found

    def namespace_exists(self) -> bool:
        return bool(self.cluster.kubectl("get", "namespace", self.namespace, "--ignore-not-found"))

    def service(self, api: str = "answer") -> dict[str, Any]:
        return self.cluster.get("service", api, namespace=self.namespace)["spec"]

    def has_service(self, api: str = "answer") -> bool:
        return bool(self.cluster.kubectl(
            "get", "service", api, "-n", self.namespace, "--ignore-not-found"
        ))  # fmt: skip

    def address(self, api: str = "answer") -> str:
        """The Service's own address, once kube-proxy leads to the pods from this machine, too."""
        service = self.service(api)
        url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}"
        until(lambda: answering_id(url), f"kube-proxy leads from {url} to {api}", seconds=60)
        return url

    def predicts(self, payload: Any, api: str = "answer") -> tuple[Any, Any]:
        """The answer of the pods that are left after a rollout, and its headers."""
        (identity,) = {_identity(pod) for pod in self.settled(api)}
        url, found = f"{self.address(api)}/predict", list[tuple[Any, Any]]()

        def is_new() -> bool:
            found[:] = [posted(url, payload)]
            return bool(found[0][1][ID_HEADER] == identity)

        # For a moment, kube-proxy may still lead to an old one.
        until(is_new, f"{identity} answers", seconds=60)
        return found[0]


def answering_id(url: str) -> str | None:
    """The deployment id of the pod that answers; ``None`` where something else does, or nothing.

    Without a rule of kube-proxy, a connection leaves this machine and may reach a server of its network.
    """
    try:
        with urllib.request.urlopen(f"{url}/info", timeout=20) as answer:
            return answer.headers[ID_HEADER]
    except urllib.error.HTTPError as error:
        return error.headers[ID_HEADER]
    except OSError:
        return None


def _identity(pod: dict[str, Any]) -> str | None:
    return pod["metadata"]["labels"].get("gitops-ml.dev/deployment-id")


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def answer_api(**changes: Any) -> dict[str, Any]:
    """An API whose predictor multiplies by two."""
    predictor = {"path": "predictor.py", "config": {"factor": 2}, **changes.pop("predictor", {})}
    return {
        "name": "answer", "kind": "RealtimeAPI", "predictor": predictor, "compute": COMPUTE,
        "autoscaling": {"min_replicas": 1, "max_replicas": 1}, **changes,
    }  # fmt: skip
