"""Models in a repository of the Hugging Face Hub: `hf://organisation/repository@revision/folder`.

The Hub's own library finds the token, the endpoint (HF_ENDPOINT) and the files with their digests;
the files are downloaded as from every other store, so that downloads continue and are verified in
the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from predictor_base.errors import MissingExtra, StartFailure, StoreBusy, StoreError
from predictor_base.models.stores.store import Body, Checksum, RemoteStore, StoredFile
from predictor_base.models.stores.web import read_url

_LOCATION = re.compile(
    r"hf://(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?(/(?P<folder>.*))?"
)


class HubStore(RemoteStore):
    def __init__(self, location: str) -> None:
        found = _LOCATION.fullmatch(location)
        if not found:
            raise StartFailure(f"{location}: is not hf://organisation/repository@revision/folder")
        super().__init__(location, (found["folder"] or "").strip("/"))
        self._repository = found["repository"]
        self._revision = self._commit = found["revision"] or "main"
        self._hub = _library()

    def _files(self) -> Iterator[StoredFile]:
        try:
            found = self._hub.HfApi().model_info(
                self._repository, revision=self._revision, files_metadata=True, timeout=60
            )
        except Exception as error:
            raise self._translated(error) from error
        # a branch may move meanwhile: all files come from the commit that was listed last
        self._commit = found.sha
        for entry in sorted(found.siblings or (), key=lambda entry: str(entry.rfilename)):
            if (path := self._relative(entry.rfilename)) is not None:
                yield _stored(entry, path)

    def _relative(self, name: str) -> str | None:
        """The name relative to the folder, empty for the folder itself, None outside of it."""
        if name == self.folder:
            return ""
        # .gitattributes belongs to the repository, not to the model
        is_outside = not name.startswith(f"{self.folder}/") if self.folder else name[:1] == "."
        return None if is_outside else self.path_of(name)

    @contextmanager
    def read(self, file: StoredFile, offset: int) -> Iterator[Body]:
        url = self._hub.hf_hub_url(self._repository, self.name_of(file), revision=self._commit)
        headers = self._hub.utils.build_hf_headers(library_name="predictor-base")
        with read_url(url, offset=offset, headers=headers) as body:
            yield Body(body.offset, body.chunks)

    def _translated(self, error: Exception) -> StoreError:
        status = getattr(getattr(error, "response", None), "status_code", None)
        final = status is not None and status < 500 and status != 429
        return (StoreError if final else StoreBusy)(f"{self.location}: {error}")


def _stored(entry: Any, path: str) -> StoredFile:  # huggingface_hub.RepoSibling
    large = entry.lfs
    checksum = Checksum("sha256", large["sha256"]) if large else Checksum("git-sha1", entry.blob_id)
    return StoredFile(path, entry.size, checksum.digest, checksum)


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtra("hf://", package="huggingface_hub") from error
    return huggingface_hub
