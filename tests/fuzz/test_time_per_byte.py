"""The time of each reader for each byte of a client, as a ratio to Python's own JSON parser on a plain body.

A reader that is quadratic, or makes much of little, exceeds the ratio by orders of magnitude. Inputs are
pieces that were or could be expensive, repeated to a size, between an optional start and end.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from predictor_base.errors import BadRequest
from predictor_base.http.payload import decode
from predictor_base.jsontext import parse
from predictor_base.protocols import grpc_messages, grpc_server
from predictor_base.protocols.openinference import plain_inputs, read_infer
from tests.support.exchanges import exchange_of

if TYPE_CHECKING:
    from collections.abc import Callable

RATIO = 80
"""Times the plain parser. The most expensive that is linear: messages of empty tensors, at about 40."""
SIZE = 100_000
PLAIN = json.dumps([{"id": n, "name": "text", "x": n * 0.1} for n in range(2500)]).encode()
SOME = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)

JSON_PIECES = (
    *(b"[", b"]", b"{", b"}", b"[],", b'{"a":', b'{"a":{}},', b'"",', b'\\"', b"\\\\", b'"', b" "),
    *(b"9", b"-", b"1e-300,", b"18446744073709551617,", b"0.1", b"1e999,", b"NaN,", b"-Infinity,"),
    *(b"null,", b"true,", b"\\ud800", b"\\u0000", b"\xff", "é\u2028".encode(), b'"a":1,', b"\n"),
)
TEXT_PIECES = (
    b"a",
    b"\xff",
    b"\x1b$B",
    b"\x1b(B",
    b"\x81\x30\x81\x30",
    b"\xed\xa0\x80",
    b"+AAA-",
    b"\0",
    b"xn--",
)
FORM_PIECES = (b"&", b"=", b"a=1&", b"%", b"%41", b"+", b";", b"a[]=1&", b"\xff", b"a")
PART_PIECES = (
    *(
        b"--b\r\n",
        b"\r\n--b",
        b"--b--",
        b"\r\n",
        b"\r",
        b"\n",
        b"-",
        b"A: b\r\n",
        b"A",
        b'name="a"; ',
    ),
    *(
        b'Content-Disposition: form-data; name="a"\r\n',
        b"filename*=UTF-8''",
        b"=?utf-8?q?",
        b"\\",
        b'"',
    ),
    b'--b\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\nx\r\n',
)
TENSOR_PIECES = (
    *(
        b"[1],",
        b'"a",',
        b"1,",
        b"[[",
        b"]],",
        b"null,",
        b"1e400,",
        b"-1,",
        b"256,",
        b'"YQ==",',
        b"[1,[2]],",
    ),
    b'{"name":"y","datatype":"FP32","shape":[1],"data":[1]},',
    b'{"name":"y"},',
)
MESSAGE_PIECES = (
    *(
        b"\x22\x00",
        b"\x2a\x00",
        b"\xf8\x07\x01",
        b"\x3a\x00",
        b"\x08\x01",
        b"\xff",
        b"\x80",
        b"\x0b",
    ),
    *(b"\x2a\x08\x0a\x01x\x12\x03FP8", b"\x2a\x0b\x0a\x01x\x12\x04FP32\x1a\x00", b"\x0a\x01a"),
    b"\x2a\x0c\x0a\x01x\x12\x05BYTES\x2a\x00",
)
CHARSETS = (
    "utf-8",
    "utf-16",
    "utf-32",
    "latin1",
    "gb18030",
    "iso-2022-jp",
    "big5",
    "punycode",
    "idna",
    "utf-7",
)


def repeated(pieces: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """A few pieces, again and again; more pieces or any bytes before and behind them."""
    few = st.lists(st.sampled_from(pieces) | st.binary(max_size=3), min_size=1, max_size=4).map(
        b"".join
    )
    unit = few.filter(bool)
    end = st.just(b"") | few
    return st.builds(lambda a, b, c: a + b * (SIZE // len(b)) + c, end, unit, end)


def seconds(read: Callable[[bytes], object], data: bytes) -> float:
    """CPU time of this thread."""
    started = time.thread_time()
    try:
        read(data)
    except BadRequest as error:
        assert len(str(error)) < 3000
    return time.thread_time() - started


def check(read: Callable[[bytes], object], data: bytes) -> None:
    """Hold the reader to the ratio; measured again where it seems to exceed it, because a machine may be busy."""
    ratio = 0.0
    for _ in range(4):
        plain = min(seconds(json.loads, PLAIN) for _ in range(5)) / len(PLAIN)
        ratio = seconds(read, data) / len(data) / plain
        if ratio < RATIO:
            return
    pytest.fail(f"{ratio:.0f} times the plain parser for each byte of {data[:60]!r}")


@SOME
@given(repeated(JSON_PIECES))
@example(b'[{},"' + b'\\"' * (SIZE // 2))
@example(b"[" * SIZE)
@example(b"[" * 199 + b"[]," * (SIZE // 3) + b"1" + b"]" * 199)
@example(b'["' + b"NaN" * (SIZE // 3))
@example(b"[" + b"1" * SIZE + b"]")
def test_json_costs_what_its_size_allows(body: bytes) -> None:
    check(parse, body)


@SOME
@given(st.sampled_from(CHARSETS), repeated(TEXT_PIECES))
@example("punycode", b"a-" + b"b" * SIZE)
@example("idna", b"a" * SIZE)
def test_text_costs_what_its_size_allows(charset: str, body: bytes) -> None:
    kind = b"text/plain; charset=" + charset.encode()
    check(_decode(kind), body)


@SOME
@given(repeated(FORM_PIECES))
@example(b"&" * SIZE)
@example(b"a=" + b"%41" * (SIZE // 3))
def test_a_form_costs_what_its_size_allows(body: bytes) -> None:
    check(_decode(b"application/x-www-form-urlencoded"), body)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files in memory
@SOME
@given(repeated(PART_PIECES))
@example(PART_PIECES[-1] * (SIZE // len(PART_PIECES[-1])) + b"--b--\r\n")
@example(PART_PIECES[-1][:-3] + b"\r\n-" * (SIZE // 3) + b"\r\n--b--\r\n")
def test_parts_cost_what_their_size_allows(body: bytes) -> None:
    check(_decode(b"multipart/form-data; boundary=b"), body)


@SOME
@given(
    datatype=st.sampled_from(["FP32", "INT64", "BOOL", "BYTES", "FP16"]),
    shape=st.sampled_from([[1], [SIZE], [1] * 70, [2**40] * 1000, [1_000_000_000, 0], [-1]])
    | st.none(),
    data=repeated(TENSOR_PIECES),
    kind=st.sampled_from(["", "base64", "pd"]),
)
@example("FP32", [2**40] * 20_000, b"1", "")
@example("BYTES", [1_000_000_000, 0], b" " * SIZE, "")
def test_tensors_in_json_cost_what_their_size_allows(
    datatype: str, shape: Any, data: bytes, kind: str
) -> None:
    if shape is None:
        shape = [data.count(b",") + 1]
    head = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"content_type": kind}}
    text = json.dumps(head)[:-1].encode() + b',"data":[' + data.strip(b",") + b"]}"
    check(
        _infer(None), b'{"parameters":{"content_type":"%b"},"inputs":[%b]}' % (kind.encode(), text)
    )


@SOME
@given(
    datatype=st.sampled_from(["FP32", "BYTES", "BF16"]),
    unit=st.sampled_from(
        [b"\0\0\0\0", b"\1\0\0\0a", b"\1\0\0\0\xff", b"\xff\xff\xff\xff", b"\2\0\0\0\xc3\xa9"]
    ),
    share=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
)
def test_binary_tensors_cost_what_their_size_allows(
    datatype: str, unit: bytes, share: float
) -> None:
    data = unit * (SIZE // len(unit))
    shape = [int(len(data) // len(unit) * share)]
    parameters = {"binary_data_size": len(data)}
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    check(_infer(b"%d" % len(head)), head + data)


@SOME
@given(repeated(MESSAGE_PIECES))
@example(MESSAGE_PIECES[-3] * (SIZE // len(MESSAGE_PIECES[-3])))
def test_messages_cost_what_their_size_allows(message: bytes) -> None:
    pytest.importorskip("google.protobuf")
    check(_message, message)


def _decode(kind: bytes) -> Callable[[bytes], object]:
    def read(body: bytes) -> None:
        found = decode(kind, exchange_of(body))
        if hasattr(found, "close"):
            asyncio.run(found.close())

    return read


def _infer(length: bytes | None) -> Callable[[bytes], object]:
    def read(body: bytes) -> object:
        inputs = read_infer(body, length, "r").inputs
        return plain_inputs(inputs, {}) if isinstance(inputs, dict) else inputs

    return read


def _message(message: bytes) -> object:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]

    grpc_messages.check_memory(message)
    try:
        found = grpc_messages.inference()["ModelInferRequest"].FromString(message)
    except DecodeError as error:
        raise BadRequest(str(error)[:100]) from None
    return grpc_server._read_inputs(found)
