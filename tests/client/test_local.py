"""`run_locally`: a server beside the session, which says why where it does not come."""

from __future__ import annotations

import textwrap
import urllib.error
import urllib.request

import pytest

import gitops_ml as gml
from gitops_ml.errors import UsageError
from tests.support import sessions
from tests.support.person import container_api

BEGIN = """
import gitops_ml as gml

client = gml.client("staging", offline=True)
SPEC = {"name": "iris", "kind": "RealtimeAPI"}
"""


def says(ann, text: str) -> list[str]:
    ann.configures()
    return sessions.script(BEGIN + textwrap.dedent(text), cwd=ann.project).splitlines()


def test_it_answers_until_it_is_stopped_or_the_session_ends(ann):
    lines = says(
        ann,
        """
        class Doubler:
            def predict(self, payload):
                print("asked")
                return 2 * payload["x"]

        plan = client.create_api(SPEC, predictor=Doubler, by_tag=True, dry_run=True)
        with plan.run_locally() as first:
            print(first.predict({"x": 21}).value, "asked" in first.log)
            try:
                first.predict({})
            except gml.errors.PredictionFailed as error:
                print(error.status)
        second = plan.run_locally()
        print(first.url)
        print(second.url)
        """,
    )
    assert lines[:2] == ["42 True", "500"]
    for url in lines[2:]:
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"{url}/livez", timeout=5)


def test_a_class_that_cannot_be_made_shows_the_end_of_its_traceback(ann):
    (line, *_) = says(
        ann,
        """
        class Broken:
            def __init__(self, config):
                self.factor = config["factor"]
            def predict(self, payload):
                return 1

        plan = client.create_api(SPEC, predictor=Broken, by_tag=True, dry_run=True)
        try:
            plan.run_locally()
        except gml.errors.ProgramFailed as error:
            print("KeyError: 'factor'" in str(error), error.command)
        """,
    )
    assert line == "True ('the predictor of iris',)"


def test_an_api_that_is_neither_packaged_nor_built_says_so(ann):
    ann.configures()
    client = gml.client("staging", offline=True)
    api = client.create_api(
        container_api("iris", container={"image": "x:1", "port": 80}), dry_run=True
    )
    with pytest.raises(UsageError, match="no image to export its code from"):
        api.run_locally()
