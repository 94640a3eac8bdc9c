"""A request whose body has arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from predictor_base.http.request import Exchange

if TYPE_CHECKING:
    from collections.abc import MutableMapping


def exchange_of(body: bytes, *, piece: int = 2**30) -> Exchange:
    """With a body that came in pieces of so many bytes."""
    exchange = Exchange({"headers": []}, _no_message, timeout=60)
    exchange.pieces = [body[start : start + piece] for start in range(0, len(body), piece)] or [b""]
    return exchange


async def _no_message() -> MutableMapping[str, Any]:
    raise AssertionError("the body is there")
