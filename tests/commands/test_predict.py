"""`gitops-ml predict`: a real server of ours, at a gateway and by way of the API server."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy
import pytest

from gitops_ml.commands.predict import Call, predict, predict_at
from gitops_ml.errors import PredictionFailed, Refused, ServerFailed, UsageError
from tests.support.certificate_authority import authority
from tests.support.http_servers import Handler, answering
from tests.support.kubernetes_server import UNREACHABLE
from tests.support.local_server import serving
from tests.support.person import predictor_api
from tests.support.ports import free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

GATEWAY = {"name": "public", "namespace": "gateways", "hosts": ["ml.example.org"]}


@pytest.fixture
def served(life):
    """The API `iris` in Git, and its predictor as a server; ``life.server`` leads to it."""
    life.deploys(predictor_api("iris"))
    with serving(cwd=life.ann.project) as server:
        life.server.services["iris"] = server.address
        yield server


def asked(life, payload, **how):
    workspace, clients = life.asks()
    return predict(
        workspace, "iris", payload, clients=clients, environment="staging", call=Call(**how)
    )


def test_without_a_gateway_the_api_server_leads_to_the_api(life, served):
    found = asked(life, {"x": numpy.int64(21)})
    assert (found.value, found.status) == ({"answer": 42}, 200)
    assert found.deployment_id == "iris-local"
    assert found.request_id
    assert any("/services/http:iris:http/proxy/predict" in each for each in life.server.requests)


def test_the_command_prints_the_prediction_alone_and_its_ids_on_stderr(life, served):
    payload = life.ann.home / "payload.json"
    payload.write_text('{"x": 21}')
    result = life.ann.runs("predict", "iris", payload)
    assert json.loads(result.out) == {"answer": 42}
    assert result.err.startswith("deployment iris-local, request ")
    facts = life.ann.runs("predict", "iris", payload, "-o", "json").json
    assert (facts["value"], facts["deployment_id"]) == ({"answer": 42}, "iris-local")


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
    result = life.ann.runs("predict", "iris", payload, "--address", f"{served.address}/")
    assert json.loads(result.out) == {"answer": 8}


def test_an_unreachable_gateway_says_where_its_address_can_be_set(life):
    routed(life, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ServerFailed, match=r"refused.*gateway\.address"):
        asked(life, {"x": 1})


def test_without_permission_to_call_by_way_of_the_api_server_the_remedy_is_named(life, served):
    life.server.forbidden.add("services/proxy")
    with pytest.raises(Refused, match="kubectl create rolebinding gitops-ml-caller -n ml-staging"):
        asked(life, {"x": 1})


def test_what_cannot_be_json_is_refused_before_anything_is_sent(life, served):
    with pytest.raises(UsageError, match="the payload cannot be JSON"):
        asked(life, {"x": object()})
    broken = life.ann.home / "broken.json"
    broken.write_text("{")
    result = life.ann.runs("predict", "iris", broken)
    assert (result.code, "broken.json is not JSON" in result.err) == (2, True)
    assert not any("/proxy/" in each for each in life.server.requests)


# -- gateways --------------------------------------------------------------------------------------


@contextmanager
def gateway(tls: ssl.SSLContext | None = None, *, size: int = 2) -> Iterator[Gateway]:
    """A gateway, or a proxy before one, that answers ``{}`` and remembers what it was sent."""

    class Answering(Handler):
        protocol_version = "HTTP/1.0"  # what is announced may be longer than what comes

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            found.asked.append((self.path, self.headers.get("Authorization")))
            headers = {"Content-Type": "application/json", "Content-Length": str(size)}
            self.answer(200, b"{}", headers)

    with answering(Answering, tls=tls) as host:
        found = Gateway(host)
        yield found


@dataclass
class Gateway:
    host: str
    asked: list[tuple[str, str | None]] = field(default_factory=list)


def test_a_gateway_gets_the_credentials_of_the_call_and_no_others(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine ml.example login ann password hidden-from-gateways\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with gateway() as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        ask = partial(predict_at, "http://ml.example", {}, api="iris")
        assert ask().value == {}
        assert ask(call=Call(headers={"Authorization": "Bearer mine"})).status == 200
    url = "http://ml.example/predict"
    assert proxy.asked == [(url, None), (url, "Bearer mine")]


def test_a_gateway_with_a_private_ca_is_asked_once_the_ca_is_named(monkeypatch, tmp_path):
    ca, context = authority(tmp_path)
    with gateway(context) as server:
        ask = partial(predict_at, f"https://{server.host}", {}, api="iris")
        with pytest.raises(ServerFailed, match=r"is not trusted: .*GITOPS_ML_CA_BUNDLE"):
            ask()
        monkeypatch.setenv("GITOPS_ML_CA_BUNDLE", str(ca))
        assert ask().value == {}


def test_an_answer_that_breaks_off_is_told_as_that():
    with (
        gateway(size=3) as server,
        pytest.raises(ServerFailed, match="closed the connection during its answer"),
    ):
        predict_at(f"http://{server.host}", {}, api="iris")


def test_an_address_that_is_none_is_told_as_that():
    with pytest.raises(ServerFailed, match="no valid port"):
        predict_at("http://ml:port", {}, api="iris")


def test_a_header_with_a_line_break_is_refused_and_not_shown():
    with pytest.raises(UsageError, match="the header 'authorization' cannot be sent") as refused:
        predict_at("http://127.0.0.1:9", {}, api="i", call=Call(headers={"Authorization": "a\nb"}))
    assert "a\nb" not in str(refused.value)


def test_the_api_server_keeps_the_header_authorization_for_itself(life, served):
    with pytest.raises(UsageError, match=r"takes the header Authorization .*main\.gateway"):
        asked(life, {"x": 1}, headers={"Authorization": "Bearer mine"})
    assert not any("/proxy/" in each for each in life.server.requests)
