"""Models in S3, or in any store that speaks its protocol (AWS_ENDPOINT_URL), through boto3.

Credentials and region are found the way every AWS client finds them: environment, web identity of
the pod's service account, container or instance metadata, shared files. Without credentials,
requests are anonymous.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from predictor_base.errors import MissingExtra, StartFailure, StoreBusy, StoreError
from predictor_base.models.stores.store import Body, Checksum, RemoteStore, StoredFile

_CHUNK = 1 << 20
_BUSY_CODES = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "503", "500"}


class S3Store(RemoteStore):
    def __init__(self, location: str) -> None:
        self._bucket, _, key = location.removeprefix("s3://").partition("/")
        if not self._bucket:
            raise StartFailure(f"{location}: is not s3://bucket/key")
        super().__init__(location, key.strip("/"))
        self._client = _client()

    def _files(self) -> tuple[StoredFile, ...]:
        with _translated(self.location):
            return tuple(self._below()) or tuple(self._itself())

    def _below(self) -> Iterator[StoredFile]:
        prefix = f"{self.folder}/" if self.folder else ""
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                if path := self.path_of(entry["Key"]):
                    yield StoredFile(path, entry["Size"], entry["ETag"].strip('"'))

    def _itself(self) -> Iterator[StoredFile]:
        from botocore.exceptions import ClientError

        if not self.folder:
            return
        try:
            entry = self._client.head_object(Bucket=self._bucket, Key=self.folder)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
        else:
            yield StoredFile("", entry["ContentLength"], entry["ETag"].strip('"'))

    @contextmanager
    def read(self, file: StoredFile, offset: int) -> Iterator[Body]:
        name = {"Bucket": self._bucket, "Key": self.name_of(file)}
        from_offset = {"Range": f"bytes={offset}-"} if offset else {}
        with _translated(self.location_of(file)):
            answer = self._client.get_object(**name, IfMatch=file.tag, **from_offset)
            with closing(answer["Body"]) as stream:
                checksum = self._checksum(name, answer)
                yield Body(offset, stream.iter_chunks(_CHUNK), checksum)

    def _checksum(self, name: Mapping[str, str], answer: Mapping[str, Any]) -> Checksum | None:
        """The ETag, where it is an MD5: not with KMS or customer keys."""
        tag = answer["ETag"].strip('"')
        encryption = answer.get("ServerSideEncryption", "AES256")
        if encryption != "AES256" or answer.get("SSECustomerAlgorithm"):
            return None
        if re.fullmatch(r"[0-9a-f]{32}", tag):
            return Checksum("md5", tag)
        if re.fullmatch(r"[0-9a-f]{32}-\d+", tag):
            part = self._client.head_object(**name, IfMatch=tag, PartNumber=1)
            return Checksum("multipart-md5", tag, part_size=part["ContentLength"])
        return None


def _client() -> Any:  # boto3 creates its client classes at run time
    try:
        import boto3
        import botocore
        from botocore.config import Config
    except ImportError as error:
        raise MissingExtra("s3://", package="boto3") from error
    session = boto3.session.Session()
    anonymous = {} if session.get_credentials() else {"signature_version": botocore.UNSIGNED}
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "max_attempts": 4},
        # downloads continue where they stopped, so the whole file is checked on disk, not each
        # response
        response_checksum_validation="when_required",
        **anonymous,
    )
    return session.client("s3", config=config)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        kind = StoreBusy if code in _BUSY_CODES else StoreError
        raise kind(f"{what}: {error}") from error
    except (HTTPClientError, IncompleteReadError, HTTPError) as error:
        raise StoreBusy(f"{what}: {error}") from error
    except BotoCoreError as error:
        raise StoreError(f"{what}: {error}") from error
