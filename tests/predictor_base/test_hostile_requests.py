"""No request stops the runtime: each is answered, costs what its size is worth, and the next probe is answered."""

from __future__ import annotations

import gzip
import json
import os
import socket
import struct
import time
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor_base.errors import BadRequest, InvalidPayload
from predictor_base.jsontext import MAX_DEPTH, parse
from predictor_base.predictor.typed import MAX_PROBLEMS, converter
from predictor_base.protocols.openinference import read_infer
from predictor_base.protocols.tensors import DATATYPES, Gate, read_json
from tests.support.ports import free_port
from tests.support.predictor_server import ROOT, Server, serving, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOURCE = """
    class PythonPredictor:
        def predict(self, payload):
            return {"kind": type(payload).__name__}
"""
INFER = "/v2/models/iris/infer"
REFUSED = (400, 405, 408, 413, 414, 415, 422, 431)
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Row:
    """What is sent, and the statuses that are right for it."""

    name: str
    content: bytes
    statuses: tuple[int, ...] = REFUSED


def post(
    body: bytes, kind: str = "application/json", path: str = "/predict", **headers: str
) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(*lines: bytes, start: bytes = b"GET /livez HTTP/1.1") -> bytes:
    return b"\r\n".join([start, *lines]) + b"\r\n\r\n"


def chunked(content: bytes, *lines: bytes) -> bytes:
    head = [
        b"POST /predict HTTP/1.1",
        b"Host: x",
        b"Content-Type: application/json",
        *(lines or [b"Transfer-Encoding: chunked"]),
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + content


def infer(shape: Any, data: Any = None, datatype: Any = "FP32", **parameters: Any) -> bytes:
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "parameters": parameters}
    tensor |= {} if parameters.get("binary_data_size") is not None else {"data": data}
    return post(json.dumps({"inputs": [tensor]}).encode(), path=INFER)


def binary(size: Any, content: bytes, shape: Any, datatype: str = "FP32", head: int = 0) -> bytes:
    parameters = {"binary_data_size": size}
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "parameters": parameters}
    text = json.dumps({"inputs": [tensor]}).encode()
    length = str(head or len(text))
    return post(text + content, path=INFER, Inference_Header_Content_Length=length)


def form(*parts: bytes, boundary: str = "xx", charset: str = "") -> bytes:
    kind = f"multipart/form-data; boundary={boundary}{charset}"
    return post(b"".join(parts) + b"--xx--\r\n", kind)


def part(data: bytes = b"1", more: bytes = b"") -> bytes:
    head = b'--xx\r\nContent-Disposition: form-data; name="a"' + more
    return head + b"\r\n\r\n" + data + b"\r\n"


def _json_rows() -> Iterator[Row]:
    small = b"[" + b"{}," * 300
    yield Row("a text of escaped quotes that does not end", post(small + b'"' + b'\\"' * 100_000))
    yield Row("a text that ends in a backslash", post(small + b'"' + b'\\"' * 100_000 + b"\\"))
    yield Row("quotes only", post(small + b'"' * 200_001))
    yield Row("objects without a list", post(b"{}," * 300_000))
    yield Row("three million empty objects", post(b"[" + b"{}," * 3_000_000 + b"{}]"), (413,))
    yield Row("a million objects in texts", post(b'["' + b"{," * 1_000_000 + b'"]'), (200,))
    yield Row("190 levels", post(b"[" * 190 + b"]" * 190), (200,))
    deep = b"[" * 190 + b"]" * 190 + b","
    yield Row("190 levels again and again", post(b"[" + deep * 2000 + b"1]"), (200,))
    yield Row("201 levels", post(b"[" * 201 + b"]" * 201))
    yield Row("201 levels behind brackets in a text", post(b'["]]]]",' + b"[" * 200 + b"]" * 201))
    yield Row("a million levels", post(b"[" * 1_000_000))
    yield Row("levels of objects", post(b'{"a":' * 100_000))
    yield Row("closing brackets only", post(b"]" * 1_000_000))
    yield Row("1e400", post(b"[1e400]"))
    yield Row("a number of 100,000 digits", post(b"[" + b"9" * 100_000 + b"]"))
    yield Row("a number of 25 digits", post(b"[" + b"9" * 25 + b"]"), (200,))
    yield Row("a number of 5000 digits beside NaN", post(b"[NaN," + b"9" * 5000 + b"]"))
    yield Row("NaN", post(b"[NaN, -Infinity]"), (200,))
    yield Row("a million NaN that do not end", post(b"[" + b"NaN," * 500_000))
    yield Row("nan in lower case", post(b"[nan]"))
    yield Row("a lone surrogate", post(b'["\\ud800"]'))
    yield Row("a lone surrogate beside NaN", post(b'["\\udc00", NaN]'))
    yield Row("a byte order mark", post(b"\xef\xbb\xbf{}"))
    yield Row("NUL", post(b"[\x00]"))
    yield Row("NUL in a text", post(b'["\\u0000"]'), (200,))
    yield Row("a key twice", post(b'{"a": 1, "a": 2}'), (200,))
    yield Row("invalid UTF-8", post(b'["' + b"\xff" * 500_000 + b'"]'))
    yield Row("UTF-16", post('{"a": 1}'.encode("utf-16"), "application/json; charset=utf-16"))
    yield Row("Latin-1", post(b'["\xe9"]', "application/json; charset=iso-8859-1"))
    yield Row("nothing", post(b""))
    yield Row("a comma too many", post(b"[1,]"))
    yield Row("a comment", post(b"[1] // one"))
    yield Row("V1 without instances", post(b"{}", path="/v1/models/iris:predict"))
    yield Row(
        "V1 instances of another type", post(b'{"instances": 1}', path="/v1/models/iris:predict")
    )
    yield Row("feedback without an id", post(b"{}", path="/feedback"))
    yield Row("a timeout of 5000 digits", post(b"{}", X_Request_Timeout_Ms="9" * 5000), (200,))
    yield Row("a request id with spaces", post(b"{}", X_Request_Id="a b\tc"), (200,))


