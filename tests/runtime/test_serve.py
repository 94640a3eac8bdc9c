"""The runtime on this machine: its log for people, and the environment in which a package is imported."""

from __future__ import annotations

import json

from gitops_ml.runtime.runtime_package import PodEnvironment
from gitops_ml.runtime.serve import failure_in, readable_log

TRACEBACK = """Traceback (most recent call last):
  File "/x/predictor_base/serving/service.py", line 184, in _run
    return await self._run_on_thread(method.call)
           ^^^^^^^^^^^^^^^^
  File "/home/ann/predictor.py", line 7, in predict
    raise ValueError("no")
ValueError: no"""
SHORT = """Traceback (most recent call last):
  File "/home/ann/predictor.py", line 7, in predict
    raise ValueError("no")
ValueError: no"""


def line(**more: str) -> str:
    moment = "2026-11-29T20:52:42.172Z"
    return json.dumps({"time": moment, "level": "error", "message": "predict failed", **more})


def test_a_traceback_begins_with_the_predictors_own_frames():
    assert readable_log(line(traceback=TRACEBACK)) == f"20:52:42 error predict failed\n{SHORT}\n"


def test_what_the_predictor_prints_stays_as_it_is():
    text = 'hello\n{"x": 1}\n{broken\n[1]\n'
    assert readable_log(text) == text


def test_a_traceback_of_the_runtime_alone_is_whole():
    own = TRACEBACK.replace("/home/ann/", "/x/predictor_base/")
    assert failure_in(line(traceback=own)) == own


def test_the_failure_of_a_request_is_found_by_its_id():
    other = TRACEBACK.replace("ValueError: no", "KeyError: 1")
    log = "\n".join(
        [line(request_id="a", traceback=TRACEBACK), line(request_id="b", traceback=other)]
    )
    assert failure_in(log, request_id="a") == SHORT
    assert failure_in(log).endswith("KeyError: 1")
    assert failure_in(log, request_id="c") == ""


SESSION = {
    "PATH": "/bin",
    "HOME": "/home/ann",
    "API_KEY": "correct-horse",
    "MINE": "x",
    "PYTHONPATH": "/x",
}
POD = PodEnvironment({"STAGE": "live"}, frozenset({"API_KEY", "OTHER_KEY"}), SESSION)


def test_it_has_the_variables_and_secrets_of_the_manifest_and_nothing_else_of_the_session():
    variables = POD.variables()
    assert variables.keys() == {"PATH", "HOME", "STAGE", "API_KEY", "OTHER_KEY"}
    assert (variables["STAGE"], variables["API_KEY"]) == ("live", "correct-horse")


def test_what_a_pod_lacks_is_what_only_the_session_has():
    assert POD.lacking(["MINE", "STAGE", "API_KEY", "HOME", "NOWHERE", "MINE"]) == ["MINE"]


def test_what_is_remembered_of_it_has_no_secret():
    assert "correct-horse" not in POD.facts()
    assert POD.secret_values() == ["correct-horse"]
