"""A POST request to a deployed API, with the answer of any status."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gitops_ml.errors import ServerFailed
from gitops_ml.http.deadlines import Limits, Watch, gave_up, watching
from gitops_ml.http.retry import ca_bundle
from gitops_ml.http.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

_PLAIN = {"Accept-Encoding": "gzip"}
_LARGEST = 256 << 20
"""Bytes of an answer; a larger prediction belongs in an object store."""


def post(url: str, *, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
    """The answer, whatever its status.

    Raises:
        ServerFailed: there is no answer; the message names the remedy.
    """
    import requests
    from urllib3.exceptions import HTTPError

    place = urlsplit(url).netloc
    limits = Limits.from_environ(os.environ)
    # the API may take all of the time, at any rate
    watch = Watch(
        limits, place, "during POST", total=limits.connect + seconds, first=seconds, most=_LARGEST
    ).unrated()
    too_late = ServerFailed(f"{place} did not answer in time ({seconds:g} seconds)")
    try:
        with _session() as client, watching(watch):
            # no proxy for this machine
            client.trust_env = not is_loopback(place)
            response = client.post(
                url, data=body, headers={**_PLAIN, **headers}, timeout=(limits.connect, seconds),
                stream=True, verify=ca_bundle(os.environ) or True,
            )  # fmt: skip
            content = _content(response, place, too_late)
    except requests.exceptions.SSLError as error:
        raise ServerFailed(
            f"{place}: the gateway's certificate is not trusted here ({_why(error)}): name the CA "
            "bundle in GITOPS_ML_CA_BUNDLE. If the gateway uses plain HTTP or has another "
            "address, set clusters.<name>.gateway.address"
        ) from error
    except requests.exceptions.ReadTimeout as error:
        raise _given_up(error, too_late) from error
    except requests.exceptions.ConnectionError as error:
        if gave_up(error):
            raise _given_up(error, too_late) from error
        raise ServerFailed(
            f"{place} cannot be reached: {_why(error)}. If the gateway has another address from "
            "here, set clusters.<name>.gateway.address"
        ) from error
    except (requests.RequestException, HTTPError, UnicodeError) as error:
        raise ServerFailed(f"{place} did not answer: {_why(error)}") from error
    answered = {name.lower(): value for name, value in response.headers.items()}
    return HttpAnswer(response.status_code, answered, content)


def _session() -> requests.Session:
    from gitops_ml.http.watched_urllib3 import WatchedSession

    client = WatchedSession()
    # With an own `auth`, the library does not send the logins of ~/.netrc.
    client.auth = lambda request: request
    return client


def _content(response: requests.Response, place: str, too_late: ServerFailed) -> bytes:
    """The body of an answer, if it comes in time and is not too large."""
    from urllib3.exceptions import HTTPError

    from gitops_ml.http.watched_urllib3 import BadEncoding, read_body

    try:
        return read_body(response.raw, most=_LARGEST)
    except BadEncoding as error:
        raise ServerFailed(f"{place} answered with a body that cannot be read: {error}") from error
    except (HTTPError, OSError) as error:
        if gave_up(error):
            raise _given_up(error, too_late) from error
        raise ServerFailed(
            f"{place} closed the connection during its answer: {_why(error)}"
        ) from error


def _given_up(error: Exception, too_late: ServerFailed) -> ServerFailed:
    given_up = gave_up(error)
    return ServerFailed(str(given_up)) if given_up and "bytes" in str(given_up) else too_late


def is_ready(url: str) -> bool:
    """Whether a server on this machine answers with success."""
    import requests
    from urllib3.exceptions import HTTPError

    with _session() as session, watching(Limits().answer("this machine", "during GET")):
        session.trust_env = False  # no proxy for this machine
        try:
            with session.get(url, stream=True) as response:
                return response.status_code == 200
        except (requests.RequestException, HTTPError):
            return False


def _why(error: Exception) -> str:
    """The innermost reason, which is the shortest."""
    reason: object = error
    while inner := getattr(reason, "reason", None) or next(
        (each for each in getattr(reason, "args", ()) if isinstance(each, Exception)), None
    ):
        reason = inner
    return str(reason).rpartition("object at ")[2].partition(">: ")[2] or str(reason)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer of a deployed API, of any status."""

    status: int
    headers: Mapping[str, str]
    """By lower-case names."""
    body: bytes
