"""Requests to a deployed API, and to one that runs on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from gitops_ml.errors import ServerFailed
from gitops_ml.http.client import HttpClient
from gitops_ml.http.deadlines import Limits, Watch
from gitops_ml.http.response import RequestFailed

_LARGEST = 256 << 20
"""Bytes of an answer; a larger prediction belongs in an object store."""


class Unreachable(ServerFailed):
    """There is no such server at this address, as far as can be seen from here."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer of a deployed API, of any status."""

    status: int
    headers: Mapping[str, str]
    """By lower-case names."""
    body: bytes


def post(url: str, *, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
    """The answer to a POST request, of any status.

    Raises:
        Unreachable: no connection, or no HTTP, or a connection that ended.
        ServerFailed: there is no answer in time.
    """
    place = urlsplit(url).netloc
    limits = Limits.from_environ(os.environ)
    # the API may take all of the time, at any rate
    watch = Watch(
        limits, place, "during POST", total=limits.connect + seconds, first=seconds, most=_LARGEST
    ).unrated()
    try:
        answer = HttpClient(os.environ).send(
            "POST", url, headers={"Accept-Encoding": "gzip", **headers}, body=body, watch=watch,
            redirects="none",
        )  # fmt: skip
    except RequestFailed as error:
        if error.gave_up and "bytes" not in error.reason:
            raise ServerFailed(f"{place} did not answer in time ({seconds:g} seconds)") from error
        raise Unreachable(str(error)) from error
    found = answer.headers
    answered = {name.lower(): ", ".join(found.get_all(name, ())) for name in found}
    return HttpAnswer(answer.status, answered, answer.content)


def get(url: str) -> HttpAnswer:
    """The answer to a GET request, of any status.

    Raises:
        ServerFailed: there is no answer.
    """
    place = urlsplit(url).netloc
    watch = Limits.from_environ(os.environ).answer(place, "during GET")
    try:
        answer = HttpClient(os.environ).send("GET", url, watch=watch, redirects="none")
    except RequestFailed as error:
        raise ServerFailed(str(error)) from error
    return HttpAnswer(answer.status, {}, answer.content)


def is_ready(url: str) -> bool:
    """Whether a server on this machine answers with success."""
    try:
        answer = HttpClient({}).send(
            "GET", url, watch=Limits().answer("this machine", "during GET")
        )
    except RequestFailed:
        return False
    return answer.status == 200
