"""Expressions in CEL, the Common Expression Language, with the library `cel-python` (the extra gitops-ml[cel])."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

Program = Callable[[Mapping[str, Any]], Any]
"""Evaluates an expression with variables that are plain data; raises `CannotEvaluate`."""

_MOST_STEPS = 5_000_000
"""Calls of the library for one value, which take some seconds; loops inside of loops would not end."""
_LENGTH_OF_A_STEP = 4
"""Characters or items that a sum may have for each step: sums of sums would fill the memory."""


class CannotEvaluate(ValueError):
    """An expression has no value: it names what is not there, or compares what cannot be compared."""


class _TooLong(BaseException):
    """The steps are used up; a `BaseException`, which the library does not take for an error of the expression."""


class NoLibrary(ImportError):
    """The library is not installed."""


@lru_cache(maxsize=256)
def compile_cel(expression: str) -> Program:
    """The program of an expression.

    Raises:
        NoLibrary: the extra is not installed.
        ValueError: the expression is not CEL; with the reason in one line.
    """
    try:
        import celpy
        from celpy.adapter import json_to_cel
        from celpy.celparser import CELParseError
        from celpy.evaluation import CELEvalError
    except ImportError as error:
        raise NoLibrary("cel-python is not installed") from error
    environment, budget = celpy.Environment(), _Budget()
    functions: dict[str, Callable[..., Any]] = {
        "_+_": budget.added, "string": _text_of(celpy.celtypes.StringType)
    }  # fmt: skip
    try:
        program = environment.program(environment.compile(expression), functions)
    except CELParseError as error:
        raise ValueError(_reason(error)) from error

    def evaluate(variables: Mapping[str, Any]) -> Any:
        known = {name: json_to_cel(value) for name, value in variables.items()}
        try:
            with _bounded(budget):
                value = program.evaluate(known)
        except _TooLong as error:
            raise CannotEvaluate(
                f"it takes more than {_MOST_STEPS:,} steps: use fewer loops inside of loops, and shorter sums"
            ) from error
        except (CELEvalError, ValueError, TypeError, RecursionError) as error:
            raise CannotEvaluate(_reason(error)) from error
        return bool(value) if type(value).__name__ in ("bool", "BoolType") else _shown(value)

    return evaluate


def _shown(value: Any) -> str:
    """A value in a message; a list in lists in lists may be too long to write."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a map"
    return str(value)[:60]


class _Budget:
    """The steps that are left for one value."""

    left = 0

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise _TooLong

    def added(self, one: Any, other: Any) -> Any:
        """The operator ``+``, whose results may be long."""
        if hasattr(one, "__len__") and hasattr(other, "__len__"):
            self.spend((len(one) + len(other)) // _LENGTH_OF_A_STEP)
        return operator.add(one, other)


def _text_of(string: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function ``string``, which CEL has for single values only."""

    def text(value: Any) -> Any:
        if isinstance(value, list | dict):
            raise TypeError(f"{_shown(value)} is no text")
        return string(value)

    return text


@contextmanager
def _bounded(budget: _Budget) -> Iterator[None]:
    budget.left = _MOST_STEPS

    def count(*_: Any) -> None:
        budget.spend(1)

    known = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(known)


def _reason(error: Exception) -> str:
    """The message of the library in one line, without its variables and types."""
    text = " ".join(str(error.args[0] if error.args else error).split())
    return text.partition(" (in activation")[0].partition(" applied to ")[0][:300]
