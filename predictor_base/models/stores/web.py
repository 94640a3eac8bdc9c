"""A model that is one file on a web server: `https://host/model.onnx#sha256=…`.

Only the standard library is used; its environment variables set proxies and CA bundles.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from email.message import Message
from http.client import HTTPException, HTTPResponse
from typing import IO, Any

from predictor_base.errors import StartFailure, StoreBusy, StoreError
from predictor_base.models.stores.store import Body, Checksum, RemoteStore, StoredFile

_TIMEOUT = 60.0
_CHUNK = 1 << 20
_BUSY = {408, 425, 429, 500, 502, 503, 504}


class WebFile(RemoteStore):
    def __init__(self, location: str) -> None:
        self._url, _, fragment = location.partition("#")
        digest = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
        if fragment and not digest:
            raise StartFailure(
                f"{without_credentials(location)}: only sha256=<64 hexadecimal digits> is allowed after #"
            )
        super().__init__(_name(self._url))
        self._checksum = Checksum("sha256", digest[1].lower()) if digest else None

    def _files(self) -> tuple[StoredFile]:
        try:
            with open_url(self._url, method="HEAD") as answer:
                return (self._described(answer),)
        except StoreBusy:
            raise
        except StoreError:  # a signed URL may be valid for GET only
            with open_url(self._url, headers={"Range": "bytes=0-0"}) as answer:
                return (self._described(answer),)

    def _described(self, answer: HTTPResponse) -> StoredFile:
        size = answer.headers.get("Content-Length")
        if answer.status == 206:
            size = answer.headers.get("Content-Range", "").rpartition("/")[2]
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or size or ""
        return StoredFile("", int(size) if size and size.isdigit() else None, tag, self._checksum)

    def read(self, file: StoredFile, offset: int) -> AbstractContextManager[Body]:
        return read_url(self._url, offset=offset, tag=file.tag)


@contextmanager
def read_url(
    url: str, *, offset: int, tag: str | None = None, headers: Mapping[str, str] | None = None
) -> Iterator[Body]:
    """The bytes behind a URL from this offset on, or from 0 where the server cannot continue."""
    wanted = {"Accept-Encoding": "identity", **(headers or {})}
    if offset:
        wanted["Range"] = f"bytes={offset}-"
        if tag and not tag.startswith("W/"):  # a weak ETag does not guarantee the same bytes
            wanted["If-Range"] = tag
    with open_url(url, headers=wanted) as answer:
        if tag and (answer.headers.get("ETag") or tag) != tag:
            raise StoreError(f"{without_credentials(url)}: changed while it was fetched")
        start = _start_of(answer) if answer.status == 206 else 0
        if start not in (0, offset):
            raise StoreError(
                f"{without_credentials(url)}: requested byte {offset}, received byte {start}"
            )
        yield Body(start, _chunks(answer), _checksum(answer.headers))


@contextmanager
def open_url(
    url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Iterator[HTTPResponse]:
    """The answer to this request, if it is a success; StoreBusy where a retry may help."""
    named = without_credentials(url)
    try:
        # open_store chooses this module for http and https only
        request = urllib.request.Request(url, headers=dict(headers or {}), method=method)  # noqa: S310
        with _opener().open(request, timeout=_TIMEOUT) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        with error:
            kind = StoreBusy if error.code in _BUSY else StoreError
            raise kind(f"{named}: {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
            raise StoreError(f"{named}: {error}") from error
        raise StoreBusy(f"{named}: {error or type(error).__name__}") from error


def without_credentials(url: str) -> str:
    """The URL without query and password, which are secrets."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rsplit("@", 1)[-1]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))


def _name(url: str) -> str:
    """A name for a URL that is safe to log; URLs with different secrets have different names."""
    shown = without_credentials(url)
    return shown if shown == url else f"{shown}#{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def _chunks(answer: HTTPResponse) -> Iterator[bytes]:
    while chunk := answer.read(_CHUNK):
        yield chunk
    # http.client does not report a short body that is read in chunks
    if answer.length:
        raise StoreBusy(f"{without_credentials(answer.url)}: {answer.length} bytes are missing")


def _start_of(answer: HTTPResponse) -> int:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else 0


def _checksum(headers: Message) -> Checksum | None:
    """The digest of the whole file, from the headers of servers and object stores."""
    digests = ", ".join([*headers.get_all("Repr-Digest", []), *headers.get_all("Digest", [])])
    if found := re.search(r"(?i)sha-256=:?([A-Za-z0-9+/]{43}=)", digests):
        return Checksum.from_base64("sha256", found[1])
    if found := re.search(r"md5=([A-Za-z0-9+/]{22}==)", headers.get("X-Goog-Hash", "")):
        return Checksum.from_base64("md5", found[1])
    return None


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, and send credentials only to their own host."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is None:
            return None
        following.method = req.get_method()
        if _origin(newurl) != _origin(req.full_url):
            following.remove_header("Authorization")
        return following


def _origin(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.build_opener(_SafeRedirects)
    opener.addheaders = [("User-Agent", "predictor-base")]
    return opener
