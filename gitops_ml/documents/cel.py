"""Expressions in CEL, the Common Expression Language, with the library `cel-python` (the extra gitops-ml[cel])."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Program = Callable[[Mapping[str, Any]], Any]
"""Evaluates an expression with variables that are plain data; raises `CannotEvaluate`."""


class CannotEvaluate(ValueError):
    """An expression has no value: it names what is not there, or compares what cannot be compared."""


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
            value = program.evaluate(known)
        except (CELEvalError, ValueError, TypeError, RecursionError) as error:
            raise CannotEvaluate(_reason(error)) from error
        return bool(value) if type(value).__name__ in ("bool", "BoolType") else str(value)[:60]

    return evaluate


def _reason(error: Exception) -> str:
    """The message of the library in one line, without its variables and types."""
    text = " ".join(str(error.args[0] if error.args else error).split())
    return text.partition(" (in activation")[0].partition(" applied to ")[0][:300]
