"""Tar archives of others: honest ones as `tarfile` reads them, hostile ones refused at no cost."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_ml.commands.inspect import export_image
from gitops_ml.errors import GitopsMlError
from gitops_ml.oci.store import OciLayout
from gitops_ml.oci.tar_entries import FILE, LINK, BadArchive, tar_entries, unpacked
from tests.support.hostile_archives import (
    ONE_FILE,
    PLAIN,
    block,
    bomb,
    digest_of,
    layout_of,
    packed,
    pax,
    record,
    refused_archives,
    tar,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitops_ml.commands.inspect import Exported

REFUSED = dict(refused_archives())
MEGABYTE = 1 << 20


def in_pieces(content: bytes, size: int = 700) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


def read(content: bytes, size: int = 700) -> list[tuple[str, str, int, str, bytes]]:
    return [
        (e.name, e.kind, e.size, e.target, b"".join(e.pieces))
        for e in tar_entries(in_pieces(content, size))
    ]


names = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=140)
entries = st.tuples(names, st.sampled_from([FILE, LINK]), st.binary(max_size=1500))


@settings(max_examples=150, deadline=None)
@given(
    wanted=st.lists(entries, max_size=5),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    size=st.integers(1, 2000),
)
def test_what_tarfile_writes_is_read_alike(wanted, form: int, size: int) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name, kind, content in wanted:
            member = tarfile.TarInfo(name)
            if kind == LINK:
                member.type, member.linkname = tarfile.SYMTYPE, content.hex() or "x"
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    expected = [
        (name, kind, 0, content.hex() or "x", b"") if kind == LINK
        else (name, kind, len(content), "", content)
        for name, kind, content in wanted
    ]  # fmt: skip
    assert read(target.getvalue(), size) == expected


@settings(max_examples=300, deadline=None)
@given(
    archive=st.sampled_from([tar((ONE_FILE, None, "x" * 900), ("app/l", b"2", "good.txt")),
                             pax(record("path", "app/y")) + block("x") + bytes(1024)]),
    at=st.integers(0, 2500),
    put=st.binary(min_size=1, max_size=20),
)  # fmt: skip
def test_a_damaged_archive_is_read_or_refused_and_nothing_else(
    archive: bytes, at: int, put: bytes
) -> None:
    damaged = archive[:at] + put + archive[at + len(put) :]
    for content in (damaged, packed(damaged)[: at + 20]):
        try:
            read(content)
            b"".join(unpacked(in_pieces(content)))
        except BadArchive as error:
            assert str(error)


@settings(max_examples=100, deadline=None)
@given(members=st.lists(st.binary(max_size=3000), max_size=4), size=st.integers(1, 500),
       padding=st.integers(0, 600))  # fmt: skip
def test_gzip_files_of_many_members_are_unpacked(members, size: int, padding: int) -> None:
    content = b"".join(map(packed, members)) + bytes(padding)
    assert b"".join(unpacked(in_pieces(content, size))) == b"".join(members)


def test_a_layer_of_zeros_is_unpacked_and_far_more_of_them_are_refused_early() -> None:
    assert sum(map(len, unpacked([bomb(b"", 100 * MEGABYTE)]))) == 100 * MEGABYTE
    size = 0
    with pytest.raises(BadArchive, match="unpack to far more than a layer holds"):
        for piece in unpacked(in_pieces(bomb(b"", 200 * MEGABYTE), MEGABYTE)):
            size += len(piece)
    assert size < 160 * MEGABYTE


def test_a_size_that_no_archive_of_its_length_holds_is_refused_by_the_header(
    tmp_path: Path,
) -> None:
    head = block("app/zeros.bin", size=600 * MEGABYTE)
    with pytest.raises(GitopsMlError, match="claims 629,145,600 bytes"):
        export(tmp_path, bomb(head, MEGABYTE), diff_id="sha256:" + "0" * 64)
    with pytest.raises(BadArchive, match="claims 629,145,600 bytes"):
        list(tar_entries([head], most=MEGABYTE))


def export(folder: Path, layer: bytes, **more: str) -> Exported:
    place, image = layout_of(folder / "layout", layer, **more)
    return export_image(OciLayout(place), image, folder / "work" / "back")


@pytest.mark.parametrize("what", REFUSED)
def test_a_hostile_layer_is_refused_and_nothing_is_left(tmp_path: Path, what: str) -> None:
    archive = REFUSED[what]
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "outside.txt").write_text("mine")
    tracemalloc.start()
    try:
        with pytest.raises(GitopsMlError) as caught:
            export(tmp_path, packed(archive), diff_id=digest_of(archive))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "Traceback" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert peak < 40 * MEGABYTE
    assert os.listdir(tmp_path / "work") == ["outside.txt"]
    assert (tmp_path / "work" / "outside.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        block("././@LongLink", kind=b"L", size=600 * MEGABYTE),
        block("app/zeros.bin", size=600 * MEGABYTE),
        block("elsewhere/zeros.bin", size=600 * MEGABYTE),
        tar((ONE_FILE, None, "good")),
    ],
    ids=["nothing else", "a long name", "a file", "a file of no interest", "after the end"],
)
def test_a_bomb_is_refused_in_little_memory(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "work").mkdir()
    layer = bomb(head, 601 * MEGABYTE)
    assert len(layer) < MEGABYTE
    tracemalloc.start()
    try:
        with pytest.raises(GitopsMlError):
            export(tmp_path, layer, diff_id="sha256:" + "0" * 64)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * MEGABYTE
    assert os.listdir(tmp_path / "work") == []


def test_a_layer_that_is_another_one_than_the_config_says_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(GitopsMlError, match="is not the layer that its config names"):
        export(tmp_path, packed(tar((ONE_FILE, None, "x"))), diff_id="sha256:" + "0" * 64)
    assert not (tmp_path / "work" / "back").exists()
    assert os.listdir(tmp_path / "work") == []


@pytest.mark.parametrize("kind", [b"1", b"3", b"4", b"6", b"S", b"V", b"A"])
def test_what_is_neither_file_nor_link_is_left_out(tmp_path: Path, kind: bytes) -> None:
    archive = block("app/odd", kind=kind, target="app/good.txt") + tar((ONE_FILE, None, "good"))
    found = export(tmp_path, packed(archive), diff_id=digest_of(archive))
    assert found.files == ("good.txt",)


def test_links_that_stay_inside_are_kept_and_a_later_entry_wins(tmp_path: Path) -> None:
    archive = tar(
        ("app/a/first", None, "1"), ("app/b/link", b"2", "../a/first"), ("app/a/first", None, "2"),
        ("app/folder", b"2", "a"), ("app/by-way", b"2", "folder/first"), ("app/loop", b"2", "loop"),
        ("./app/./dot", None, "3"), ("etc/passwd", None, "root"), ("/app/absolute", None, "4"),
        ("app/../../etc/x", None, "5"),
    )  # fmt: skip
    found = export(tmp_path, packed(archive), diff_id=digest_of(archive))
    back = tmp_path / "work" / "back"
    assert found.files == ("a/first", "absolute", "b/link", "by-way", "dot", "folder", "loop")
    assert (back / "by-way").read_text() == (back / "b" / "link").read_text() == "2"
    assert sorted(os.listdir(tmp_path / "work")) == ["back"]


def test_forty_links_are_followed_and_a_longer_chain_is_refused(tmp_path: Path) -> None:
    chain = [(f"app/{n:04}", b"2", f"{n + 1:04}") for n in range(2000)]
    short = tar(*chain[:40], (f"app/{40:04}", None, "end"))
    export(tmp_path, packed(short), diff_id=digest_of(short))
    assert (tmp_path / "work" / "back" / "0000").read_text() == "end"
    long = tar(*chain)
    with pytest.raises(GitopsMlError, match=r"more than 40 links.*: '0000'"):
        export(tmp_path / "long", packed(long), diff_id=digest_of(long))


def test_links_with_ever_longer_paths_are_refused(tmp_path: Path) -> None:
    archive = tar(*((f"app/{n}", b"2", "a/../" * 800 + "b") for n in range(100)))
    with pytest.raises(GitopsMlError, match="more links in its paths than are followed"):
        export(tmp_path, packed(archive), diff_id=digest_of(archive))


def test_an_empty_folder_is_filled_and_stays_the_same_folder(tmp_path: Path) -> None:
    archive = tar((ONE_FILE, None, "good"))
    back = tmp_path / "work" / "back"
    back.mkdir(parents=True)
    before = back.stat().st_ino
    export(tmp_path, packed(archive), diff_id=digest_of(archive))
    assert (back.stat().st_ino, os.listdir(back)) == (before, ["good.txt"])


def test_plain_layers_are_read_and_unknown_compression_is_refused(tmp_path: Path) -> None:
    archive = tar((ONE_FILE, None, "good"))
    found = export(tmp_path, archive, diff_id=digest_of(archive), media_type=PLAIN)
    assert found.files == ("good.txt",)
    with pytest.raises(GitopsMlError, match="its compression is not supported"):
        export(tmp_path / "z", archive, diff_id=digest_of(archive), media_type=f"{PLAIN}+zstd")
