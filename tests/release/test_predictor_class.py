"""The source of a predictor is judged as the runtime will judge the module, without executing it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gitops_ml.release.rules import predictor_class
from gitops_ml.release.rules.predictor_class import judge_source
from predictor_base.errors import StartFailure
from predictor_base.predictor import loader
from predictor_base.settings import Settings

GOOD = {
    "plain": "class PythonPredictor:\n def __init__(self, config): pass\n def predict(self, payload): pass",
    "any name": "class A:\n def predict(self, payload): pass",
    "handlers": "class A:\n def handle_get(self): pass",
    "openai": "class Predictor:\n def chat_completions(self, payload): pass",
    "inherited": "class A:\n def _a(self): pass\n def predict(self, payload): pass\nclass Handler(A): pass",
    "everything": "class A:\n def __init__(self, config, python_client, model_client, metrics_client, job_spec): pass\n"
    " async def predict(self, payload, headers, query_params, request_id, batch_id): yield\n"
    " def predict_batch(self, payloads): pass\n def post_predict(self, response, payload): pass",
    "kwargs": "class A:\n def __init__(self, *args, **kwargs): pass\n def predict(self, *args, **kwargs): pass",
    "two, one of them known": "class PythonPredictor:\n def predict(self): pass\nclass B:\n def predict(self): pass",
    "dataclass": "import dataclasses\n@dataclasses.dataclass\nclass A:\n config: dict\n def predict(self): pass",
    "decorated method": "import functools\ndef d(f):\n @functools.wraps(f)\n def g(self, payload): pass\n"
    " del g.__wrapped__\n return g\nclass A:\n @d\n def predict(self, data): pass",
    "static": "class A:\n @staticmethod\n def predict(payload): pass",
    "assigned": "class A:\n predict = lambda self, payload: 1",
    "imported base": "import collections\nclass A(collections.UserDict):\n"
    " def __init__(self): pass\n def predict(self): pass",
    "new": "class A:\n def __new__(cls, config): return object.__new__(cls)\n def predict(self): pass",
    "made": "def f(self, payload): pass\nPythonPredictor = type('PythonPredictor', (), {'predict': f})",
    "conditional": "if True:\n class A:\n  def predict(self): pass",
    "try": "try:\n import json\nexcept ImportError:\n json = None\nclass A:\n def predict(self): pass",
    "constant": "Handler = None\nclass A:\n def predict(self): pass",
    "type checking": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n from logging import Handler\n"
    "class A:\n def predict(self): pass",
    "encoding": "# -*- coding: latin-1 -*-\nclass A:\n def predict(self): '\xe9'",
}  # fmt: skip
BAD = {
    "empty": ("", 0, "the source has no class with a method predict"),
    "function": ("def predict(payload): pass", 0, "the source has no class with a method predict"),
    "no predict": ("class A: pass", 0, "the source has no class with a method predict; its classes: A"),
    "several": ("class A:\n def predict(self): pass\nclass B(A): pass", 0, "several classes that can predict (A, B)"),
    "several known": ("class Handler: pass\nclass Predictor: pass", 0, "several classes that can predict"),
    "imported too": ("from logging import Handler\nclass Predictor:\n def predict(self): pass", 0, "several classes"),
    "constructor": (
        "class A:\n def __init__(self, confg): pass\n def predict(self): pass",
        2,
        "A.__init__: unknown argument 'confg'; did you mean 'config'?",
    ),
    "default": ("class A:\n def __init__(self, size=1): pass\n def predict(self): pass", 2, "unknown argument 'size'"),
    "keyword": ("class A:\n def __init__(self, *, size): pass\n def predict(self): pass", 2, "unknown argument 'size'"),
    "predict": ("class A:\n def predict(self, data): pass", 2, "A.predict: unknown argument 'data'"),
    "inherited": (
        "class A:\n def __init__(self, x): pass\nclass Predictor(A):\n def predict(self): pass",
        2,
        "Predictor.__init__: unknown argument 'x'",
    ),
    "post_predict": (
        "class A:\n def predict(self): pass\n def post_predict(self, result): pass",
        3,
        "A.post_predict: unknown argument 'result'",
    ),
    "payloads": ("class A:\n def predict(self, payloads): pass", 2, "did you mean 'payload'?"),
}  # fmt: skip


def judged(source: str, *, class_name: str | None = None, kind: str = "python"):
    content = source.encode("latin-1" if "latin-1" in source else "utf-8")
    return judge_source(content, class_name=class_name, kind=kind, python_version=None).findings


def starts(source: str, folder: Path, **settings: str) -> bool:
    """Whether the runtime takes the class, as its preflight finds out."""
    encoded = source.encode("latin-1" if "latin-1" in source else "utf-8")
    (folder / "predictor.py").write_bytes(encoded)
    given = Settings.from_document({"path": "predictor.py", **settings})
    try:
        loader.check_class(loader.load_class(given, folder=folder), given)
    except StartFailure:
        return False
    return True


@pytest.mark.parametrize("name", GOOD)
def test_what_the_runtime_takes_breaks_no_rule(name: str, tmp_path: Path) -> None:
    assert judged(GOOD[name]) == ()
    assert starts(GOOD[name], tmp_path)


@pytest.mark.parametrize("name", BAD)
def test_what_the_runtime_refuses_is_refused_with_its_line(name: str, tmp_path: Path) -> None:
    source, line, sentence = BAD[name]
    (finding,) = judged(source)
    assert finding.line == line
    assert sentence in finding.message
    assert not starts(source, tmp_path)


def test_the_class_of_the_manifest_has_to_be_there(tmp_path: Path) -> None:
    source = "from json import JSONDecoder\nclass Iris:\n def predict(self): pass\nclass B: pass"
    (finding,) = judged(source, class_name="Irs")
    assert (finding.line, finding.field) == (0, "class_name")
    assert finding.message == "the source has no class 'Irs'; did you mean 'Iris'? known: Iris, B"
    assert judged(source, class_name="Iris") == ()
    assert judged(source, class_name="JSONDecoder") == ()
    assert judged("from a import *", class_name="Any") == ()
    assert not starts(source, tmp_path, className="Irs")


def test_a_class_of_another_type_takes_its_client(tmp_path: Path) -> None:
    source = "class A:\n def __init__(self, config): pass\n def predict(self): pass"
    (finding,) = judged(source, kind="onnx")
    assert finding.message == "A.__init__ must take onnx_client, because of the type 'onnx'"
    (other,) = judged(source.replace("config", "python_client"), kind="onnx")
    assert "unknown argument 'python_client'" in other.message
    assert judged(source.replace("config", "config, model_client"), kind="onnx") == ()


@pytest.mark.parametrize(
    "source",
    [
        "class A(B): pass\nclass B(A): pass",
        "class A(A): pass",
        "class A(B, C):\n pass\nclass C:\n def predict(self, x): pass",
        "from a import *",
        "exec('class A: pass')",
        "import a\nclass A(a.Base): pass",
        "class A(metaclass=M): pass",
    ],
)
def test_what_only_the_running_module_knows_breaks_no_rule(source: str) -> None:
    assert judged(source) == ()


@pytest.mark.parametrize(
    ("source", "line"),
    [(b"class A(:\n", 1), (b"a = 1\n  b = 2\n", 2), (b"\xff", 0), (b"a\0b", 0), (b"(" * 5000, 1)],
    ids=["syntax", "indentation", "encoding", "nul", "deep"],
)
def test_what_is_not_python_is_refused(source: bytes, line: int) -> None:
    (finding,) = parsed(source).findings
    assert finding.message.startswith("this ")
    assert finding.line in (line, 1)


def parsed(source: bytes, python_version: str | None = None):
    return judge_source(source, class_name="A", kind="python", python_version=python_version)


def test_what_a_later_python_may_read_is_not_refused() -> None:
    later = f"{sys.version_info[0]}.{sys.version_info[1] + 1}"
    for source in (b"class A[T:\n pass", b"type X + = int", b"x = f'{a:' '}"):
        assert parsed(source, later).findings == ()
        assert parsed(source).findings
    assert parsed(b"class A(:\n", later).findings


def test_the_rules_name_what_the_runtime_names() -> None:
    assert predictor_class.CLASS_NAMES == loader.CLASS_NAMES
    assert ("predict", *(f"handle_{verb}" for verb in loader.VERBS)) == predictor_class.HANDLERS
    for name in ("OTHER_METHODS", "REQUEST_ARGUMENTS", "ALWAYS_OFFERED", "CLIENT_ARGUMENTS"):
        assert getattr(predictor_class, name) == getattr(loader, name), name


def test_only_imports_that_have_to_succeed_count() -> None:
    source = (
        b"import a.b, c as d\nfrom e.f import g\nfrom . import h\ntry:\n import i\nexcept ImportError: pass\n"
        b"if x:\n import j\ndef k():\n import l\nwith m:\n import n\nimport a\n"
    )
    assert [each.module for each in parsed(source).imports] == ["a", "c", "e", "n"]
