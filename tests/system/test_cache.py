from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import UsageError
from gitops_ml.system.cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_the_first_that_is_set_is_the_place(tmp_path):
    environ = {"HOME": f"{tmp_path}/home"}
    assert cache_folder(environ) == tmp_path / "home/.cache/gitops-ml"
    environ["XDG_CACHE_HOME"] = "relative"
    assert cache_folder(environ) == tmp_path / "home/.cache/gitops-ml"
    environ["XDG_CACHE_HOME"] = f"{tmp_path}/xdg"
    assert cache_folder(environ) == tmp_path / "xdg/gitops-ml"
    environ["GITOPS_ML_CACHE"] = f"{tmp_path}/ours"
    assert cache_folder(environ) == tmp_path / "ours"


def test_nobody_else_may_look_in(tmp_path):
    folder = cache_folder({"GITOPS_ML_CACHE": f"{tmp_path}/ours"})
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_place_that_cannot_be_made_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/x cannot be created .*GITOPS_ML_CACHE"):
        cache_folder({"GITOPS_ML_CACHE": str(Path(tmp_path / "file" / "x"))})


@pytest.mark.parametrize("mode", [0o755, 0o775, 0o777, 0o707, 0o770])
def test_a_folder_that_others_may_enter_is_closed_to_them(tmp_path, mode):
    """CI makes and restores it with its own umask, and has to work."""
    folder = tmp_path / "ours"
    folder.mkdir()
    folder.chmod(mode)
    assert cache_folder({"GITOPS_ML_CACHE": str(folder)}) == folder
    assert folder.stat().st_mode & 0o777 == 0o700


@contextmanager
def somebody(user: int) -> Iterator[Path]:
    """Be another user while the block runs, with a place that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="gitops-ml-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "cache").mkdir()
        (Path(name) / "cache").chmod(0o777)
        os.seteuid(user)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody")


@only_root
@pytest.mark.parametrize("by_link", [False, True])
def test_a_folder_of_another_user_is_refused(by_link):
    with somebody(12346) as place:
        os.seteuid(0)
        os.chown(place / "cache", 12345, 12345)
        (place / "link").symlink_to("cache")
        os.seteuid(12346)
        with pytest.raises(UsageError, match=r"another user \(12345\): .*GITOPS_ML_CACHE"):
            cache_folder({"GITOPS_ML_CACHE": f"{place}/{'link' if by_link else 'cache'}"})


@only_root
def test_what_root_restored_for_a_user_without_rights_is_not_used_and_the_job_works():
    """Runners restore caches as root, open to everybody, and run the job as somebody else."""
    with somebody(12346) as place:
        os.seteuid(0)
        own = place / "cache/gitops-ml-12346"
        own.mkdir()
        own.chmod(0o777)
        (own / "left").write_text("by another job")
        os.seteuid(12346)
        assert cache_folder({"GITOPS_ML_CACHE": f"{place}/cache"}) == own
        assert (own.stat().st_uid, own.stat().st_mode & 0o777) == (12346, 0o700)
        assert not list(own.iterdir())


def test_a_folder_that_everybody_shares_gets_one_of_our_own(tmp_path):
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    folder = cache_folder({"GITOPS_ML_CACHE": str(shared)})
    assert (folder.parent, folder.stat().st_mode & 0o777) == (shared, 0o700)
    assert shared.stat().st_mode & 0o7777 == 0o1777
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert cache_folder({"GITOPS_ML_CACHE": str(shared)}) == folder
    assert not folder.is_symlink()
