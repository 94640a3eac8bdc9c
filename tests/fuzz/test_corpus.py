"""The fuzz targets hold their promises on the corpus, and on some hundred inputs made here."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import layer_bytes, registry_answers, tensor_text, yaml_text
from tests.fuzz.__main__ import TARGETS
from tests.fuzz.json_text import one_input as read_json

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
CORPUS = {
    target: sorted(path for path in (HERE / "corpus" / target).iterdir() if path.is_file())
    for target in TARGETS
}
SEEDS = [(target, path) for target, paths in CORPUS.items() for path in paths]
SOME = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
YAML = st.lists(
    st.sampled_from(
        [*"abc:-?*&!|>'\"#%@`{}[],~<0179.+eE\\", "\n", "  ", ": ", "- ", "&a ", "*a", "<<: ", "\t",
         "---\n", "!!python/name:os.system ", "é", "\x85", "\u2028", "\x1b", ".inf", "null"]
    ),
    max_size=60,
).map(lambda pieces: "".join(pieces).encode())  # fmt: skip


def one_input(target: str) -> Callable[[bytes], None]:
    found: Callable[[bytes], None] = importlib.import_module(f"tests.fuzz.{target}").one_input
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_a_small_corpus(target):
    sizes = [path.stat().st_size for path in CORPUS[target]]
    assert len(sizes) >= 7
    assert sum(sizes) < 64 << 10


@pytest.mark.parametrize(("target", "path"), SEEDS, ids=[f"{t}-{p.name}" for t, p in SEEDS])
def test_an_input_of_the_corpus_breaks_no_promise(target, path):
    one_input(target)(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
@SOME
@given(data=st.data())
def test_a_changed_input_of_the_corpus_breaks_no_promise(target, data):
    seed = data.draw(st.sampled_from(CORPUS[target])).read_bytes()
    at = data.draw(st.integers(0, len(seed)))
    removed, added = data.draw(st.integers(0, 8)), data.draw(st.binary(max_size=8))
    one_input(target)(seed[:at] + added + seed[at + removed :])


@SOME
@given(YAML | st.binary(max_size=300))
def test_any_text_is_read_as_yaml_or_refused(text):
    yaml_text.one_input(text)


@SOME
@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=300))
def test_any_body_is_read_as_json_or_refused(body):
    read_json(body)


@SOME
@given(
    kind=st.sampled_from([0, 1, 4, 5]),
    datatype=st.sampled_from(["BOOL", "INT8", "UINT64", "FP16", "FP64", "BF16", "BYTES", "no"]),
    shape=st.lists(st.integers(-1, 1 << 40), max_size=4) | JSON,
    more=JSON,
    behind=st.binary(max_size=40),
)
def test_any_tensor_is_read_or_refused(kind, datatype, shape, more, behind):
    binary = {"parameters": {"binary_data_size": len(behind)}}
    tensor: dict[str, Any] = {"name": "x", "datatype": datatype, "shape": shape}
    tensor |= binary if kind & tensor_text.BINARY else {"data": more}
    head = json.dumps({"inputs": [tensor]}).encode()
    tensor_text.one_input(bytes([kind]) + len(head).to_bytes(2, "big") + head + behind)


@SOME
@given(st.binary(max_size=300))
def test_any_grpc_message_is_read_or_refused(message):
    tensor_text.one_input(bytes([tensor_text.GRPC, 0, 0]) + message)


@SOME
@given(st.lists(st.binary(min_size=6, max_size=6), max_size=12))
def test_any_entries_of_a_layer_stay_in_the_folder(entries):
    layer_bytes.one_input(bytes([layer_bytes.ENTRIES]) + b"".join(entries))


@SOME
@given(
    kind=st.sampled_from([registry_answers.MANIFEST, registry_answers.CONFIG]),
    text=JSON.map(lambda value: json.dumps(value).encode()),
)
def test_any_document_of_a_registry_is_read_or_refused(kind, text):
    registry_answers.one_input(bytes([kind]) + text)


def test_the_targets_need_no_atheris():
    names = ", ".join(f"tests.fuzz.{target}" for target in TARGETS)
    code = f"import sys; sys.modules['atheris'] = None; import {names}"
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE.parents[1], capture_output=True)
    assert done.returncode == 0, done.stderr
