"""TensorFlow Serving's REST interface: predictions, the state of versions, signatures.

https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote

import orjson

from predictor_base.errors import BadRequest, LoadFailed, StoreBusy, UnknownModel

_TIMEOUT = 300.0
"""Seconds that a prediction may take, as in Cortex."""
_POLL = 0.25


class ServingRest:
    """One connection per thread, kept open between requests."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._local = threading.local()
        self._connections: list[HTTPConnection] = []

    def predict(
        self, name: str, number: int | None, *, signature: str, inputs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The outputs by name, shaped as the tensors are."""
        body = orjson.dumps(
            {"signature_name": signature, "inputs": inputs},
            default=_plain,
            option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS,
        )
        status, answer = self._ask("POST", f"{_path(name, number)}:predict", body)
        if status == 404:
            raise UnknownModel(f"{name} version {number or 'latest'}", self._served(name))
        if status != 200:
            message = answer.get("error", f"TensorFlow Serving answered {status}")
            raise (BadRequest if status == 400 else LoadFailed)(f"{name}: {message}")
        outputs = _decoded(answer["outputs"])
        if isinstance(outputs, dict):
            return outputs
        # a model with one output answers with the tensor itself
        only = next(iter(self.signatures(name, number)[signature]["outputs"]))
        return {only: outputs}

    def signatures(self, name: str, number: int | None) -> dict[str, Any]:
        """The model's signatures by name."""
        status, answer = self._ask("GET", f"{_path(name, number)}/metadata")
        if status != 200:
            raise UnknownModel(f"{name} version {number or 'latest'}", self._served(name))
        found: dict[str, Any] = answer["metadata"]["signature_def"]["signature_def"]
        return found

    def available_versions(self, name: str) -> tuple[int, ...]:
        """The versions that are available now."""
        return tuple(
            sorted(number for number, state, _ in self._states(name) if state == "AVAILABLE")
        )

    def wait_until_available(
        self, name: str, number: int | None, *, seconds: float, stop: threading.Event
    ) -> None:
        """Wait until this version, or any if None, is available."""
        deadline = time.monotonic() + seconds
        while True:
            problem = self._problem(name, number)
            if problem is None:
                return
            if time.monotonic() > deadline or stop.wait(_POLL):
                raise LoadFailed(f"{name}: {problem}")

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def _problem(self, name: str, number: int | None) -> str | None:
        """Why this version is not available yet; None if it is."""
        try:
            states = [each for each in self._states(name) if number in (None, each[0])]
        except StoreBusy as error:
            return str(error)
        if any(state == "AVAILABLE" for _, state, _ in states):
            return None
        failed = [message for _, state, message in states if state == "END" and message]
        if failed:
            raise LoadFailed(f"{name}: TensorFlow Serving could not load it: {failed[0]}")
        return f"TensorFlow Serving at {self._address} has not loaded it in time"

    def _states(self, name: str) -> list[tuple[int, str, str]]:
        status, answer = self._ask("GET", _path(name, None))
        if status != 200:
            return []
        return [
            (int(each["version"]), each["state"], each.get("status", {}).get("error_message", ""))
            for each in answer.get("model_version_status", ())
        ]

    def _served(self, name: str) -> list[str]:
        return [str(number) for number in self.available_versions(name)]

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            connection, is_used = self._connection()
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
            except (OSError, HTTPException):
                # the server may have closed an idle connection, which is not a failure
                connection.close()
                if not is_used:
                    raise
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
            return answer.status, _parsed(answer.read())
        except (OSError, HTTPException) as error:
            raise StoreBusy(f"TensorFlow Serving at {self._address}: {error}") from error

    def _connection(self) -> tuple[HTTPConnection, bool]:
        found: HTTPConnection | None = getattr(self._local, "connection", None)
        if found is not None:
            return found, found.sock is not None
        self._local.connection = HTTPConnection(self._address, timeout=_TIMEOUT)
        self._connections.append(self._local.connection)
        return self._local.connection, False


def _path(name: str, number: int | None) -> str:
    version = "" if number is None else f"/versions/{number}"
    return f"/v1/models/{quote(name, safe='')}{version}"


def _plain(value: Any) -> Any:
    """Convert a value that JSON cannot hold to what TensorFlow Serving accepts."""
    if isinstance(value, bytes | bytearray | memoryview):
        import base64

        return {"b64": base64.b64encode(value).decode("ascii")}
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be part of a tensor")


def _decoded(value: Any) -> Any:
    """The outputs, with binary strings as bytes."""
    if isinstance(value, list):
        is_plain = not value or isinstance(value[0], int | float)
        return value if is_plain else [_decoded(each) for each in value]
    if isinstance(value, dict):
        if value.keys() == {"b64"}:
            import base64

            return base64.b64decode(value["b64"])
        return {key: _decoded(each) for key, each in value.items()}
    return value


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except ValueError:
        # TensorFlow Serving writes NaN and Infinity, which only the standard library reads
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = {"error": body[:200].decode("utf-8", "replace")}
    return parsed if isinstance(parsed, dict) else {"error": str(parsed)[:200]}
