"""A request to an API of ours, with whatever answer it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gitops_ml.errors import ServerFailed
from gitops_ml.ports import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONNECT = 10.0


def post(url: str, *, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
    """The answer, whatever its status.

    Raises:
        ServerFailed: there is none; says what to look at.
    """
    import requests

    place = urlsplit(url).netloc
    try:
        response = requests.post(
            url, data=body, headers=dict(headers), timeout=(_CONNECT, seconds),
            allow_redirects=False,
        )  # fmt: skip
    except requests.exceptions.SSLError as error:
        raise ServerFailed(
            f"{place}: the gateway's certificate is not trusted here ({_why(error)}). Where it speaks "
            "plain HTTP or has another address, say so in clusters.<name>.gateway.address"
        ) from error
    except requests.exceptions.ConnectionError as error:
        raise ServerFailed(
            f"{place} cannot be reached: {_why(error)}. Where the gateway has another address from "
            "here, say so in clusters.<name>.gateway.address"
        ) from error
    except requests.RequestException as error:
        raise ServerFailed(f"{place} did not answer in time ({seconds:g} seconds)") from error
    answered = {name.lower(): value for name, value in response.headers.items()}
    return HttpAnswer(response.status_code, answered, response.content)


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
