"""Events of the prediction log: sampling, redaction and format.

Types, ids and the attributes `inferenceservicename`, `namespace`, `component`, `endpoint` are
KServe's, so that tools for KServe's log can read them. The other attributes identify the
deployment that made the prediction.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import blake2b
from typing import Any

import orjson

from predictor_base.jsontext import dump
from predictor_base.settings import PredictionLogSettings, Settings
from predictor_base.values import plain

REQUEST_TYPE = "org.kubeflow.serving.inference.request"
RESPONSE_TYPE = "org.kubeflow.serving.inference.response"
FEEDBACK_TYPE = "dev.gitops-ml.feedback"
REDACTED = "[redacted]"

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class LoggedPrediction:
    """One request and its response."""

    request_id: str
    payload: object
    response: object
    status: int
    time: float
    headers: Mapping[str, str]
    size: int
    """An estimate of the memory that payload and response need while they wait."""
    trace: str = ""
    """The runtime's own trace context, where tracing is on."""
    count = 2
    """Events."""

    def events(self, settings: Settings, log: PredictionLogSettings) -> tuple[Event, ...]:
        return events_of(self, settings, log)


@dataclass(frozen=True, slots=True)
class LoggedFeedback:
    """The true outcome of an earlier prediction, as a client sent it."""

    request_id: str
    """Of the prediction, which another replica or deployment may have made."""
    feedback: object
    time: float
    size: int
    count = 1
    """Events."""

    def events(self, settings: Settings, log: PredictionLogSettings) -> tuple[Event, ...]:
        """One event with the id of the request: tools join the two by it."""
        attributes = {
            "specversion": "1.0",
            "type": FEEDBACK_TYPE,
            "id": self.request_id,
            "source": _source(settings),
            "time": _moment(self.time),
            "inferenceservicename": settings.name,
            "namespace": settings.environment,
        }
        known = {name: value for name, value in attributes.items() if value}
        return (_event(self.feedback, log, known),)


@dataclass(frozen=True, slots=True)
class Event:
    attributes: Mapping[str, str]
    """CloudEvents' context attributes; with datacontenttype where there is a body."""
    body: bytes | None

    def as_line(self) -> bytes:
        """The event in CloudEvents' JSON format, as one line."""
        document: dict[str, Any] = dict(self.attributes)
        content_type = self.attributes.get("datacontenttype")
        if self.body is not None and content_type == _JSON:
            # a client may send it on several lines
            is_line = b"\n" not in self.body and b"\r" not in self.body
            document["data"] = orjson.Fragment(self.body) if is_line else orjson.loads(self.body)
        elif self.body is not None and content_type == _TEXT:
            document["data"] = self.body.decode("utf-8", "replace")
        elif self.body is not None:
            document["data_base64"] = base64.b64encode(self.body).decode("ascii")
        return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def is_sampled(request_id: str, rate: float, *, status: int) -> bool:
    """Whether this request is logged: every process and replica decides the same.

    A prediction that failed is logged at any rate; its event has a `samplerate` of 1.
    """
    if rate >= 1 or status == 500:
        return True
    # A checksum such as CRC-32 is linear: of ids that count, it takes more of the odd ones than of the even.
    digest = blake2b(request_id.encode("utf-8", "replace"), digest_size=4).digest()
    return int.from_bytes(digest, "big") < rate * 2**32


def events_of(
    prediction: LoggedPrediction, settings: Settings, log: PredictionLogSettings
) -> tuple[Event, Event]:
    """The two events of a request, redacted and cut to the size limit."""
    common = _attributes(prediction, settings, log)
    request = _event(prediction.payload, log, {**common, "type": REQUEST_TYPE})
    status = {"type": RESPONSE_TYPE, "statuscode": str(prediction.status)}
    return request, _event(prediction.response, log, {**common, **status})


def _attributes(
    prediction: LoggedPrediction, settings: Settings, log: PredictionLogSettings
) -> dict[str, str]:
    rate = 1.0 if prediction.status == 500 else log.sample_rate
    moment = _moment(prediction.time)
    attributes = {
        "specversion": "1.0",
        "id": prediction.request_id,
        "source": _source(settings),
        "time": moment,
        "recordedtime": moment,
        "inferenceservicename": settings.name,
        "namespace": settings.environment,
        "component": "predictor",
        "endpoint": "default",
        "deploymentid": settings.deployment_id,
        "modelname": settings.served_name,
        "modelversion": settings.served_version,
        "gitsha": settings.git_sha,
        "imagedigest": settings.image_digest,
        "samplerate": f"{rate:g}",
        "traceparent": prediction.trace or _header(prediction.headers, "traceparent"),
    }
    return {name: value for name, value in attributes.items() if value}


def _source(settings: Settings) -> str:
    return f"/{settings.environment or 'default'}/{settings.name}"


def _moment(seconds: float) -> str:
    utc = datetime.fromtimestamp(seconds, timezone.utc)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _header(headers: Mapping[str, str], name: str) -> str:
    found = headers.get(name) or headers.get(name.title()) or ""
    # attributes become headers again, and lines of a file
    return "".join(each for each in str(found) if each.isprintable())[:256]


def _event(value: object, log: PredictionLogSettings, attributes: dict[str, str]) -> Event:
    content_type, body = written(value, redact=log.redact)
    if body is None:
        return Event(attributes, None)
    if len(body) > log.max_payload_bytes:
        attributes |= {"truncated": "true", "originalsize": str(len(body))}
        # half of a JSON document is text
        content_type = _TEXT if content_type == _JSON else content_type
        body = body[: log.max_payload_bytes]
    return Event({**attributes, "datacontenttype": content_type}, body)


def written(value: object, *, redact: Iterable[str]) -> tuple[str, bytes | None]:
    """Content type and bytes of a payload; None where it cannot be shown.

    A payload that cannot be read field by field is left out where fields must be redacted, because it
    might contain them.
    """
    redact = tuple(redact)
    if isinstance(value, bytes | bytearray):
        raw = bytes(value)
        try:
            value = orjson.loads(raw)
        except ValueError:
            return _BYTES, None if redact else raw
        if not redact:
            return _JSON, raw
    if isinstance(value, str):
        return _TEXT, None if redact else value.encode("utf-8", "replace")
    for field in redact:
        # as dicts and lists, in which fields can be found
        value = redacted(orjson.loads(_dumped(value)), field.split("."))
    return _JSON, _dumped(value)


def redacted(value: object, path: list[str]) -> object:
    """The value with the fields at the path redacted: a single name at any depth, a path from the top.

    Lists are followed item by item, and `*` matches every key.
    """
    if isinstance(value, list):
        return [redacted(each, path) for each in value]
    if not isinstance(value, dict):
        return value
    name, rest = path[0], path[1:]
    changed: dict[object, object] = {}
    for key, inside in value.items():
        is_named = name in ("*", key)
        if is_named and not rest:
            changed[key] = REDACTED
        elif is_named:
            changed[key] = redacted(inside, rest)
        else:
            # a single name is searched at every depth
            changed[key] = inside if rest else redacted(inside, path)
    return changed


def _dumped(value: object) -> bytes:
    return dump(value, _shown)


def _shown(value: object) -> object:
    """A value for the log, which also shows what has no JSON form."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    try:
        return plain(value)
    except TypeError:
        return f"<{type(value).__name__}>"
