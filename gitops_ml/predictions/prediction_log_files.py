"""Read prediction logs: CloudEvents of requests and responses, a JSON object a line, and feedback to them.

Lines that are no such events are left out: a log of stdout holds others as well.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops_ml.predictions.observed_predictions import Histogram, Predictions

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    time: str
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
    left_out: int
    """Responses whose prediction is not there: cut, redacted or without the key."""


def read_events(lines: Iterable[str | bytes], *, key: str = "") -> LogContent:
    """The responses and the truths of log lines; ``key`` is as in ``monitoring`` of the manifest."""
    path = tuple(key.split(".")) if key else ()
    responses: dict[tuple[str, str], LoggedResponse] = {}
    truths: dict[str, Any] = {}
    left_out = 0
    for event in filter(None, map(_event, lines)):
        if event["type"] == FEEDBACK:
            truths[str(event.get("id", ""))] = _truth(event)
            continue
        response = _response(event, path)
        left_out += not response.predictions and response.status < "300"
        responses[response.id, response.deployment_id] = response
    return LogContent(tuple(responses.values()), truths, left_out)


def _event(line: str | bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(found, dict) and found.get("type") in (RESPONSE, FEEDBACK)
    return found if is_ours else None


def _truth(event: Mapping[str, Any]) -> Any:
    data = event.get("data")
    return data.get("truth") if isinstance(data, dict) else None


def _response(event: Mapping[str, Any], path: tuple[str, ...]) -> LoggedResponse:
    is_cut = event.get("truncated") == "true"
    found = () if is_cut else tuple(_predictions(event.get("data"), path))[:_MOST_OF_ONE]
    return LoggedResponse(
        id=str(event.get("id", "")),
        time=str(event.get("time", "")),
        deployment_id=str(event.get("deploymentid", "")),
        status=str(event.get("statuscode", "200")),
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
    content: LogContent, deployment_id: str, *, model_type: str | None = None
) -> Predictions:
    """What one deployment predicted, with each event weighted by the rate of its sample."""
    own = [each for each in content.responses if each.deployment_id == deployment_id]
    weighted = [(value, each.weight) for each in own for value in each.predictions]
    is_classes = (model_type or _type_of([value for value, _ in weighted])) == "classification"
    classes: dict[str, float] = {}
    for value, weight in weighted if is_classes else ():
        classes[str(value)] = classes.get(str(value), 0.0) + weight
    numbers = [
        (float(value), weight)
        for value, weight in weighted
        if not is_classes and not isinstance(value, str)
    ]
    requests: dict[str, float] = {}
    for each in own:
        requests[each.status] = requests.get(each.status, 0.0) + each.weight
    judged = [_is_right(each, content.truths[each.id]) for each in own if each.id in content.truths]
    known = [each for each in judged if each is not None]
    is_sample = any(each.weight != 1 for each in own)
    left = f", {content.left_out} responses without a prediction" if content.left_out else ""
    return Predictions(
        deployment_id=deployment_id,
        source=f"{len(own)} logged responses{left}",
        classes=classes,
        values=Histogram.of_values(numbers) if numbers else None,
        requests=requests,
        judged=float(len(known)),
        right=float(sum(known)),
        weight_squares=sum(w * w for _, w in weighted) if is_sample else None,
    )


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
    return all(str(a) == str(b) for a, b in zip(response.predictions, wanted, strict=True))


# -- accuracy over time ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One deployment in one span of time."""

    deployment_id: str
    start: str
    """A day, or an hour: the start of RFC 3339's text."""
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
