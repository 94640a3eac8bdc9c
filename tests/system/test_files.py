from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gitops_ml.errors import UsageError
from gitops_ml.system.files import write_files, write_report


def files(**contents: bytes) -> list[tuple[str, bytes]]:
    return [(path.replace("__", "/"), content) for path, content in contents.items()]


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_files_are_written_with_their_folders(tmp_path):
    out = tmp_path / "new" / "out"
    assert write_files(out, files(b__c__d=b"\0\r\n", a=b"1")) == ("a", "b/c/d")
    assert content_of(out) == {"a": b"1", "b/c/d": b"\0\r\n"}


def test_equal_files_are_not_touched_and_others_are_left_alone(tmp_path):
    write_files(tmp_path, files(same=b"1", changed=b"2"))
    (tmp_path / "theirs").write_bytes(b"t")
    before = (tmp_path / "same").stat()

    assert write_files(tmp_path, files(same=b"1", changed=b"3")) == ("changed",)

    after = (tmp_path / "same").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert content_of(tmp_path) == {"same": b"1", "changed": b"3", "theirs": b"t"}


def test_new_files_follow_the_umask_and_old_ones_keep_their_mode(tmp_path):
    (tmp_path / "old").write_bytes(b"")
    (tmp_path / "old").chmod(0o640)
    mask = os.umask(0o027)
    try:
        write_files(tmp_path, files(new=b"1", old=b"1"))
    finally:
        os.umask(mask)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("new", "old")] == [0o640, 0o640]


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "a//b", "./a", "a/", "a\0"])
def test_a_path_outside_is_refused_before_anything_is_written(tmp_path, path):
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="not a path inside"):
        write_files(out, [("ok", b"1"), (path, b"2")])
    assert not out.exists()


def test_a_link_that_leads_outside_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "releases").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="that leaves"):
        write_files(out, files(a=b"1", releases__x__y=b"2"))
    assert content_of(out) == {}
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path):
    (tmp_path / "target").write_bytes(b"1")
    (tmp_path / "link").symlink_to("target")
    assert write_files(tmp_path, files(link=b"1")) == ("link",)
    assert (tmp_path / "link").is_symlink() is False
    assert content_of(tmp_path) == {"link": b"1", "target": b"1"}


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    write_files(tmp_path / "out", files(a=b"1"))
    assert content_of(tmp_path / "real") == {"a": b"1"}


def test_a_folder_in_the_place_of_a_file_is_named_and_nothing_is_written(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(UsageError, match="b cannot be written: there is a folder of that name"):
        write_files(tmp_path, files(a=b"1", b=b"2"))
    assert content_of(tmp_path) == {}


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(UsageError, match=r"a cannot be written: (File exists|Not a directory)"):
        write_files(tmp_path, files(a__b=b"1"))


def test_a_full_disk_changes_nothing(tmp_path, monkeypatch):
    write_files(tmp_path, files(a=b"old", b=b"old"))
    flush = os.fsync

    def full_at_the_third(number: int) -> None:
        if len(list(tmp_path.glob(".gitops-ml-*/*"))) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(number)

    monkeypatch.setattr(os, "fsync", full_at_the_third)
    with pytest.raises(UsageError, match="No space left"):
        write_files(tmp_path, files(a=b"new", b=b"new", c=b"new", d=b"new"))
    monkeypatch.undo()
    assert content_of(tmp_path) == {"a": b"old", "b": b"old"}
    assert not list(tmp_path.glob(".gitops-ml-*"))


def test_what_a_killed_process_left_behind_goes_after_an_hour(tmp_path):
    for name, age in (("old", 7200), ("young", 60)):
        (tmp_path / f".gitops-ml-{name}").mkdir()
        (tmp_path / f".gitops-ml-{name}" / "0").write_bytes(b"half")
        stamp = (tmp_path / f".gitops-ml-{name}").stat().st_mtime - age
        os.utime(tmp_path / f".gitops-ml-{name}", (stamp, stamp))

    write_files(tmp_path, files(a=b"1"))

    assert content_of(tmp_path) == {".gitops-ml-young/0": b"half", "a": b"1"}


def test_the_same_path_twice_must_have_the_same_content(tmp_path):
    assert write_files(tmp_path, [("a", b"1"), ("a", b"1")]) == ("a",)
    with pytest.raises(UsageError, match="a would be written twice"):
        write_files(tmp_path, [("a", b"1"), ("a", b"2")])


# -- a file that an option names -------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "checkout/.git").mkdir(parents=True)
    (tmp_path / "checkout/out").mkdir()
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/file").write_text("theirs")
    return tmp_path / "checkout"


@pytest.mark.parametrize(
    ("link", "target"), [("out/page", "../../victim/file"), ("deep", "../victim"), ("gone", "none")]
)
def test_a_link_in_a_checkout_does_not_choose_what_a_report_overwrites(checkout, link, target):
    (checkout / link).symlink_to(target)
    file = checkout / link / "file" if link == "deep" else checkout / link
    with pytest.raises(UsageError, match=f"not written, because .*{link} is a link: remove it"):
        write_report(file, "ours")
    assert (checkout.parent / "victim/file").read_text() == "theirs"
    assert not (checkout / "none").exists()


def test_a_report_takes_its_place_as_a_whole(checkout, monkeypatch):
    file = checkout / "out/page"
    write_report(file, "old")
    file.chmod(0o640)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(UsageError, match="page cannot be written: full"):
        write_report(file, "new")
    monkeypatch.undo()
    assert content_of(checkout / "out") == {"page": b"old"}
    write_report(file, "new \udcff")
    assert content_of(checkout / "out") == {"page": b"new \\udcff"}
    assert file.stat().st_mode & 0o777 == 0o640


def test_links_of_the_machine_and_devices_take_a_report(checkout):
    (checkout.parent / "short").symlink_to("victim")
    write_report(checkout.parent / "short/file", "ours")
    assert (checkout.parent / "victim/file").read_text() == "ours"
    write_report(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()


def test_a_report_in_a_folder_that_is_not_there_is_refused(checkout):
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        write_report(checkout / "none/page", "x")
