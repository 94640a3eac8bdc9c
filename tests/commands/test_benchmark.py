"""`gitops-ml bench`: a server of ours under load."""

from __future__ import annotations

import json

import pytest

from tests.support.local_server import serving
from tests.support.person import predictor_api
from tests.support.ports import free_port

QUICK = ("--duration", "0.2", "--warm-up", "0", "--clients", "1,2")
EXAMPLE = {"request": {"x": 21}, "response": {"answer": 1}}


@pytest.fixture
def address(ann):
    api = predictor_api("iris")
    api["predictor"]["example"] = EXAMPLE
    ann.has(api)
    with serving(cwd=ann.project) as server:
        yield server.address


def test_a_url_is_measured_with_the_example_of_its_server(ann, address):
    picture = ann.home / "load.svg"
    result = ann.runs("bench", address, *QUICK, "--svg", picture)
    assert result.code == 0
    head, *rows = result.out.splitlines()
    assert head.split()[:2] == ["CLIENTS", "REQUESTS/S"]
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert all(row.split()[-1] == "0" for row in rows)
    assert f"{address}/predict, 9 bytes a request, closed loop" in result.err
    assert "target_in_flight" in result.err
    assert picture.read_text().startswith("<svg ")


def test_the_same_facts_are_json(ann, address):
    found = ann.runs("bench", address, *QUICK[:4], "--rate", "20,40", "-o", "json").json
    assert [(each["loop"], each["amount"]) for each in found["steps"]] == [
        ("open", 20),
        ("open", 40),
    ]
    assert [each["requests"] for each in found["steps"]] == [4, 8]
    assert (found["deployment_id"], found["advice"]) == ("iris-local", None)
    assert found["steps"][0]["latency"].keys() == {"p50", "p90", "p95", "p99", "max"}


def test_a_file_takes_the_place_of_the_example(ann, address):
    body = ann.home / "body.json"
    body.write_text(json.dumps({"y": 1}))
    result = ann.runs("bench", address, body, *QUICK)
    assert result.code == 4
    assert "answered the first request with 500" in result.err


def test_a_deployed_api_is_measured_at_its_address_with_the_example_of_git(life):
    api = predictor_api("iris")
    api["predictor"]["example"] = EXAMPLE
    life.deploys(api)
    refused = life.ann.runs("bench", "iris", *QUICK)
    assert refused.code == 2
    assert "kubectl port-forward service/iris 8080:80" in refused.err
    with serving(cwd=life.ann.project) as server:
        result = life.ann.runs("bench", "iris", *QUICK, "--address", server.address)
    assert result.code == 0, result.err
    assert len(result.out.splitlines()) == 3


def test_a_gateway_that_cannot_be_reached_has_the_remedy_of_predict(life):
    gateway = {"name": "public", "namespace": "gateways", "hosts": ["ml.example.org"]}
    address = f"http://127.0.0.1:{free_port()}"
    life.ann.configures(clusters={"main": {"gateway": {**gateway, "address": address}}})
    life.deploys(predictor_api("iris"))
    (life.ann.project / "body.json").write_text("{}")
    for command in (("bench", "iris", "body.json", *QUICK), ("predict", "iris", "body.json")):
        result = life.ann.runs(*command)
        assert (result.code, "set clusters.main.gateway.address" in result.err) == (4, True), result


def test_a_protected_environment_has_to_be_confirmed(life):
    life.deploys(predictor_api("iris"))
    nobody = f"http://127.0.0.1:{free_port()}"
    there = ("-e", "production", "--address", nobody)
    result = life.ann.runs("bench", "iris", *QUICK, *there)
    assert (result.code, "confirm with --yes" in result.err) == (2, True)
    confirmed = life.ann.runs("bench", "iris", *QUICK, *there, "--yes")
    assert "iris is not in production" in confirmed.err
    unprotected = life.ann.runs("bench", "iris", *QUICK, "--address", nobody)
    assert ": give a file, or set predictor.example" in unprotected.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("http://", *QUICK), "is not a URL"),
        (("http://127.0.0.1:9", "--clients", "1,x"), "--clients '1,x': write numbers"),
        (("http://127.0.0.1:9", "--rate", "0"), "--rate '0': write numbers"),
        (("http://127.0.0.1:9", "--svg", "nowhere/x.svg"), "its folder does not exist"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_reason(ann, arguments, message):
    result = ann.runs("bench", *arguments)
    assert result.code == 2
    assert message in result.err
