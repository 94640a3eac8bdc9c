"""Expressions in CEL, the Common Expression Language, with the library `cel-python` (the extra gitops-ml[cel])."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

Program = Callable[[Mapping[str, Any]], Any]
"""Evaluates an expression with variables that are plain data; raises `CannotEvaluate`."""

_MOST_STEPS = 5_000_000
"""Calls of the library for one value, which take some seconds; loops inside of loops would not end."""


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
    environment = celpy.Environment()
    try:
        program = environment.program(environment.compile(expression))
    except CELParseError as error:
        raise ValueError(_reason(error)) from error

    def evaluate(variables: Mapping[str, Any]) -> Any:
        known = {name: json_to_cel(value) for name, value in variables.items()}
        try:
            with _bounded():
                value = program.evaluate(known)
        except _TooLong as error:
            raise CannotEvaluate(
                f"it takes more than {_MOST_STEPS:,} steps: use fewer loops inside of loops"
            ) from error
        except (CELEvalError, ValueError, TypeError, RecursionError) as error:
            raise CannotEvaluate(_reason(error)) from error
        return bool(value) if type(value).__name__ in ("bool", "BoolType") else str(value)[:60]

    return evaluate


@contextmanager
def _bounded() -> Iterator[None]:
    left = _MOST_STEPS

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooLong

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
