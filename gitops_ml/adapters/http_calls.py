"""A request to an API of ours, with whatever answer it gives."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gitops_ml.adapters.registry_session import ca_bundle
from gitops_ml.core.loopback import is_loopback
from gitops_ml.errors import ServerFailed
from gitops_ml.ports import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

_CONNECT = 10.0
_PIECE = 1 << 16
_LARGEST = 256 << 20
"""Bytes of an answer; a prediction that is larger belongs into a store of objects."""


def post(url: str, *, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
    """The answer, whatever its status.

    Raises:
        ServerFailed: there is no answer; says what to look at.
    """
    import requests

    place = urlsplit(url).netloc
    end = time.monotonic() + _CONNECT + seconds
    too_late = ServerFailed(f"{place} did not answer in time ({seconds:g} seconds)")
    try:
        with requests.Session() as client:
            # An authentication of our own keeps the library from sending what ~/.netrc has.
            client.auth = lambda request: request
            # a proxy has no business between us and ourselves
            client.trust_env = not is_loopback(place)
            response = client.post(
                url, data=body, headers=dict(headers), timeout=(_CONNECT, seconds),
                allow_redirects=False, stream=True, verify=ca_bundle(os.environ) or True,
            )  # fmt: skip
            content = _content(response, place, end, too_late)
    except requests.exceptions.SSLError as error:
        raise ServerFailed(
            f"{place}: the gateway's certificate is not trusted here ({_why(error)}): name the CA "
            "bundle in GITOPS_ML_CA_BUNDLE. Where the gateway speaks plain HTTP or has another "
            "address, say so in clusters.<name>.gateway.address"
        ) from error
    except requests.exceptions.ReadTimeout as error:
        raise too_late from error
    except requests.exceptions.ConnectionError as error:
        raise ServerFailed(
            f"{place} cannot be reached: {_why(error)}. Where the gateway has another address from "
            "here, say so in clusters.<name>.gateway.address"
        ) from error
    except requests.RequestException as error:
        raise ServerFailed(f"{place} cannot be asked: {_why(error)}") from error
    answered = {name.lower(): value for name, value in response.headers.items()}
    return HttpAnswer(response.status_code, answered, content)


def _content(response: requests.Response, place: str, end: float, too_late: ServerFailed) -> bytes:
    """The body of an answer, as far as it comes in time and is not too large."""
    import requests

    content = bytearray()
    try:
        for piece in response.iter_content(_PIECE):
            content += piece
            if len(content) > _LARGEST:
                raise ServerFailed(f"{place} answered with more than {_LARGEST >> 20} MiB")
            if time.monotonic() > end:
                raise too_late
    except requests.RequestException as error:
        raise ServerFailed(f"{place} broke off in its answer: {_why(error)}") from error
    return bytes(content)


def is_ready(url: str) -> bool:
    """Whether a server on this machine answers, and with success."""
    import requests

    with requests.Session() as session:
        session.trust_env = False  # a proxy has no business between us and ourselves
        try:
            return session.get(url, timeout=_CONNECT).status_code == 200
        except requests.RequestException:
            return False


def _why(error: Exception) -> str:
    """The innermost reason, which says it in the fewest words."""
    reason: object = error
    while inner := getattr(reason, "reason", None) or next(
        (each for each in getattr(reason, "args", ()) if isinstance(each, Exception)), None
    ):
        reason = inner
    return str(reason).rpartition("object at ")[2].partition(">: ")[2] or str(reason)
