"""Forms are what Starlette's own parser makes of them, in pieces of any size and cut anywhere."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser

from predictor_base.errors import BadRequest
from predictor_base.http.payload import decode
from tests.support.exchanges import exchange_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

KIND = b'multipart/form-data; boundary="xx"; charset=%b'
URLENCODED = b"application/x-www-form-urlencoded"
WHOLE = 2**30
"""A piece that is larger than each body here."""
NO_END = "the form cannot be read: its last boundary is missing"

NAMES = ("a", "é", "a b", 'a"b', "a;b", "a\\b", "", "C:\\x\\y.png", "\\\\host\\y", "=?utf-8?q?x?=")
PIECES = (
    *(b"\r\n--xx", b"\r\n--x", b"\r\n--xxy", b"\r\n--xx-", b"\r\n--xx\r", b"--xx", b"\r\n--xx--y"),
    *(b"\r\n", b"\r", b"\n", b"\n--xx\n", b"--", b"-", b"a", b"\xff", "é".encode(), b"\0" * 40),
)
LINES = (
    *(b"Content-Type: image/png", b"content-type:text/plain", b"X-A: \t b ", b"X: 1", b"X: 2"),
    *(b" folded", b"\tfolded", b"no colon", b": no name", b"X :space", b"X\x01: y", b"X: \xff\x01"),
    *(b'Content-Disposition: form-data; name="b"', b"X: " + b"y" * 4300, b"X: a\rb", b"X: a\nb"),
    *(b"Content-Transfer-Encoding: base64", b"Content-Disposition: form-data; filename*=UTF-8''z"),
)
FORM = (
    b'--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--xx\r\n'
    b'content-disposition: form-data; name="f"; filename="x.png"\r\nContent-Type: image/png\r\n\r\n'
    b"\r\n--x\r\n--xxy\0\r\n--xx--\r\nafter"
)


def dispositions() -> st.SearchStrategy[bytes]:
    name = st.sampled_from(NAMES) | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]))
    quoted = name.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
    written = quoted | name
    head = st.sampled_from(["Content-Disposition", "content-DISPOSITION", "Content-Disposition "])
    option = st.sampled_from(["; name=", "; filename=", ";NAME = ", "; filename*=", "; x=", ";;"])
    few = st.lists(st.builds(str.__add__, option, written), max_size=2).map("".join)
    named = st.builds(lambda a, b: f"; name={a}{b}", written, few)
    text = st.builds(lambda a, b: f"{a}: form-data{b}", head, named | named | few)
    return text.map(lambda text: text.encode())


def parts() -> st.SearchStrategy[bytes]:
    delimiter = st.sampled_from([b"--xx", b"--xx", b"--xx", b"--xx ", b"--xx\t ", b"--xxy", b"-xx"])
    lines = st.lists(st.sampled_from(LINES), max_size=3) | st.just([b"X: y"] * 9)
    content = st.lists(st.sampled_from(PIECES) | st.binary(max_size=5), max_size=6).map(b"".join)

    def part(start: bytes, first: bytes, more: list[bytes], data: bytes, end: bytes) -> bytes:
        return end.join([start, first, *more, b"", data, b""])

    ends = st.sampled_from([b"\r\n"] * 9 + [b"\n"])
    return st.builds(part, delimiter, dispositions(), lines, content, ends)


def bodies() -> st.SearchStrategy[bytes]:
    start = st.sampled_from([b"", b"", b"\r\n", b"\r\n\n", b"\r\npreamble\r\n", b"preamble\r\n"])
    end = st.sampled_from([b"--xx--", b"--xx--\r\n", b"--xx--epilogue\r\n--xx\r\n", b"--xx-", b""])
    some = st.lists(parts(), max_size=4).map(b"".join)
    whole = st.builds(lambda a, b, c: a + b + c, start, some, end)
    cut = st.builds(lambda body, share: body[: int(len(body) * share)], whole, st.floats(0, 1))
    return whole | whole | cut


async def in_one_piece(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
    yield b""


def of_starlette(body: bytes, charset: str) -> object:
    """The content of the form, or the reason that there is none, as of the library alone."""
    headers = Headers(raw=[(b"content-type", KIND % charset.encode())])
    parser = MultiPartParser(headers, in_one_piece(body))
    ends: list[bool] = []
    parser.on_end = lambda: ends.append(True)  # type: ignore[method-assign]
    try:
        form = asyncio.run(parser.parse())
    except MultiPartException as error:
        return f"the form cannot be read: {error.message}"
    # The one difference: the library returns a form that is cut off without its last part.
    return content(form) if ends else NO_END


def of_ours(body: bytes, kind: bytes, *, piece: int) -> object:
    try:
        return content(form_in(body, kind, piece=piece))
    except BadRequest as error:
        return str(error)


def form_in(body: bytes, kind: bytes, *, piece: int = WHOLE) -> FormData:
    form: FormData = decode(kind, exchange_of(body, piece=piece))
    return form


def content(form: FormData) -> list[object]:
    assert type(form) is FormData
    return [(name, value_of(value)) for name, value in form.multi_items()]


def value_of(value: str | UploadFile) -> object:
    if isinstance(value, str):
        return value
    facts = value.filename, value.size, value.headers.raw, value.content_type
    return type(value), type(value.file), value.file.tell(), *facts, value.file.read()


@given(bodies(), st.sampled_from(["utf-8", "latin-1", "utf-16"]), st.integers(1, 90) | st.none())
def test_a_form_is_what_starlette_makes_of_it(body: bytes, charset: str, piece: int | None) -> None:
    if piece is None or b"preamble" in body:  # the library skips it where one piece has all of it
        piece = WHOLE
    assert of_ours(body, KIND % charset.encode(), piece=piece) == of_starlette(body, charset)


@pytest.mark.parametrize("piece", [1, 7, WHOLE])
def test_a_form_that_is_cut_anywhere_is_what_starlette_makes_of_it(piece: int) -> None:
    found = [of_ours(FORM[:end], KIND % b"utf-8", piece=piece) for end in range(len(FORM) + 1)]
    assert found == [of_starlette(FORM[:end], "utf-8") for end in range(len(FORM) + 1)]
    assert NO_END in found
    assert isinstance(found[-1], list)


@given(
    st.lists(st.sampled_from([b"a=1", b"&", b"=", b"+", b"%41", b"%", b";", b"\xff", b"b"])).map(
        b"".join
    ),
    st.integers(1, 9),
)
def test_an_urlencoded_form_is_what_starlette_makes_of_it(body: bytes, piece: int) -> None:
    parser = FormParser(Headers(raw=[]), in_one_piece(body))
    assert of_ours(body, URLENCODED, piece=piece) == content(asyncio.run(parser.parse()))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"--xx\r\nA: b\r\n\r\n1\r\n--xx--", 'header field "name" must be provided'),
        (b'--xx\r\nContent-Disposition: a; name="a"\r\n\r\n1\r\n' * 1001, "Too many fields"),
        (
            b'--xx\r\nContent-Disposition: a; name="a"; filename="f"\r\n\r\n1\r\n' * 1001,
            "Too many files",
        ),
        (b'--xx\r\nContent-Disposition: a; name="a"\r\n\r\n' + bytes(2**20 + 1), "Part exceeded"),
        (b"--xx\r\n" + b"A: b\r\n" * 9, "Invalid multipart data"),
    ],
)
def test_a_form_beyond_a_limit_is_refused_for_the_same_reason(body: bytes, reason: str) -> None:
    body += b"\r\n--xx--\r\n"
    ours = of_ours(body, KIND % b"utf-8", piece=WHOLE)
    assert ours == of_starlette(body, "utf-8")
    assert reason in str(ours)


USES: dict[str, Callable[[UploadFile], Any]] = {
    "read in parts": lambda each: [each.file.read(3), each.file.tell(), each.file.read()],
    "seek": lambda each: [each.file.seek(-2, io.SEEK_END), each.file.read()],
    "lines": lambda each: list(each.file),
    "into a buffer": lambda each: each.file.readinto(bytearray(4)),  # type: ignore[attr-defined]
    "write": lambda each: [each.file.write(b"new"), each.file.seek(0), each.file.read()],
    "write at the end": lambda each: [
        *(each.file.seek(0, 2), each.file.write(b"x" * 9_999), each.file.seek(0)),
        each.file.read(),
    ],
    "truncate": lambda each: [each.file.truncate(2), each.file.read()],
    "a real file": lambda each: each.file.fileno() > 2 and each.file.read(),
    "roll over": lambda each: [each.file.rollover(), each.file.read()],  # type: ignore[attr-defined]
    "await read": lambda each: asyncio.run(each.read(4)),
    "await seek": lambda each: [asyncio.run(each.seek(3)), asyncio.run(each.read())],
    "await write": lambda each: [asyncio.run(each.write(b"new")), each.size, each.file.read()],
    "a wrapper": lambda each: io.TextIOWrapper(each.file, "latin-1").read(),
    "text": repr,
    "close": lambda each: [asyncio.run(each.close()), each.file.closed],
}


@pytest.mark.parametrize("use", USES)
def test_a_file_of_a_form_is_used_as_one_of_starlette(use: str) -> None:
    headers = Headers(raw=[(b"content-type", KIND % b"utf-8")])
    theirs = asyncio.run(MultiPartParser(headers, in_one_piece(FORM)).parse())
    ours = form_in(FORM, KIND % b"utf-8")
    with theirs["f"].file, ours["f"].file:  # type: ignore[union-attr]
        assert USES[use](ours["f"]) == USES[use](theirs["f"])  # type: ignore[arg-type]


def test_the_content_of_a_file_is_not_copied_again_when_it_is_read() -> None:
    (file,) = form_in(
        b'--xx\r\nContent-Disposition: a; name="a"; filename="f"\r\n\r\n%b\r\n--xx--' % bytes(5000),
        KIND % b"utf-8",
    ).values()
    first = file.file.read()
    file.file.seek(0)
    assert file.file.read() is first
    file.file.close()
