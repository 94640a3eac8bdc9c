"""Call what a predictor offers beside predict, on a thread."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from predictor_base.values import is_stream

if TYPE_CHECKING:
    from collections.abc import Callable


def run_hook(hook: Callable[[], Any]) -> Any:
    """The hook's result.

    Raises:
        TypeError: it returned what has yet to be run, such as a generator, and would count as true.
    """
    result = run(hook)
    if is_stream(result) or inspect.isroutine(result):
        raise TypeError(f"it returned a {type(result).__name__}, whose code has not run")
    return result


def run(function: Callable[[], Any]) -> Any:
    """What the function returns; one that is async gets its own event loop, as threads have none."""
    result = function()
    while inspect.isawaitable(result):
        result = asyncio.run(_finished(result))
    return result


async def _finished(result: Any) -> Any:
    return await result
