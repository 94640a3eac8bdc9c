"""Read prediction logs: CloudEvents of requests and responses, a JSON object a line, and feedback to them.

Lines that are no such events are left out: a log of stdout holds others as well. What ships logs may write a
time or a name before the object.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from gitops_ml.predictions.observed_predictions import Histogram, Predictions

RESPONSE = "org.kubeflow.serving.inference.response"
FEEDBACK = "dev.gitops-ml.feedback"
_FEW_NUMBERS = 20
_LEAST_RATE = 1e-6
_LARGEST = 1 << 1000
"""A larger whole number has no float."""
_MOST_OF_ONE = 1000
"""Predictions of one response, as in the runtime's tracking."""


@dataclass(frozen=True, slots=True)
class LoggedResponse:
    """One response, with the predictions in it."""

    id: str
    """Empty where the event has none: no feedback is about it."""
    time: str
    """In UTC, as `2026-11-25T12:00:00`; empty where it cannot be read."""
    deployment_id: str
    status: str
    weight: float
    """One through the rate at which its kind was sampled."""
    predictions: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class LogContent:
    """What log files hold."""

    responses: tuple[LoggedResponse, ...]
    truths: Mapping[str, Any]
    """By the id of the request."""
    lines: int
    """All lines, also those that are no events."""


def read_events(lines: Iterable[str | bytes], *, key: str = "") -> LogContent:
    """The responses and the truths of log lines; ``key`` is as in ``monitoring`` of the manifest."""
    path = tuple(key.split(".")) if key else ()
    responses: dict[tuple[str | int, str], LoggedResponse] = {}
    truths: dict[str, tuple[str, Any]] = {}
    number = 0
    for number, line in enumerate(lines, 1):
        event = fields_of(line)
        if event.get("type") == RESPONSE:
            response = _response(event, path)
            responses[response.id or number, response.deployment_id] = response
        elif event.get("type") == FEEDBACK and (id := _text(event, "id")):
            feedback = _utc(_text(event, "time")), _truth(event)
            # The latest one counts, whatever the order of the files.
            if id not in truths or feedback[0] >= truths[id][0]:
                truths[id] = feedback
    known = {id: truth for id, (_, truth) in truths.items()}
    return LogContent(tuple(responses.values()), known, number)


def fields_of(line: str | bytes) -> dict[str, Any]:
    """The JSON object of a line of a log; empty where there is none."""
    begin = line.find(b"{") if isinstance(line, bytes) else line.find("{")
    try:
        found = json.loads(line[begin:]) if begin >= 0 else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(event: Mapping[str, Any], name: str) -> str:
    """An attribute of an event, which other tools may write as a number."""
    found = event.get(name)
    return str(found) if isinstance(found, str) or _is_number(found) else ""


def _utc(text: str) -> str:
    """A time of RFC 3339 in UTC, in a form whose order is that of time; empty where it is none."""
    try:  # Python 3.10 reads neither `Z` nor nanoseconds
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.replace("Z", "+00:00")))
        return (
            found.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds")
        )
    except (ValueError, OverflowError):
        return ""


def _truth(event: Mapping[str, Any]) -> Any:
    data = event.get("data")
    return data.get("truth") if isinstance(data, dict) else None


def _response(event: Mapping[str, Any], path: tuple[str, ...]) -> LoggedResponse:
    is_cut = _text(event, "truncated") == "true" or event.get("truncated") is True
    found = () if is_cut else tuple(_predictions(event.get("data"), path))[:_MOST_OF_ONE]
    return LoggedResponse(
        id=_text(event, "id"),
        time=_utc(_text(event, "time")),
        deployment_id=_text(event, "deploymentid"),
        status=_text(event, "statuscode") or "200",
        weight=_weight(event.get("samplerate")),
        predictions=found,
    )


def _weight(rate: object) -> float:
    try:
        number = float(str(rate))
    except ValueError:
        return 1.0
    return 1 / number if _LEAST_RATE <= number <= 1 else 1.0


def _predictions(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """The plain values at a path; lists are followed item by item, as in the runtime."""
    if isinstance(value, list):
        if path and path[0].isdigit():
            index = int(path[0])
            yield from _predictions(value[index], path[1:]) if index < len(value) else ()
        else:
            for item in value:
                yield from _predictions(item, path)
    elif path:
        if isinstance(value, dict) and path[0] in value:
            yield from _predictions(value[path[0]], path[1:])
    elif isinstance(value, str) or _is_number(value):
        yield value


def _is_number(value: Any) -> bool:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return abs(value) < _LARGEST if is_whole else isinstance(value, float) and math.isfinite(value)


def deployments_in(content: LogContent) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.deployment_id for each in content.responses))


