"""Forges that run during a test and check the requests that they get."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.forges.running import KINDS, forge_running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.forges.server import Forge


@pytest.fixture(params=KINDS)
def forge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Forge]:
    """Each of the forges in turn."""
    with forge_running(request.param, tmp_path / "forge") as running:
        yield running


@pytest.fixture
def github(tmp_path: Path) -> Iterator[Forge]:
    with forge_running("github", tmp_path / "forge") as running:
        yield running


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[Forge]:
    with forge_running("gitlab", tmp_path / "forge") as running:
        yield running


@pytest.fixture
def bitbucket(tmp_path: Path) -> Iterator[Forge]:
    with forge_running("bitbucket", tmp_path / "forge") as running:
        yield running
