from __future__ import annotations

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