def _tensor_rows() -> Iterator[Row]:
    yield Row("an empty tensor of a billion lists", infer([10**9, 0], [], "BYTES"))
    yield Row("an empty tensor of a billion numbers", infer([10**9, 0], []))
    yield Row("an empty tensor", infer([0, 4], []), (200,))
    yield Row("more bits than a length has", infer([2**63, 0], []))
    yield Row("a length of 4000 digits", infer([10**4000], [1]))
    yield Row("70 dimensions", infer([1] * 70, [1]))
    yield Row("64 dimensions", infer([1] * 64, [1]), (200,))
    yield Row("100,000 dimensions", infer([1] * 100_000, [1]))
    yield Row("100,000 large dimensions", infer([2**40] * 100_000, [1]))
    yield Row("an element in a million lists", infer([1] * 60 + [1000, 1000, 0], [], "BYTES"))
    yield Row("60 lists around each element", infer([50_000, *[1] * 60], ["a"] * 50_000, "BYTES"))
    yield Row("a product that is zero by overflow", infer([2**32, 2**32], []))
    yield Row("more than the data", infer([3], [1, 2]))
    yield Row("less than the data", infer([1], [1, 2]))
    yield Row("a negative length", infer([-1], [1]))
    yield Row("a length that is true", infer([True], [1]))
    yield Row("a length with a fraction", infer([1.0], [1]))
    yield Row("a length that is a text", infer(["1"], [1]))
    yield Row("no shape", infer(None, [1]))
    yield Row("a shape that is a number", infer(1, [1]))
    yield Row("null", infer([2], [1.0, None]))
    yield Row("null for whole numbers", infer([1], [None], "INT64"))
    yield Row("no data", infer([1], None))
    yield Row("an object", infer([1], {"a": 1}))
    yield Row("objects", infer([2], [{"a": 1}, 2]))
    yield Row("texts for numbers", infer([8000], ["a" * 20_000] + ["b"] * 7999))
    yield Row("numbers for texts", infer([2], [1, 2], "BYTES"))
    yield Row("booleans for numbers", infer([2], [True, 1]))
    yield Row("fractions for whole numbers", infer([1], [1.5], "INT8"))
    yield Row("300 as INT8", infer([1], [300], "INT8"))
    yield Row("-1 as UINT64", infer([1], [-1], "UINT64"))
    yield Row("2 as BOOL", infer([1], [2], "BOOL"))
    yield Row("10**300 as INT64", infer([1], [10**300], "INT64"))
    yield Row("10**400 as FP64", infer([1], [10**400], "FP64"))
    yield Row("1e300 as FP32", infer([1], [1e300]))
    yield Row("70000 as FP16", infer([1], [70000.0], "FP16"))
    yield Row("NaN as FP32", infer([1], [float("nan")]), (200,))
    yield Row("infinity as FP16", infer([1], [float("inf")], "FP16"), (200,))
    yield Row("NaN as INT32", infer([1], [float("nan")], "INT32"))
    yield Row("BF16 in JSON", infer([1], [1.5], "BF16"))
    yield Row("lists of two lengths", infer([3], [[1], [2, 3]]))
    yield Row("a list beside a number", infer([2], [[1], 2]))
    yield Row("a number beside a list", infer([2], [1, [2]]))
    yield Row("nested lists", infer([2, 2], [[1, 2], [3, 4]]), (200,))
    # more levels than a shape may have
    yield Row("180 nested lists", infer([1], json.loads("[" * 180 + "1" + "]" * 180)), (400,))
    yield Row("empty lists", infer([1], [[]] * 10))
    yield Row("an unknown datatype", infer([1], [1], "FP31"))
    yield Row("a datatype of 100 KB", infer([1], [1], "F" * 100_000))
    yield Row("a datatype that is a list", infer([1], [1], ["FP32"]))
    yield Row("base64 that is none", infer([1], ["?"], "BYTES", content_type="base64"))
    yield Row("parameters that are a list", post(b'{"inputs": [], "parameters": [1]}', path=INFER))
    yield Row("inputs that are an object", post(b'{"inputs": {}}', path=INFER))
    yield Row(
        "100,000 inputs without names", post(b'{"inputs": [' + b"1," * 99_999 + b"1]}", path=INFER)
    )
    twice = [{"name": "x", "datatype": "INT8", "shape": [1], "data": [n]} for n in range(2)]
    yield Row("an input twice", post(json.dumps({"inputs": twice}).encode(), path=INFER), (400,))
    yield Row("an output that is none", post(b'{"inputs": [], "outputs": [null]}', path=INFER))
    inputs = [
        {"name": f"x{n}", "datatype": "BYTES", "shape": [60_000, 0], "data": []}
        for n in range(1000)
    ]
    yield Row(
        "60,000 lists in each of 1000 inputs",
        post(json.dumps({"inputs": inputs}).encode(), path=INFER),
    )


