from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitops_ml.adapters.cache import cache_folder
from gitops_ml.errors import UsageError


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
    with pytest.raises(UsageError, match=r"file/x cannot be made .*GITOPS_ML_CACHE"):
        cache_folder({"GITOPS_ML_CACHE": str(Path(tmp_path / "file" / "x"))})


@pytest.mark.parametrize("mode", [0o755, 0o775, 0o777, 0o707, 0o770])
def test_a_folder_that_others_may_enter_is_closed_to_them(tmp_path, mode):
    """CI makes and restores it with its own umask, and has to work."""
    folder = tmp_path / "ours"
    folder.mkdir()
    folder.chmod(mode)
    assert cache_folder({"GITOPS_ML_CACHE": str(folder)}) == folder
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody")
@pytest.mark.parametrize("by_link", [False, True])
def test_a_folder_of_another_user_is_refused(tmp_path, by_link):
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    named = tmp_path / "link" if by_link else folder
    if by_link:
        named.symlink_to(folder)
    with pytest.raises(UsageError, match=r"belongs to another user \(12345\): .*GITOPS_ML_CACHE"):
        cache_folder({"GITOPS_ML_CACHE": str(named)})


def test_a_folder_that_everybody_shares_gets_one_of_our_own(tmp_path):
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    folder = cache_folder({"GITOPS_ML_CACHE": str(shared)})
    assert (folder.parent, folder.stat().st_mode & 0o777) == (shared, 0o700)
    assert shared.stat().st_mode & 0o7777 == 0o1777
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(UsageError, match="is a link"):
        cache_folder({"GITOPS_ML_CACHE": str(shared)})
