"""What pods and log files may send instead of counts and events: left out, and never an error of Python."""

from __future__ import annotations

import json

import pytest

from gitops_ml.errors import ServerFailed
from gitops_ml.predictions.comparison import UNKNOWN, compare
from gitops_ml.predictions.metrics_text import predictions_of, read_sums
from gitops_ml.predictions.prediction_log_files import accuracy_in, predictions_in, read_events

CLASSES = 'predictor_predictions_total{class="a"} '
BUCKET = "predictor_prediction_value_bucket"


@pytest.mark.parametrize(
    "text",
    [
        *(f"{CLASSES}{value}" for value in ("NaN", "+Inf", "-Inf", "-5", "1e300")),
        *(f'{BUCKET}{{le="{bound}"}} 5' for bound in ("NaN", "many", "", "1e999x")),
        "predictor_requests_total NaN", "", "# EOF", "no_such_series 1",
    ],
)  # fmt: skip
def test_numbers_that_are_no_counts_are_left_out(text):
    found = predictions_of(read_sums([text + "\n"]), deployment_id="x", source="")
    assert (found.total, found.requests, found.values) == (0, {}, None)
    assert compare(found, found).verdict == UNKNOWN


@pytest.mark.parametrize("text", ["{{{{ 1", 'x{a="} 1', "<html>"])
def test_a_text_that_is_not_prometheus_format_is_said(text):
    with pytest.raises(ServerFailed, match="not in Prometheus' format"):
        read_sums([text])


def event(**changes) -> str:
    usual = {
        "type": "org.kubeflow.serving.inference.response",
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
    found = predictions_in(content, "iris-1", model_type="regression")
    assert 1 <= found.total <= 2
    assert found.effective <= 2
    assert compare(found, found).verdict == UNKNOWN
    assert accuracy_in(content)