def _binary_rows() -> Iterator[Row]:
    yield Row("a negative size", binary(-4, bytes(4), [1]))
    yield Row("a size over the body", binary(8, bytes(4), [1]))
    yield Row("a size of zero", binary(0, b"", [1]))
    yield Row("a size that is a text", binary("4", bytes(4), [1]))
    yield Row("a size that is true", binary(True, bytes(1), [1], "BOOL"))
    yield Row("a size of 4000 digits", binary(10**4000, bytes(4), [1]))
    yield Row("bytes of no input", binary(4, bytes(8), [1]))
    yield Row("an empty tensor of a billion", binary(0, b"", [10**9, 0]))
    yield Row("texts of a billion lists", binary(0, b"", [10**9, 0], "BYTES"))
    yield Row("a text longer than its bytes", binary(8, b"\xff\xff\xff\xffabcd", [1], "BYTES"))
    yield Row("a length that is cut", binary(2, b"\0\0", [1], "BYTES"))
    yield Row("a million empty texts for one", binary(4_000_000, bytes(4_000_000), [1], "BYTES"))
    yield Row("200,000 empty texts", binary(800_000, bytes(800_000), [200_000], "BYTES"), (200,))
    yield Row("fewer texts than the shape", binary(4, bytes(4), [2], "BYTES"))
    yield Row("FP16", binary(4, struct.pack("<2e", 1, float("inf")), [2], "FP16"), (200,))
    yield Row("BF16", binary(4, b"\x80\x3f\x00\x40", [2], "BF16"), (200,))
    yield Row("an odd number of bytes", binary(3, bytes(3), [1], "FP16"))
    yield Row("a head longer than the body", binary(4, bytes(4), [1], head=10_000))
    yield Row("a head that is cut", binary(4, bytes(4), [1], head=5))
    length = {"Inference_Header_Content_Length": "9" * 5000}
    yield Row("a head of 5000 digits", post(b"{}", path=INFER, **length))


def _body_rows() -> Iterator[Row]:
    text = b"a-" + b"b" * 200_000
    names = "punycode idna unicode_escape raw_unicode_escape undefined utf-7 rot13 zlib hex base64"
    for name in [*names.split(), "uu", "bz2", "mbcs", "no-such", "../x"]:
        yield Row(f"a text in {name}", post(text, f"text/plain; charset={name}"))
    yield Row("a text in no charset", post(text, "text/plain; charset"))
    yield Row("a text in Latin-1", post(b"\xe9", "text/plain; charset=ISO-8859-1"), (200,))
    yield Row("a text that is not UTF-8", post(b"\xff" * 100_000, "text/plain"))
    yield Row("a form in punycode", form(part(text), charset="; charset=punycode"))
    yield Row(
        "a form of 100,000 fields", post(b"a=1&" * 100_000, "application/x-www-form-urlencoded")
    )
    yield Row(
        "a form of signs", post(b"&" * 1_000_000, "application/x-www-form-urlencoded"), (200,)
    )
    yield Row("100,000 parts", form(part() * 100_000))
    yield Row("2000 files", form(part(more=b'; filename="f"') * 2000))
    yield Row("a field of 2 MB", form(part(b"z" * 2_000_000)))
    near = part(b"\r\n--x" * 200_000, b'; filename="f"')
    yield Row("a file of beginnings of boundaries", form(near), (200,))
    yield Row("a part of 100,000 headers", form(b"--xx\r\n" + b"a: b\r\n" * 100_000 + b"\r\n"))
    yield Row("a part's header of 1 MB", form(part(more=b'; x="' + b";" * 1_000_000)))
    yield Row("a part without a name", form(b"--xx\r\na: b\r\n\r\n1\r\n"))
    yield Row("a form of line ends", form(b"\r\n" * 500_000), (200, 400))
    yield Row("a part without an end", post(part(), "multipart/form-data; boundary=xx"))
    yield Row("no parts", form(), (200,))
    yield Row("no boundary", post(part(), "multipart/form-data"))
    yield Row("a boundary of 300 characters", form(part(), boundary="x" * 300))
    yield Row("a boundary of semicolons", form(part(), boundary='"' + ";" * 30_000))
    inner = b"--yy\r\nContent-Disposition: form-data; name=b\r\n\r\n1\r\n--yy--\r\n"
    nested = b"\r\nContent-Type: multipart/mixed; boundary=yy"
    yield Row("a form in a form", form(part(inner, nested)), (200,))
    bomb = gzip.compress(bytes(5_000_000))
    for name, body in {
        "gzip": bomb,
        "deflate": zlib.compress(bytes(1000)),
        "br": b"\x0b\x02",
        "zstd": b"\x28\xb5\x2f\xfd",
        "x-gzip": bomb[:50],
        "gzip, gzip": bomb + bomb + b"more",
        "no-such": b"{}",
    }.items():
        yield Row(f"a body in {name}", post(body, Content_Encoding=name), (415,))
        yield Row(f"a tensor in {name}", post(body, path=INFER, Content_Encoding=name), (415,))
    yield Row("a body in identity", post(b"{}", Content_Encoding="identity, Identity"), (200,))
    twice = "gzip\r\nContent-Encoding: identity"
    yield Row("a body in two encodings", post(b"{}", Content_Encoding=twice), (415,))


