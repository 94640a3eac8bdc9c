"""Streams as server-sent events, newline-delimited JSON or plain bytes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from predictor_base.errors import ClientGone, HTTPError, RuntimeFailure
from predictor_base.http.request import Exchange, Reply
from predictor_base.jsontext import dump

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from predictor_base.telemetry.metrics import Metrics

EVENTS = b"text/event-stream; charset=utf-8"
LINES = b"application/x-ndjson"
PING_SECONDS = 15
PING = b": ping\n\n"

logger = logging.getLogger("predictor_base")


async def event_stream(
    values: AsyncIterator[Any],
    exchange: Exchange,
    metrics: Metrics,
    *,
    frame: Callable[[Any], bytes] | None = None,
    last: bytes = b"",
) -> Reply:
    """A reply that streams the values; a failure before the first of them is raised, not streamed."""
    media_type = EVENTS
    if frame is None:
        as_lines = LINES in exchange.header.get(b"accept", b"")
        frame, media_type = (as_line, LINES) if as_lines else (as_event, EVENTS)
    try:
        first = await anext(values)
    except StopAsyncIteration:
        return Reply(200, media_type=media_type, chunks=_with_last(values, last))
    metrics.observed["first_chunk"].observe(time.perf_counter() - exchange.started)
    if isinstance(first, bytes):
        frame, media_type = bytes, b"application/octet-stream"
    chunks = _frames(first, values, frame, metrics, is_events=media_type == EVENTS)
    return Reply(200, media_type=media_type, chunks=_with_last(chunks, last))


def as_event(value: Any) -> bytes:
    """One server-sent event; a string may span lines, any other value is JSON."""
    text = value if isinstance(value, str) else dump(value).decode()
    return "".join(f"data: {line}\n" for line in text.split("\n")).encode() + b"\n"


def as_line(value: Any) -> bytes:
    return dump(value) + b"\n"


async def _with_last(chunks: AsyncIterator[bytes], last: bytes) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk
    if last:
        yield last


async def _frames(
    first: Any,
    values: AsyncIterator[Any],
    frame: Callable[[Any], bytes],
    metrics: Metrics,
    *,
    is_events: bool,
) -> AsyncIterator[bytes]:
    """The framed values, with pings while the predictor works, and an error event when it fails."""
    yield frame(first)
    metrics.tallies["chunks"] += 1
    following: asyncio.Future[Any] | None = None
    try:
        while True:
            following = asyncio.ensure_future(_following(values))
            while is_events and not (await asyncio.wait({following}, timeout=PING_SECONDS))[0]:
                yield PING
            yield frame(await following)
            metrics.tallies["chunks"] += 1
    except (StopAsyncIteration, _Ended):
        return
    except ClientGone:
        metrics.tallies["disconnects"] += 1
    except RuntimeFailure as error:
        yield _error(error, is_events=is_events)
    except asyncio.CancelledError:  # at the end of the grace period
        yield _error(HTTPError(503, "the server is shutting down"), is_events=is_events)
    finally:
        if following is not None:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await following
        await values.aclose()  # type: ignore[attr-defined]  # an async generator


class _Ended(Exception):
    """The end of a stream; a task cannot raise StopAsyncIteration."""


async def _following(values: AsyncIterator[Any]) -> Any:
    try:
        return await anext(values)
    except StopAsyncIteration:
        raise _Ended from None


def _error(error: RuntimeFailure, *, is_events: bool) -> bytes:
    # The status is sent already, so an event reports the error.
    logger.error("stream failed: %s", error, exc_info=error.__cause__)
    message = error.detail if isinstance(error, HTTPError) else "internal server error"
    body = dump({"error": message})
    return b"event: error\ndata: " + body + b"\n\n" if is_events else body + b"\n"
