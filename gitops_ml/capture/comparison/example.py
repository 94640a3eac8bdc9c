"""Ask the class of the session and the packaged class the same, and compare the answers."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops_ml.capture.comparison.clean_import import JOB, CannotAsk, answer
from gitops_ml.capture.packaged_class import Package
from gitops_ml.errors import Unpackageable
from gitops_ml.runtime.runtime_package import CleanRun, PodEnvironment
from gitops_ml.system.memory import Memory
from gitops_ml.system.memory import key as memory_key

_PROGRAM = "from gitops_ml.capture.comparison.clean_import import answer_example as main"
_SHOWN = 120
_SKIP = "correct it, or give example=None to deploy without one"


@dataclass(frozen=True, slots=True)
class Example:
    """An example and its answers, as JSON; empty answers if only a replica could give them."""

    payload: str
    here: str = ""
    """The answer of the class in the session."""
    packaged: str = ""
    """The answer of the packaged class in a clean interpreter."""
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What both are asked."""

    payload: Any
    config: Mapping[str, Any]
    """With the folders of models on this machine."""
    facts: str
    """What decides the answer besides the package: the config with the digests of models."""
    pod: PodEnvironment
    memory: Memory


def try_example(predictor: type, package: Package, asked: Asked) -> Example:
    """The answers of both.

    Raises:
        Unpackageable: the answers differ, or one of them is an error.
    """
    name = predictor.__name__
    try:
        payload = json.dumps(asked.payload)
    except (TypeError, ValueError) as error:
        raise Unpackageable(name, [f"its example is not JSON ({error}): {_SKIP}"]) from None
    try:
        here = answer(predictor, asked.config, asked.payload)
    except CannotAsk as error:
        return Example(payload, why_not=str(error))
    except Exception as error:  # whatever the class does
        reason = f"in this session it answers its example {_short(payload)} with an error: "
        raise Unpackageable(name, [f"{reason}{type(error).__name__}: {error}; {_SKIP}"]) from error
    there = _packaged_answer(package, asked)
    if not is_close(json.loads(here), json.loads(there)):
        raise Unpackageable(name, [_differ(payload, here, there)])
    return Example(_short(payload), _short(here), _short(there))


def _packaged_answer(package: Package, asked: Asked) -> str:
    facts = json.dumps([asked.payload, asked.facts])
    key = memory_key("example", package.fingerprint, facts, asked.pod.facts())
    if known := asked.memory.recall([key]).get(key):
        return known
    with tempfile.TemporaryDirectory(prefix="gitops-ml-example-") as temporary:
        out = Path(temporary, "answer.json")
        job = {
            "path": package.path, "name": package.class_name, "config": dict(asked.config),
            "payload": asked.payload, "out": str(out),
        }  # fmt: skip
        run = CleanRun(_PROGRAM, asked.pod, {JOB: json.dumps(job)})
        if (problem := run.problem(package.folder)) is not None:
            reason = f"packaged, it answers its example with an error, and in this session it does not:\n{problem}"
            raise Unpackageable(package.class_name, [reason])
        found = out.read_text()
    asked.memory.keep({key: found})
    return found


def _differ(payload: str, here: str, there: str) -> str:
    return (
        f"it answers its example {_short(payload)} with {_short(here)} in this session, and with {_short(there)} "
        "when it is packaged: what it computes depends on something that a package does not have, such as "
        "the time, random numbers, files or the environment; set a seed, or give example=None"
    )


def is_close(one: Any, other: Any) -> bool:
    """Whether two answers are equal, but for the last digits of numbers."""
    if isinstance(one, float) or isinstance(other, float):
        both = isinstance(one, int | float) and isinstance(other, int | float)
        is_nan = one != one and other != other
        return both and (is_nan or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_close, one, other))
    return type(one) is type(other) and bool(one == other)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
