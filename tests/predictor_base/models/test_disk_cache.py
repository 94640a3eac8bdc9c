"""Where models are kept on disk: in a folder that nobody else may write to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from predictor_base.errors import StoreError
from predictor_base.models.disk_cache import DiskCache
from predictor_base.models.versions import ModelVersion

if TYPE_CHECKING:
    from collections.abc import Callable


class Elsewhere:
    """A store of no files, none of which is on this machine."""

    location = "s3://bucket/model"

    def local_path(self, path: str) -> Path | None:
        return None


def borrowed(root: Path) -> None:
    version = ModelVersion(
        model="iris", number=1, store=Elsewhere(), root="", files=(), fingerprint="f" * 64,
    )  # type: ignore[arg-type]  # fmt: skip
    with DiskCache(root, size=None).borrow(version):
        pass


def a_link(root: Path) -> None:
    (root.parent / "ours").mkdir()
    root.symlink_to("ours")


def another_users(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to somebody")
    root.mkdir()
    os.chown(root, 12345, 12345)


@pytest.mark.parametrize("make", [a_link, another_users])
def test_a_folder_that_somebody_else_put_there_is_not_used(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "disk_cache")
    with pytest.raises(StoreError, match="belongs to another user"):
        borrowed(tmp_path / "disk_cache")


def test_a_folder_that_others_may_write_to_is_closed_to_them(tmp_path: Path) -> None:
    root = tmp_path / "disk_cache"
    root.mkdir()
    root.chmod(0o777)
    (root / ("f" * 32) / "iris/1/model").mkdir(parents=True)
    borrowed(root)
    assert root.stat().st_mode & 0o777 == 0o755
