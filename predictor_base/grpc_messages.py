"""The messages of `inference.GRPCInferenceService` and `grpc.health.v1.Health`, without generated code.

Numbers and types are those of the Open Inference Protocol's proto file; only protobuf is needed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

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
    pool = descriptor_pool.DescriptorPool()  # ours: the image may hold generated ones as well
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
