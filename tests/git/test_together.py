"""Many that push at once, and some that die doing it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.git_deployer import Deployer, at_once
from tests.support.git_servers import bare_repository, git

PUSHERS = 12


@pytest.mark.parametrize("shared", [True, False], ids=["one cache", "a cache each"])
def test_all_who_push_at_once_land_in_one_line_of_commits(tmp_path, shared):
    bare = bare_repository(tmp_path / "gitops.git", {"README.md": "hello\n"})
    others = at_once(PUSHERS)
    deployers = [
        Deployer(
            bare, tmp_path / ("cache" if shared else f"cache-{n}"), f"api-{n:02}", others=others
        )
        for n in range(PUSHERS)
    ]
    for each in deployers:
        each.finishes()

    files = git("ls-tree", "-r", "--name-only", "main", cwd=bare).splitlines()
    assert files == ["README.md", *(f"releases/api-{n:02}/0.yaml" for n in range(PUSHERS))]
    assert git("rev-list", "--count", "main", cwd=bare) == str(PUSHERS + 1)
    assert git("rev-list", "--merges", "main", cwd=bare) == ""
    git("fsck", "--full", "--strict", cwd=bare)


def test_the_first_commits_of_an_empty_repository_all_land(tmp_path):
    bare = bare_repository(tmp_path / "gitops.git")
    others = at_once(4)
    deployers = [
        Deployer(bare, tmp_path / f"cache-{n}", f"api-{n}", others=others) for n in range(4)
    ]
    for each in deployers:
        each.finishes()

    assert git("rev-list", "--count", "main", cwd=bare) == "4"
    assert git("rev-list", "--max-parents=0", "--count", "main", cwd=bare) == "1"


def is_sound(bare: Path) -> bool:
    """Asked more than once: a push that outlives its parent may land while git looks."""
    command = ["git", "fsck", "--full", "--strict"]
    return any(subprocess.run(command, cwd=bare, check=False).returncode == 0 for _ in range(10))


@pytest.mark.parametrize("whole_group", [False, True], ids=["the process", "its group"])
def test_being_killed_at_any_point_loses_nothing_and_the_next_run_finishes(tmp_path, whole_group):
    bare = bare_repository(tmp_path / "gitops.git", {"README.md": "hello\n"})
    cache, count = tmp_path / "cache", 12
    seconds = random.Random(7)
    for _ in range(15):
        process = Deployer(bare, cache, "iris", count).process
        # Any moment will do; the seed makes them the same ones, as far as a machine allows.
        process.join(seconds.uniform(0.0, 0.25))
        if process.is_alive():
            assert process.pid
            (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
            process.join()
        assert is_sound(bare)
        if git("rev-list", "--count", "main", cwd=bare) == str(count + 1):
            break

    Deployer(bare, cache, "iris", count).finishes()
    assert git("rev-list", "--count", "main", cwd=bare) == str(count + 1)
    files = git("ls-tree", "-r", "--name-only", "main", cwd=bare).splitlines()
    assert files == ["README.md", *sorted(f"releases/iris/{n}.yaml" for n in range(count))]
    git("fsck", "--full", "--strict", cwd=bare)
