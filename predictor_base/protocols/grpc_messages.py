"""The messages of `inference.GRPCInferenceService` and `grpc.health.v1.Health`, without generated code.

Numbers and types are those of the Open Inference Protocol's proto file; only protobuf is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from predictor_base.errors import TooLarge
from predictor_base.jsontext import BYTES_PER_BYTE, FREE_BYTES

_INFERENCE = """
ServerLiveRequest
ServerLiveResponse live:bool=1
ServerReadyRequest
ServerReadyResponse ready:bool=1
ModelReadyRequest name:string=1 version:string=2
ModelReadyResponse ready:bool=1
ServerMetadataRequest
ServerMetadataResponse name:string=1 version:string=2 extensions:string*=3
ModelMetadataRequest name:string=1 version:string=2
TensorMetadata name:string=1 datatype:string=2 shape:int64*=3
ModelMetadataResponse name:string=1 versions:string*=2 platform:string=3
    inputs:TensorMetadata*=4 outputs:TensorMetadata*=5
InferParameter bool_param:bool=1 int64_param:int64=2 string_param:string=3 double_param:double=4
    uint64_param:uint64=5
ParameterEntry key:string=1 value:InferParameter=2
InferTensorContents bool_contents:bool*=1 int_contents:int32*=2 int64_contents:int64*=3
    uint_contents:uint32*=4 uint64_contents:uint64*=5 fp32_contents:float*=6
    fp64_contents:double*=7 bytes_contents:bytes*=8
InferTensor name:string=1 datatype:string=2 shape:int64*=3 parameters:ParameterEntry*=4
    contents:InferTensorContents=5
InferRequestedOutput name:string=1 parameters:ParameterEntry*=2
ModelInferRequest model_name:string=1 model_version:string=2 id:string=3
    parameters:ParameterEntry*=4 inputs:InferTensor*=5 outputs:InferRequestedOutput*=6
    raw_input_contents:bytes*=7
ModelInferResponse model_name:string=1 model_version:string=2 id:string=3
    parameters:ParameterEntry*=4 outputs:InferTensor*=5 raw_output_contents:bytes*=6
"""
_HEALTH = """
HealthCheckRequest service:string=1
HealthCheckResponse status:int32=1
"""

_SMALL = 2**20
"""A message of this size needs at most FREE_BYTES, whatever it contains."""
_ELEMENT_BYTES = 64
"""Bytes that protobuf and the runtime need for an element of a tensor, without its text."""
MAX_PARTS = 65536
"""The most inputs, outputs, parameters and unknown fields of a request."""
_CONTENTS = (5, 5)
_NESTED = {(): (4, 5, 6), (4,): (2,), (5,): (4, 5), (5, 4): (2,), (6,): (2,), (6, 2): (2,)}
"""Fields of ModelInferRequest that hold messages, by the path of fields to them."""


def check_memory(message: bytes) -> None:
    """Check the outline of a ModelInferRequest before it is parsed: two bytes of it can become a hundred."""
    if len(message) <= _SMALL:
        return
    elements = (FREE_BYTES + BYTES_PER_BYTE * len(message)) // _ELEMENT_BYTES
    parts = MAX_PARTS
    spans: list[tuple[int, int, tuple[int, ...]]] = [(0, len(message), ())]
    try:
        while spans:
            begin, end, path = spans.pop()
            if path == _CONTENTS:
                elements -= _count(message, begin, end, most=elements)
                continue
            for tag, start, stop in _fields(message, begin, end):
                parts -= 1
                if parts < 0:
                    raise TooLarge(f"the message has more than {MAX_PARTS} inputs and parameters")
                if stop > start and tag & 7 == 2 and tag >> 3 in _NESTED.get(path, ()):
                    spans.append((start, stop, (*path, tag >> 3)))
    except IndexError:
        return  # it ends too early, which protobuf reports


def _count(message: bytes, position: int, end: int, *, most: int) -> int:
    """The fields of a tensor's contents; those that are packed are one."""
    found = 0
    for _ in _fields(message, position, end):
        found += 1
        if found > most:
            raise TooLarge("the message has too many elements; send raw_input_contents")
    return found


def _fields(message: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Tag, start and end of each field of a message."""
    while position < end:
        tag, position = _varint(message, position)
        start, position = _after(message, position, tag & 7)
        yield tag, start, position


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """A number, and the position after it."""
    value = message[position]
    if value < 128:
        return value, position + 1
    value, shift, byte = value & 127, 7, value
    while byte & 128:
        position += 1
        byte = message[position]
        value |= (byte & 127) << min(shift, 63)
        shift += 7
    return value, position + 1


def _after(message: bytes, position: int, kind: int) -> tuple[int, int]:
    """Where the content of a field begins and ends, by its wire type."""
    if kind == 0:
        return position, _varint(message, position)[1]
    if kind == 2:
        size, position = _varint(message, position)
        return position, position + size
    return position, position + {1: 8, 5: 4}.get(kind, 0)


@cache
def inference() -> dict[str, Any]:
    """Message classes of the inference service by name."""
    return _classes("inference", _INFERENCE)


@cache
def health() -> dict[str, Any]:
    """Message classes of the health service by name."""
    return _classes("grpc.health.v1", _HEALTH)


def _classes(package: str, table: str) -> dict[str, Any]:
    from google.protobuf import (  # type: ignore[import-untyped,unused-ignore]  # an extra
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )

    file = descriptor_pb2.FileDescriptorProto(
        name=f"predictor_base/{package}.proto", package=package, syntax="proto3"
    )
    for line in table.strip().replace("\n    ", " ").splitlines():
        name, *fields = line.split()
        message = file.message_type.add(name=name)
        for field in fields:
            _add_field(message, field, package)
    pool = (
        descriptor_pool.DescriptorPool()
    )  # a separate pool: the image may contain generated messages as well
    found = pool.Add(file) or pool.FindFileByName(file.name)
    return {
        name: message_factory.GetMessageClass(descriptor)
        for name, descriptor in found.message_types_by_name.items()
    }


def _add_field(message: Any, text: str, package: str) -> None:
    """One field from its text, as `shape:int64*=3`."""
    name, _, rest = text.partition(":")
    kind, _, number = rest.partition("=")
    field = message.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
    kind = kind.rstrip("*")
    if kind[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".{package}.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
