"""A release in a real cluster: accepted, rolled out, asked, scaled, and synced by Argo CD."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.cluster import posted
from tests.e2e.machine.processes import until
from tests.support.person import DIGEST, NO_REGISTRY, predictor_api

ROOT = Path(__file__).parents[2]
IMAGES = os.environ.get("GITOPS_ML_E2E_REPOSITORY")
GITOPS = os.environ.get("GITOPS_ML_E2E_GITOPS")
GITOPS_TOKEN = os.environ.get("GITOPS_ML_E2E_GITOPS_TOKEN")
EXAMPLES = sorted(path.parent.name for path in ROOT.glob("examples/*/api.yaml"))
KUBERNETES_OWN = {"v1", "apps/v1", "networking.k8s.io/v1", "policy/v1"}
SERVER = """\
import http.server, json

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"{}")

    def do_POST(self):
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(json.dumps({"answer": 2 * payload["x"]}).encode())

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def rendered(ann, environment: str) -> list:
    result = ann.runs("render", "--offline", "--manifests", "-e", environment, "-o", "json")
    assert result.code == 0, result
    return [item for objects in result.json["objects"].values() for item in objects]


def has_example(ann, name: str) -> list[str]:
    """The example becomes the project; returns its environments."""
    shutil.copytree(ROOT / "examples" / name, ann.project, dirs_exist_ok=True)
    return list(yaml.safe_load((ann.project / "gitops-ml.yaml").read_text())["environments"])


def moves(ann, environment: str, namespace: str) -> None:
    """The environment goes to ``namespace``, the others elsewhere."""
    file = ann.project / "gitops-ml.yaml"
    words = yaml.safe_load(file.read_text())
    for name, described in words["environments"].items():
        described["namespace"] = namespace if name == environment else f"elsewhere-{name}"
    file.write_text(yaml.safe_dump(words, sort_keys=False))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_api_server_accepts_every_object_of_an_example(cluster, namespace, ann, name):
    for environment in has_example(ann, name):
        moves(ann, environment, namespace)
        objects = rendered(ann, environment)
        # What a missing definition hides is found by the next test.
        known = [item for item in objects if cluster.knows(item)]
        assert {i["apiVersion"] for i in known} >= KUBERNETES_OWN & {
            i["apiVersion"] for i in objects
        }
        cluster.apply(known, "--dry-run=server")


@pytest.mark.parametrize("kind", ["ScaledObject", "HTTPRoute", "PodMonitor"])
def test_the_cluster_has_the_custom_resources_that_examples_use(cluster, kind):
    if not cluster.has(kind):
        pytest.skip(f"the cluster has no {kind}: the example's object was not shown to it")


@pytest.mark.parametrize("kind", ["ApplicationSet", "AppProject"])
def test_argo_cd_accepts_its_objects(cluster, ann, kind):
    if not cluster.has(kind):
        pytest.skip(f"the cluster has no {kind}: Argo CD is not installed")
    has_example(ann, "iris-classifier")
    result = ann.runs("render", "--offline", "-o", "json")
    files = result.json["files"]
    objects = [yaml.safe_load(files[path]) for path in files if path.startswith("argocd/")]
    # Into a namespace that is there, whatever Argo CD's own is called here.
    for item in objects:
        item["metadata"]["namespace"] = "default"
    cluster.apply([item for item in objects if item["kind"] == kind], "--dry-run=server")


# -- rollout ---------------------------------------------------------------------------------------


@pytest.fixture
def answer(ann, namespace, python_image):
    """The API ``answer``: built where there is a repository for its image, else ready-made."""

    def has(**changes):
        ann.has({**_api(python_image), **changes})
        ann.configures(
            image={"repository": IMAGES or "registry.example.org/ml"},
            environments={"staging": {"cluster": "main", "namespace": namespace}},
            gitops={"repository": GITOPS} if GITOPS else {},
        )

    has()
    return has


def _api(image: str):
    compute = {"cpu": "50m", "mem": "128Mi"}
    if IMAGES:
        return predictor_api("answer", compute=compute)
    probe = {"httpGet": {"path": "/", "port": 8080}}
    container = {
        "image": image, "port": 8080, "command": ["python", "-c", SERVER],
        "readiness_probe": probe, "liveness_probe": probe,
    }  # fmt: skip
    return {"name": "answer", "kind": "RealtimeAPI", "container": container, "compute": compute}


def deployed(ann, cluster) -> str:
    """Deploy, give the cluster what it knows of the objects, and wait; returns the deployment id."""
    ann.deploys("-e", "staging", *(() if IMAGES else NO_REGISTRY))
    objects = rendered(ann, "staging")
    apply(cluster, objects)
    deployment = next(item for item in objects if item["kind"] == "Deployment")
    metadata = deployment["metadata"]
    cluster.kubectl(
        "rollout", "status", f"deployment/{metadata['name']}", "-n", metadata["namespace"],
        "--timeout=300s",
    )  # fmt: skip
    return ann.release("answer")["deployment_id"]


def apply(cluster, objects) -> None:
    """Give the cluster what it knows of the objects."""
    known = [item for item in objects if cluster.knows(item)]
    until(lambda: applied(cluster, known), seconds=60, what="KEDA's webhook knows the Deployment")


