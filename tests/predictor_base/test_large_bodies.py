"""A large body is received whole, however it is cut, and its memory is used again for the next one."""

from __future__ import annotations

import ctypes
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.predictor_server import Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = """
    import os, hashlib

    class PythonPredictor:
        def predict(self, payload):
            if not isinstance(payload, bytes):
                payload = payload["image"].file.read()
            return {"sha256": hashlib.sha256(payload).hexdigest(), "pid": os.getpid()}
"""
BODY = os.urandom(2**22)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("large"), SOURCE) as found:
        yield found


def faults(pid: int) -> int:
    """The pages that a process has had to get from the kernel."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[7])


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc's")
@pytest.mark.parametrize("kind", ["bytes", "multipart"])
def test_the_memory_of_a_body_is_kept_for_the_next_one(server: Server, kind: str) -> None:
    content = {"content": BODY} if kind == "bytes" else {"files": {"image": ("x.png", BODY)}}

    def ask() -> int:
        return int(server.client.post("/predict", **content).raise_for_status().json()["pid"])

    for _ in range(30):
        pid = ask()
    before = faults(pid)
    for _ in range(30):
        ask()
    assert (faults(pid) - before) / 30 < 300  # it has 1024 pages, and was copied several times


@pytest.mark.parametrize("part", [1, 50_000])
def test_a_body_that_comes_in_small_parts_is_whole(server: Server, part: int) -> None:
    import hashlib

    body = BODY[: 7000 * part] if part == 1 else BODY
    chunks = [
        b"%x\r\n%b\r\n" % (len(piece), piece)
        for piece in (body[start : start + part] for start in range(0, len(body), part))
    ]
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(head)
        for chunk in chunks:
            client.sendall(chunk)
        client.sendall(b"0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert hashlib.sha256(body).hexdigest().encode() in answer
