"""Models in Google Cloud Storage, through Google's own library.

Credentials are found as every Google client finds them (workload identity,
GOOGLE_APPLICATION_CREDENTIALS, metadata server); without credentials, requests are anonymous.
STORAGE_EMULATOR_HOST names another server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from predictor_base.errors import MissingExtra, StartFailure, StoreBusy, StoreError
from predictor_base.models.stores.store import Body, Checksum, RemoteStore, StoredFile

_CHUNK = 1 << 20
_REQUEST = 16 << 20


class GoogleStore(RemoteStore):
    def __init__(self, location: str) -> None:
        bucket, _, name = location.removeprefix("gs://").partition("/")
        if not bucket:
            raise StartFailure(f"{location}: is not gs://bucket/name")
        super().__init__(location, name.strip("/"))
        self._bucket = _client().bucket(bucket)

    def _files(self) -> tuple[StoredFile, ...]:
        with _translated(self.location):
            return tuple(self._below()) or tuple(self._itself())

    def _below(self) -> Iterator[StoredFile]:
        for blob in self._bucket.list_blobs(prefix=f"{self.folder}/" if self.folder else ""):
            if path := self.path_of(blob.name):
                yield _stored(blob, path)

    def _itself(self) -> Iterator[StoredFile]:
        blob = self._bucket.get_blob(self.folder) if self.folder else None
        if blob is not None:
            yield _stored(blob, "")

    @contextmanager
    def read(self, file: StoredFile, offset: int) -> Iterator[Body]:
        with _translated(self.location_of(file)):
            blob = self._bucket.blob(self.name_of(file))
            # raw: the checksum is of the stored bytes, which may be compressed
            with blob.open(
                "rb", chunk_size=_REQUEST, if_generation_match=int(file.tag), raw_download=True
            ) as stream:
                stream.seek(offset)
                yield Body(offset, iter(lambda: stream.read(_CHUNK), b""))


def _stored(blob: Any, path: str) -> StoredFile:  # google.cloud.storage.Blob
    checksum = None
    if blob.md5_hash:
        checksum = Checksum.from_base64("md5", blob.md5_hash)
    elif blob.crc32c:
        checksum = Checksum.from_base64("crc32c", blob.crc32c)
    return StoredFile(path, blob.size, str(blob.generation), checksum)


def _client() -> Any:  # google.cloud.storage.Client, which has no types
    try:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud import storage  # type: ignore[import-untyped]  # it has no types
    except ImportError as error:
        raise MissingExtra("gs://", package="google-cloud-storage") from error
    try:
        credentials, project = google.auth.default()
    except DefaultCredentialsError:
        return storage.Client.create_anonymous_client()
    # the library requires a project, which reading objects does not need
    return storage.Client(project=project or "unknown", credentials=credentials)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    from google.api_core.exceptions import GoogleAPIError, ServerError, TooManyRequests
    from google.auth.exceptions import GoogleAuthError, TransportError
    from requests import RequestException

    try:
        yield
    except (ServerError, TooManyRequests, TransportError, RequestException) as error:
        raise StoreBusy(f"{what}: {error}") from error
    except (GoogleAPIError, GoogleAuthError) as error:
        raise StoreError(f"{what}: {error}") from error
