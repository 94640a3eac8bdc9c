"""The settings file of one server, read once at start.

The file is JSON with camelCase keys, as the chart writes it. All keys are optional but `path`; an unknown key is an
error that lists the known ones.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from predictor_base.errors import InvalidSettings

DEFAULT_FILE = Path("/etc/predictor/predictor.json")


@dataclass(frozen=True, slots=True)
class Batching:
    max_batch_size: int = 8
    """The most requests in one call of predict."""
    batch_interval_seconds: float = 0.01
    """How long the first request of a batch waits for others."""


@dataclass(frozen=True, slots=True)
class ModelPath:
    name: str
    path: str
    signature_key: str | None = None


@dataclass(frozen=True, slots=True)
class Models:
    path: str | None = None
    paths: tuple[ModelPath, ...] = ()
    dir: str | None = None
    signature_key: str | None = None
    cache_size: int | None = None
    """Models kept in memory; None means all."""
    disk_cache_size: int | None = None
    """Models kept on disk; None means all."""


@dataclass(frozen=True, slots=True)
class Monitoring:
    model_type: Literal["classification", "regression"]
    key: str | None = None
    """Where in the response the prediction is, with dots for nested keys; None means the whole response."""


@dataclass(frozen=True, slots=True)
class PredictionLogSettings:
    sink: Literal["stdout", "http", "file"] = "stdout"
    url: str | None = None
    path: str | None = None
    sample_rate: float = 1.0
    max_payload_bytes: int = 65536
    redact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    request: str
    """The JSON of a request that predict answers."""
    response: str | None = None
    """The JSON of its response: the types of its values are checked, not the values."""


@dataclass(frozen=True, slots=True)
class Cors:
    allow_origins: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class TensorflowServing:
    address: str = "127.0.0.1:8501"
    model_dir: str | None = None
    """A folder shared with TensorFlow Serving's container, for the models. None: it has its own models."""


@dataclass(frozen=True, slots=True)
class Settings:
    path: str = "predictor.py"
    """The file with the predictor's class, relative to the project."""
    name: str = "predictor"
    environment: str = ""
    deployment_id: str = ""
    image_digest: str = ""
    git_sha: str = ""
    model_name: str = ""
    """The name in /v2/models/{name}; the API's name when empty."""
    model_version: str = ""
    upstream_port: int | None = None
    """The port of a ready-made container in the same pod, to which this server forwards: it has no predictor then."""
    class_name: str | None = None
    type: Literal["python", "tensorflow", "onnx"] = "python"
    python_path: str | None = None
    """A folder to import from instead of the project's root."""
    config: Mapping[str, Any] = field(default_factory=dict)

    processes_per_replica: int = 1
    threads_per_process: int = 1
    inline: Literal["auto", "never"] = "auto"
    """Whether short calls that arrive together run one after another in one thread."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_concurrency: int | None = None
    """Requests that a replica handles at once. None: the number of threads, or 128 where predict is async."""
    max_queue_length: int = 100
    """Requests that may wait in a replica; further ones are answered with 429."""
    request_timeout_seconds: float = 60
    max_request_bytes: int = 33554432
    max_body_bytes_in_flight: int = 268435456
    """Bytes of bodies that a replica holds at once; a request whose body would be more is answered with 503."""
    head_timeout_seconds: float = 15
    """Time limit for a request's head, from its first byte to its last."""
    body_timeout_seconds: float = 30
    """Time limit for the body after the head; plus one second for each 64 KiB."""
    write_timeout_seconds: float = 60
    """How long a client may stop reading its answer."""
    max_connections: int = 4096
    """Connections of each process; a further one closes the connection that has been idle longest."""
    drain_delay_seconds: float = 5
    """How long the server still accepts requests after SIGTERM, until load balancers stop sending them."""
    grace_seconds: float = 30
    """How long running requests may take to finish after the drain delay."""
    close_seconds: float = 5
    """How long the prediction log, traces and the predictor's shutdown may take after that."""
    stall_seconds: float = 120
    """A worker whose predict runs longer while no other call completes, or that does not run its event loop for so
    long, is replaced; at least twice the time limit of a request."""
    health_timeout_seconds: float = 10
    """A health() that runs longer makes the replica not ready."""
    probe_port: int | None = None
    """The port of the supervisor for /livez, /readyz and /metrics. None: they are on the API's port alone."""

    batching: Batching | None = None
    models: Models | None = None
    multi_model_reloading: Models | None = None
    example: Example | None = None
    """Predicted before the replica is ready."""
    monitoring: Monitoring | None = None
    prediction_log: PredictionLogSettings | None = None
    cors: Cors | None = None
    tensorflow_serving: TensorflowServing = TensorflowServing()

    @property
    def longest_call_seconds(self) -> float:
        """How long a call may run before its worker counts as stalled."""
        return max(2 * self.request_timeout_seconds, self.stall_seconds)

    @property
    def served_name(self) -> str:
        return self.model_name or self.name

    @property
    def served_version(self) -> str:
        return self.model_version or self.deployment_id.removeprefix(f"{self.name}-") or "1"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """The settings of the file that the environment names, else of the default file, else the defaults."""
        named = environ.get("PREDICTOR_CONFIG_FILE")
        if named:
            return cls.from_file(Path(named))
        return cls.from_file(DEFAULT_FILE) if DEFAULT_FILE.exists() else cls()

    @classmethod
    def from_file(cls, file: Path) -> Settings:
        """The settings in this JSON file."""
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidSettings(str(file), [f"cannot be read: {error}"]) from error
        return cls.from_document(document, source=str(file))

    @classmethod
    def from_document(cls, document: object, *, source: str = "settings") -> Settings:
        """The settings in this JSON value; InvalidSettings has every problem, not only the first."""
        problems: list[str] = []
        if isinstance(document, Mapping) and not {"path", "upstreamPort"} & document.keys():
            problems.append("path: is required")
        settings = _convert(document, cls, "", problems)
        problems.extend(_contradictions(settings) if not problems else ())
        if problems:
            raise InvalidSettings(source, problems)
        assert isinstance(settings, cls)
        return settings


