"""Fixtures of the tests that call `gitops-ml`, on the command line or in Python.

A plugin, for all folders: pytest loses the fixtures of a conftest that it meets a second time, where files of several
folders are interleaved on its command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kubernetes_server import api_server
from tests.support.life_of_a_release import Life
from tests.support.person import Person


@pytest.fixture
def nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home and a cache of its own; Git knows an author, and nobody's other settings."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GITOPS_ML_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ann")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ann@example.org")
    # Where the temporary folder is below somebody's checkout, that is not our source.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NO_COLOR", "GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.delenv(name, raising=False)
    # So that a process that we start finds the package that these tests are about.
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", root)


@pytest.fixture
def ann(
    tmp_path: Path,
    nobodys_settings: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Person:
    return Person(tmp_path, monkeypatch, capsys)


@pytest.fixture
def life(ann: Person) -> Iterator[Life]:
    """Ann has a release in a cluster that her kubeconfig names."""
    with api_server() as server:
        lives = Life(ann, server)
        lives.has_kubeconfig()
        yield lives
