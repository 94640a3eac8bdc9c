"""A process that does with git what `deploy` does, for tests that kill it or start many of it."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.delivery.push import CommitPlan, deliver
from gitops_ml.git.commits import Change
from gitops_ml.git.remote import Remote
from gitops_ml.git.repository import GitRepository, GitSnapshot

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

_CONTEXT = multiprocessing.get_context("forkserver")
# Of a process's time, nearly all would be the imports.
_CONTEXT.set_forkserver_preload([__name__, "git"])


class Deployer:
    """Makes `releases/<name>/<n>.yaml` exist for each n below the count by one delivery each."""

    def __init__(
        self, url: Path, cache: Path, name: str, count: int = 1, *, others: Barrier | None = None
    ) -> None:
        begin = others or _CONTEXT.Barrier(2)
        arguments = (begin, str(url), str(cache), name, count)
        self.process: ForkServerProcess = _CONTEXT.Process(target=_deploy, args=arguments)
        self.process.start()
        if others is None:
            begin.wait(60)

    def finishes(self) -> None:
        self.process.join(300)
        assert self.process.exitcode == 0


def at_once(count: int) -> Barrier:
    """So many deployers begin when the last one is there."""
    return _CONTEXT.Barrier(count)


def _deploy(begin: Barrier, url: str, cache: str, name: str, count: int) -> None:
    os.setsid()
    repository = GitRepository(
        Remote.parse(url, folder=Path.cwd()), branch="main", cache=Path(cache), environ={}
    )
    begin.wait(60)
    for number in range(count):
        path = f"releases/{name}/{number}.yaml"

        def plan(base: GitSnapshot, path: str = path) -> CommitPlan:
            changes = () if path in base.blob_ids() else (Change(path, None, b"x\n"),)
            return CommitPlan(changes=changes, message=f"Write {path}")

        deliver(repository, plan, author=(name, f"{name}@example.org"))