_POSITIVE = (
    "processes_per_replica",
    "threads_per_process",
    "max_concurrency",
    "request_timeout_seconds",
    "max_request_bytes",
    "max_body_bytes_in_flight",
    "head_timeout_seconds",
    "body_timeout_seconds",
    "write_timeout_seconds",
    "max_connections",
    "stall_seconds",
    "health_timeout_seconds",
    "probe_port",
    "upstream_port",
)
_NOT_NEGATIVE = ("max_queue_length", "drain_delay_seconds", "grace_seconds", "close_seconds")


def _contradictions(settings: Settings) -> Iterator[str]:
    for name in _POSITIVE:
        value = getattr(settings, name)
        if value is not None and value <= 0:
            yield f"{_camel(name)}: {value} is not more than 0"
    for name in _NOT_NEGATIVE:
        if getattr(settings, name) < 0:
            yield f"{_camel(name)}: {getattr(settings, name)} is less than 0"
    if settings.batching and settings.batching.max_batch_size < 1:
        yield f"batching.maxBatchSize: {settings.batching.max_batch_size} is less than 1"
    if settings.batching and settings.batching.batch_interval_seconds < 0:
        yield "batching.batchIntervalSeconds: is less than 0"
    if settings.prediction_log and not 0 <= settings.prediction_log.sample_rate <= 1:
        yield "predictionLog.sampleRate: is not between 0 and 1"
    yield from _broken_examples(settings)


def _broken_examples(settings: Settings) -> Iterator[str]:
    for name in ("request", "response"):
        text = getattr(settings.example, name, None)
        try:
            json.loads(text or "null")
        except (ValueError, RecursionError) as error:
            yield f"example.{name}: is not JSON: {error}"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _convert(value: object, kind: Any, place: str, problems: list[str]) -> Any:  # JSON: any shape
    """The value converted to this type; adds what does not fit to `problems`, with its place."""
    arguments = get_args(kind)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _convert(value, arguments[0], place, problems)
    if origin is Literal:
        if value in arguments:
            return value
        problems.append(f"{place}: {value!r} is not one of {', '.join(map(str, arguments))}")
    elif origin is tuple:
        if isinstance(value, list):
            return tuple(
                _convert(item, arguments[0], f"{place}[{index}]", problems)
                for index, item in enumerate(value)
            )
        problems.append(f"{place}: is not a list")
    elif is_dataclass(kind):
        return _convert_object(value, kind, place, problems)
    else:
        return _convert_plain(value, origin or kind, place, problems)
    return None


def _convert_plain(value: object, kind: Any, place: str, problems: list[str]) -> Any:
    accepted = (int, float) if kind is float else kind
    if isinstance(value, accepted) and not (isinstance(value, bool) and kind is not bool):
        return value
    name = {str: "a text", int: "a whole number", float: "a number"}.get(kind, "an object")
    problems.append(f"{place}: {value!r} is not {name}")
    return None


def _convert_object(value: object, kind: Any, place: str, problems: list[str]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(f"{place or 'the document'}: is not an object")
        return None
    dot = f"{place}." if place else ""
    hints = get_type_hints(kind)
    known = {_camel(each.name): each for each in fields(kind)}
    for key in sorted(value.keys() - known.keys()):
        problems.append(f"{dot}{key}: unknown key; the known ones are {', '.join(known)}")
    given: dict[str, Any] = {}
    for key, each in known.items():
        if value.get(key) is not None:
            given[each.name] = _convert(value[key], hints[each.name], f"{dot}{key}", problems)
        elif each.default is MISSING and each.default_factory is MISSING:
            problems.append(f"{dot}{key}: is required")
    return None if problems else kind(**given)
