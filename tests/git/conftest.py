"""A bare repository with one commit, and the clone of it that gitops-ml makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_ml.git.commits import Change
from gitops_ml.git.remote import Remote
from gitops_ml.git.repository import GitRepository
from tests.support.git_servers import bare_repository

AUTHOR = ("Ann Ünal", "ann@example.org")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return bare_repository(tmp_path / "gitops.git", {"README.md": "hello\n"})


@pytest.fixture
def repository(bare: Path, tmp_path: Path) -> GitRepository:
    return opened(bare, tmp_path)


def opened(url: Path | str, tmp_path: Path, *, branch: str = "main", **more) -> GitRepository:
    return GitRepository(
        Remote.parse(str(url), folder=tmp_path),
        branch=branch,
        cache=tmp_path / "cache",
        environ={},
        **more,
    )


def add(repository: GitRepository, path: str, content: bytes = b"x\n", message: str = "Add") -> str:
    base = repository.fetch()
    commit = repository.commit(base, [Change(path, None, content)], message=message, author=AUTHOR)
    repository.push(commit)
    return commit
