"""Read forms whose whole body is in memory, with Starlette's parsers."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Coroutine, Sequence
from io import BytesIO
from typing import Any

from starlette.datastructures import FormData, Headers
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser

from predictor_base.errors import BadRequest

_BOUNDARY = re.compile(
    rb";[ \t]*boundary=(?:\"([^\"\\]{1,70})\"|([^;\" \t,]{1,70}))[ \t]*(?:;|\Z)", re.IGNORECASE
)


class WholeParts(MultiPartParser):
    """Starlette's parser, but a file's content is joined once, of the pieces of the body, and not written into it."""

    def __init__(self, content_type: bytes, body: Sequence[bytes]) -> None:
        super().__init__(Headers(raw=[(b"content-type", content_type)]), _pieces(body))
        self.spool_max_size = sum(map(len, body)) + 1  # it is in memory already
        self.has_end = False
        self._content: list[bytes] = []

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            super().on_part_data(data, start, end)
        else:
            self._content.append(data[start:end])  # no copy of a piece that is whole

    def on_part_end(self) -> None:
        upload = self._current_part.file
        if upload is not None:
            content = b"".join(self._content)
            self._content.clear()
            upload.size = len(content)
            upload.file._file = BytesIO(content)  # type: ignore[attr-defined] # shares the content until a write
        super().on_part_end()

    def on_end(self) -> None:
        self.has_end = True


def read_form(content_type: bytes, charset: str, body: Sequence[bytes]) -> FormData:
    """The form in the pieces of a body, which is urlencoded or has parts.

    Raises:
        BadRequest: it cannot be read.
    """
    parser: FormParser | WholeParts
    if content_type.lower().startswith(b"multipart/"):
        # written again from the parsed parts, so that the parser finds nothing else in it
        boundary = _boundary(content_type)
        kind = b'multipart/form-data; boundary="%b"; charset=%b' % (boundary, charset.encode())
        parser = WholeParts(kind, body)
    else:
        parser = FormParser(Headers(raw=[]), _pieces(body))
    try:
        form = _finished(parser.parse())
    except MultiPartException as error:
        raise BadRequest(f"the form cannot be read: {error.message}") from None
    except (KeyError, ValueError) as error:
        raise BadRequest(f"the form cannot be read: {error}") from None
    if isinstance(parser, WholeParts) and not parser.has_end:  # it drops a part that is cut off
        raise BadRequest("the form cannot be read: its last boundary is missing")
    return form


async def _pieces(body: Sequence[bytes]) -> AsyncGenerator[bytes, None]:
    for piece in body:
        yield piece
    yield b""  # the parser's last callback


def _finished(parsing: Coroutine[Any, Any, FormData]) -> FormData:
    """What it returns; it waits for nothing, because the body is in memory."""
    try:
        parsing.send(None)
    except StopIteration as parsed:
        form: FormData = parsed.value
        return form
    raise AssertionError("the parser waits for more than the body")


def _boundary(content_type: bytes) -> bytes:
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise BadRequest(
            "the form cannot be read: content-type has no boundary of up to 70 characters"
        )
    return found[1] or found[2]
