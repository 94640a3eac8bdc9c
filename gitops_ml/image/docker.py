"""Build and push images with a Docker engine, through the docker SDK and the classic builder."""

from __future__ import annotations

import os
import re
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from gitops_ml.errors import EngineFailed, GitopsMlError, Refused, UsageError
from gitops_ml.image.builder import BuiltImage
from gitops_ml.oci import tar_entries as tar
from gitops_ml.oci.image_manifest import (
    CONFIG,
    MANIFEST,
    Descriptor,
    Index,
    canonical_json,
    describe,
)
from gitops_ml.oci.layers import Deflated, LayerEntry, archive_parts
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.store import LAYOUT, LAYOUT_TEXT, NAME, blob_path, bytes_source
from gitops_ml.packages.build_settings import build_proxies
from gitops_ml.system.process import FIRST_IMPORT, redacted
from gitops_ml.system.progress import Progress

if TYPE_CHECKING:
    from docker import APIClient

_CONNECT_SECONDS = 20
_TIME = 315532800
"""Of the files of a build: 1980-01-01, the first day in the format of zip files."""
_LAST_LINES = 25
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""The engine colours the stderr of a step."""
_REFUSALS = ("unauthorized", "authentication required", "no basic auth", "denied", "forbidden")
_HOW_TO_START = "start Docker, or point DOCKER_HOST or `docker context use` at an engine that runs"

Message = Mapping[str, Any]
"""One line of the engine's stream."""


class DockerBuilder:
    """Builds and pushes with the Docker engine; connects when something is built or pushed.

    ``environ`` names the engine (``DOCKER_HOST``, else the current docker context), the registry
    credentials (``DOCKER_CONFIG``) and the proxies of the build. ``network`` is the network of the
    build's containers, ``host`` for an index on the loopback.
    """

    def __init__(self, environ: Mapping[str, str], *, network: str | None = None) -> None:
        self._environ = environ
        self._network = network

    def build(
        self, context: Iterable[LayerEntry], image: ImageRef, *, platform: str, progress: Progress
    ) -> str:
        """Build an image, tag it as ``image`` in the local store, and return its id."""
        with self.engine() as engine:
            stream = engine.build(
                fileobj=tar_stream(context),
                custom_context=True,
                tag=f"{image.repository}:{image.tag}",
                platform=platform,
                network_mode=self._network,
                buildargs=dict(build_proxies(self._environ)),
                rm=True,
                # otherwise a failed build leaves its stopped containers
                forcerm=True,
                decode=True,
            )
            found = _last(_watched(stream, progress, what=f"the build of {image}"), "ID")
        if found is None:
            raise EngineFailed("the engine ended the build without naming the image")
        return found

    def push(self, image: ImageRef, *, progress: Progress) -> str:
        """Push the tag and return the digest that the registry gave it."""
        with self.engine() as engine:
            stream = engine.push(image.repository, tag=image.tag, stream=True, decode=True)
            found = _last(_watched(stream, progress, what=f"the push of {image}"), "Digest")
        if found is None:
            raise EngineFailed(f"the engine pushed {image} without reporting its digest")
        return found

    def load(self, built: BuiltImage, image: ImageRef, *, progress: Progress) -> str:
        """Load an image into the local store as ``image``; returns the engine's id of it.

        Raises:
            EngineFailed: no engine answers, or it refused the image.
            UsageError: it is for several platforms.
        """
        if len(built.images) > 1:
            raise UsageError("an engine holds one platform: build for one only")
        with self.engine() as engine:
            # requests sends an iterator piece by piece
            for message in engine.load_image(_archive(built, image)):
                if error := message.get("error"):
                    raise EngineFailed(f"the engine did not load {image}: {error}")
                if text := str(message.get("stream") or "").strip():
                    progress(text)
            return str(engine.inspect_image(f"{image.repository}:{image.tag}")["Id"])

    @contextmanager
    def engine(self) -> Iterator[APIClient]:
        """A client of the engine; its errors become `EngineFailed`."""
        with FIRST_IMPORT:
            import docker

        address = "the default address"
        try:
            parameters = _parameters(self._environ)
            address = str(parameters.get("base_url", address))
            if address.startswith("unix://"):
                # Without an engine the SDK would leave a socket open.
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(_CONNECT_SECONDS)
                    connection.connect(address.removeprefix("unix://"))
            client = docker.APIClient(version="auto", timeout=_CONNECT_SECONDS, **parameters)
        except (docker.errors.DockerException, OSError, ValueError) as error:
            raise EngineFailed(
                f"no Docker engine answers at {address} ({_first_cause(error)}): {_HOW_TO_START}"
            ) from error
        client.timeout = None  # a step of a build may be silent for any time
        client.reload_config(_config_file(self._environ))
        with closing(client):
            try:
                yield client
            except (docker.errors.DockerException, OSError) as error:
                # the SDK lets the errors of its HTTP library through, which are OSErrors
                reason = redacted(str(getattr(error, "explanation", None) or error))
                raise EngineFailed(f"the Docker engine at {address} failed: {reason}") from error


