"""`cost`, `compare`, `get` and `trace` where Prometheus or Loki answers with anything: sentences, and no tracebacks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tests.hostile.test_slow_servers import HASTE
from tests.support import controllers as k8s
from tests.support.hostile_archives import bomb
from tests.support.hostile_servers import hostile, once, with_body
from tests.support.http_servers import Handler, answering
from tests.support.person import predictor_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.life_of_a_release import Life

NUMBERS = [
    '"NaN"', '"+Inf"', '"-Inf"', '"1e308"', '"-5"', '""', '"many"', '"1_0"', "7", "true", "null", "[]", "{}",
    "9" * 400, f'"{"9" * 400}"', r'"\ud800"', "NaN",
]  # fmt: skip
"""What is in the place of a number or a time, as JSON."""
METRICS = ["null", "[]", '{"namespace": 7}', '{"le": "NaN"}', r'{"class": "\u001b[2J\ud83d"}']
NOW, METRIC = (
    "1764504000",
    '{"deployment": "iris", "namespace": "ml-staging", "deployment_id": "iris-0"}',
)


def series(metric: str, at: str, number: str) -> str:
    point = f"[{at}, {number}]"
    return f'{{"result": [{{"metric": {metric}, "value": {point}, "values": [{point}]}}]}}'


DATA = [
    *(series(METRIC, NOW, number) for number in NUMBERS),
    *(series(METRIC, at, '"1"') for at in NUMBERS),
    *(series(metric, NOW, '"1"') for metric in METRICS),
    *(f'{{"result": {value}}}' for value in ("null", "{}", "[1]", "[[]]", '"x"')),
    *(f'{{"result": [{{"metric": {{}}, "value": {v}, "values": {v}}}]}}' for v in ("[]", "[[]]", "[1]", '"ab"', "{}")),
    "null", "[]", '"x"',
]  # fmt: skip
"""The field `data` of an answer."""
ANSWERS = [
    *((200, f'{{"status": "success", "data": {data}}}') for data in DATA),
    (200, '{"status": "success", "data": {"result": []}, "warnings": ["a part is missing\\u001b[2J"]}'),
    (200, '{"status": "success", "data": {"result": []}, "warnings": "x"}'),
    (200, '{"status": "error", "error": "busy"}'), (200, "<html>log in</html>"), (200, ""), (200, "[" * 9999),
    (422, '{"status": "error", "error": 7}'), (302, ""), (404, "no"), (503, '{"status": "error", "error": "busy"}'),
]  # fmt: skip
STREAMS = [
    *(f'{{"result": [{{"stream": {{"pod": "p"}}, "values": [[{at}, "x ID"]]}}]}}' for at in NUMBERS),
    *(f'{{"result": [{{"stream": {{}}, "values": [["{NOW}000000000", {line}]]}}]}}' for line in NUMBERS),
    *(f'{{"result": [{{"stream": {stream}, "values": []}}]}}' for stream in ("null", "7", '{"pod": 7}')),
]  # fmt: skip


class Server(Handler):
    status: ClassVar[int] = 200
    content: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        self.answer(self.status, self.content, {"Content-Type": "application/json"})


@pytest.fixture
def running(life: Life) -> Iterator[tuple[Life, str]]:
    """A release whose Prometheus and Loki are `Server`, and its deployment id."""
    id = life.deploys(predictor_api("iris", monitoring={"model_type": "classification"}))
    life.syncs()
    life.runs(k8s.ready())
    with answering(Server) as host:
        at(life, host)
        yield life, id


def at(life: Life, host: str) -> None:
    address = f"http://{host}"
    main = {
        "server": "https://kubernetes.default.svc",
        "prometheus": {"address": address},
        "loki": {"address": address},
        "prices": {"currency": "EUR", "cpu_hour": 0.04, "memory_hour": 0.005},
    }
    life.ann.configures(clusters={"main": main})


def refuse(name: str) -> None:
    raise ValueError(f"{name} in JSON")


def complaint(life: Life, *command: str, codes: tuple[int, ...]) -> str:
    """What is wrong with the output of a command; empty where nothing is."""
    try:
        result = life.ann.runs(*command, "-o", "json")
        if result.code == 0:
            json.loads(result.out, parse_constant=refuse)
    except Exception as error:  # noqa: BLE001 — each one is a fault
        return f"{command[0]}: {type(error).__name__}: {error}"
    shown = result.out + result.err
    is_clean = "\x1b" not in shown and "Traceback" not in shown
    return "" if result.code in codes and is_clean else f"{command[0]}: {result}"


def test_whatever_prometheus_answers_is_a_sentence(running: tuple[Life, str]) -> None:
    life, id = running
    found = {}
    for Server.status, text in ANSWERS:
        Server.content = text.encode()
        commands: Any = (("cost", "-e", "staging"), ("compare", id, id))
        found[text] = [
            each for words in commands if (each := complaint(life, *words, codes=(0, 2, 4)))
        ]
    assert {text: each for text, each in found.items() if each} == {}


def test_a_warning_of_prometheus_is_shown(running: tuple[Life, str]) -> None:
    life, _ = running
    Server.status = 200
    Server.content = json.dumps(
        {"status": "success", "data": {"result": []}, "warnings": ["a store is away"]}
    ).encode()
    result = life.ann.runs("cost", "-e", "staging")
    assert result.code == 0
    assert result.err.count("warns: a store is away") == 1


@pytest.mark.parametrize(
    "id", ["0190f3c9-51d2-74e6-9a51-2f6d3b1f9d11", "ffffffff-ffff-7fff-8fff-ffffffffffff"]
)
def test_whatever_loki_answers_is_a_sentence(running: tuple[Life, str], id: str) -> None:
    life, _ = running
    Server.status, found = 200, {}
    for data in STREAMS:
        Server.content = f'{{"status": "success", "data": {data.replace("ID", id)}}}'.encode()
        found[data] = complaint(life, "trace", id, codes=(2,))
    assert {data: each for data, each in found.items() if each} == {}


BROKEN = {
    "a connection that ends": once(b""),
    "a body that ends early": once(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    "no HTTP": once(b"hello\r\n\r\n"),
    "a bomb": lambda: iter([with_body(bomb(b"", 300 << 20), "Content-Encoding: gzip")]),
    "silence": lambda: iter(()),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_server_that_breaks_is_named(life: Life, what: str) -> None:
    for name, value in HASTE.items():
        life.ann.monkeypatch.setenv(name, value)
    life.ann.has(predictor_api("iris"))
    with hostile(BROKEN[what]) as host:
        at(life, host)
        result = life.ann.runs("cost", "-e", "staging")
        assert (result.code, f"Prometheus at http://{host}" in result.err) == (4, True), result
