"""What is collected of a session: the cells are run as a kernel would, and what comes out is run anew."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from gitops_ml.capture import live_session
from gitops_ml.capture.collected import NoSource
from gitops_ml.capture.statements import read_source
from gitops_ml.errors import Unpackageable
from tests.support.proof_here import ProofHere, staged

# ruff: noqa: E501 - a cell is one text


class Session:
    """Cells that ran one after the other; one that fails is in the history, as it is in a kernel."""

    def __init__(self, *cells):
        self.namespace = {"__name__": "__main__"}
        self.cells = []
        for cell in cells:
            self.runs(cell)

    def runs(self, cell):
        text = textwrap.dedent(cell)
        self.cells.append(text)
        try:
            exec(compile(text, "<cell>", "exec", dont_inherit=True), self.namespace)
        except Exception:  # noqa: BLE001 - whatever a cell does
            self.failed = True

    def collects(self, name="P"):
        session = live_session.Session(self.namespace, read_source(self.cells), Path())
        return ProofHere().collect(self.namespace[name], session, title="A test.", stage=staged)

    def text(self, name="P"):
        return self.collects(name).text

    def answer(self, payload=None, name="P"):
        """What a predictor from the collected text says, where nothing of the session is."""
        namespace = {"__name__": "elsewhere"}
        exec(compile(self.text(name), "<collected>", "exec", dont_inherit=True), namespace)
        return namespace[name]().predict(payload)

    def refusal(self, name="P"):
        with pytest.raises(Unpackageable) as refused:
            self.collects(name)
        return refused.value.reasons


PREDICTOR = """
class P:
    def predict(self, payload):
        return {body}
