"""Layers of files: the same bytes from every machine, and nothing else than what was hashed."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import tracemalloc
import zlib
from typing import IO, TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.errors import GitopsMlError
from gitops_ml.oci.layers import (
    LONGEST_PIECE,
    Layer,
    LayerEntry,
    deflated,
    member,
    stored,
    write_layer,
)

if TYPE_CHECKING:
    from pathlib import Path


def written(*entries: LayerEntry, root: str = "", epoch: int = 0) -> tuple[Layer, bytes]:
    file = io.BytesIO()
    return write_layer(entries, file, root=root, epoch=epoch), file.getvalue()


def names(content: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as archive:
        return archive.getnames()


entries = st.lists(
    st.builds(
        LayerEntry,
        path=st.from_regex(r"[a-c]/[a-z]{1,3}(/[a-z]{1,2}\.py)", fullmatch=True),
        source=st.one_of(st.binary(max_size=2000), st.text("abc/", min_size=1, max_size=9)),
        is_executable=st.booleans(),
    ),
    max_size=8, unique_by=lambda entry: entry.path,
)  # fmt: skip


@given(entries, st.randoms())
def test_the_order_of_entries_does_not_matter(found: list[LayerEntry], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert written(*found) == written(*shuffled)


@given(entries)
def test_every_file_and_link_is_read_back(found: list[LayerEntry]) -> None:
    layer, content = written(*found)
    plain = gzip.decompress(content)
    assert layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        for entry in found:
            member = archive.getmember(entry.path)
            if isinstance(entry.source, str):
                assert (member.issym(), member.linkname) == (True, entry.source)
            else:
                extracted = archive.extractfile(member)
                assert extracted
                assert extracted.read() == entry.source
                assert bool(member.mode & 0o111) == entry.is_executable


def test_directories_come_before_their_files_and_those_of_the_base_stay_its_own() -> None:
    entry = LayerEntry(path="opt/venv/lib/x.py", source=b"x")
    assert names(written(entry)[1]) == ["opt", "opt/venv", "opt/venv/lib", "opt/venv/lib/x.py"]
    assert names(written(entry, root="opt/venv")[1]) == ["opt/venv/lib", "opt/venv/lib/x.py"]


def test_the_time_of_everything_is_the_epoch() -> None:
    content = written(LayerEntry(path="a/b", source=b"x"), epoch=1700000000)[1]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as archive:
        assert {member.mtime for member in archive} == {1700000000}


@pytest.mark.parametrize("size", [0, 1, 512, 65535, 65536, 262144, 262145, 3_000_000])
def test_files_of_any_size_are_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    content = written(LayerEntry(path="file", source=path))[1]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as archive:
        found = archive.extractfile("file")
        assert found
        assert found.read() == path.read_bytes()


def test_two_entries_of_one_path_are_refused() -> None:
    entry = LayerEntry(path="a", source=b"")
    with pytest.raises(GitopsMlError, match="two files have the path /a"):
        written(entry, entry)


def test_a_file_that_is_not_what_was_hashed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictor.py"
    path.write_text("new")
    old = hashlib.sha256(b"old").hexdigest()
    with pytest.raises(GitopsMlError, match=r"predictor.py changed while the image was being"):
        written(LayerEntry(path="app/predictor.py", source=path, fingerprint=old))
    with pytest.raises(GitopsMlError, match="can no longer be read"):
        written(LayerEntry(path="x", source=tmp_path / "gone"))


def test_a_big_file_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    with path.open("wb") as file:
        file.truncate(64 << 20)

    class Nowhere(io.RawIOBase):
        def write(self, content: object) -> int:
            return len(content)  # type: ignore[arg-type]

    target: IO[bytes] = Nowhere()  # type: ignore[assignment]
    tracemalloc.start()
    try:
        write_layer([LayerEntry(path="weights.bin", source=path)], target)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


repetitive = st.lists(st.tuples(st.binary(max_size=9), st.integers(1, 400)), max_size=12).map(
    lambda parts: b"".join(piece * times for piece, times in parts)[:LONGEST_PIECE]
)


@given(st.one_of(st.binary(max_size=3000), repetitive))
def test_what_is_packed_unpacks_to_itself(content: bytes) -> None:
    assert zlib.decompress(deflated(content), -zlib.MAX_WBITS) == content
    assert gzip.decompress(member(content)) == content


def test_every_length_and_distance_of_a_match_can_be_told() -> None:
    for distance in (4, 5, 9, 100, 1025, 8193, 24577, 32768):
        for length in (*range(4, 20), 34, 67, 131, 257, 258, 259, 600):
            first = b"WXYZ" + bytes(range(1, 200)) * 4
            content = first[:length] + b"\xff" * max(0, distance - length) + first[:length]
            assert zlib.decompress(deflated(content), -zlib.MAX_WBITS) == content


def test_a_match_that_is_too_far_back_is_not_taken() -> None:
    noise = hashlib.sha512(b"seed").digest() * 600
    content = b"only here" + noise[:33000] + b"only here"
    assert zlib.decompress(deflated(content), -zlib.MAX_WBITS) == content


@given(st.binary(max_size=300), st.integers(0, 3))
def test_stored_bytes_unpack_to_themselves(content: bytes, times: int) -> None:
    content = content * (1000 * times)
    assert zlib.decompress(b"".join(stored(content, is_last=True)), -zlib.MAX_WBITS) == content


def test_bytes_that_do_not_shrink_grow_by_a_header_only() -> None:
    noise = b"".join(hashlib.sha512(bytes([n])).digest() for n in range(200))
    assert len(member(noise)) <= len(noise) + 18 + 5


def test_the_bytes_are_the_same_for_ever() -> None:
    """Where this fails the format changed: images get other digests, and `BUILDER` counts up."""
    content = b"".join(b"line %d of a file that repeats itself\n" % n for n in range(500))
    assert hashlib.sha256(member(content)).hexdigest() == (
        "fe441d67bdaede2d4474608e7496537e387d3c09fe5d59ce155019b4f39d4fed"
    )
    assert len(member(content)) < len(content) / 5