def tar_stream(entries: Iterable[LayerEntry]) -> Iterator[bytes]:
    """The pieces of a tar archive of a build context, in constant memory."""
    for part in archive_parts(entries, epoch=_TIME):
        assert not isinstance(part, Deflated), "a build context has no wheels"
        yield from (part,) if isinstance(part, bytes) else part


def _archive(built: BuiltImage, image: ImageRef) -> Iterator[bytes]:
    """The pieces of an archive as `docker save` writes it, for old and new versions of `docker load`."""
    files = [(blob_path(blob.digest), blob.size, source) for blob, source in built.contents()]
    for name, content in (
        ("index.json", _archive_index(built, image)),
        ("manifest.json", _archive_listing(built, image)),
        (LAYOUT, LAYOUT_TEXT),
    ):
        files.append((name, len(content), bytes_source(content)))
    folders = {""}
    for name, size, source in files:
        yield from tar.folder_headers(name, folders)
        yield tar.header(name, kind=tar.FILE, mode=0o644, size=size)
        yield from source(0)
        yield tar.padding(size)
    yield tar.END


def _archive_index(built: BuiltImage, image: ImageRef) -> bytes:
    annotations = {"io.containerd.image.name": f"{image.repository}:{image.tag}"}
    if image.tag:
        annotations[NAME] = image.tag
    manifest = built.descriptor
    entry = Descriptor(MANIFEST, manifest.digest, manifest.size, annotations)
    return Index(manifests=(entry,)).to_bytes()


def _archive_listing(built: BuiltImage, image: ImageRef) -> bytes:
    (one,) = built.images
    config = describe(one.config, CONFIG)
    listing = {
        "Config": blob_path(config.digest),
        "RepoTags": [f"{image.repository}:{image.tag}"],
        "Layers": [blob_path(layer.descriptor.digest) for layer in one.layers],
    }
    return canonical_json([listing])


def _parameters(environ: Mapping[str, str]) -> dict[str, Any]:
    """Address and TLS of the engine, chosen as the docker command chooses them."""
    from docker.context import ContextAPI
    from docker.utils import kwargs_from_env

    if environ.get("DOCKER_HOST"):
        return dict(kwargs_from_env(environment=dict(environ)))
    name = environ.get("DOCKER_CONTEXT") or None
    context = ContextAPI.get_context(name) if name else ContextAPI.get_current_context()
    if context is None or not context.Host:
        return {"base_url": "unix:///var/run/docker.sock"} if os.name == "posix" else {}
    return {"base_url": context.Host, "tls": context.TLSConfig or False}


def _config_file(environ: Mapping[str, str]) -> str | None:
    if directory := environ.get("DOCKER_CONFIG"):
        return f"{directory}/config.json"
    return None


def _watched(stream: Iterable[Message], progress: Progress, *, what: str) -> Iterator[Message]:
    """The messages of ``stream``, each reported to ``progress`` when it comes."""
    last: deque[str] = deque(maxlen=_LAST_LINES)
    reported: set[tuple[str, str]] = set()
    for message in stream:
        if not isinstance(message, dict):
            raise EngineFailed(
                f"{what} failed: the engine sent {str(message)[:80]!r}, which is not a message"
            )
        if error := message.get("error"):
            raise _failure(str(error).strip(), last, what=what)
        for line in _lines(message, reported):
            last.append(line)
            progress(line)
        yield message


def _lines(message: Message, reported: set[tuple[str, str]]) -> Iterator[str]:
    """The lines of a message to report: each state of a layer once."""
    if text := message.get("stream"):
        yield from (line for line in _COLOUR.sub("", str(text)).splitlines() if line.strip())
    elif status := message.get("status"):
        key = (str(message.get("id", "")), str(status))
        if key not in reported:
            reported.add(key)
            yield f"{key[0]}: {status}" if key[0] else str(status)


def _failure(error: str, last: Iterable[str], *, what: str) -> GitopsMlError:
    if any(word in error.lower() for word in _REFUSALS) and "push" in what:
        return Refused(f"{what} was refused: {error}; `docker login` stores other credentials")
    return EngineFailed("\n".join((f"{what} failed: {error}", *(f"  {line}" for line in last))))


def _last(messages: Iterable[Message], key: str) -> str | None:
    """The last value of ``key`` that the engine reported apart from its texts."""
    found = None
    for message in messages:
        aux = message.get("aux")
        if isinstance(aux, dict):
            found = aux.get(key, found)
    return None if found is None else str(found)


def _first_cause(error: BaseException) -> str:
    """The innermost reason, which is more precise than the HTTP errors around it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return getattr(error, "strerror", None) or str(error)