"""


def predicts(body):
    return PREDICTOR.format(body=body)


def test_the_whole_text_of_a_small_session():
    session = Session(
        "import math\nimport json\nfrom dataclasses import dataclass",
        "LABELS = ['setosa', 'versicolor']  # as in the paper\nunused = 1",
        """
        @dataclass
        class Answer:
            label: str
        """,
        """
        def best(scores: list) -> Answer:
            "The label of the highest score."
            return Answer(LABELS[scores.index(max(scores))])
        """,
        """
        class P:
            def predict(self, payload):
                return best([math.sqrt(x) for x in payload]).label
        """,
    )
    assert session.text() == textwrap.dedent('''\
        """A test."""

        import math
        from dataclasses import dataclass

        LABELS = ['setosa', 'versicolor']  # as in the paper


        @dataclass
        class Answer:
            label: str


        def best(scores: list) -> Answer:
            "The label of the highest score."
            return Answer(LABELS[scores.index(max(scores))])


        class P:
            def predict(self, payload):
                return best([math.sqrt(x) for x in payload]).label
        ''')
    assert session.answer([1, 4]) == "versicolor"


WORKING = {
    "a base class and its base": (["class A:\n    x = 2", "class B(A): pass", "class P(B):\n    def predict(self, p): return self.x"], 2),
    "a decorator of a method": (
        ["import functools", "def twice(f):\n    @functools.wraps(f)\n    def g(*a): return 2 * f(*a)\n    return g", "class P:\n    @twice\n    def predict(self, p): return 3"],
        6,
    ),
    "a default argument": (["LIMIT = 7", "class P:\n    def predict(self, p, limit=LIMIT): return limit"], 7),
    "a class attribute out of a comprehension": (
        ["N = 3", "class P:\n    squares = [i * i for i in range(3)]\n    def predict(self, p): return self.squares + [N]"], [0, 1, 4, 3],
    ),
    "an annotation that has to be there": (["class In: pass", "class P:\n    def predict(self, p: In, q: 'In' = None) -> In: return In.__name__"], "In"),
    "a lambda and a partial": (["from functools import partial", "add = lambda a, b: a + b", "inc = partial(add, 1)", predicts("inc(4)")], 5),
    "a cached function": (["from functools import lru_cache", "@lru_cache\ndef f(x): return x * 2", predicts("f(4)")], 8),
    "an enum, a named tuple and a type variable": (
        ["import enum\nfrom collections import namedtuple\nfrom typing import TypeVar", "T = TypeVar('T')\nPoint = namedtuple('Point', 'x y')", "class Colour(enum.Enum):\n    RED = 1", "class P:\n    def predict(self, p: T) -> T: return (Point(1, 2).y, Colour.RED.value)"],
        (2, 1),
    ),
    "an import in try, as it went here": (["try:\n    import no_such_module as j\nexcept ImportError:\n    import json as j", predicts("j.dumps([1])")], "[1]"),
    "an import of a name, under another one, and of everything": (
        ["from math import sqrt as root, floor", "from os.path import *", predicts("(root(9), floor(1.5), basename('a/b'))")], (3.0, 1, "b"),
    ),
    "submodules that share their package": (
        ["import os.path", "import xml.dom", "import xml.sax", predicts("(xml.dom.__name__, xml.sax.__name__)")], ("xml.dom", "xml.sax"),
    ),
    "a value that was computed, as the value": (["big = list(range(1000))", "mean = sum(big) / len(big)", predicts("mean")], 499.5),
    "a list that grew, as it is now": (["names = ['a']", "names.append('b')", "names += ['c']", predicts("names")], ["a", "b", "c"]),
    "a compiled pattern and a logger": (
        ["import re, logging", "WORD = re.compile('a+')\nlog = logging.getLogger('x')", predicts("(WORD.pattern, log.name)")], ("a+", "x"),
    ),
    "a function that was replaced": (["def f(): return 1", predicts("f()"), "def f(): return 2"], 2),
    "a constant that meant something else when the class was made": (
        ["SIZE = 3", "class P:\n    size = SIZE\n    def predict(self, p): return (self.size, SIZE)", "SIZE = 5"], (3, 5),
    ),
    "an import that was replaced": (
        ["from math import floor as f", "class P:\n    def predict(self, p, g=f): return (g(1.5), f(1.5))", "from math import ceil as f"], (1, 2),
    ),
    "a method that was added later": ([predicts("self.helper()"), "def helper(self): return 9", "P.helper = helper"], 9),
    "a class that was made again": ([predicts("1"), predicts("2")], 2),
    "a cell that failed before its end": ([predicts("1"), "1 / 0\n" + predicts("2")], 1),
    "a cell that is no Python": (["!ls -l\n%matplotlib inline", predicts("4")], 4),
    "two statements on a line": (["a = 1; b = 2", predicts("(a, b)")], (1, 2)),
    "names that are the same inside": (["x = object()", "class P:\n    def predict(self, x): return [x for x in [1]]"], [1]),
    "a global that functions set": (["def load():\n    global ready\n    ready = 1\n    return ready", predicts("load()")], 1),
    "mutual recursion": (["def even(n): return n == 0 or odd(n - 1)", "def odd(n): return n != 0 and even(n - 1)", predicts("even(4)")], True),
    "definitions below an if": (["if True:\n    def f(): return 5\nelse:\n    def f(): return 6", predicts("f()")], 5),
    "annotations that are deferred": (
        ["from __future__ import annotations\n" "class P:\n    def predict(self, p: Nothing = None): return 1\n" "class Nothing: pass"], 1,
    ),
    "values that repr does not say": (["low = float('-inf')", "who = {'b', 'a'}", predicts("(low, sorted(who))")], (float("-inf"), ["a", "b"])),
    "what is read from the environment, read there": (["import os", "HERE = os.environ.get('NO_SUCH_VARIABLE', 'nothing')", predicts("HERE")], "nothing"),
}  # fmt: skip


@pytest.mark.parametrize(("cells", "answer"), WORKING.values(), ids=WORKING)
def test_it_comes_along(cells, answer):
    assert Session(*cells).answer() == answer


REFUSED = {
    "a model": (
        ["class Model:\n    def fit(self): return self\n    def predict(self): ...", "model = Model().fit()", predicts("model")],
        "P uses 'model', a Model of the session, which code cannot hold: pass it as " 'models={"model": model}',
    ),
    "a model in a dict": (["class M:\n    def fit(self): ...", "models = {'a': M()}", predicts("models")], "P uses 'models', a dict of the session"),
    "data": (["words = [str(n) for n in range(20000)]", predicts("words")], "P uses 'words', a list of the session"),
    "an open file": (["import io\nf = io.StringIO('x')", predicts("f")], "P uses 'f', an io StringIO of the session"),
    "a name that is nowhere": ([predicts("nowhere")], "P uses 'nowhere', which is not defined"),
    "a magic": (["def get_ipython(): ...", "class P:\n    def predict(self, p): get_ipython().system('ls')"], "P uses get_ipython of IPython"),
    "a secret by its name": (["DB_PASSWORD = 'correct-horse-battery'", predicts("DB_PASSWORD")], "P uses 'DB_PASSWORD', which looks like a secret"),
    "a secret by its shape": (["class P:\n    def predict(self, p): return 'ghp_" + "a1" * 18 + "'"], "P has a secret in its source: ghp_a1…"),
    **{
        f"a secret in {what}": (
            ["def ask(): return 'correct-' + 'horse'", *cells, predicts("USED")],
            "P uses 'USED', which looks like a secret",
        )
        for what, cells in {
            "a header": ["tok = ask()", "USED = {'Authorization': f'Bearer {tok}'}"],
            "a dict": ["USED = {'user': 'me'}", "USED['password'] = ask()"],
            "a dict of dicts": ["USED = {'db': {'user': 'me', 'dbPassword': ask()}}"],
            "a list": ["getpass = ask\ntok = getpass()", "USED = ['Bearer ' + tok]"],
            "bytes": ["getpass = ask\ntok = getpass()", "USED = tok.encode()"],
            "a tuple": ["tok = {'API_KEY': ask()}['API_KEY']", "USED = (1, tok)"],
            "the words themselves": ["USED = {'password': 'correct-horse'}"],
            "bytes of a known shape": ["USED = [b'hf_' + b'a1' * 17]"],
        }.items()
    },
    "a secret in a comment": (["class P:\n    # ghp_" + "a1" * 18 + "\n    def predict(self, p): return 1"], "P has a secret in its source"),
}  # fmt: skip


def test_what_may_be_a_secret_comes_along_and_is_told():
    session = Session(
        "key = ''.join(['dQw4w9WgXcQ7', 'bZk2LmN8pR5tVy'])",
        "def f(): return dict(password='correct-horse', pad_token='<|endoftext|>')",
        predicts("f(), key"),
    )
    assert set(session.collects().doubts) == {"key", "password"}


def test_the_name_of_a_secret_is_none():
    session = Session(
        "COLUMNS = ['id', 'access_token']\nSPECIAL = {'pad_token': '<|endoftext|>'}",
        "def url(user, password): return f'postgres://{user}:{password}@db/x'",
        predicts("(COLUMNS, SPECIAL, url)"),
    )
    assert session.collects().doubts == ()


@pytest.mark.parametrize(("cells", "reason"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_with_the_reason(cells, reason):
    (found,) = Session(*cells).refusal()
    assert found.startswith(reason)


def test_all_reasons_are_told_at_once():
    session = Session("import io\nf = io.StringIO('x')", predicts("(f, nowhere)"))
    assert len(session.refusal()) == 2


def test_cells_that_ran_again_are_packaged_as_before():
    cells = ["import math", "N = 4", "def f(): return math.sqrt(N)", predicts("f()")]
    once = Session(*cells).text()
    again = Session(*cells, cells[0], cells[2], cells[3], cells[1]).text()
    assert again == once


def test_the_modules_that_are_imported_are_named():
    session = Session(
        "import numpy as np\nimport os.path",
        "def f():\n    from sklearn import datasets\n    return np.pi, os.path",
        predicts("f()"),
    )
    assert set(session.collects().modules) == {"numpy", "os.path", "sklearn"}


def test_a_class_without_source_is_not_guessed():
    session = Session(predicts("1"))
    session.cells.clear()
    with pytest.raises(NoSource):
        session.collects()


def test_source_that_is_not_of_this_class_is_not_taken():
    session = Session(predicts("1"))
    session.cells[:] = [predicts("2")]
    with pytest.raises(NoSource):
        session.collects()
