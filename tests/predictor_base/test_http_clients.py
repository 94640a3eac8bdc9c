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
GO = """
    package main

    import (
        "fmt"
        "io"
        "net"
        "net/http"
        "os"
        "strings"
        "time"
    )

    func main() {
        for i := 0; i < 40; i++ {
            body := strings.NewReader("{\\"a\\":1}")
            request, _ := http.NewRequest("POST", "http://"+os.Args[1]+"/predict", body)
            request.Header.Set("Content-Type", "application/json")
            request.Header.Set("Connection", "Upgrade, HTTP2-Settings")
            request.Header.Set("Upgrade", "h2c")
            request.Header.Set("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")
            answer, err := http.DefaultClient.Do(request)
            if err != nil {
                panic(err)
            }
            text, _ := io.ReadAll(answer.Body)
            if answer.StatusCode != 200 || string(text) != "{\\"a\\":1}" {
                panic(fmt.Sprint(answer.Status, string(text)))
            }
        }
        connection, err := net.Dial("tcp", os.Args[1])  // HTTP/2 without an offer
        if err != nil {
            panic(err)
        }
        connection.SetDeadline(time.Now().Add(5 * time.Second))
        fmt.Fprint(connection, "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
        text, err := io.ReadAll(connection)
        if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 400 ") {
            panic(fmt.Sprint(err, string(text)))
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


def test_gos_client_agrees(server: Server, tmp_path: Path) -> None:
    (tmp_path / "client.go").write_text(GO)
    run("go", "run", str(tmp_path / "client.go"), server.url.removeprefix("http://"))
