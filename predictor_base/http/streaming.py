"""Streams as server-sent events, newline-delimited JSON or plain bytes."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from predictor_base.errors import ClientGone, HTTPError, PredictFailed, RuntimeFailure
from predictor_base.http.error_replies import error_body, status_of
from predictor_base.http.payload import BYTES, text
from predictor_base.http.request import Exchange, Form, Reply
from predictor_base.jsontext import dump
from predictor_base.serving.waiting import own_task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from predictor_base.telemetry.metrics import Metrics

EVENTS = b"text/event-stream; charset=utf-8"
LINES = b"application/x-ndjson"
PING_SECONDS = 15
PING = b": ping\n\n"
_LINE_END = re.compile("\r\n|\r|\n")
"""A line of an event ends with any of these: a client would read what follows as a field."""

logger = logging.getLogger("predictor_base")


async def event_stream(
    values: AsyncGenerator[Any, None], exchange: Exchange, metrics: Metrics, form: Form
) -> Reply:
    """A reply that streams the values; a failure before the first of them is written is raised, not streamed."""
    media_type, frame = EVENTS, form.frame or as_event
    if form.frame is None and LINES in exchange.header.get(b"accept", b""):
        media_type, frame = LINES, as_line
    try:
        first = await anext(values)
    except StopAsyncIteration:
        return Reply(200, media_type=media_type, chunks=_only(form.last))
    metrics.observed["first_chunk"].observe(time.perf_counter() - exchange.started)
    if form.frame is None and isinstance(first, bytes | bytearray | memoryview):
        media_type, frame = BYTES, as_bytes
    try:
        chunk = _framed(frame, first)
    except RuntimeFailure:
        await values.aclose()
        raise
    chunks = _chunks(chunk, values, frame, exchange, metrics, media_type, form.last)
    return Reply(200, media_type=media_type, chunks=chunks)


def as_event(value: Any) -> bytes:
    """One server-sent event; a string may span lines, any other value is JSON."""
    if not isinstance(value, str):
        return b"data: %b\n\n" % dump(value)
    lines = _LINE_END.split(value)
    return text("".join([f"data: {line}\n" for line in lines])) + b"\n"


def as_line(value: Any) -> bytes:
    return dump(value) + b"\n"


def as_bytes(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise PredictFailed(f"a stream of bytes yielded a {type(value).__name__}")
    return bytes(value)


def _framed(frame: Callable[[Any], bytes], value: Any) -> bytes:
    try:
        return frame(value)
    except RuntimeFailure:
        raise
    except Exception as error:
        raise PredictFailed(f"a value of the stream cannot be written: {error}") from error


async def _only(last: bytes) -> AsyncGenerator[bytes, None]:
    if last:
        yield last


async def _chunks(
    first: bytes,
    values: AsyncGenerator[Any, None],
    frame: Callable[[Any], bytes],
    exchange: Exchange,
    metrics: Metrics,
    media_type: bytes,
    last: bytes,
) -> AsyncGenerator[bytes, None]:
    """The chunks, and where they fail an error event, or an error that breaks the reply off."""
    try:
        async with aclosing(values):
            yield first
            metrics.tallies["chunks"] += 1
            async for value in values:
                yield _framed(frame, value)
                metrics.tallies["chunks"] += 1
        if last:
            yield last
        return
    except ClientGone:
        metrics.tallies["disconnects"] += 1
        exchange.status = 499
        return
    except asyncio.CancelledError:  # at the end of the grace period
        error: RuntimeFailure = HTTPError(503, "the server is shutting down")
    except RuntimeFailure as failure:
        error = failure
    if media_type == BYTES:
        raise error
    status = status_of(error)
    body = error_body(error.detail if isinstance(error, HTTPError) else "internal server error")
    if media_type == LINES:
        yield body + b"\n"
        raise error
    logger.error("stream failed: %s", error, exc_info=error.__cause__)
    exchange.status = status
    yield b"event: error\ndata: " + body + b"\n\n"


@asynccontextmanager
async def pings(
    send: Callable[[bytes], Awaitable[None]] | None,
) -> AsyncIterator[Callable[[], None]]:
    """Send a comment when nothing else was sent for a while; call the result whenever something was."""
    if send is None:
        yield lambda: None
        return
    clock = asyncio.get_running_loop().time
    last = clock()

    def sent() -> None:
        nonlocal last
        last = clock()

    async def watch() -> None:
        while True:
            await asyncio.sleep(last + PING_SECONDS - clock())
            if clock() >= last + PING_SECONDS:
                await send(PING)
                sent()

    task = own_task(watch())
    try:
        yield sent
    finally:
        task.cancel()
