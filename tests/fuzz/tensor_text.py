"""The readers of the Open Inference Protocol: JSON, binary and gRPC, with and without numpy.

The first byte of an input chooses the reader, the second and third are the length of the JSON where
tensors follow it, and the rest is the body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from google.protobuf.message import DecodeError

from predictor_base.errors import BadRequest
from predictor_base.protocols import grpc_messages, grpc_server, tensors
from predictor_base.protocols.openinference import read_infer
from tests.fuzz.bounds import bounded

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON, BINARY, GRPC, WITHOUT_NUMPY = 0, 1, 2, 4


def one_input(data: bytes) -> None:
    """Read a body as an infer request; its tensors survive being written and read."""
    mode, length, body = data[:1], int.from_bytes(data[1:3], "big"), data[3:]
    kind = mode[0] if mode else JSON
    if kind & WITHOUT_NUMPY:
        # an image whose predictor wants no numpy
        with patch.object(tensors, "_numpy", lambda: None):
            _read(kind & 3, length, body)
    else:
        _read(kind & 3, length, body)


def _read(kind: int, length: int, body: bytes) -> None:
    with bounded(body):
        try:
            inputs = _inputs(kind, length, body)
        except (BadRequest, DecodeError) as error:
            assert str(error)
            return
    for name, value in inputs.items():
        assert isinstance(name, str)
        _check_round_trip(value)


def _inputs(kind: int, length: int, body: bytes) -> Mapping[str, Any]:
    if kind == GRPC:
        message = grpc_messages.inference()["ModelInferRequest"].FromString(body)
        return grpc_server._read_inputs(message)
    header = b"%d" % length if kind == BINARY else None
    found = read_infer(body, header, "request").inputs
    return found if isinstance(found, dict) else {}


def _check_round_trip(value: Any) -> None:
    """A numpy array comes back equal by way of the binary form, dtype and shape as well."""
    if not hasattr(value, "dtype"):
        return
    (written,) = tensors.tensors({"x": value})
    _, content = written.as_binary()
    if written.datatype == "BYTES" or not written.shape:
        return
    again = tensors.read_binary(
        "x", written.datatype, list(written.shape), content, gate=tensors.Gate(len(content))
    )
    assert tuple(again.shape) == tuple(value.shape)
    assert again.tobytes() == value.astype(again.dtype).tobytes()
