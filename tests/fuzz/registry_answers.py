"""What a registry answers: manifests, configs, challenges, and anything that is no HTTP at all.

The first byte of an input chooses what is asked; the rest are documents or raw answers, one after the
other, divided by `DIVIDER`. ``{host}`` in an answer is the server's own address.
"""

from __future__ import annotations

import atexit
import shutil
import socket
import tempfile
import threading
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.errors import GitopsMlError
from gitops_ml.http.response import RetryPolicy
from gitops_ml.image.contents import image_contents, open_image
from gitops_ml.oci.image_manifest import (
    BadManifest,
    Descriptor,
    ImageManifest,
    Platform,
    digest_of,
    parse_config,
)
from gitops_ml.oci.image_manifest import parse_manifest as read_manifest
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.oci.registry_session import RegistrySession
from tests.fuzz.bounds import bounded

if TYPE_CHECKING:
    from collections.abc import Callable

DIVIDER = b"\n----\n"
MANIFEST, CONFIG, FIND, HEAD, OPEN, BLOB, PUSH = range(7)


def one_input(data: bytes) -> None:
    """Read documents of a registry, or ask one that answers ``data``."""
    kind, rest = (data[0] % 7, data[1:]) if data else (MANIFEST, b"")
    parts = rest.split(DIVIDER)
    with bounded(data):
        if kind == MANIFEST:
            _manifest(rest)
        elif kind == CONFIG:
            _config(parts[0], parts[-1])
        else:
            _ask(_CALLS[kind], parts)


def _manifest(text: bytes) -> None:
    try:
        found = read_manifest(text)
    except BadManifest as error:
        assert str(error)
        return
    again = found.to_bytes()
    assert read_manifest(again) == found
    assert read_manifest(again).to_bytes() == again


def _config(config: bytes, manifest: bytes) -> None:
    try:
        found = parse_config(config)
        assert str(found.platform) is not None and isinstance(found.environ, dict)
        read = read_manifest(manifest)
        if isinstance(read, ImageManifest):
            image_contents(read, config)
    except BadManifest as error:
        assert str(error)


def _ask(call: Callable[[OciRegistry, str], None], answers: list[bytes]) -> None:
    server = _server()
    registry = OciRegistry(RegistrySession(_environ(), patience=_IMPATIENT))
    server.answers = [each.replace(b"{host}", server.host.encode()) for each in answers]
    try:
        call(registry, server.host)
    except GitopsMlError as error:
        assert str(error)


def _find(registry: OciRegistry, host: str) -> None:
    found = registry.find(ImageRef(f"{host}/x/y", tag="t"))
    assert found is None or digest_of(found[0]) == found[1].digest


def _head(registry: OciRegistry, host: str) -> None:
    found = registry.head(ImageRef(f"{host}/x/y", tag="t"))
    assert found is None or found.size >= 0


def _open(registry: OciRegistry, host: str) -> None:
    image = ImageRef(f"{host}/x/y", tag="t")
    found = open_image(registry, image)
    assert found.contents.size >= 0
    registry.image_manifest(image, Platform("linux", "amd64"))


def _blob(registry: OciRegistry, host: str) -> None:
    wanted = b"the blob"
    descriptor = Descriptor("application/octet-stream", digest_of(wanted), len(wanted))
    assert registry.blob(f"{host}/x/y", descriptor) == wanted


def _push(registry: OciRegistry, host: str) -> None:
    content = b"{}"
    descriptor = Descriptor("application/octet-stream", digest_of(content), len(content))
    registry.push_blob(
        f"{host}/x/y", descriptor, lambda at: iter([content[at:]]), progress=lambda line: None
    )


_CALLS = {FIND: _find, HEAD: _head, OPEN: _open, BLOB: _blob, PUSH: _push}
_IMPATIENT = RetryPolicy(attempts=2, sleep=lambda seconds: None)


@cache
def _environ() -> dict[str, str]:
    """No credentials, and a way out that leads nowhere: an answer may name any address."""
    home = tempfile.mkdtemp(prefix="fuzz-home-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    nowhere = "http://127.0.0.1:9"
    return {"HOME": home, "HTTPS_PROXY": nowhere, "HTTP_PROXY": nowhere, "PATH": str(Path(home))}


class _Server:
    """Answers each request with the next of ``answers`` and closes; then only closes."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with closing(connection), suppress(OSError):
                connection.settimeout(60)
                connection.recv(1 << 16)
                connection.sendall(self.answers.pop(0) if self.answers else b"")


@cache
def _server() -> _Server:
    return _Server()
