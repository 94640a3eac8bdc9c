"""Certificate authorities, the policy for retries, and the reason of a failed request."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.errors import ServerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gitops_ml.http.deadlines import Watch

_CA_BUNDLES = ("GITOPS_ML_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def ca_bundle(environ: Mapping[str, str]) -> str | None:
    """The file of CAs that the user names for all requests.

    Raises:
        ServerFailed: the file does not exist.
    """
    name = next((name for name in _CA_BUNDLES if environ.get(name)), None)
    if name is None:
        return None
    if not Path(environ[name]).is_file():
        raise ServerFailed(f"{environ[name]}, the CA bundle of {name}, is not a file")
    return environ[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often to send a request again, and how long to wait in between."""

    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 120.0
    """Give up if Retry-After exceeds this."""
    sleep: Callable[[float], None] = field(default=time.sleep)

    def wait(self, attempt: int, asked_for: float | None, *, watch: Watch | None = None) -> None:
        """Wait after the failure of ``attempt``, counted from 0; ``watch`` counts the time."""
        import random

        own = self.first_wait * 2**attempt * (0.5 + random.random())  # noqa: S311 - no secret
        seconds = min(self.longest_wait, own if asked_for is None else max(asked_for, 0))
        if watch is not None:
            watch.wait(seconds)
        self.sleep(seconds)

    def hasty(self) -> RetryPolicy:
        """For a lookup that a person waits for."""
        return replace(self, attempts=min(3, self.attempts), longest_wait=5.0,
                       first_wait=min(0.2, self.first_wait))  # fmt: skip


def retry_after(text: str) -> float | None:
    """The seconds that a ``Retry-After`` asks for; it may also name a time of day."""
    if text.strip().isdecimal():
        return float(text)
    if not text:
        return None
    import email.utils

    with suppress(ValueError, TypeError, OverflowError):
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    return None


def innermost(error: BaseException) -> BaseException:
    """The first cause of an error that libraries wrapped, which states the reason best."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error
