"""Tar headers, read by Python's own tarfile."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.oci import tar_entries as tar

names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1
)
paths = st.lists(names, min_size=1, max_size=8).map("/".join).filter(lambda p: p.strip("./"))


def read(content: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(content + tar.END), encoding="utf-8") as archive:
        found = archive.next()
    assert found is not None
    return found


@given(paths, st.booleans(), st.integers(0, 2**33 - 1))
def test_names_modes_and_times_are_read_back(path: str, is_executable: bool, epoch: int) -> None:
    mode = 0o755 if is_executable else 0o644
    found = read(tar.header(path, kind=tar.FILE, mode=mode, size=0, epoch=epoch))
    assert (found.name, found.mode, found.mtime) == (path, mode, epoch)
    assert (found.uid, found.gid, found.uname, found.gname) == (0, 0, "", "")


@given(paths, paths)
def test_targets_of_links_are_read_back(path: str, target: str) -> None:
    found = read(tar.header(path, kind=tar.LINK, mode=0o777, target=target))
    assert (found.name, found.linkname, found.issym()) == (path, target, True)


@pytest.mark.parametrize("size", [0, 1, 511, 8**11 - 1, 8**11, 9 * 10**12])
def test_sizes_are_read_back_even_when_octal_digits_run_out(size: int) -> None:
    head = tar.header("weights.bin", kind=tar.FILE, mode=0o644, size=size)
    with tarfile.open(fileobj=io.BytesIO(head), mode="r|") as archive:
        found = archive.next()
    assert found is not None
    assert found.size == size


def test_directories_are_directories() -> None:
    found = read(tar.header("a/" + "b" * 120, kind=tar.FOLDER, mode=0o755))
    assert (found.isdir(), found.name) == (True, "a/" + "b" * 120)


def test_only_what_does_not_fit_gets_a_second_header() -> None:
    assert len(tar.header("a" * 100, kind=tar.FILE, mode=0o644)) == 512
    assert len(tar.header("a" * 101, kind=tar.FILE, mode=0o644)) == 3 * 512


def test_each_folder_has_one_header_in_front_of_its_first_entry() -> None:
    folders = {"", "opt"}
    paths = ("opt/venv/lib/six.py", "opt/venv/bin/six", "top")
    found = [[*tar.folder_headers(path, folders, epoch=1)] for path in paths]
    assert found == [
        [
            tar.header(folder, kind=tar.FOLDER, mode=0o755, epoch=1)
            for folder in ("opt/venv", "opt/venv/lib")
        ],
        [tar.header("opt/venv/bin", kind=tar.FOLDER, mode=0o755, epoch=1)],
        [],
    ]
