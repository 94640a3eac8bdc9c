"""The runtime: requests of a client who wants it to stop, each answered at once, on HTTP and gRPC."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import struct
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from predictor_base.protocols import grpc_messages
from tests.support.cost import SECONDS
from tests.support.hostile_archives import bomb
from tests.support.predictor_server import free_port, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.predictor_server import Server

SOURCE = """
from contextlib import suppress

with suppress(ImportError):
    import pandas  # what the first table would import is no cost of an input

class PythonPredictor:
    def predict(self, payload):
        return {"ok": True}
"""
MEBIBYTES = 200
INFER = "/v2/models/iris/infer"


def request(
    body: bytes, path: str = "/predict", kind: str = "application/json", *headers: str
) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", *headers]
    lines += [f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def infer(body: object, *headers: str) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request(text, INFER, "application/json", *headers)


def tensor(shape: object, data: object = (), datatype: str = "FP32", **more: Any) -> bytes:
    one = {"name": "x", "datatype": datatype, "shape": shape, "data": data, **more}
    return infer({"inputs": [one]})


def binary(shape: object, behind: bytes, datatype: str = "FP32", size: object = None) -> bytes:
    given = len(behind) if size is None else size
    one = {
        "name": "x",
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": given},
    }
    head = json.dumps({"inputs": [one]}).encode()
    return infer(head + behind, f"Inference-Header-Content-Length: {len(head)}")


def head(text: bytes) -> bytes:
    return text + b"\r\n\r\n"


JSON = {
    "nothing": b"",
    "one-quote": b'"',
    "backslashes": b'"' + b"\\" * 1_000_000,
    "quotes": b'"' * 1_000_000,
    "quotes-and-backslashes": b'"\\' * 500_000,
    "brackets": b"[" * 1_000_000,
    "braces": b'{"a":' * 200_000,
    "closed-brackets": b"]" * 1_000_000,
    "pairs": b"[" + b"[],{}," * 150_000,
    "pairs-of-braces": b"[" + b",".join([b"{}"] * 300_000) + b"]",
    "deep-and-wide": b"[" * 190 + b"[],".join([b""] * 200_000),
    "deep": b"[" * 190 + b"]" * 190,
    "mixed": b"[{" * 300_000,
    "cut": b'{"a": [' + b'"x",' * 200_000,
    "cut-in-a-text": b'{"a": "' + b"x" * 1_000_000,
    "cut-with-nan": b"[NaN," * 200_000,
    "nan": b"[" + b"NaN," * 200_000 + b"NaN]",
    "infinite": b"[" + b"Infinity," * 100_000 + b"x]",
    "nan-and-deep": b"[NaN" + b",[" * 100_000,
    "number": b"9" * 1_000_000,
    "number-and-nan": b"[NaN," + b"9" * 1_000_000 + b"]",
    "fraction": b"0." + b"1" * 1_000_000,
    "exponent": b"1e" + b"9" * 1_000_000,
    "exponents": b"[" + b"1e-400," * 100_000 + b"1]",
    "surrogates": b'"' + b"\\ud800" * 100_000 + b'"',
    "not-unicode": b'"' + b"\xff" * 100_000 + b'"',
    "zeros": bytes(1_000_000),
    "spaces": b" " * 1_000_000,
    "keys": b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}",
    "same-keys": b"{" + b",".join([b'"a":1'] * 200_000) + b"}",
    "byte-order-mark": b"\xef\xbb\xbf{}",
    "utf-16": "{}".encode("utf-16"),
}
TENSORS = {
    "shape-of-nothing": tensor([1_000_000_000, 0], datatype="BYTES"),
    "shape-of-nothing-numbers": tensor([1_000_000_000, 0]),
    "shape-of-nothing-inside": tensor([1_000_000_000, 0, 1_000_000_000], datatype="BYTES"),
    "shape-of-nothing-binary": binary([1_000_000_000, 0], b"", "BYTES", 0),
    "many-dimensions": tensor([2**40] * 100_000, [1]),
    "many-ones": tensor([1] * 100_000, [1]),
    "seventy-ones": tensor([1] * 70, [1]),
    "seventy-ones-of-texts": tensor([1] * 70, ["x"], "BYTES"),
    "huge-and-nothing": tensor([2**63, 0]),
    "huge": tensor([2**62], [1]),
    "longer-than-a-word": tensor([10**400], [1]),
    "below-nothing": tensor([-1], [1]),
    "of-fractions": tensor([1.5], [1]),
    "of-truth": tensor([True], [1]),
    "of-null": tensor(None, [1]),
    "of-texts": tensor(["1"], [1]),
    "texts-for-numbers": tensor([8000], ["a" * 20_000] + ["b"] * 7999),
    "long-text-for-a-number": tensor([2], ["a" * 500_000, 1]),
    "mixed": tensor([3], [1, "a", None]),
    "objects": tensor([1], [{"a": 1}]),
    "null": tensor([1], [None]),
    "null-data": tensor([0], None),
    "object-data": tensor([1], {"a": 1}),
    "ragged": tensor([3], [[1], [2, 3]]),
    "deep": tensor([1], json.loads(b"[" * 150 + b"1" + b"]" * 150)),
    "deep-texts": tensor([1], json.loads(b"[" * 150 + b'"x"' + b"]" * 150), "BYTES"),
    "large-numbers": tensor([1], [10**300], "INT64"),
    "large-float": tensor([1], [1e300], "FP16"),
    "unknown-datatype": tensor([1], [1], "X" * 100_000),
    "no-datatype": tensor([1], [1], "\x1b[31m"),
    "base64": tensor([1], ["=" * 100_000], "BYTES", parameters={"content_type": "base64"}),
    "table": infer({"inputs": [{"name": str(n), "datatype": "FP32", "shape": [1], "data": [1]} for n in range(3000)],
                    "parameters": {"content_type": "pd"}}),
    "same-names": infer({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}] * 5000}),
    "many-outputs": infer({"inputs": [], "outputs": [{"name": str(n)} for n in range(20_000)]}),
    "inputs-of-null": infer({"inputs": [None]}),
    "inputs-of-an-object": infer({"inputs": {}}),
    "parameters-of-a-list": tensor([1], [1], parameters=[1]),
    "size-below-nothing": binary([1], b"xxxx", size=-1),
    "size-of-a-text": binary([1], b"xxxx", size="4"),
    "size-too-large": binary([1], b"xxxx", size=2**62),
    "size-longer-than-a-word": binary([1], b"xxxx", size=10**400),
    "texts-of-no-length": binary([1_000_000], bytes(4_000_000), "BYTES"),
    "text-longer-than-there-is": binary([1], b"\xff\xff\xff\xff", "BYTES"),
    "header-longer-than-the-body": infer(b"{}", "Inference-Header-Content-Length: 99999"),
    "header-of-letters": infer(b"{}", "Inference-Header-Content-Length: x"),
    "header-of-digits": infer(b"{}", "Inference-Header-Content-Length: " + "9" * 5000),
    "header-below-nothing": infer(b"{}", "Inference-Header-Content-Length: -1"),
}  # fmt: skip
KINDS = {
    f"charset-{name}": request(b"a-" + b"b" * 100_000, "/predict", f"text/plain; charset={name}")
    for name in ("punycode", "idna", "unicode_escape", "undefined", "raw_unicode_escape", "rot13", "zlib", "bz2",
                 "hex", "base64", "mbcs", "utf-7", "x" * 5000, "../x", "\x1b[31m")
} | {
    "form-fields": request(b"&".join([b"a=1"] * 200_000), "/predict", "application/x-www-form-urlencoded"),
    "form-percents": request(b"%" * 500_000, "/predict", "application/x-www-form-urlencoded"),
    "multipart-no-boundary": request(b"x", "/predict", "multipart/form-data"),
    "multipart-parts": request(b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n' * 20_000 + b"--b--",
                               "/predict", "multipart/form-data; boundary=b"),
    "multipart-headers": request(b"--b\r\n" + b"X: y\r\n" * 100_000, "/predict", "multipart/form-data; boundary=b"),
    "multipart-boundary": request(b"-" * 500_000, "/predict", "multipart/form-data; boundary=" + "-" * 60),
    "gzip-bomb": request(bomb(b"", 300 << 20), "/predict", "application/json", "Content-Encoding: gzip"),
    "gzip-cut": request(gzip.compress(bytes(1 << 20))[:100], "/predict", "application/json", "Content-Encoding: gzip"),
    "gzip-twice": request(gzip.compress(b"{}"), "/predict", "application/json", "Content-Encoding: gzip, gzip"),
    "encoding-unknown": request(b"{}", "/predict", "application/json", "Content-Encoding: br"),
}  # fmt: skip
POST = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
FRAMES = {
    "no-host": head(b"POST /predict HTTP/1.1\r\nContent-Length: 2") + b"{}",
    "two-hosts": head(b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b"),
    "http-0.9": b"GET /livez\r\n\r\n",
    "http-9": head(b"GET /livez HTTP/9.9\r\nHost: x"),
    "two-lengths": head(POST + b"Content-Length: 2\r\nContent-Length: 3") + b"{}x",
    "length-and-chunks": head(POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked") + b"0\r\n\r\n",
    "length-below-nothing": head(POST + b"Content-Length: -1"),
    "length-of-plus": head(POST + b"Content-Length: +2") + b"{}",
    "length-huge": head(POST + b"Content-Length: " + b"9" * 30),
    "chunk-of-letters": head(POST + b"Transfer-Encoding: chunked") + b"xyz\r\n",
    "chunk-huge": head(POST + b"Transfer-Encoding: chunked") + b"f" * 30 + b"\r\n",
    "chunk-extension": head(POST + b"Transfer-Encoding: chunked") + b"2;" + b"x" * 500_000,
    "encoding-unknown": head(POST + b"Transfer-Encoding: x"),
    "long-path": head(b"GET /" + b"a" * 500_000 + b" HTTP/1.1\r\nHost: x"),
    "long-header": head(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 500_000),
    "many-headers": head(b"GET /livez HTTP/1.1\r\nHost: x" + b"\r\nX: y" * 50_000),
    "folded-header": head(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\r\n b"),
    "zero-in-a-header": head(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: \x00"),
    "line-feed-in-a-header": head(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\nY: b"),
    "upgrade": head(POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2") + b"{}",
    "websocket": head(b"GET /predict HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket"),
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "method": head(b"X" * 100_000 + b" / HTTP/1.1\r\nHost: x"),
    "asks-to-continue": head(POST + b"Expect: 200-ok\r\nContent-Length: 2") + b"{}",
    "query": head(b"GET /livez?" + b"&a=b" * 10_000 + b" HTTP/1.1\r\nHost: x"),
    "path-above": head(b"GET /../../etc/passwd HTTP/1.1\r\nHost: x"),
    "path-encoded": head(b"GET /v2/models/%2e%2e%2f%00/infer HTTP/1.1\r\nHost: x"),
    "trace": head(b"GET /livez HTTP/1.1\r\nHost: x\r\ntraceparent: 00-" + b"f" * 100_000),
    "request-id": head(b"GET /livez HTTP/1.1\r\nHost: x\r\nx-request-id: \x1b[31m" + b"a" * 1000),
}  # fmt: skip
REQUESTS = {
    **{f"json-{name}": request(text) for name, text in JSON.items()},
    **{f"infer-json-{name}": infer(text) for name, text in list(JSON.items())[:12]},
    **{f"tensor-{name}": text for name, text in TENSORS.items()},
    **KINDS,
    **{f"frame-{name}": text for name, text in FRAMES.items()},
}
# 0: the connection is closed without an answer
MAY_WORK = {0, 200, 400, 404, 405, 411, 413, 414, 415, 417, 422, 426, 431, 501, 505}


class Served:
    """A server that is started again once an input has broken it, so that each input has a fair one."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self._folder, self._options = folder, options
        self._stack = ExitStack()
        self._server: Server | None = None

    def get(self) -> Server:
        if self._server is None:
            self._server = self._stack.enter_context(serving(self._folder, SOURCE, **self._options))
        return self._server

    def drop(self) -> None:
        if self._server is not None:
            # its process may be too busy to end by itself
            for pid in reversed(family(self._server.process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._stack.close()
        self._server = None


@pytest.fixture(scope="module")
def with_numpy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    found = Served(tmp_path_factory.mktemp("hostile"))
    yield found
    found.drop()


@pytest.fixture(scope="module")
def without_numpy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("plain")
    (folder / "without").mkdir()
    (folder / "without" / "sitecustomize.py").write_text(
        "import sys\nsys.modules['numpy'] = None\n"
    )
    path = os.pathsep.join([str(folder / "without"), str(Path(__file__).parents[2])])
    found = Served(folder, environ={"PYTHONPATH": path})
    yield found
    found.drop()


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def cpu(pid: int) -> float:
    found = 0.0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        found += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def peak(pid: int) -> int:
    """MiB that the largest of its processes has had."""
    texts = [Path(f"/proc/{each}/status").read_text() for each in family(pid)]
    return max(int(text.partition("VmHWM:")[2].split()[0]) for text in texts) >> 10


def asked(server: Server, data: bytes) -> int:
    """The status of the answer, or 0 where the connection is closed without one."""
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        with suppress(OSError):  # the server may have closed the connection
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while piece := connection.recv(1 << 16):
                answer += piece
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")  # where the answer takes long
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.") else 0


def check(served: Served, ask: Callable[[Server], None]) -> None:
    """Ask, and look at what it took; a server that is hurt is not used again."""
    server = served.get()
    pid = server.process.pid
    took, high, workers = cpu(pid), peak(pid), family(pid)
    try:
        ask(server)
        assert server.status("/livez") == 200
        assert family(pid) == workers, "a process was replaced"
        assert cpu(pid) - took < SECONDS
        assert peak(pid) - high < MEBIBYTES
    except (AssertionError, OSError):
        served.drop()
        raise


def over_http(data: bytes) -> Callable[[Server], None]:
    def ask(server: Server) -> None:
        status = asked(server, data)
        assert status in MAY_WORK, status

    return ask


@pytest.mark.parametrize("name", REQUESTS)
def test_a_hostile_request_is_answered_at_once(with_numpy: Served, name: str) -> None:
    check(with_numpy, over_http(REQUESTS[name]))


@pytest.mark.parametrize("name", TENSORS)
def test_a_hostile_tensor_is_answered_at_once_without_numpy(
    without_numpy: Served, name: str
) -> None:
    check(without_numpy, over_http(TENSORS[name]))


# -- gRPC ----------------------------------------------------------------------------------------


def message(
    shape: list[int], datatype: str = "FP32", raw: bytes | None = None, **contents: Any
) -> bytes:
    kinds = grpc_messages.inference()
    more = {"contents": kinds["InferTensorContents"](**contents)} if contents else {}
    one = kinds["InferTensor"](name="x", datatype=datatype, shape=shape, **more)
    behind = [] if raw is None else [raw]
    found: bytes = kinds["ModelInferRequest"](
        model_name="iris", inputs=[one], raw_input_contents=behind
    ).SerializeToString()
    return found


MESSAGES = {
    "shape-of-nothing": message([1_000_000_000, 0], "BYTES"),
    "shape-of-nothing-numbers": message([1_000_000_000, 0]),
    "shape-of-nothing-raw": message([1_000_000_000, 0], "BYTES", b""),
    "many-dimensions": message([2**40] * 100_000, fp32_contents=[1]),
    "seventy-ones": message([1] * 70, fp32_contents=[1]),
    "huge-and-nothing": message([2**62, 4, 0]),
    "below-nothing": message([-1], fp32_contents=[1]),
    "text-longer-than-there-is": message([1], "BYTES", struct.pack("<I", 2**32 - 1)),
    "texts-of-no-length": message([1_000_000], "BYTES", bytes(4_000_000)),
    "unknown-datatype": message([1], "X" * 100_000),
    "no-message": b"\xff" * 1000,
    "cut": message([2], fp32_contents=[1, 2])[:-3],
}  # fmt: skip


@pytest.fixture(scope="module")
def with_grpc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, int]]:
    port = free_port()
    found = Served(tmp_path_factory.mktemp("grpc"), arguments=("--grpc-port", str(port)))
    yield found, port
    found.drop()


@pytest.mark.parametrize("name", MESSAGES)
def test_a_hostile_message_is_answered_at_once(with_grpc: tuple[Served, int], name: str) -> None:
    grpc: Any = pytest.importorskip("grpc")
    served, port = with_grpc

    def ask(_: Server) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            with suppress(grpc.RpcError):
                call(MESSAGES[name], timeout=60, wait_for_ready=True)

    check(served, ask)
