"""Call what a predictor offers beside predict, on a thread."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def run_hook(hook: Callable[[], Any]) -> Any:
    """The hook's result; an async hook gets its own event loop, as threads have none."""
    result = hook()
    return asyncio.run(_finished(result)) if inspect.isawaitable(result) else result


async def _finished(result: Any) -> Any:
    return await result
