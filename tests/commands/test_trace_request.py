"""`gitops-ml trace REQUEST-ID`: from a line of a log to the commit."""

from __future__ import annotations

import json
import re
import time
from typing import ClassVar
from urllib.parse import parse_qsl

import pytest

from tests.support import controllers as k8s
from tests.support.http_servers import Handler, answering
from tests.support.kubernetes_server import Log
from tests.support.person import container_api

ID = "0190f3c9-51d2-74e6-9a51-2f6d3b1f9d11"


@pytest.fixture
def running(life):
    """Two replicas, and the id of their deployment."""
    deployment = life.deploys(container_api("iris"))
    life.syncs()
    life.runs(k8s.ready(), k8s.ready())
    return life, deployment


def logs(life, number, *lines):
    name = life.pod(number)["metadata"]["name"]
    text = [f"2026-11-25T12:00:0{n}.000000000Z {line}" for n, line in enumerate(lines)]
    life.server.logs[name, "predictor", False] = Log(text)
    return name


def test_a_request_leads_to_the_deployment_and_its_commit(running):
    life, deployment = running
    logs(life, 0, "starting", json.dumps({"message": "x", "request_id": f"{ID}0"}))
    line = json.dumps({"message": "odd", "request_id": ID, "deployment_id": deployment})
    pod = logs(life, 1, "starting", line, "plain text")
    result = life.ann.runs("trace", ID)
    assert result.code == 0, result
    assert f"request:        {ID}, answered by {pod}" in result.out
    assert "odd" in result.out
    assert f"deployment id:  {deployment}" in result.out
    assert life.ann.head() in result.out
    found = life.ann.runs("trace", ID, "-e", "staging", "-a", "iris", "-o", "json").json
    assert (found["deployment_id"], found["request"]["pod"]) == (deployment, pod)
    assert len(found["request"]["lines"]) == 1


def test_the_log_of_a_proxy_is_searched_where_the_container_has_none(life):
    deployment = life.deploys(container_api("iris"))
    life.syncs()
    status = k8s.ready()
    (container,) = status["containerStatuses"]
    life.runs({**status, "containerStatuses": [{**container, "name": "queue-proxy"}]})
    line = json.dumps({"message": "the container did not answer", "request_id": ID})
    pod = life.pod(0)["metadata"]["name"]
    life.server.logs[pod, "queue-proxy", False] = Log([f"2026-11-25T12:00:00.0Z {line}"])
    result = life.ann.runs("trace", ID)
    assert result.code == 0, result
    assert "the container did not answer" in result.out
    assert f"deployment id:  {deployment}" in result.out


def test_an_event_of_the_prediction_log_is_enough_and_so_is_the_pod(running):
    life, deployment = running
    event = {
        "type": "org.kubeflow.serving.inference.response",
        "id": ID,
        "deploymentid": deployment,
    }
    logs(life, 0, json.dumps(event))
    logs(life, 1)
    assert f"deployment id:  {deployment}" in life.ann.runs("trace", ID).out
    logs(life, 0, f"request {ID} took long")
    assert f"deployment id:  {deployment}" in life.ann.runs("trace", ID).out


def test_an_id_that_no_log_names_says_what_was_searched_and_why_there_may_be_none(running):
    life, _ = running
    logs(life, 0, f"request {ID}-other took long")
    result = life.ann.runs("trace", ID)
    assert result.code == 2
    assert f"there is no deployment '{ID}'" in result.err
    assert "The logs of 2 pods name no such request" in result.err
    assert "prediction_log.sink is stdout" in result.err


def test_without_a_cluster_the_answer_is_about_deployments(ann):
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging", "--offline", "--by-tag")
    result = ann.runs("trace", ID)
    assert (result.code, "there is no deployment" in result.err, "logs" in result.err) == (
        2,
        True,
        False,
    )


# -- Loki ------------------------------------------------------------------------------------------

TOKEN = "a-token-of-loki"
MADE = int(ID[:8] + ID[9:13], 16) * 10**6
"""The time of `ID`, in nanoseconds."""
QUERY = re.compile(r'\{(\w+)=~"([^"]*)"\} \|= "([^"]*)"')


class Loki(Handler):
    """Answers queries as Loki's HTTP API is documented to: two streams with the lines of `lines`."""

    lines: ClassVar[list[tuple[str, int, str, str]]] = []
    """Namespace, nanoseconds, pod and text."""
    asked: ClassVar[list[dict[str, str]]] = []
    answer_instead: ClassVar[tuple[int, bytes] | None] = None

    def do_GET(self):
        path, _, query = self.path.partition("?")
        fields = dict(parse_qsl(query))
        type(self).asked.append({**fields, **{k.lower(): v for k, v in self.headers.items()}})
        if self.answer_instead:
            return self.answer(*self.answer_instead)
        if not self.headers["X-Scope-OrgID"]:
            return self.answer(401, b"no org id\n", {"Content-Type": "text/plain; charset=utf-8"})
        assert path.endswith("/loki/api/v1/query_range")
        start, end = int(fields["start"]), int(fields["end"])
        if end - start > 721 * 3600 * 10**9:
            return self.answer(400, b"the query time range exceeds the limit\n")
        assert fields["direction"] == "backward"
        label, namespaces, text = QUERY.fullmatch(fields["query"]).groups()
        streams: dict = {}
        for space, at, pod, line in sorted(self.lines, key=lambda each: -each[1]):
            if text in line and start <= at < end and space in namespaces.split("|"):
                stream = {label: space, "pod": pod}
                one = streams.setdefault(pod, {"stream": stream, "values": []})
                one["values"].append([str(at), line])
        data = {"resultType": "streams", "result": [*streams.values()], "stats": {}}
        body = json.dumps({"status": "success", "data": data}).encode()
        return self.answer(200, body, {"Content-Type": "application/json"})


