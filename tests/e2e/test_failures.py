"""Releases that cannot run: `deploy --wait` and `describe` name the cause, and do not wait in vain."""

from __future__ import annotations

import time

import pytest

from tests.e2e.story import COMPUTE, answer_api
from tests.support.person import DIGEST

pytestmark = pytest.mark.long

RAISES = """\
class PythonPredictor:
    def __init__(self, config):
        raise ValueError("the weights are gone")

    def predict(self, payload):
        return payload
"""
EATS_MEMORY = """\
class PythonPredictor:
    def __init__(self, config):
        self.held = [bytearray(50_000_000) for _ in range(100)]

    def predict(self, payload):
        return payload
"""


def fails(story, *, seconds: float) -> str:
    """Deploy and wait, which must fail by itself; returns what it printed."""
    start = time.monotonic()
    outcome = story.ann.runs(
        "deploy", "-e", story.environment, "--wait", "--timeout", "500", *story.flags
    )
    assert outcome.code == 1, outcome
    assert time.monotonic() - start < seconds, outcome
    return outcome.err


def test_a_constructor_that_raises(story):
    story.has(answer_api(), predictor=RAISES)
    story.bootstraps()
    error = fails(story, seconds=240)
    assert "error" in error
    assert "the weights are gone" in error
    described = story.runs("describe", "answer", "-e", story.environment).out
    assert "the weights are gone" in described

    story.has(answer_api())
    story.deploys()
    assert story.predicts({"x": 21})[0] == {"answer": 42}


def test_a_process_that_is_killed_for_its_memory(story):
    story.has(answer_api(), predictor=EATS_MEMORY)
    story.bootstraps()
    assert "error (out of memory)" in fails(story, seconds=240)
    assert "memory" in story.runs("describe", "answer", "-e", story.environment).out


def test_an_image_that_cannot_be_pulled(story):
    image = f"{story.site.images.partition('/')[0]}/apis/none@{DIGEST}"
    story.has({
        "name": "answer", "kind": "RealtimeAPI", "compute": COMPUTE,
        "container": {"image": image, "port": 8080},
    })  # fmt: skip
    story.flags = ("--by-tag", "--offline")
    story.bootstraps()
    error = fails(story, seconds=240)
    assert "error (image pull)" in error
    assert "apis/none" in error


def test_a_secret_that_is_missing(story):
    secrets = [{"env": "DB_PASSWORD", "name": "absent", "key": "password"}]
    story.has(answer_api(secrets=secrets))
    story.bootstraps()
    error = fails(story, seconds=240)
    assert 'secret "absent" not found' in error
    assert "absent" in story.runs("describe", "answer", "-e", story.environment).out
