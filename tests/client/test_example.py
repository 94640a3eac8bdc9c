"""`create_api` asks the class of the session and its package the same, and shows both answers."""

from __future__ import annotations

import importlib
import itertools
import sys

import pytest

import gitops_ml as gml
from gitops_ml.errors import Unpackageable

API = {"name": "iris", "kind": "RealtimeAPI", "predictor": {"config": {"factor": 3}}}
CLASS = """
import os
{top}
class PythonPredictor:
    {example}
    def __init__(self, config):
        self.factor = config["factor"]
    def predict(self, payload):
        return {body}
"""
_NUMBER = itertools.count()


@pytest.fixture
def plan(ann, monkeypatch):
    """Plan a class of a module that is written for it."""
    ann.configures()
    monkeypatch.syspath_prepend(ann.project)
    client = gml.client("staging", offline=True)
    names = []

    def make(body, *, top="", written="", api=API, **options):
        names.append(f"own_example_{next(_NUMBER)}")
        (ann.project / f"{names[-1]}.py").write_text(
            CLASS.format(top=top, body=body, example=written)
        )
        importlib.invalidate_caches()
        kind = importlib.import_module(names[-1]).PythonPredictor
        return client.create_api(api, predictor=kind, by_tag=True, dry_run=True, **options)

    yield make
    for name in names:
        sys.modules.pop(name, None)


def test_the_plan_shows_both_answers(plan):
    found = plan("{'answer': payload['x'] * self.factor}", written="example = {'x': 2}")
    assert (found.example.payload, found.example.here) == ('{"x": 2}', '{"answer": 6}')
    assert found.example.packaged == found.example.here
    lines = [" ".join(line.split()) for line in repr(found).splitlines()]
    assert {'example {"x": 2}', 'answer here {"answer": 6}', 'packaged {"answer": 6}'} <= {*lines}


def test_the_example_of_the_call_is_taken_before_that_of_the_class(plan):
    assert plan("payload", written="example = 1", example=[2]).example.here == "[2]"
    assert plan("payload", written="example = 1", example=None).example is None
    assert plan("payload").example is None


def test_different_answers_are_refused(plan):
    with pytest.raises(
        Unpackageable, match=r"answers its example 1 with \d+ in this session, and with"
    ):
        plan("os.getpid()", written="example = 1")


def test_an_error_of_either_is_refused(plan):
    with pytest.raises(
        Unpackageable, match="in this session it answers its example 0 with an error: Zero"
    ):
        plan("1 / payload", written="example = 0")
    here = "1 / int(__name__ != 'cortex_predictor')"
    with pytest.raises(
        Unpackageable, match=r"(?s)packaged, it answers .*not:\nFile .*ZeroDivisionError"
    ):
        plan(here, written="example = 0")


def test_the_package_has_the_variables_of_the_pod(plan, monkeypatch):
    monkeypatch.setenv("SHOWN", "in the session")
    api = {**API, "predictor": {**API["predictor"], "env": {"SHOWN": "in the session"}}}
    assert plan("os.environ['SHOWN']", written="example = 0", api=api).example.packaged
    with pytest.raises(Unpackageable, match="KeyError: 'SHOWN'"):
        plan("os.environ['SHOWN']", written="example = 0")
