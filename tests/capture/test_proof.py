"""A package is equal to its session, or refused: sessions are made up, and what they answer is compared."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, assume, event, given, settings

from gitops_ml.capture.collected import NoSource
from gitops_ml.capture.comparison.proof import CannotImport
from gitops_ml.capture.live_session import Session
from gitops_ml.capture.statements import read_source
from gitops_ml.errors import Unpackageable
from tests.capture.alike import ALIKE
from tests.capture.generated import sessions
from tests.support.proof_here import ProofHere, staged

EXAMPLES = int(os.environ.get("GENERATED_SESSIONS", "100"))


def ran(cells):
    namespace = {"__name__": "__main__"}
    for cell in cells:
        try:
            exec(compile(cell, "<cell>", "exec", dont_inherit=True), namespace)
        except Exception:  # noqa: BLE001 - as a cell that fails
            continue
    return namespace


def neutral(text):
    return re.sub(r" at 0x\w+|__main__|packaged|<cell>|<package>", "", str(text))


@given(sessions())
@settings(
    max_examples=EXAMPLES, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
def test_no_made_up_session_is_packaged_as_something_else(cells):
    namespace = ran(cells)
    assume("P" in namespace)
    session = Session(namespace, read_source(cells), Path())
    try:
        found = ProofHere().collect(namespace["P"], session, title="T.", stage=staged)
    except (Unpackageable, CannotImport, NoSource) as refused:
        event(f"refused: {type(refused).__name__}")
        return
    event("packaged")
    packaged = {"__name__": "packaged"}
    exec(compile(found.text, "<package>", "exec", dont_inherit=True), packaged)
    for _ in range(2):
        here, there = (each["P"]().predict(1) for each in (namespace, packaged))
        assert neutral(here) == neutral(there), found.text


@pytest.mark.parametrize(("cells", "body"), ALIKE.values(), ids=ALIKE)
@pytest.mark.filterwarnings("ignore")
def test_a_small_session_is_packaged_as_it_is(cells, body):
    predictor = f"class P:\n    def predict(self, payload):\n        return {body}"
    cells = [*cells, predictor] if body else cells
    namespace = ran(cells)
    session = Session(namespace, read_source(cells), Path())
    found = ProofHere().collect(namespace["P"], session, title="T.", stage=staged)
    packaged = sys.modules["packaged"] = ModuleType("packaged")
    exec(compile(found.text, "<package>", "exec", dont_inherit=True), vars(packaged))
    here, there = (each["P"]().predict(2) for each in (namespace, vars(packaged)))
    assert neutral(repr(here)) == neutral(repr(there))


@pytest.mark.parametrize(
    "cells",
    [
        ["F = {'a': cache(lambda x: x * R)}", "F['a'](2)", "R = 9"],
        ["F = [cache(lambda x: x * R)]", "F[0](2)", "R = 9"],
        ["class F:\n    @property\n    @cache\n    def f(self): return R", "F().f", "R = 9"],
        ["class A:\n    def __init__(self):\n        self.k = 1\n        self.f = cache(lambda x: self.k)",
         "F = A()", "F.f(2)", "F.k = 5"],
        ["def kept(g):\n    c = cache(g)\n    return lambda x: c(x)", "@kept\ndef F(x): return x * R", "F(2)", "R = 9"],
    ],
)  # fmt: skip
def test_answers_that_a_cache_keeps_are_found_wherever_it_is(cells):
    cells = ["from functools import cache\nR = 1", *cells]
    cells.append("class P:\n    def predict(self, payload):\n        return F")
    session = Session(ran(cells), read_source(cells), Path())
    with pytest.raises(Unpackageable, match=r"keeps answers from before \w+ changed.*cache_clear"):
        ProofHere().collect(session.namespace["P"], session, title="T.", stage=staged)


def test_a_secret_is_not_in_the_reason_of_a_difference():
    cells = [
        "def make():\n    token = 'correct-' + 'horse-' + str(len(made))\n    made.append(1)\n"
        "    return lambda: token\nmade = []\nmade.clear()",
        "f = make()",
        "class P:\n    def predict(self, payload):\n        return f()",
    ]
    namespace = ran(cells)
    session = Session(namespace, read_source(cells), Path())
    namespace["made"].append(2)
    with pytest.raises(Unpackageable) as refused:
        ProofHere().collect(namespace["P"], session, title="T.", stage=staged)
    assert "closure token" in str(refused.value)
    assert "horse" not in str(refused.value)


REFUSED = {
    "the name of the module": ([], "__name__ == '__main__'", "__name__ is __main__ here"),
    "a shared closure": (
        ["def make():\n    d = {}\n    return d.get, lambda k: d.update({k: 1})\nget, put = make()", "put('a')"],
        "get('a')", "in the package",
    ),
    "a default that grew": (["f = lambda x, l=[]: (l.append(x), len(l))[1]", "f(1)"], "f(1)", "f (default 0)[0]"),
    "an iterator": (["z = zip([1], [2])"], "list(z)", "P uses 'z', a zip of the session"),
}  # fmt: skip


@pytest.mark.parametrize(("cells", "body", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_put_right_is_refused_by_name(cells, body, reason):
    cells = [*cells, f"class P:\n    def predict(self, payload):\n        return {body}"]
    namespace = ran(cells)
    session = Session(namespace, read_source(cells), Path())
    with pytest.raises(Unpackageable) as refused:
        ProofHere().collect(namespace["P"], session, title="T.", stage=staged)
    assert reason in str(refused.value)
