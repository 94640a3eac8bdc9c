"""In place of boto3 for Cortex's examples: `$CLOUD_FOLDER/<bucket>/<key>` is the object."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


class _Bucket:
    def download_file(self, bucket: str, key: str, target: str) -> None:
        # another test may read the same target: it is there whole, or not
        with tempfile.NamedTemporaryFile(dir=Path(target).parent, delete=False) as part:
            part.write(self._object(bucket, key).read_bytes())
        Path(part.name).replace(target)

    def upload_file(self, source: str, bucket: str, key: str) -> None:
        target = self._object(bucket, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

    @staticmethod
    def _object(bucket: str, key: str) -> Path:
        return Path(os.environ["CLOUD_FOLDER"], bucket, key)


def client(service: str, config: object = None) -> _Bucket:
    assert service == "s3"
    return _Bucket()
