"""A ready-made container behind the proxy: it scales on requests in flight, and a rollout costs none of them."""

from __future__ import annotations

import json

import pytest

from tests.e2e.load import Load, loaded
from tests.e2e.machine.processes import until
from tests.e2e.story import COMPUTE

pytestmark = pytest.mark.long

SERVER = """\
import json, os, signal, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# It leaves in the middle of its requests: only their end may come before the signal.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(0.4)
        answer = json.dumps({"answer": int(os.environ["FACTOR"]) * payload["x"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

ThreadingHTTPServer(("", int(os.environ["CORTEX_PORT"])), Handler).serve_forever()
"""
SCALING = {
    "min_replicas": 1, "max_replicas": 3, "target_in_flight": 2, "window": "10s",
    "upscale_stabilization_period": "0s", "downscale_stabilization_period": "10s",
    "max_upscale_factor": 10, "max_downscale_factor": 0,
}  # fmt: skip


def api(image, factor):
    container = {
        "image": image, "port": 9000, "command": ["python3", "-c", SERVER],
        "env": {"FACTOR": str(factor)}, "max_concurrency": 4, "proxy": {"cpu": "50m"},
    }  # fmt: skip
    return {
        "name": "answer", "kind": "RealtimeAPI", "container": container, "compute": COMPUTE,
        "autoscaling": SCALING,
    }  # fmt: skip


def test_a_container_scales_on_requests_in_flight_and_a_rollout_costs_none(story):
    story.has(api(story.site.base, 2))
    story.bootstraps()
    story.deploys()
    answer, headers = story.predicts({"x": 21})
    assert answer == {"answer": 42}
    assert headers["x-deployment-id"] == story.release()["deployment_id"]
    with Load(story.address(), rate=100) as load:
        until(lambda: len(story.ready_pods()) == 3, "KEDA scales out to three", seconds=180)
    until(lambda: len(story.pods()) == 1, "KEDA scales in to one", seconds=240)
    assert load.failures == []

    story.has(api(story.site.base, 100))
    load = loaded(story.address(), story.deploys, requests=500, rate=50)
    assert load.failures == []
    assert {json.loads(each)["answer"] for each in load.answers} == {42, 2100}
    identity = story.release()["deployment_id"]
    until(lambda: ids_of(story.pods()) == {identity}, "the old pods have left", seconds=120)


def test_a_container_with_a_proxy_is_promoted_and_follows_the_mode(story):
    production = f"production-{story.mark}"
    place = {"cluster": "main", "namespace": f"{story.namespace}-prod"}
    story.configures(environments={production: place})
    story.has(api(story.site.base, 2))
    story.bootstraps()
    story.deploys()
    # The work tree has no say in what is promoted.
    story.has(api(story.site.base, 100))
    story.runs("promote", "answer", "--from", story.environment, "--to", production, *story.waits)
    (promoted,) = story.pods_in(place["namespace"])
    assert images_of([promoted]) == images_of(story.pods())

    story.has(api(story.site.base, 2))
    for mode in ("manifests", "chart"):
        story.configures(gitops={"mode": mode}, environments={production: place})
        shown = story.runs("deploy", "-e", story.environment, "-e", production, *story.waits)
        assert "rolling" not in shown.out
        assert uids_of(story.pods_in(place["namespace"])) == uids_of([promoted])
    assert story.predicts({"x": 21})[0] == {"answer": 42}


def images_of(pods):
    return {
        part["image"] for pod in pods for kind in ("containers", "initContainers")
        for part in pod["spec"].get(kind, ())
    }  # fmt: skip


def uids_of(pods):
    return {each["metadata"]["uid"] for each in pods}


def ids_of(pods):
    return {each["metadata"]["labels"]["gitops-ml.dev/deployment-id"] for each in pods}