def predictions_in(
    content: LogContent, *deployment_ids: str, model_type: str | None = None
) -> tuple[Predictions, ...]:
    """What deployments predicted, with each event weighted by the rate of its sample.

    Without a ``model_type``, all of them are classes or all are values.
    """
    by_id: dict[str, list[LoggedResponse]] = {id: [] for id in deployment_ids}
    for each in content.responses:
        if each.deployment_id in by_id:
            by_id[each.deployment_id].append(each)
    every = [value for own in by_id.values() for each in own for value in each.predictions]
    is_classes = (model_type or _type_of(every)) == "classification"
    return tuple(
        _predictions_of(id, by_id[id], content.truths, is_classes=is_classes)
        for id in deployment_ids
    )


def _predictions_of(
    deployment_id: str, own: list[LoggedResponse], truths: Mapping[str, Any], *, is_classes: bool
) -> Predictions:
    weighted = [(value, each.weight) for each in own for value in each.predictions]
    classes: dict[str, float] = {}
    for value, weight in weighted if is_classes else ():
        classes[str(value)] = classes.get(str(value), 0.0) + weight
    numbers = [
        (float(value), weight)
        for value, weight in weighted
        if not is_classes and not isinstance(value, str)
    ]
    judged = [_is_right(each, truths[each.id]) for each in own if each.id in truths]
    known = [each for each in judged if each is not None]
    is_sample = any(each.weight != 1 for each in own)
    left_out = sum(not each.predictions and each.status < "300" for each in own)
    left = f", {left_out} of them without a prediction" if left_out else ""
    return Predictions(
        deployment_id=deployment_id,
        source=f"{len(own)} logged responses{left}",
        classes=classes,
        values=Histogram.of_values(numbers) if numbers else None,
        requests=_by_status(own, power=1),
        judged=float(len(known)),
        right=float(sum(known)),
        weight_squares=sum(w * w for _, w in weighted) if is_sample else None,
        request_squares=_by_status(own, power=2) if is_sample else None,
    )


def _by_status(responses: list[LoggedResponse], *, power: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for each in responses:
        found[each.status] = found.get(each.status, 0.0) + each.weight**power
    return found


def _type_of(values: list[Any]) -> str:
    """Text is a class; so are few different whole numbers."""
    is_text = any(isinstance(value, str) for value in values)
    is_whole = all(isinstance(value, int) for value in values)
    return (
        "classification"
        if is_text or (is_whole and len(set(values)) <= _FEW_NUMBERS)
        else "regression"
    )


def _is_right(response: LoggedResponse, truth: Any) -> bool | None:
    """Whether all predictions of a response are the truth; ``None`` where they cannot be compared."""
    wanted = truth if isinstance(truth, list) else [truth]
    if not response.predictions or len(wanted) != len(response.predictions):
        return None
    return all(_is_same(a, b) for a, b in zip(response.predictions, wanted, strict=True))


def _is_same(prediction: Any, truth: Any) -> bool:
    """Numbers as numbers, so that 1 is 1.0; else as text, since a client may send `"1"`."""
    is_numbers = _is_number(prediction) and _is_number(truth)
    return bool(prediction == truth) if is_numbers else str(prediction) == str(truth)


# -- accuracy over time ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One deployment in one span of time."""

    deployment_id: str
    start: str
    """A day, or an hour, of UTC: the start of RFC 3339's text."""
    responses: int
    judged: int
    accuracy: float | None
    """The share of right predictions; ``None`` where the truths are numbers."""
    mean_error: float | None
    """The mean absolute error of numbers."""


def accuracy_in(content: LogContent, *, every: str = "day") -> tuple[Accuracy, ...]:
    """Accuracy by deployment and day or hour, the earliest first."""
    length = {"day": 10, "hour": 13}[every]
    spans: dict[tuple[str, str], list[LoggedResponse]] = {}
    for response in content.responses:
        spans.setdefault((response.time[:length], response.deployment_id), []).append(response)
    return tuple(
        _accuracy(id, start, found, content.truths) for (start, id), found in sorted(spans.items())
    )


def _accuracy(
    deployment_id: str, start: str, responses: list[LoggedResponse], truths: Mapping[str, Any]
) -> Accuracy:
    pairs = [
        (each, truths[each.id])
        for each in responses
        if each.id in truths and _is_right(each, truths[each.id]) is not None
    ]
    errors = [error for each, truth in pairs if (error := _error(each, truth)) is not None]
    is_numbers = bool(errors) and len(errors) == len(pairs)
    right = [bool(_is_right(each, truth)) for each, truth in pairs]
    return Accuracy(
        deployment_id=deployment_id,
        start=start,
        responses=len(responses),
        judged=len(pairs),
        accuracy=sum(right) / len(right) if right and not is_numbers else None,
        mean_error=sum(errors) / len(errors) if is_numbers else None,
    )


def _error(response: LoggedResponse, truth: Any) -> float | None:
    """The mean absolute error where truth or prediction is a number with a fraction."""
    wanted = truth if isinstance(truth, list) else [truth]
    values = (*response.predictions, *wanted)
    if not all(map(_is_number, values)):
        return None
    if not any(isinstance(value, float) for value in values):
        return None
    pairs = zip(response.predictions, wanted, strict=True)
    return float(sum(abs(a - b) for a, b in pairs)) / len(response.predictions)
