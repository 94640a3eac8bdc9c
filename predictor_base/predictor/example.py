"""The example of the settings: compare its response, and predict for it where nothing is served."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from predictor_base.errors import StartFailure
from predictor_base.jsontext import dump, parse
from predictor_base.predictor.hooks import run
from predictor_base.values import is_stream

if TYPE_CHECKING:
    from predictor_base.predictor.loader import LoadedPredictor
    from predictor_base.settings import Settings

_MOST_DIFFERENCES = 5
_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class _Request:
    """The arguments that predict may name."""

    request_id = "example"
    batch_id = None

    def __init__(self, payload: object, convert: Callable[[Any], Any] | None) -> None:
        self.payload = payload
        self.convert = convert
        self.headers: dict[str, str] = {}
        self.query_params: dict[str, str] = {}


def predict_example(predictor: LoadedPredictor, settings: Settings) -> None:
    """Predict once, on this thread, as far as the first value of a stream; what predict raises is raised.

    Raises:
        StartFailure: the response has other fields or types.
    """
    example, method = settings.example, predictor.predict
    if example is None or method is None:
        return
    request = _Request(parse(example.request.encode()), method.convert)
    if settings.batching is not None:
        method = predictor.others.get("predict_batch", method)
        request = _Request([request.payload], None)
    result = run(lambda: method.call(request))
    if hasattr(type(result), "__anext__"):
        run(lambda: anext(result, None))
    elif is_stream(result):
        next(result, None)
    elif example.response is not None and settings.batching is None and _is_whole(result):
        compare(example.response, json.loads(dump(result)))


def _is_whole(result: object) -> bool:
    """Whether the result is certain to be sent as it is; others are compared when a replica starts."""
    return isinstance(result, dict | list | int | float | str)


def compare(expected: str, found: object) -> None:
    """Raise StartFailure where a response has other fields or types than the JSON of the example's."""
    if wrong := list(differences(json.loads(expected), found)):
        shown = "; ".join(wrong[:_MOST_DIFFERENCES])
        raise StartFailure(f"predictor.example: predict returned another response: {shown}")


def differences(expected: Any, found: Any, place: str = "response") -> Iterator[str]:
    """Where the found value lacks a field of the expected one, or has a value of another type."""
    if expected is None:
        return
    if _KINDS[type(expected)] != _KINDS.get(type(found)):
        is_now = _KINDS.get(type(found), "bytes")
        yield f"{place} is {is_now}, not {_KINDS[type(expected)]}"
    elif isinstance(expected, dict):
        for name, value in expected.items():
            if name in found:
                yield from differences(value, found[name], f"{place}.{name}")
            else:
                yield f"{place}.{name} is missing"
    elif isinstance(expected, list) and expected:
        for index, value in enumerate(found):
            like = expected[min(index, len(expected) - 1)]
            yield from differences(like, value, f"{place}[{index}]")