def applied(cluster, objects) -> bool:
    """KEDA's webhook reads the Deployment from a cache, which may not have it yet; Argo CD then syncs again."""
    try:
        cluster.apply(objects)
    except AssertionError as error:
        if "vscaledobject" in str(error) and "not found" in str(error):
            return False
        raise
    return True


def test_a_release_rolls_out_and_predicts(cluster, namespace, ann, answer):
    identity = deployed(ann, cluster)
    with cluster.forwarded("answer", namespace=namespace) as address:
        result, headers = posted(f"{address}/predict", {"x": 21})
    assert result == {"answer": 42}
    if IMAGES:
        assert headers["x-deployment-id"] == identity
    pods = cluster.kubectl("get", "pods", "-n", namespace, "-o", "yaml")
    assert identity in pods


def test_the_verbs_tell_what_runs(cluster, namespace, ann, answer, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    identity = deployed(ann, cluster)
    (found,) = ann.runs("get", "answer", "-e", "staging", "-o", "json").json["releases"]
    assert (found["status"], found["is_up_to_date"]) == ("status_live", True), found
    assert (found["running_id"], found["ready"]) == (identity, 1)
    described = ann.runs("describe", "answer", "-e", "staging", "-o", "json").json
    assert [replica["state"] for replica in described["replicas"]] == ["ready"]

    payload = ann.home / "payload.json"
    payload.write_text('{"x": 21}')
    words = ("predict", "answer", payload, "-e", "staging", "-o", "json")
    # The API server may know a pod some seconds after it is ready.
    until(lambda: ann.runs(*words).code == 0, seconds=60, what="the API server reaches the pod")
    assert ann.runs(*words).json["value"] == {"answer": 42}
    result = ann.runs("logs", "answer", "-e", "staging")
    assert result.code == 0, result
    assert "answer-" in result.out


def test_a_release_that_cannot_start_says_why(cluster, namespace, ann, answer, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    if IMAGES:
        pytest.skip("the API is built here, so its image is there")
    answer(container={**_api("")["container"], "image": f"registry.invalid/none@{DIGEST}"})
    ann.deploys("-e", "staging", *NO_REGISTRY)
    apply(cluster, rendered(ann, "staging"))
    until(
        lambda: "error (image pull)" in ann.runs("describe", "answer", "-e", "staging").out,
        seconds=120,
        what="describe names the image that cannot be pulled",
    )


def test_more_replicas_come_with_the_next_deploy(cluster, scaler, namespace, ann, answer):
    deployed(ann, cluster)
    answer(autoscaling={"min_replicas": 2, "max_replicas": 3})
    deployed(ann, cluster)
    until(
        lambda: (
            cluster.get("deployment", "answer", namespace=namespace)["status"].get("readyReplicas")
            == 2
        ),
        seconds=180,
        what="two replicas are ready",
    )
    until(lambda: is_scaled(cluster, namespace), seconds=60, what="KEDA reports Ready")


def is_scaled(cluster, namespace) -> bool:
    status = cluster.get("scaledobject", "answer", namespace=namespace).get("status", {})
    return ("Ready", "True") in {(c["type"], c["status"]) for c in status.get("conditions", ())}


def test_argo_cd_syncs_what_deploy_pushed(cluster, namespace, ann, answer, monkeypatch):
    if not cluster.has("ApplicationSet"):
        pytest.skip("the cluster has no ApplicationSet: Argo CD is not installed")
    if not GITOPS:
        pytest.skip("GITOPS_ML_E2E_GITOPS names no Git repository that Argo CD can read")
    ann.configures(
        project="e2e",
        image={"repository": IMAGES or "registry.example.org/ml"},
        environments={"staging": {"cluster": "main", "namespace": namespace}},
        gitops={"repository": GITOPS, "token_env": "GITOPS_TOKEN"},
    )
    if GITOPS_TOKEN:
        monkeypatch.setenv("GITOPS_TOKEN", GITOPS_TOKEN)
        server = urlsplit(GITOPS).netloc
        monkeypatch.setenv("GITOPS_ML_TOKEN_HOSTS", f"GITOPS_TOKEN={server}")
    ann.deploys("-e", "staging", *(() if IMAGES else NO_REGISTRY))
    files = ann.runs("render", "--offline", "-e", "staging", "-o", "json").json["files"]
    objects = [yaml.safe_load(files[path]) for path in sorted(files) if path.startswith("argocd/")]
    cluster.apply(objects)
    try:
        until(
            lambda: _application(cluster) == ("Synced", "Healthy"),
            seconds=600,
            what="the Application answer-staging is Synced and Healthy",
        )
        with cluster.forwarded("answer", namespace=namespace) as address:
            assert posted(f"{address}/predict", {"x": 21})[0] == {"answer": 42}
    finally:
        for item in objects:
            metadata = item["metadata"]
            cluster.kubectl(
                "delete", item["kind"], metadata["name"], "-n", metadata["namespace"],
                "--wait=false", "--ignore-not-found",
            )  # fmt: skip


def _application(cluster) -> tuple[str, str]:
    listed = cluster.kubectl(
        "get", "applications.argoproj.io", "-A", "-o",
        "jsonpath={range .items[?(@.metadata.name=='answer-staging')]}"
        "{.status.sync.status},{.status.health.status}{end}",
    )  # fmt: skip
    sync, _, health = listed.partition(",")
    return sync, health
