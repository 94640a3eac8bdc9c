"""`get`, `describe`, `logs`, `predict`, `trace`, `compare` and `cost` where a server of the cluster is hostile.

The other servers are well. What Prometheus and Loki may state is in `test_monitoring`; `doctor` has a table of its own.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

import gitops_ml as gml
from tests.cli.test_report import HOSTILE, without_our_colours
from tests.commands.test_compare import METRICS
from tests.hostile.test_slow_servers import HASTE
from tests.support import controllers as k8s
from tests.support.certificate_authority import authority
from tests.support.hostile_archives import bomb
from tests.support.hostile_servers import (
    BROKEN,
    ENDLESS,
    HEAD,
    PAUSE,
    SLOW,
    flood,
    hostile,
    once,
    with_body,
)
from tests.support.http_servers import Handler, answering
from tests.support.kubernetes_server import TOKEN, Log
from tests.support.person import predictor_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.support.life_of_a_release import Life

pytestmark = pytest.mark.long
LOKI_TOKEN = "CANARY-loki"
ID = "0190f3c9-51d2-74e6-9a51-2f6d3b1f9d11"
COMMANDS = {
    "Kubernetes": (
        "get iris -e staging", "predict iris body.json --timeout 1", "get -e staging", "describe iris", "logs iris",
        "logs iris --follow", f"trace {ID}", "compare OLD NEW", "diff --live -e staging",
    ),
    "Prometheus": ("get iris -e staging", "describe iris", "compare OLD NEW", "cost -e staging"),
    "Loki": (f"trace {ID}",),
}  # fmt: skip
"""What asks each server."""
ANSWERS: dict[str, Callable[[], Iterable[bytes]]] = {
    **BROKEN,
    "too many requests for ever": ENDLESS["too many requests for ever"],
}
HEAVY: dict[str, Callable[[], Iterable[bytes]]] = {
    **{name: SLOW[name] for name in ("silence", "a body that trickles")},
    "a header without an end": ENDLESS["a header without an end"],
    "a bomb": once(with_body(bomb(b"", 300 << 20), "Content-Encoding: gzip")),
    "a body without an end": flood(HEAD + b"\r\n[", b"[],"),
    "a text of 100 MB": lambda: iter(
        [HEAD + b'Content-Length: 100000002\r\n\r\n"', *[b"x" * 1_000_000] * 100, b'"']
    ),
}
"""Each takes time, so two commands are enough."""
MIB = 600
"""Of memory: `get` reads six lists side by side, and an answer may have 64 MiB."""


@pytest.fixture
def two(life: Life) -> tuple[Life, dict[str, str]]:
    """Two deployments in Git of which the second one runs, and the values of the placeholders of `COMMANDS`."""
    life.ann.monkeypatch.setenv("LOKI_TOKEN", LOKI_TOKEN)
    tracked = {"monitoring": {"model_type": "classification"}}
    old = life.deploys(predictor_api("iris", **tracked))
    new = life.deploys(predictor_api("iris", compute={"cpu": "300m"}, **tracked))
    life.syncs()
    life.runs(k8s.ready())
    (life.ann.project / "body.json").write_text('{"x": 1}')
    return life, {"OLD": old, "NEW": new}


def seat(life: Life, what: str, address: str) -> None:
    """The server at ``address``, which is given up soon, becomes the API server, the Prometheus or the Loki."""
    for name, value in HASTE.items():
        life.ann.monkeypatch.setenv(name, value)
    if what == "Kubernetes":
        file = life.has_kubeconfig()
        file.write_text(file.read_text().replace(life.server.address, address))
        return
    token = {"token_env": "LOKI_TOKEN"} if what == "Loki" else {}
    prices = {"currency": "EUR", "cpu_hour": 0.04, "memory_hour": 0.005}
    entry = {"prices": prices, what.lower(): {"address": address, **token}}
    life.ann.configures(clusters={"main": {"server": "https://kubernetes.default.svc", **entry}})


def complaints(
    two: tuple[Life, dict[str, str]], what: str, *, most: int | None = None
) -> list[str]:
    """What is wrong with the commands that ask the server."""
    life, values = two
    found = []
    for line in COMMANDS[what][:most]:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            result = life.ann.runs(*(values.get(word, word) for word in line.split()))
        except Exception as error:  # noqa: BLE001 — each one is a fault
            found.append(f"{line}: {type(error).__name__}: {error}")
            continue
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        shown = result.out + result.err
        bad = [each for each in ("Traceback", "\x1b", TOKEN, LOKI_TOKEN) if each in shown]
        # What an API predicts is what it predicts, also at length.
        is_long = len(shown) > 20_000 and not line.startswith("predict")
        if result.code not in range(8) or bad or is_long or grown > MIB:
            found.append(f"{line}: {bad}, {grown} MiB, {shown[:1000]}")
    return found


@pytest.mark.parametrize("server", COMMANDS)
def test_whatever_a_server_does_a_command_ends_in_bounds(
    two: tuple[Life, dict[str, str]], server: str
) -> None:
    found = {}
    for what, answer in {**ANSWERS, **HEAVY}.items():
        with hostile(answer, pause=PAUSE if what in SLOW else 0) as host:
            seat(two[0], server, f"http://{host}")
            found[what] = complaints(two, server, most=2 if what in HEAVY else None)
    assert {what: each for what, each in found.items() if each} == {}


@pytest.mark.parametrize("server", COMMANDS)
def test_no_redirect_is_followed_to_another_server(
    two: tuple[Life, dict[str, str]], server: str
) -> None:
    heard: list[bytes] = []
    for status in (301, 302, 307, 308):
        with hostile(once(with_body(b"{}")), hears=heard.append) as other:
            moved = (
                f"HTTP/1.1 {status} X\r\nLocation: http://{other}/x\r\nContent-Length: 0\r\n\r\n"
            )
            with hostile(once(moved.encode())) as host:
                seat(two[0], server, f"http://{host}")
                assert complaints(two, server) == []
    assert heard == []


@pytest.mark.parametrize("server", COMMANDS)
def test_a_server_without_a_trusted_certificate_gets_nothing(
    two: tuple[Life, dict[str, str]], server: str, tmp_path: Path
) -> None:
    heard: list[bytes] = []
    _, context = authority(tmp_path)
    with hostile(once(with_body(b"{}")), tls=context, hears=heard.append) as host:
        seat(two[0], server, f"https://{host}")
        assert complaints(two, server) == []
    assert heard == []


# -- what is stated in valid answers -----------------------------------------------------------------


SCRIPT = "<script>alert(1)</script>"
TEXT = f"{HOSTILE}{SCRIPT}"
LABEL = json.dumps(TEXT.replace("\r", ""), ensure_ascii=False)
"""A class, as the text format of Prometheus quotes it."""


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def lying(two: tuple[Life, dict[str, str]]) -> Iterable[tuple[Life, dict[str, str]]]:
    """Each text that the cluster states tries to steer terminals and pages."""
    life, values = two
    life.runs(k8s.ready(), k8s.crashes(TEXT, restarts=3))
    life.pod(0)["metadata"]["labels"]["gitops-ml.dev/deployment-id"] = values["OLD"]
    life.pod(0)["spec"]["nodeName"] = life.pod(1)["spec"]["nodeName"] = TEXT
    pod = life.pod(1)["metadata"]["name"]
    life.server.has(k8s.warning(life.pod(1), TEXT, TEXT, count=4))
    life.argo_cd_says({**k8s.synced(life.ann.head()), "message": TEXT})
    line = json.dumps({"request_id": ID, "deployment_id": values["NEW"], "message": "x"}) + TEXT
    for previous in (False, True):
        life.server.logs[pod, "predictor", previous] = Log(
            [f"2026-11-25T12:00:00.0Z {line}".replace("\n", " ")]
        )
    counts = dict.fromkeys(("setosa", "virginica", "ok", "failed", "quick"), 9)
    metrics = METRICS.format(id=values["OLD"], **counts).replace('"setosa"', LABEL).encode()

    class Pod(Handler):
        def do_GET(self) -> None:
            self.answer(200, metrics)

    with answering(Pod) as host:
        for number in range(2):
            life.pod(number)["status"]["phase"] = "Running"
            life.server.services[life.pod(number)["metadata"]["name"]] = f"http://{host}"
        yield life, values


@pytest.mark.parametrize(
    "line",
    ["get", "get iris -e staging", "describe iris", "logs iris", f"trace {ID}", "compare OLD NEW"],
)
def test_no_word_of_a_cluster_steers_a_terminal(
    lying: tuple[Life, dict[str, str]], line: str
) -> None:
    life, values = lying
    screen = Screen()
    with life.ann.monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        patch.setattr(sys, "stderr", screen)
        patch.setattr("gitops_ml.cli.report.columns", lambda: 80)
        life.ann.runs(*(values.get(word, word) for word in line.split()))
    shown = screen.getvalue()
    assert "red" in shown, shown
    assert all(c.isprintable() or c in "\n\t" for c in without_our_colours(shown)), shown


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)


def test_no_word_of_a_cluster_is_a_tag_of_a_card(lying: tuple[Life, dict[str, str]]) -> None:
    _, values = lying
    client = gml.client("staging")
    shown = [
        client.list_apis(),
        client.get_api("iris"),
        client.status("iris"),
        client.get_api("iris").predictions(),
        client.compare(values["OLD"], values["NEW"]),
        client.trace(ID),
    ]
    tags, named = Tags(), 0
    for each in shown:
        text = each._repr_html_()
        tags.feed(text)
        named += "alert(1)" in text
        assert "\x1b" not in text + repr(each)
    assert (named > 0, "script" in tags.found) == (True, False)
