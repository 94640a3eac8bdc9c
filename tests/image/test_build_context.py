"""The tar stream of a build context."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import GitopsMlError
from gitops_ml.image.docker import tar_stream
from gitops_ml.oci.layers import LayerEntry
from gitops_ml.system.project_files import file_fingerprint

if TYPE_CHECKING:
    from pathlib import Path


def test_the_stream_is_a_tar_archive_of_the_inputs(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(range(256)) * 3000)
    long = "deep/" * 40 + "größe.txt"
    stream = b"".join(
        tar_stream(
            [
                LayerEntry(path="Dockerfile", source=b"FROM x\n"),
                LayerEntry(path="app/large", source=tmp_path / "large", is_executable=True),
                LayerEntry(path="app/latest", source="large"),
                LayerEntry(path=long, source=b""),
            ]
        )
    )
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        members = {m.name: m for m in archive.getmembers()}
        large = archive.extractfile("app/large")
        assert large is not None
        assert large.read() == (tmp_path / "large").read_bytes()
    assert members["app"].isdir()
    assert members["app"].mode == 0o755
    assert (members["app/large"].mode, members["app/latest"].linkname) == (0o755, "large")
    assert long in members
    assert {(m.uid, m.gid, m.uname, m.mtime) for m in members.values()} == {(0, 0, "", 315532800)}


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    streams = []
    for name, time in (("one", 1_000_000_000), ("other", 1_700_000_000)):
        file = tmp_path / name
        file.write_text("content")
        os.utime(file, (time, time))
        streams.append(b"".join(tar_stream([LayerEntry(path="app/file", source=file)])))
    assert streams[0] == streams[1]


@pytest.mark.parametrize("change", [b"other", b"longer than before", b"s", None])
def test_a_file_that_changed_since_it_was_hashed_stops_the_build(
    tmp_path: Path, change: bytes | None
) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"first")
    entry = LayerEntry(path="app/model.bin", source=file, fingerprint=file_fingerprint(file))
    file.unlink() if change is None else file.write_bytes(change)
    with pytest.raises(GitopsMlError, match=r"changed while|can no longer be read"):
        list(tar_stream([entry]))
