"""`gitops-ml predict`: a real server of ours, at a gateway and by way of the API server."""

from __future__ import annotations

import json

import numpy
import pytest

from gitops_ml.actions.prediction import Call, predict
from gitops_ml.errors import PredictionFailed, Refused, ServerFailed, UsageError
from tests.cli.person import predictor_api
from tests.cli.serving import serving
from tests.kubernetes import UNREACHABLE
from tests.real import free_port

GATEWAY = {"name": "public", "namespace": "gateways", "hosts": ["ml.example.org"]}


@pytest.fixture
def served(life):
    """The API `iris` in Git, and its predictor as a server; ``life.server`` leads to it."""
    life.deploys(predictor_api("iris"))
    with serving(cwd=life.ann.project) as server:
        life.server.services["iris"] = server.address
        yield server


def asked(life, payload, **how):
    workspace, tools = life.asks()
    return predict(workspace, "iris", payload, tools=tools, environment="staging", call=Call(**how))


def test_without_a_gateway_the_api_server_leads_to_the_api(life, served):
    found = asked(life, {"x": numpy.int64(21)})
    assert (found.value, found.status) == ({"answer": 42}, 200)
    assert found.deployment_id == "iris-local"
    assert found.request_id
    assert any("/services/http:iris:http/proxy/predict" in each for each in life.server.requests)


def test_the_command_prints_the_prediction_alone_and_its_ids_on_stderr(life, served):
    payload = life.ann.home / "payload.json"
    payload.write_text('{"x": 21}')
    said = life.ann.runs("predict", "iris", payload)
    assert json.loads(said.out) == {"answer": 42}
    assert said.err.startswith("deployment iris-local, request ")
    facts = life.ann.runs("predict", "iris", payload, "-o", "json").json
    assert (facts["prediction"], facts["deployment_id"]) == ({"answer": 42}, "iris-local")


def routed(life, address: str) -> None:
    life.ann.has(predictor_api("iris", networking={"endpoint": "/"}))
    life.ann.configures(clusters={"main": {"gateway": {**GATEWAY, "address": address}}})
    life.deploys(predictor_api("iris", networking={"endpoint": "/"}))


def test_a_gateway_is_asked_at_its_address_with_the_apis_host(life):
    life.deploys(predictor_api("iris"))
    with serving(cwd=life.ann.project) as server:
        routed(life, server.address)
        found = asked(life, {"x": 1})
        assert (found.value, found.url) == ({"answer": 2}, f"{server.address}/predict")
        ready = asked(life, b'{"x": 3}', path="/", headers={"Content-Type": "application/json"})
        assert ready.value == {"answer": 6}
    assert not any("/proxy/" in each for each in life.server.requests)


def test_the_apis_own_words_about_a_bad_payload_reach_the_person(life, served):
    with pytest.raises(PredictionFailed) as failed:
        asked(life, {"y": 1})
    assert failed.value.status == 500
    assert "`gitops-ml logs iris` has the traceback" in str(failed.value)
    assert failed.value.request_id in str(failed.value)
    with pytest.raises(PredictionFailed, match="answered 404"):
        asked(life, {}, path="/nowhere")


def test_an_api_without_replicas_says_so(life):
    life.deploys(predictor_api("iris"))
    with pytest.raises(ServerFailed, match="no endpoints available for service"):
        asked(life, {"x": 1})


def test_where_a_policy_keeps_the_api_server_out_a_port_forward_helps(life, served):
    life.server.services["iris"] = UNREACHABLE
    with pytest.raises(ServerFailed, match="at the address of `kubectl port-forward`"):
        asked(life, {"x": 1})
    payload = life.ann.home / "payload.json"
    payload.write_text('{"x": 4}')
    said = life.ann.runs("predict", "iris", payload, "--address", f"{served.address}/")
    assert json.loads(said.out) == {"answer": 8}


def test_an_unreachable_gateway_says_where_its_address_can_be_set(life):
    routed(life, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ServerFailed, match=r"refused.*gateway\.address"):
        asked(life, {"x": 1})


def test_without_permission_to_call_by_way_of_the_api_server_the_remedy_is_named(life, served):
    life.server.forbidden.add("services/proxy")
    with pytest.raises(Refused, match="--verb=create --resource=services/proxy"):
        asked(life, {"x": 1})


def test_what_cannot_be_json_is_refused_before_anything_is_sent(life, served):
    with pytest.raises(UsageError, match="the payload cannot be JSON"):
        asked(life, {"x": object()})
    broken = life.ann.home / "broken.json"
    broken.write_text("{")
    said = life.ann.runs("predict", "iris", broken)
    assert (said.code, "broken.json is not JSON" in said.err) == (2, True)
    assert not any("/proxy/" in each for each in life.server.requests)
