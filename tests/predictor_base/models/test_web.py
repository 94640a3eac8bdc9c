"""Models on a web server: continued, verified, replaced, with credentials for one host only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import pytest

from predictor_base.errors import StoreBusy, StoreError
from predictor_base.models.stores import download
from predictor_base.models.stores.download import fetch_file
from predictor_base.models.stores.store import Store, open_store
from predictor_base.models.stores.web import read_url, without_credentials
from tests.support.http_servers import Handler, HttpServer, listening
from tests.support.model_clients import look_twice, python_client

if TYPE_CHECKING:
    from collections.abc import Iterator


class WebServer(HttpServer):
    """One file with an ETag and ranges; breaks off, refuses or redirects when the test asks for it."""

    def __init__(self) -> None:
        super().__init__(WebHandler)
        self.content = b""
        self.break_off_after: int | None = None
        self.statuses: list[int] = []
        self.redirect: str | None = None
        self.has_ranges = True
        self.has_tag = True
        self.refused_verb = ""
        self.extra: dict[str, str] = {}
        self.requests: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"{super().url}/models/iris.bin"

    @property
    def tag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"'


class WebHandler(Handler):
    server: WebServer

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server = self.server
        server.requests.append({name.lower(): value for name, value in self.headers.items()})
        if self.command == server.refused_verb:
            self.answer(403)
            return
        if server.statuses or server.redirect:
            status = server.statuses.pop(0) if server.statuses else 307
            self.answer(status, headers={"Location": server.redirect or ""})
            return
        if self.headers.get("Range") == "bytes=0-0" and server.has_ranges:
            size = {"Content-Range": f"bytes 0-0/{len(server.content)}", "ETag": server.tag}
            self.answer(206, server.content[:1], headers=size)
            return
        start = self._start()
        self.send_response(206 if start else 200)
        if start:
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(server.content)}")
        if server.has_tag:
            self.send_header("ETag", server.tag)
        for name, value in server.extra.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        if self.command == "GET":
            self._send_body(server.content[start:])

    def _start(self) -> int:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", self.server.tag) == self.server.tag
        return int(wanted[1]) if wanted and same and self.server.has_ranges else 0

    def _send_body(self, body: bytes) -> None:
        if self.server.break_off_after is not None:
            body = body[: self.server.break_off_after]
            self.close_connection = True
        with contextlib.suppress(ConnectionError):  # the client may have had enough
            self.wfile.write(body)


def running() -> Iterator[WebServer]:
    with listening(WebServer()) as server:
        yield server


web = pytest.fixture(running, name="web")
other = pytest.fixture(running, name="other")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def fetch(store: Store, target: Path) -> int:
    """How many bytes had to come."""
    came: list[int] = []
    (file,) = store.list_files()
    fetch_file(store, file, target=target, stop=Event(), count=came.append)
    return sum(came)


def test_a_file_is_a_model_with_one_version_and_is_replaced_live(
    web: WebServer, tmp_path: Path
) -> None:
    class Predictor:
        def load_model(self, model_path: str) -> bytes:
            assert model_path.endswith("/iris.bin")
            return Path(model_path).read_bytes()

    web.content = b"first"
    client = python_client(tmp_path, path=web.url)
    client.load(Predictor())
    try:
        assert client.get_model() == b"first"
        web.content = b"second"
        look_twice(client)
        assert client.get_model() == b"second"
        folders = [each for each in (tmp_path / "disk_cache").iterdir() if each.is_dir()]
        assert len(folders) == 1, "what was replaced is removed"
    finally:
        client.close()


def test_an_interrupted_download_goes_on_by_itself(web: WebServer, tmp_path: Path) -> None:
    web.content = os.urandom(5 << 20)
    web.break_off_after = 2 << 20
    target = tmp_path / "model"
    assert fetch(open_store(web.url), target) == len(web.content)
    assert target.read_bytes() == web.content
    assert [each.get("range") for each in web.requests[1:]] == [
        None,
        f"bytes={2 << 20}-",
        f"bytes={4 << 20}-",
    ]


def test_a_server_without_ranges_sends_all_of_it_again(web: WebServer, tmp_path: Path) -> None:
    web.content = os.urandom(1 << 20)
    web.has_ranges = False
    (tmp_path / "model.part").write_bytes(web.content[:1000])
    target = tmp_path / "model"
    assert fetch(open_store(web.url), target) == len(web.content)
    assert target.read_bytes() == web.content


def test_a_file_that_changes_meanwhile_is_not_mixed(web: WebServer, tmp_path: Path) -> None:
    web.content = b"before"
    store = open_store(web.url)
    (file,) = store.list_files()
    web.content = b"after!"
    with pytest.raises(StoreError, match="changed while it was fetched"):
        fetch_file(store, file, target=tmp_path / "m", stop=Event(), count=lambda _: None)


def test_the_digest_in_the_location_is_what_the_file_must_have(
    web: WebServer, tmp_path: Path
) -> None:
    web.content = b"the model"
    digest = hashlib.sha256(web.content).hexdigest()
    fetch(open_store(f"{web.url}#sha256={digest}"), tmp_path / "good")
    assert (tmp_path / "good").read_bytes() == b"the model"
    web.content = b"something else"
    with pytest.raises(StoreError, match=f"not the expected {digest}"):
        fetch(open_store(f"{web.url}#sha256={digest}"), tmp_path / "bad")
    assert not list(tmp_path.glob("bad*"))


@pytest.mark.parametrize(
    "header",
    [
        {"Repr-Digest": "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"},
        {"Digest": "SHA-256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
        {"X-Goog-Hash": "crc32c=AAAAAA==,md5=AAAAAAAAAAAAAAAAAAAAAA=="},
    ],
)
def test_a_digest_that_the_server_sends_is_checked(
    web: WebServer, tmp_path: Path, header: dict[str, str]
) -> None:
    web.content = b"the model"
    web.extra = header
    with pytest.raises(StoreError, match="not the expected"):
        fetch(open_store(web.url), tmp_path / "m")


def test_a_busy_server_is_asked_again_and_a_refusing_one_is_not(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.content = b"the model"
    store = open_store(web.url)
    (file,) = store.list_files()
    web.statuses = [503, 429]
    fetch_file(store, file, target=tmp_path / "m", stop=Event(), count=lambda _: None)
    web.requests.clear()
    web.statuses = [403]
    with pytest.raises(StoreError, match="403 Forbidden"):
        fetch_file(store, file, target=tmp_path / "n", stop=Event(), count=lambda _: None)
    assert len(web.requests) == 1
    web.statuses = [500] * 9
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    with pytest.raises(StoreBusy, match="500"):
        fetch_file(store, file, target=tmp_path / "o", stop=Event(), count=lambda _: None)


def test_a_full_disk_is_told_and_not_taken_for_a_broken_connection(
    web: WebServer, tmp_path: Path
) -> None:
    web.content = os.urandom(1 << 20)
    store = open_store(web.url)
    (file,) = store.list_files()
    # it takes no bytes, like a full disk
    (tmp_path / "m.part").symlink_to("/dev/full")
    web.requests.clear()
    with pytest.raises(StoreError, match="cannot be written"):
        fetch_file(store, file, target=tmp_path / "m", stop=Event(), count=lambda _: None)
    assert len(web.requests) == 1


def test_closing_gives_a_download_up(web: WebServer, tmp_path: Path) -> None:
    web.content = os.urandom(8 << 20)
    store = open_store(web.url)
    (file,) = store.list_files()
    stop = Event()
    with pytest.raises(StoreBusy, match="stopping"):
        fetch_file(store, file, target=tmp_path / "m", stop=stop, count=lambda _: stop.set())
    assert 0 < (tmp_path / "m.part").stat().st_size < len(web.content), "it can be continued"


def test_another_host_does_not_see_the_credentials_of_the_first(
    web: WebServer, other: WebServer
) -> None:
    other.content = b"the bytes are elsewhere"
    web.redirect = other.url
    with read_url(web.url, offset=0, headers={"Authorization": "Bearer secret"}) as body:
        assert b"".join(body.chunks) == other.content
    assert web.requests[0]["authorization"] == "Bearer secret"
    assert "authorization" not in other.requests[0]


def test_messages_do_not_show_signed_queries_or_passwords(web: WebServer) -> None:
    web.statuses = [403]
    url = web.url.replace("http://", "http://user:secret@") + "?signature=secret"
    assert "secret" not in without_credentials(url)
    with pytest.raises(StoreError) as caught, read_url(f"{web.url}?signature=secret", offset=0):
        pass
    assert "secret" not in str(caught.value)


def test_nobody_listening_is_told() -> None:
    with pytest.raises(StoreBusy, match="Connection refused"):
        open_store("http://127.0.0.1:9/model").list_files()


def test_a_signed_location_is_named_without_its_signature_and_not_as_another() -> None:
    one, other = (open_store(f"https://ann:pw@host/m.bin?file={n}&sig=s3cret") for n in "ab")
    assert one.location.startswith("https://host/m.bin#")
    assert one.location != other.location
    assert "s3cret" not in one.location
    assert open_store("https://host/m.bin").location == "https://host/m.bin"


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_url_that_is_signed_for_get_alone_is_fetched(
    web: WebServer, tmp_path: Path, has_ranges: bool
) -> None:
    web.content, web.refused_verb, web.has_ranges = b"weights", "HEAD", has_ranges
    store = open_store(f"{web.url}?X-Amz-Signature=a")
    (file,) = store.list_files()
    assert file.size == len(web.content)
    target = tmp_path / "model"
    assert fetch(store, target) == len(web.content)
    assert target.read_bytes() == web.content
