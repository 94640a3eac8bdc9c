"""Records of the prediction log: odd ones are left out, and truths are compared by their values."""

from __future__ import annotations

import json

import pytest

from gitops_ml.predictions.comparison import UNKNOWN, compare
from gitops_ml.predictions.prediction_log_files import accuracy_in, predictions_in, read_events

RESPONSE = "org.kubeflow.serving.inference.response"
FEEDBACK = "dev.gitops-ml.feedback"


def event(**changes) -> str:
    usual = {
        "type": RESPONSE,
        "id": "r",
        "deploymentid": "iris-1",
        "data": 1,
    }
    return json.dumps({**usual, **changes})


@pytest.mark.parametrize(
    "line",
    [
        "", "null", "[]", "[" * 100_000, '"text"', event(data=10**400), event(data=float("inf")),
        event(data=float("nan")), event(data={"a": [None, True, {}]}), event(id=None, time=7),
        event(samplerate="0"), event(samplerate="1e-300"), event(samplerate=[]), event(statuscode=200),
        event(truncated="true"), event(type="dev.gitops-ml.feedback", data=None),
        event(type="dev.gitops-ml.feedback", data={"truth": {"deep": [1]}}),
    ],
)  # fmt: skip
def test_odd_events_are_left_out(line):
    content = read_events([line, event(id="good", data=0.5), "\xff\n".encode("latin-1")])
    (found,) = predictions_in(content, "iris-1", model_type="regression")
    assert 1 <= found.total <= 2
    assert found.effective <= 2
    assert compare(found, found).verdict == UNKNOWN
    assert accuracy_in(content)


def feedback(id, truth, **more) -> str:
    return json.dumps({"type": FEEDBACK, "id": id, "data": {"truth": truth}, **more})


@pytest.mark.parametrize(
    ("prediction", "truth", "is_right"),
    [
        ("a", "a", True), ("a", "b", False), (1, 1.0, True), (1.0, 1, True), (1, "1", True), ("1", 1, True),
        (1, True, False), (2, [2], True), (2, [2, 2], None), (2, None, False), (2, {}, False), (2, [], None),
        ([1, 2], [1, 2], True), ([1, 2], [1, 3], False), ("true", True, False), (10**30, 10**30, True),
    ],
)  # fmt: skip
def test_a_truth_is_compared_by_its_value(prediction, truth, is_right):
    content = read_events([event(data=prediction), feedback("r", truth)])
    (found,) = predictions_in(content, "iris-1")
    assert (found.judged, found.right) == ((0, 0) if is_right is None else (1, is_right))


LATE, EARLY = "2026-11-25T00:30:00+02:00", "2026-11-24T21:30:00.123456789Z"


@pytest.mark.parametrize("order", [1, -1])
def test_the_latest_truth_counts_whatever_the_order_and_the_zone(order):
    lines = [feedback("r", "b", time=EARLY), feedback("r", "a", time=LATE)][::order]
    (found,) = predictions_in(read_events([event(data="a"), *lines]), "iris-1")
    assert (found.judged, found.right) == (1, 1)


def test_responses_without_an_id_are_each_counted_and_never_joined():
    lines = [event(id=id, data="a") for id in (None, "", [], None)]
    content = read_events(
        [*lines, feedback(None, "a"), feedback("", "a"), event(id=7, data="a"), feedback("7", "a")]
    )
    (found,) = predictions_in(content, "iris-1")
    assert (found.total, found.judged) == (5, 1)


def test_days_are_those_of_utc():
    lines = [
        event(id=str(n), data="a", time=time) for n, time in enumerate((LATE, EARLY, "soon", 7))
    ]
    assert [(each.start, each.responses) for each in accuracy_in(read_events(lines))] == [
        ("", 2),
        ("2026-11-24", 2),
    ]


@pytest.mark.parametrize(
    "before", ["2026-11-25T12:00:00.0Z stdout F ", "[pod/iris-1/predictor] ", "\ufeff"]
)
def test_what_a_shipper_writes_before_an_event_is_no_part_of_it(before):
    content = read_events([before + event(data="a"), (before + event(id="s", data="b")).encode()])
    (found,) = predictions_in(content, "iris-1")
    assert found.classes == {"a": 1, "b": 1}


def test_both_deployments_are_classes_or_both_are_values():
    few = [event(id=str(n), data=n % 3) for n in range(50)]
    many = [event(id=f"m{n}", deploymentid="iris-2", data=n) for n in range(50)]
    found = predictions_in(read_events([*few, *many]), "iris-1", "iris-2")
    assert [each.values is not None for each in found] == [True, True]
    assert found[0].source == "50 logged responses"
