"""OpenAI's chat, completion and embedding routes, for predictors that have the methods.

A method gets the request's JSON, and returns a text or OpenAI's object, or yields chunks of text;
this module adds the rest of the response.
"""

from __future__ import annotations

import base64
import struct
import time
from typing import TYPE_CHECKING, Any

from predictor_base.errors import BadRequest, PredictFailed
from predictor_base.http.app import App, Endpoint, Predicts, json_reply
from predictor_base.http.error_replies import status_of
from predictor_base.http.request import Form, Reply
from predictor_base.http.streaming import as_event
from predictor_base.jsontext import dump, parse
from predictor_base.protocols.openinference import text_of, text_of_all
from predictor_base.values import record, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor_base.http.request import Exchange
    from predictor_base.predictor.loader import Method

PREFIXES = ("/v1", "/openai/v1")
"""KServe's clients use the second."""
DONE = b"data: [DONE]\n\n"


class OpenAI:
    """The endpoints for one app."""

    def __init__(self, app: App) -> None:
        self._app = app

    def routes(self) -> dict[str, dict[str, Endpoint]]:
        reads = {
            ("chat/completions", "chat_completions"): self.read_chat,
            ("completions", "completions"): self.read_completion,
            ("embeddings", "embeddings"): self.read_embeddings,
        }
        found: dict[str, dict[str, Endpoint]] = {}
        for prefix in PREFIXES:
            found[f"{prefix}/models"] = {"GET": self.models}
            for (path, name), read in reads.items():
                endpoint = self._guarded(Predicts(self._app, read, (name,)))
                found[f"{prefix}/{path}"] = {"POST": endpoint}
        return found

    async def models(self, _: Exchange) -> Reply:
        model = {"id": self._app.settings.served_name, "object": "model", "created": 0}
        return json_reply({"object": "list", "data": [{**model, "owned_by": "predictor"}]})

    def read_chat(self, _: Method, exchange: Exchange) -> Form:
        _read(exchange, required="messages")

        def choice(text: str) -> dict[str, Any]:
            message = {"role": "assistant", "content": text}
            return {"index": 0, "message": message, "finish_reason": "stop"}

        def delta(text: str) -> dict[str, Any]:
            change = {"role": "assistant", "content": text}
            return {"index": 0, "delta": change, "finish_reason": None}

        if not exchange.payload.get("stream"):
            return self._whole(exchange, "chat.completion", choice)
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        return self._stream(exchange, "chat.completion.chunk", delta, last)

    def read_completion(self, _: Method, exchange: Exchange) -> Form:
        _read(exchange, required="prompt")

        def choice(text: str) -> dict[str, Any]:
            return {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}

        def piece(text: str) -> dict[str, Any]:
            return {**choice(text), "finish_reason": None}

        if not exchange.payload.get("stream"):
            return self._whole(exchange, "text_completion", choice)
        return self._stream(exchange, "text_completion", piece, choice(""))

    def read_embeddings(self, _: Method, exchange: Exchange) -> Form:
        _read(exchange, required="input")
        as_text = exchange.payload.get("encoding_format") == "base64"

        def write(result: Any) -> Reply:
            if isinstance(result := record(result), dict):
                if "data" not in result:
                    raise PredictFailed("embeddings are a list of vectors, or OpenAI's object")
                return json_reply(result)
            if (rows := rows_of(result)) is not None:
                result = [list(row.values()) for row in rows]
            items = [
                {"object": "embedding", "index": index, "embedding": _vector(each, as_text=as_text)}
                for index, each in enumerate(result)
            ]
            usage = {"prompt_tokens": 0, "total_tokens": 0}
            model = self._app.settings.served_name
            return json_reply({"object": "list", "data": items, "model": model, "usage": usage})

        return Form(write, only="values")

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(exchange: Exchange) -> Reply:
            try:
                return await endpoint(exchange)
            except Exception as error:  # noqa: BLE001 - only its format changes
                return self._failure(error, exchange)

        return guarded

    def _failure(self, error: Exception, exchange: Exchange) -> Reply:
        """The reply for an error, in OpenAI's format."""
        reply = self._app.failure(error, exchange)
        status = status_of(error)
        kind = "server_error" if status >= 500 else "invalid_request_error"
        message = parse(reply.body)["error"]
        reply.body = dump(
            {"error": {"message": message, "type": kind, "code": status, "param": None}}
        )
        return reply

    def _whole(
        self, exchange: Exchange, kind: str, choice: Callable[[str], dict[str, Any]]
    ) -> Form:
        def write(result: Any) -> Reply:
            whole = record(result)
            is_whole = isinstance(whole, dict) and "choices" in whole
            choices = whole if is_whole else {"choices": [choice(text_of(result))]}
            return json_reply({**self._head(exchange, kind), **choices})

        return Form(write, join=text_of_all)

    def _stream(
        self,
        exchange: Exchange,
        kind: str,
        piece: Callable[[str], dict[str, Any]],
        last: dict[str, Any],
    ) -> Form:
        head = self._head(exchange, kind)

        def frame(value: Any) -> bytes:
            if isinstance(value := record(value), dict) and "choices" in value:
                return as_event({**head, **value})
            return as_event({**head, "choices": [piece(text_of(value))]})

        ending = as_event({**head, "choices": [last]}) + DONE
        return Form(None, frame, ending, only="streams")

    def _head(self, exchange: Exchange, kind: str) -> dict[str, Any]:
        created, model = int(time.time()), self._app.settings.served_name
        return {"id": exchange.request_id, "object": kind, "created": created, "model": model}


def _read(exchange: Exchange, *, required: str) -> None:
    payload = parse(exchange.body)
    if not isinstance(payload, dict) or required not in payload:
        raise BadRequest(f"{required}: is required")
    exchange.payload = payload


def _vector(values: Any, *, as_text: bool) -> Any:
    if not as_text:
        return values
    numbers = [float(each) for each in values]
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
