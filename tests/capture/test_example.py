"""The answers of a class and of its package to an example."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from gitops_ml.capture.comparison.clean_import import CannotAsk, answer
from gitops_ml.capture.comparison.example import is_close


@dataclasses.dataclass
class Inner:
    y: int


@dataclasses.dataclass
class Payload:
    x: int
    inner: Inner


class Typed:
    def predict(self, payload: Payload):
        return payload


class Configured:
    def __init__(self, config, job_spec=None):
        self.factor = config.pop("factor")

    def predict(self, payload, query_params, headers, more=1):
        return {"a": payload * self.factor, "b": {2, 1}, "more": more}


class Streams:
    def predict(self, payload):
        yield from range(payload)


class Later:
    async def predict(self, payload):
        await asyncio.sleep(0)
        return payload


class StreamsLater:
    async def predict(self, payload):
        for each in range(payload):
            yield each


class WithClient:
    def __init__(self, config, python_client):
        raise AssertionError

    def predict(self, payload): ...


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        (Typed, {"x": 1, "inner": {"y": 2}}, '{"inner": {"y": 2}, "x": 1}'),
        (Configured, 2, '{"a": 6, "b": [1, 2], "more": 1}'),
        (Streams, 3, "[0, 1, 2]"),
        (Later, 3, "3"),
        (StreamsLater, 2, "[0, 1]"),
    ],
)
def test_a_class_is_asked_as_the_runtime_asks_it(kind, payload, expected):
    config = {"factor": 3}
    assert answer(kind, config, payload) == expected
    assert config == {"factor": 3}


def test_a_class_in_a_running_loop_is_asked_too():
    async def cell():
        return answer(Later, {}, 1)

    assert asyncio.run(cell()) == "1"


def test_what_only_a_replica_has_is_not_asked_for():
    with pytest.raises(CannotAsk, match="python_client"):
        answer(WithClient, {}, 1)


def test_an_array_answers_its_values():
    import numpy as np

    class Arrays:
        def predict(self, payload):
            return {"a": np.array([1.5, 2]), "b": np.float32(2), "c": object()}

    assert answer(Arrays, {}, 1) == '{"a": [1.5, 2.0], "b": 2.0, "c": "<object object>"}'


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1.0, 1.0 + 1e-9, True), (1.0, 1.1, False), (float("nan"), float("nan"), True),
        ({"a": [0.3]}, {"a": [0.1 + 0.2]}, True), ({"a": 1}, {"b": 1}, False), ([1], [1, 2], False),
        (1, True, False), (1, 1.0, True), ("a", "b", False), (None, None, True), (0.5, "0.5", False),
    ],
)  # fmt: skip
def test_answers_may_differ_in_the_last_digits_only(one, other, expected):
    assert is_close(one, other) is expected
