"""Replies for the responses of Starlette that a predictor returns."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from predictor_base.errors import (
    MESSAGE_CHARACTERS,
    HTTPError,
    NotAcceptable,
    PredictFailed,
    as_failure,
)
from predictor_base.http.error_replies import clean_pairs
from predictor_base.http.request import Exchange, Reply
from predictor_base.jsontext import parse
from predictor_base.serving.waiting import Guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.responses import Response


_END = object()


def reply_of_response(response: Response, after: Callable[[], object] | None) -> Reply:
    """The reply for a predictor's own response; one with a plain body is sent as any other reply."""
    from starlette.responses import Response as Plain  # the predictor has imported it

    status = int(response.status_code)
    if not 200 <= status <= 599:
        raise PredictFailed(f"a Response has the status {status}")
    reply = Reply(status, response=response, after=after)
    has_body = isinstance(getattr(response, "body", None), bytes)
    if has_body and response.background is None and type(response).__call__ is Plain.__call__:
        reply.body, reply.media_type = bytes(response.body), b""
        reply.headers = clean_pairs(response.raw_headers)
        reply.is_whole = True
    return reply


async def contained(values: AsyncIterator[Any], exchange: Exchange) -> AsyncIterator[Any]:
    """The chunks of a response, each within the time limit; `sys.exit` in one of its tasks would end the worker."""
    guard = Guard(exchange)
    take = partial(anext, values, _END)
    try:
        while (value := await guard.step(take)) is not _END:
            yield value
            exchange.deadline = time.perf_counter() + exchange.timeout
    except (SystemExit, KeyboardInterrupt) as error:
        raise as_failure(error) from error
    finally:
        guard.close()


def value_of_response(response: Response) -> Any:
    """The value in a predictor's own response, for a protocol without HTTP's bodies.

    Raises:
        HTTPError: its status is that of an error.
        NotAcceptable: it has no body yet, because it streams.
    """
    content = getattr(response, "body", None)
    if not isinstance(content, bytes):
        raise NotAcceptable("the predictor returned a Response that streams")
    if response.status_code >= 400:
        detail = content[:MESSAGE_CHARACTERS].decode("utf-8", "replace")
        raise HTTPError(response.status_code, detail, dict(response.headers))
    kind = response.headers.get("content-type", "")
    if kind.startswith("application/json"):
        return parse(content)
    return content.decode() if kind.startswith("text/") else content
