"""A request wakes an API that sleeps, by KEDA's HTTP add-on; without requests the API sleeps again.

No gateway runs here: the test does what the HTTPRoute asks a gateway for.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.machine.processes import until
from tests.e2e.story import answer_api

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.story import Story


COLD = "x-keda-http-cold-start"


@pytest.fixture
def asleep(add_on, story: Story) -> Story:
    """A story whose API has no replica."""
    story.configures(clusters={"main": {
        "server": "https://kubernetes.default.svc", "http_addon": True,
        "gateway": {"name": "public", "namespace": "gateways", "hosts": ["ml.example.org"]},
    }})  # fmt: skip
    scaling = {"min_replicas": 0, "max_replicas": 1, "cooldown_period": "5s"}
    # Not a second pod before the first one: tests of their own are about it.
    story.has(answer_api(autoscaling=scaling, update_strategy={"preflight": "none"}))
    story.bootstraps()
    with ThreadPoolExecutor(1) as gateway:
        accepted = gateway.submit(accepts_the_route, story)
        story.deploys()
        accepted.result()
    until(lambda: sleeps(story), "no replica without a request", seconds=180)
    return story


def sleeps(story: Story) -> bool:
    """Whether KEDA has taken the last replica away; before the Deployment is there, there is none either."""
    command = ("get", "deployments", "-n", story.namespace, "-o", "json")
    found = json.loads(story.cluster.kubectl(*command))["items"]
    return [each["spec"]["replicas"] for each in found] == [0] and not story.pods()


def test_a_request_wakes_the_api_and_without_requests_it_sleeps_again(asleep, record_property):
    began = time.monotonic()
    body, head = asks(asleep, {"x": 21})
    record_property("seconds_from_zero_to_an_answer", round(time.monotonic() - began, 1))
    assert (body, head[COLD]) == ({"answer": 42}, "true")
    assert len(asleep.ready_pods()) == 1
    body, head = asks(asleep, {"x": 4})
    assert (body, head[COLD]) == ({"answer": 8}, "false")
    until(lambda: not asleep.pods(), "no replica after the requests", seconds=180)
    (release,) = asleep.runs("get", "-o", "json").json["releases"]
    assert release["status"] == "status_live"


# -- what a gateway does ---------------------------------------------------------------------------


def routes(story: Story) -> list[dict[str, Any]]:
    command = ("get", "httproutes", "-n", story.namespace, "-o", "json")
    return json.loads(story.cluster.kubectl(*command))["items"]


def accepts_the_route(story: Story) -> None:
    """Argo CD takes a route for healthy when a gateway has accepted it."""
    until(lambda: routes(story), "Argo CD creates the route", seconds=300)
    (route,) = routes(story)
    condition = {
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
        "lastTransitionTime": route["metadata"]["creationTimestamp"],
        "observedGeneration": route["metadata"]["generation"],
    }  # fmt: skip
    parent = {
        "parentRef": route["spec"]["parentRefs"][0], "controllerName": "example.org/gateway",
        "conditions": [condition],
    }  # fmt: skip
    story.cluster.kubectl(
        "patch", "httproute", route["metadata"]["name"], "-n", story.namespace,
        "--subresource=status", "--type=merge", "-p", json.dumps({"status": {"parents": [parent]}}),
    )  # fmt: skip


def asks(story: Story, payload: Any) -> tuple[Any, Mapping[str, str]]:
    """The answer to a request that comes to the gateway for this API, and its headers."""
    ((rule,),) = (each["spec"]["rules"] for each in routes(story))
    (backend,), (rewrite,) = rule["backendRefs"], rule["filters"]
    service = story.cluster.get("service", backend["name"], namespace=backend["namespace"])
    request = urllib.request.Request(
        f"http://{service['spec']['clusterIP']}:{backend['port']}/predict",
        json.dumps(payload).encode(),
        {"Content-Type": "application/json", "Host": rewrite["urlRewrite"]["hostname"]},
    )
    seconds = int(rule["timeouts"]["request"].removesuffix("s"))
    latest = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return json.loads(answer.read()), {k.lower(): v for k, v in answer.headers.items()}
        except urllib.error.HTTPError as error:  # the add-on learns of a new route a moment later
            if error.code != 404 or time.monotonic() > latest:
                raise
            time.sleep(0.2)