@pytest.fixture
def loki(running, monkeypatch):
    """A life whose Loki is outside of the cluster, and the deployment."""
    life, deployment = running
    for name, value in {"lines": [], "asked": [], "answer_instead": None}.items():
        monkeypatch.setattr(Loki, name, value)
    monkeypatch.setenv("LOKI_TOKEN", TOKEN)
    with answering(Loki) as host:
        uses_loki(life, f"http://{host}", token_env="LOKI_TOKEN")
        yield life, deployment


def uses_loki(life, address, **more):
    entry = {"address": address, "tenant": "ml", **more}
    server = "https://kubernetes.default.svc"
    life.ann.configures(clusters={"main": {"server": server, "loki": entry}})


def has_lines(life, *lines, at=MADE, pod="iris-gone"):
    """Lines of the namespace of the release, one second after the other."""
    namespace = life.ann.release("iris", "staging")["namespace"]
    Loki.lines = [(namespace, at + n * 10**9, pod, line) for n, line in enumerate(lines, 1)]


def logged(deployment, id=ID):
    return json.dumps({"message": "slow", "request_id": id, "deployment_id": deployment})


def test_loki_leads_from_a_request_to_a_pod_that_ended_and_its_commit(loki):
    life, deployment = loki
    shipped = f"2024-07-27T12:00:00Z stdout F {logged(deployment)}"
    has_lines(life, logged(deployment, f"{ID}0"), shipped, logged("other-0123456789ab"))
    Loki.lines.append(("kube-system", MADE + 9, "odd", logged("iris-0000000000ab")))
    result = life.ann.runs("trace", ID, "-o", "json")
    assert result.code == 0, result
    found = result.json
    assert (found["deployment_id"], found["request"]["pod"]) == (deployment, "iris-gone")
    assert found["request"]["lines"][0] == {
        "at": "2024-07-27T10:42:57.570+00:00",
        "text": shipped,
    }
    assert life.ann.head() in result.out
    assert not [each for each in life.server.requests if each.endswith("/log")]
    (asked,) = Loki.asked
    assert (asked["x-scope-orgid"], asked["authorization"]) == ("ml", f"Bearer {TOKEN}")
    assert TOKEN not in result.out + result.err


def test_an_id_without_a_time_is_searched_in_the_last_days(loki):
    life, deployment = loki
    day = 86400 * 10**9
    has_lines(life, logged(deployment, "order-12345"), at=time.time_ns() - 9 * day)
    assert life.ann.runs("trace", "order-12345").code == 2
    assert life.ann.runs("trace", "order-12345", "--days", "10").code == 0
    spans = [(int(each["end"]) - int(each["start"])) / day for each in Loki.asked]
    assert spans == pytest.approx([7, 10])


def test_a_loki_within_the_cluster_is_reached_through_the_api_server(loki):
    life, deployment = loki
    has_lines(life, logged(deployment))
    with answering(Loki) as host:
        life.server.services["loki"] = f"http://{host}"
        uses_loki(life, "http://loki.monitoring.svc:3100", namespace_label="k8s_namespace_name")
        result = life.ann.runs("trace", ID)
    assert result.code == 0, result
    assert Loki.asked[-1]["query"].startswith("{k8s_namespace_name=~")
    assert Loki.asked[-1]["x-scope-orgid"] == "ml"
    uses_loki(life, "http://loki.monitoring.svc:3100", token_env="LOKI_TOKEN")
    result = life.ann.runs("trace", ID)
    assert result.code == 3
    assert "loki.token_env: an address inside of the cluster" in result.err


ODD_ANSWERS = {
    "a refusal": (400, b"parse error at line 1\n", "parse error at line 1"),
    "another server": (200, b"<html>Sign in</html>", "no JSON: <html>Sign in</html>"),
    "a redirect": (302, b"", "it redirects (302)"),
    "a list": (200, b'{"status":"success","data":[]}', "data is a list, not an object"),
    "no time": (
        200,
        b'{"status":"success","data":{"result":[{"stream":{},"values":[["x","y"]]}]}}',
        "does not begin with a time",
    ),
    "an escape": (500, b"\x1b[2Jgone", "status 500, and no JSON"),
}


@pytest.mark.parametrize("case", ODD_ANSWERS)
def test_a_loki_that_fails_is_reported_and_the_pods_are_searched(loki, case):
    life, deployment = loki
    logs(life, 0, logged(deployment))
    status, body, reason = ODD_ANSWERS[case]
    Loki.answer_instead = status, body
    result = life.ann.runs("trace", ID)
    assert result.code == 0, result
    assert f"deployment id:  {deployment}" in result.out
    assert "could not search the Loki of main" in result.err
    assert reason in result.err
    assert "\x1b" not in result.err


def test_a_token_of_loki_goes_only_where_its_owner_lists_the_server(loki, monkeypatch):
    life, deployment = loki
    logs(life, 0, logged(deployment))
    uses_loki(life, "https://logs.acme.example", token_env="LOKI_TOKEN")
    result = life.ann.runs("trace", ID)
    assert "clusters.main.loki.token_env: LOKI_TOKEN is not sent to logs.acme.example" in result.err
    assert f"deployment id:  {deployment}" in result.out
    monkeypatch.setenv("LOKI_TOKEN", "two words")
    uses_loki(life, "http://127.0.0.1:9", token_env="LOKI_TOKEN")
    assert "the environment variable LOKI_TOKEN holds no token" in life.ann.runs("trace", ID).err
