"""A program that does with git what `deploy` does, for tests that kill it or start many of it.

    python -m tests.support.git_deployer <repository> <cache> <name> [<count>]

says "ready", makes `releases/<name>/<n>.yaml` exist for each n below the count by one delivery
each, and says how many attempts that took.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gitops_ml.delivery.push import CommitPlan, deliver
from gitops_ml.git.commits import Change
from gitops_ml.git.remote import Remote
from gitops_ml.git.repository import GitRepository, GitSnapshot


def main(url: str, cache: str, name: str, count: str = "1") -> None:
    repository = GitRepository(
        Remote.parse(url, folder=Path.cwd()), branch="main", cache=Path(cache), environ={}
    )
    import git  # noqa: F401 - so that "ready" means ready

    print("ready", flush=True)
    attempts = 0
    for number in range(int(count)):
        path = f"releases/{name}/{number}.yaml"

        def plan(base: GitSnapshot, path: str = path) -> CommitPlan:
            changes = () if path in base.blob_ids() else (Change(path, None, b"x\n"),)
            return CommitPlan(changes=changes, message=f"Write {path}")

        attempts += deliver(repository, plan, author=(name, f"{name}@example.org")).attempts
    print(attempts)


if __name__ == "__main__":
    main(*sys.argv[1:])