def _raw_rows() -> Iterator[Row]:
    host = b"Host: x"
    yield Row("no Host", get())
    yield Row("two Hosts", get(host, b"Host: y"))
    for name in (b"", b"x, y", b"u@x", b"x/y", b"x:y", b"x:1:2", b":1", b"[::1", b"[x]", b"%zz"):
        yield Row(f"a Host of {name!r}", get(b"Host: " + name), (400,))
    for name in (b"x_y.z:", b"x%41:80", b"[::1]", b"[::ffff:1.2.3.4]:80"):
        yield Row(f"a Host of {name!r}", get(b"Host: " + name), (200,))
    yield Row("HTTP/0.9", b"GET /livez\r\n\r\n")
    yield Row("HTTP/0.9 by name", get(start=b"GET /livez HTTP/0.9"))
    yield Row("HTTP/1.0", get(start=b"GET /livez HTTP/1.0"), (200,))
    yield Row("HTTP/2.0", get(host, start=b"GET /livez HTTP/2.0"))
    yield Row("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    yield Row("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200))
    chunk = b"Transfer-Encoding: chunked"
    for name, lines in {
        "a length and chunks": [b"Content-Length: 4", chunk],
        "chunks and a length": [chunk, b"Content-Length: 4"],
        "two lengths": [b"Content-Length: 4", b"Content-Length: 5"],
        "a list of lengths": [b"Content-Length: 5, 5"],
        "a length with a sign": [b"Content-Length: +5"],
        "a negative length of a body": [b"Content-Length: -5"],
        "a length over 64 bits": [b"Content-Length: 99999999999999999999"],
        "a length over the limit": [b"Content-Length: 999999999999999999"],
        "chunked, identity": [b"Transfer-Encoding: chunked, identity"],
        "gzip, chunked": [b"Transfer-Encoding: gzip, chunked"],
        "identity": [b"Transfer-Encoding: identity"],
        "xchunked": [b"Transfer-Encoding: xchunked"],
        "two encodings": [chunk, b"Transfer-Encoding: identity"],
        "a control character before chunked": [b"Transfer-Encoding: \x0bchunked"],
        "a folded encoding": [b"Transfer-Encoding:\r\n chunked"],
        "a space before the colon": [b"Transfer-Encoding : chunked"],
    }.items():
        yield Row(name, chunked(b"0\r\n\r\n", *lines))
    yield Row("chunks of HTTP/1.0", chunked(b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"))
    yield Row("a folded header", get(host, b"X: a\r\n b"))
    for name, line in {
        "two content types": b"Content-Type: text/plain",
        "a list of content types": b"X: y",
    }.items():
        kind = b"application/json, text/plain" if line == b"X: y" else b"application/json"
        head = [b"POST /predict HTTP/1.1", host, b"Content-Type: " + kind, line]
        yield Row(name, b"\r\n".join([*head, b"Content-Length: 2", b"", b"{}"]), (400,))
    twice = "application/json\r\nContent-Type: application/json"
    yield Row("a content type twice", post(b"{}", twice), (200,))
    yield Row(
        "a list of one content type", post(b"{}", "application/json,application/json"), (200,)
    )
    lengths = {"Inference_Header_Content_Length": "2\r\nInference-Header-Content-Length: 3"}
    yield Row("two lengths of a tensor's head", post(b"{} ", path=INFER, **lengths), (400,))
    yield Row("bare line feeds", b"GET /livez HTTP/1.1\nHost: x\n\n")
    yield Row("a bare carriage return", get(b"Host: x\rX: y"))
    yield Row("NUL in a header", get(host, b"X: a\x00b"))
    yield Row("a control character in a header", get(host, b"X: a\x01b"))
    yield Row("a header without a name", get(host, b": b"))
    yield Row("a header without a colon", get(host, b"abc"))
    yield Row("NUL in the path", get(host, start=b"GET /a\x00 HTTP/1.1"))
    yield Row("bytes in the path", get(host, start=b"GET /\xff HTTP/1.1"))
    yield Row("line ends in the path", get(host, start=b"GET /%0d%0aX:%20y HTTP/1.1"), (404,))
    yield Row("a path of 60 KB", get(host, start=b"GET /" + b"a" * 60_000 + b" HTTP/1.1"), (404,))
    yield Row("a path of 90 KB", get(host, start=b"GET /" + b"a" * 90_000 + b" HTTP/1.1"), (414,))
    yield Row("a path without an end", b"GET /" + b"a" * 90_000, (414,))
    yield Row("a header without an end", get(host, b"a: " + b"a" * 90_000)[:-4], (431,))
    expects = post(b"{}", Expect="100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
    yield Row("100-continue of HTTP/1.0", expects, (200,))
    many = b"GET /livez?" + b"a&" * 30_000 + b" HTTP/1.1"
    yield Row("30,000 parameters", get(host, start=many), (200,))
    yield Row("15,000 headers", get(host, *[b"a:"] * 15_000), (200,))
    yield Row("150,000 headers", get(host, *[b"a:"] * 150_000), (431,))
    yield Row("an absolute target", get(host, start=b"GET http://y/livez HTTP/1.1"), (200,))
    yield Row("one without a path", get(host, start=b"GET http://y HTTP/1.1"), (200,))
    yield Row("one of a query", get(host, start=b"GET http://y?a HTTP/1.1"), (200,))
    for target in (b"*", b"/livez#a", b"http://y/livez#a", b"ftp://y/livez", b"http:///livez",
                   b"http://u@y/livez", b"http://y:a/livez"):  # fmt: skip
        yield Row(
            f"a target of {target!r}", get(host, start=b"GET " + target + b" HTTP/1.1"), (400,)
        )
    yield Row("a part of the server", get(host, start=b"OPTIONS *a HTTP/1.1"), (400,))
    for target in (b"x:80", b"/livez", b"*"):
        start = b"CONNECT " + target + b" HTTP/1.1"
        yield Row(f"CONNECT to {target!r}", get(host, start=start), (501,))
    yield Row("TRACE", get(host, b"X: secret", start=b"TRACE /livez HTTP/1.1"))
    yield Row("no method", get(host, start=b"F\x01O /livez HTTP/1.1"))
    yield Row("a method of 70 KB", get(host, start=b"A" * 70_000 + b" / HTTP/1.1"))
    yield Row("an extension of 1 MB", chunked(b"2;" + b"x" * 1_000_000 + b"\r\n{}\r\n0\r\n\r\n"))
    yield Row("extensions", chunked((b"1;" + b"x" * 999 + b"\r\n \r\n") * 2000 + b"0\r\n\r\n"))
    yield Row("trailers", chunked(b"2\r\n{}\r\n0\r\n" + b"a: b\r\n" * 300_000 + b"\r\n"))
    yield Row("chunks of a byte", chunked(b"1\r\n \r\n" * 50_000 + b"2\r\n{}\r\n0\r\n\r\n"), (200,))
    yield Row("a chunk of no size", chunked(b"zz\r\n{}\r\n0\r\n\r\n"))
    yield Row("a chunk over 64 bits", chunked(b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"))
    yield Row("a chunk that is longer", chunked(b"2\r\n{}x\r\n0\r\n\r\n"))
    yield Row("an offer of h2c", get(host, b"Connection: Upgrade", b"Upgrade: h2c"), (200,))
    offer = [b"Transfer-Encoding: chunked", b"Connection: Upgrade", b"Upgrade: h2c"]
    yield Row("an offer with a body", chunked(b"2\r\n{}\r\n0\r\n\r\n", *offer), (200,))


ROWS = [*_json_rows(), *_tensor_rows(), *_binary_rows(), *_body_rows(), *_raw_rows()]


PORTS: dict[int, int] = {}
"The gRPC port of each server by its HTTP port."


@pytest.fixture(scope="module", params=["with numpy", "without numpy"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    absent = tmp_path_factory.mktemp("absent")
    (absent / "numpy.py").write_text("raise ImportError('there is no numpy')\n")
    paths = [str(ROOT)] if request.param == "with numpy" else [str(absent), str(ROOT)]
    environ = {"PYTHONPATH": os.pathsep.join(paths)}
    grpc_port = free_port()
    options = ("--grpc-port", str(grpc_port)) if find_spec("grpc") else ()
    folder = tmp_path_factory.mktemp("hostile")
    with serving(folder, SOURCE, environ=environ, arguments=options) as found:
        PORTS[found.port] = grpc_port
        yield found


def answered(port: int, content: bytes, *, seconds: float = 20) -> int:
    """The status of the first answer; 0 where the connection ends without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        received = b""
        try:
            connection.sendall(content)
            while b"\r\n" not in received and (more := connection.recv(65536)):
                received += more
        except ConnectionError:
            pass
    return int(received[9:12]) if received.startswith(b"HTTP/1.1 ") else 0


def cpu_seconds(server: Server) -> float:
    with open(f"/proc/{server.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(server: Server, name: str) -> int:
    with open(f"/proc/{server.process.pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def check_cost(server: Server, size: int, ask: Callable[[], None]) -> None:
    """Ask, and look at the time and the memory that the server takes for it."""
    with open(f"/proc/{server.process.pid}/clear_refs", "w") as file:
        file.write("5")  # the peak begins again
    began, before = cpu_seconds(server), memory(server, "VmRSS")
    ask()
    assert server.status("/livez") == 200
    # a plain JSON list takes a tenth of both; a machine has its moods
    assert cpu_seconds(server) - began < 0.5 + size * 4e-7
    assert memory(server, "VmHWM") - before < 80 * 2**20 + 16 * size


def test_there_are_hundreds_of_hostile_requests_and_each_has_its_name() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 200


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_request_costs_what_its_size_is_worth_and_the_next_probe_is_answered(
    server: Server, row: Row
) -> None:
    def ask() -> None:
        assert answered(server.port, row.content) in row.statuses

    check_cost(server, len(row.content), ask)


# gRPC


def field(number: int, content: bytes | int) -> bytes:
    """A field of a message as protobuf writes it."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def tensor(*fields: bytes, datatype: bytes = b"FP32", raw: bytes | None = None) -> bytes:
    found = field(5, field(1, b"x") + field(2, datatype) + b"".join(fields))
    return MODEL + found + (b"" if raw is None else field(7, raw))


MODEL = field(1, b"iris")
MILLIONS = 4_000_000
MESSAGES = {
    "two million empty inputs": MODEL + b"\x2a\0" * (MILLIONS // 2),
    "two million empty raw contents": MODEL + b"\x3a\0" * (MILLIONS // 2),
    "two million empty outputs": MODEL + b"\x32\0" * (MILLIONS // 2),
    "two million empty parameters": tensor(b"\x22\0" * (MILLIONS // 2)),
    "two million empty texts": tensor(
        field(3, 1), field(5, b"\x42\0" * (MILLIONS // 2)), datatype=b"BYTES"
    ),
    "two million unknown fields": MODEL + b"\xfa\x7f\0" * (MILLIONS // 2),
    "four million numbers for one": tensor(
        field(3, 1), field(5, field(2, b"\1" * MILLIONS)), datatype=b"INT8"
    ),
    "four million dimensions": tensor(field(3, b"\1" * MILLIONS)),
    "70 dimensions": tensor(field(3, b"\1" * 70), field(5, field(6, bytes(4)))),
    "a negative length": tensor(field(3, 2**64 - 1)),
    "an empty tensor of a billion": tensor(field(3, varint(10**9) + b"\0")),
    "raw contents of nothing": tensor(field(3, varint(10**9) + b"\0"), datatype=b"BYTES", raw=b""),
    "a text longer than its bytes": tensor(field(3, 1), datatype=b"BYTES", raw=b"\xff" * 8),
    "a million texts for one": tensor(field(3, 1), datatype=b"BYTES", raw=bytes(MILLIONS)),
    "too few bytes": tensor(field(3, 2), raw=bytes(4)),
    "one raw content for no input": MODEL + field(7, b"a"),
    "an unknown datatype": tensor(field(3, 1), datatype=b"F" * 100_000),
    "no message": b"\xff" * 1000,
    "groups in groups": b"\xfb\x7f" * 100_000,
    "a name that is not UTF-8": field(1, b"\xff"),
    "a message that is cut": tensor(field(3, 1))[:-3],
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_costs_what_its_size_is_worth_as_well(server: Server, name: str) -> None:
    grpc: Any = pytest.importorskip("grpc")

    def ask() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{PORTS[server.port]}") as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            with pytest.raises(grpc.RpcError) as caught:
                call(MESSAGES[name], timeout=30)
        code = caught.value.code()
        assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
        assert len(caught.value.details()) < 2000

    check_cost(server, len(MESSAGES[name]), ask)


def test_a_message_that_unpacks_over_the_limit_is_refused(server: Server) -> None:
    grpc: Any = pytest.importorskip("grpc")
    packed = {"compression": grpc.Compression.Gzip, "timeout": 30}

    def ask() -> None:
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{PORTS[server.port]}", options) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            with pytest.raises(grpc.RpcError) as caught:
                call(MODEL + field(7, bytes(100_000_000)), **packed)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    check_cost(server, 100_000, ask)


# Clients that dawdle

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
SLOW = """
    class PythonPredictor:
        def predict(self, payload):
            return "x" * 50_000_000 if payload == "much" else payload
"""


def received(connection: socket.socket) -> bytes:
    found = b""
    while more := connection.recv(65536):
        found += more
    return found


@pytest.mark.parametrize("quick", [False, True])
def test_a_body_that_trickles_is_ended_by_a_total_deadline(tmp_path: Path, *, quick: bool) -> None:
    with serving(tmp_path, SLOW, bodyTimeoutSeconds=1.5) as server:
        for _ in range(80 if quick else 0):  # quick calls before it change nothing
            server.predict("short")
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.2) as connection:
            connection.sendall(HEAD)
            answer = b""
            for _ in range(200):
                try:
                    connection.sendall(b" ")
                    answer = connection.recv(100)
                    break
                except TimeoutError:
                    continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert server.status("/livez") == 200


def test_a_body_that_never_begins_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with serving(tmp_path, SLOW, graceSeconds=60) as server:
        with server.connects() as connection:
            connection.sendall(HEAD)
            until(lambda: server.metric("predictor_requests_in_progress") == 0)
            server.terminate()
            assert received(connection).startswith(b"HTTP/1.1 503 ")
        assert server.ends() == 0


def test_a_body_behind_an_answer_is_ended_as_well(tmp_path: Path) -> None:
    with serving(tmp_path, SLOW, bodyTimeoutSeconds=1) as server:
        with server.connects() as connection:
            connection.sendall(HEAD.replace(b"/predict", b"/nowhere"))
            answer = received(connection)
        assert answer.count(b"HTTP/1.1 ") == answer.count(b"HTTP/1.1 404 ") == 1


def test_a_client_that_reads_nothing_is_ended(tmp_path: Path) -> None:
    with serving(tmp_path, SLOW, writeTimeoutSeconds=1) as server:
        with server.connects() as connection:
            connection.sendall(post(b'"much"'))
            until(
                lambda: (
                    memory(server, "VmRSS") > 100 * 2**20
                    or server.metric("predictor_requests_total") > 0
                )
            )
            until(lambda: open_connections(server) == 1)  # the one that asks
        assert server.status("/livez") == 200


def open_connections(server: Server) -> int:
    """Connections to the server, as its side sees them."""
    server.status("/livez")
    local = f"{server.port:04X}"
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file][1:]
    return sum(row[1].endswith(f":{local}") and row[3] == "01" for row in rows)


def test_one_connection_more_closes_the_one_that_has_waited_longest(tmp_path: Path) -> None:
    with serving(tmp_path, SLOW, maxConnections=20) as server:
        address = ("127.0.0.1", server.port)
        silent = [socket.create_connection(address, timeout=60) for _ in range(60)]
        assert server.status("/livez") == 200
        assert server.predict({"a": 1}).json() == {"a": 1}
        assert silent[0].recv(10) == b""
        for each in silent:
            each.close()


# Framing


def test_a_body_behind_an_offer_is_no_request(server: Server) -> None:
    inner = b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n"
    offer = {
        "Connection": "Upgrade, HTTP2-Settings, close",
        "Upgrade": "h2c",
        "HTTP2_Settings": "AAMA",
    }
    content = post(inner, "text/plain", **offer)
    with server.connects() as connection:
        connection.sendall(content[: -len(inner)])
        time.sleep(0.2)  # so that they arrive apart
        connection.sendall(inner)
        answer = received(connection)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.endswith(b'{"kind":"str"}')


def test_what_is_wrong_is_answered_behind_what_is_right(server: Server) -> None:
    good, bad = get(b"Host: x"), get()
    for content, count in ((good * 3 + bad + good, 3), (good + chunked(b"zz\r\n"), 1)):
        with server.connects() as connection:
            connection.sendall(content)
            answer = received(connection)
        statuses = [int(each[:3]) for each in answer.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [200] * count + [400]


def test_a_refusal_has_a_date(server: Server) -> None:
    for content in (get(), get(b"Host: x", b"a: " + b"a" * 90_000), chunked(b"zz\r\n")):
        with server.connects() as connection:
            connection.sendall(content)
            answer = received(connection)
        assert answer.count(b"\r\ndate: ") == 1, answer


def test_a_stream_to_an_old_client_has_no_chunks(tmp_path: Path) -> None:
    source = """
        class PythonPredictor:
            def predict(self, payload):
                yield "one"
                yield "two"
    """
    with (
        serving(tmp_path, source) as server,
        server.connects() as connection,
    ):
        connection.sendall(post(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"))
        head, _, body = received(connection).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"data: one\n\ndata: two\n\n"


def test_what_a_predictor_says_in_headers_and_details_can_be_sent(tmp_path: Path) -> None:
    source = """
        from predictor_base import HTTPError
        from starlette.responses import JSONResponse
        class PythonPredictor:
            def predict(self, payload):
                headers = {"X-Reason": "one\\r\\nX-More: two", "X Name": "é€", "Retry-After": 30}
                if payload:
                    raise HTTPError(429, ValueError("no"), headers=headers)
                return JSONResponse({}, headers={"X-Reason": "one\\nX-More: two"})
    """
    with serving(tmp_path, source) as server:
        for payload, status in ((1, 429), (0, 200)):
            answer = server.predict(payload)
            assert (answer.status_code, "x-more" in answer.headers) == (status, False)
            assert answer.headers["x-reason"].split() == ["one", "X-More:", "two"]
        assert server.predict(1).json() == {"error": "no"}
        assert server.predict(1).headers["retry-after"] == "30"


# The readers by themselves

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)
PIECES = st.sampled_from(
    [
        "[",
        "]",
        "{",
        "}",
        '"',
        "\\",
        ",",
        ":",
        "1",
        "NaN",
        "-Infinity",
        '"a"',
        "e",
        " ",
        "\\u00",
        "é",
    ]
)


@given(VALUES)
@settings(deadline=None)
def test_what_python_writes_is_read_as_it_was(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@given(st.lists(PIECES, max_size=12).map("".join))
@settings(deadline=None, max_examples=400)
def test_what_pythons_reader_refuses_is_refused(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(BadRequest):
            parse(text.encode())
    else:
        assert repr(parse(text.encode())) == repr(expected)


@given(
    st.lists(st.sampled_from(['"]"', '"[["', '"\\""', "1"]), min_size=1),
    st.integers(MAX_DEPTH - 2, MAX_DEPTH + 2),
)
@settings(deadline=None)
def test_only_brackets_outside_of_texts_nest(texts: list[str], depth: int) -> None:
    body = "[" * depth + ",".join(texts) + "]" * depth
    if depth <= MAX_DEPTH:
        assert json.dumps(parse(body.encode()), separators=(",", ":")) == body
    else:
        with pytest.raises(BadRequest, match="nests more than"):
            parse(body.encode())


LINEAR: dict[str, Callable[[int], bytes]] = {
    "a text that does not end": lambda n: b"[" + b"{}," * 300 + b'"' + b'\\"' * n,
    "texts": lambda n: b"[" + b"[]," * 300 + b'"[",' * n,
    "groups of levels": lambda n: b"[" + (b"[" * 190 + b"]" * 190 + b",") * (n // 380),
    "NaN": lambda n: b"[" + b"NaN," * n,
    "levels": lambda n: b"[" * n,
    "invalid UTF-8 at the end": lambda n: b"[" + b"1," * n + b"\xff",
}


@pytest.mark.parametrize("name", LINEAR)
def test_twice_the_body_takes_no_more_than_twice_the_time(name: str) -> None:
    def seconds(body: bytes) -> float:
        began = time.process_time()
        with pytest.raises(BadRequest):
            parse(body)
        return time.process_time() - began

    make, size = LINEAR[name], 500_000
    for _ in range(5):  # a quadratic reader fails each time
        small = min(seconds(make(size)) for _ in range(3))
        if seconds(make(4 * size)) < 8 * small + 0.02:
            return
    pytest.fail("the time grows faster than the body")


@given(
    name=st.sampled_from(sorted(DATATYPES)),
    shape=st.lists(st.integers(0, 5) | st.sampled_from([2**20, 2**40, 2**63, -1]), max_size=5)
    | st.just([1] * 65),
    data=st.lists(
        st.integers(-3, 300) | st.floats() | st.text(max_size=3) | st.booleans() | st.none(),
        max_size=8,
    ),
)
@settings(deadline=None, max_examples=400)
def test_a_tensor_is_of_its_shape_or_refused(name: str, shape: list[int], data: list[Any]) -> None:
    try:
        found = read_json("x", name, shape, data, content="", gate=Gate(1000))
    except BadRequest:
        return
    flat = found.reshape(-1).tolist() if hasattr(found, "reshape") else found
    for _ in shape[1:] if isinstance(found, list) else ():
        flat = [each for row in flat for each in row]
    assert len(flat if shape or not isinstance(found, str) else [flat]) == len(data)
    if name not in ("FP16", "FP32") and shape:
        assert (
            repr([float(n) if name == "FP64" else n for n in data]) == repr(flat) or name == "BOOL"
        )


class Point(TypedDict):
    tags: list[str]


def test_an_answer_lists_a_few_of_many_problems() -> None:
    def predict(payload: Point) -> None: ...

    predict.__annotations__["payload"] = Point
    convert = converter(predict)
    assert convert is not None
    for payload in (
        {"tags": [1] * 400_000},
        {"tags": [], **{f"k{n}" * 99: 1 for n in range(50_000)}},
    ):
        with pytest.raises(InvalidPayload, match="and more") as caught:
            convert(payload)
        assert str(caught.value).count(";") < 3 * MAX_PROBLEMS
        assert len(str(caught.value)) < 10_000


def test_bytes_are_those_of_the_inputs_one_after_the_other() -> None:
    described = [
        {"name": name, "datatype": "INT8", "shape": [2], "parameters": {"binary_data_size": 2}}
        for name in "ab"
    ]
    head = json.dumps({"inputs": described}).encode()
    inputs = read_infer(head + b"\1\2\3\4", b"%d" % len(head), "r").inputs
    assert {name: list(each) for name, each in inputs.items()} == {"a": [1, 2], "b": [3, 4]}
