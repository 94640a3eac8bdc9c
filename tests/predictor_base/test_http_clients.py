"""Public HTTP clients, with what each of them offers or asks for by default."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.predictor_server import Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = """
    class PythonPredictor:
        def predict(self, payload):
            return iter(["a", "b"]) if payload == {"stream": 1} else payload
"""
JAVA = """
    import java.net.URI;
    import java.net.http.*;
    public class Client {
        public static void main(String[] a) throws Exception {
            HttpClient client = HttpClient.newHttpClient();  // offers h2c
            for (int i = 0; i < 40; i++) {
                HttpRequest request = HttpRequest.newBuilder(URI.create(a[0]))
                    .header("content-type", "application/json")
                    .POST(HttpRequest.BodyPublishers.ofString("{\\"a\\":1}")).build();
                HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
                boolean isRight = answer.statusCode() == 200 && answer.body().equals("{\\"a\\":1}");
                if (!isRight) throw new Exception(answer.body());
            }
        }
    }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("clients"), SOURCE, maxRequestBytes=100_000) as found:
        yield found


def run(program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    command = [program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def curl(server: Server, *arguments: str, data: str = '{"a":1}') -> str:
    head = ("-s", "-w", " %{http_code}", "-H", "content-type: application/json")
    return run("curl", *head, "--data-binary", data, *arguments, f"{server.url}/predict")


@pytest.mark.parametrize(
    "arguments",
    [("--http2",), ("--http1.0",), ("-H", "Expect: 100-continue", "--expect100-timeout", "30")],
    ids=" ".join,
)
def test_curl_agrees(server: Server, arguments: tuple[str, ...]) -> None:
    for _ in range(25):
        assert curl(server, *arguments) == '{"a":1} 200'
    assert curl(server, *arguments, data='{"stream":1}') == "data: a\n\ndata: b\n\n 200"


def test_a_body_over_the_limit_is_refused_before_it_is_sent(server: Server, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(50_000_000))
    expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "30")
    answer = curl(server, *expect, "-w", "%{http_code} %{size_upload}", data=f"@{tmp_path}/large")
    assert answer.endswith("413 0")


@pytest.mark.parametrize("options", [(), ("-k",)], ids=["close", "keep"])
def test_apachebench_agrees(server: Server, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "body").write_text('{"a":1}')
    body = ("-p", str(tmp_path / "body"), "-T", "application/json")
    text = run("ab", "-q", "-n", "1000", "-c", "8", *options, *body, f"{server.url}/predict")
    found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    assert found["Complete requests"].split() == ["1000"]
    assert found["Failed requests"].split() == ["0"]
    assert "Non-2xx responses" not in found


def test_javas_client_agrees(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Client.java").write_text(JAVA)
    run("java", str(tmp_path / "Client.java"), f"{server.url}/predict")
