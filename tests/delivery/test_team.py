"""Three people with a clone each change the same releases at once, and a fourth way is by hand.

Whatever the order: each command either made exactly one commit, which does what was asked for and nothing else,
or it failed with a message; the branch is one line of these commits.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.git_servers import git
from tests.support.person import NO_REGISTRY, container_api
from tests.support.team_member import APIS

if TYPE_CHECKING:
    from pathlib import Path

PEOPLE = ("ann", "ben", "cleo")
ROUNDS = int(os.environ.get("GITOPS_ML_TEAM_ROUNDS", "1"))
OPERATIONS = int(os.environ.get("GITOPS_ML_TEAM_OPERATIONS", "7"))


def test_whatever_the_order_each_command_does_what_it_says_or_fails(ann, tmp_path):
    ann.configures(environments={
        name: {"cluster": "main", "namespace": f"ml-{name}"} for name in ("staging", "production")
    })  # fmt: skip
    ann.has(*map(container_api, APIS))
    ann.deploys(*NO_REGISTRY)
    for number in range(ROUNDS):
        before = ann.head()
        seed = random.randrange(1 << 32) if ROUNDS > 1 else 20
        done = together(ann, tmp_path / str(number), seed)
        outcomes = Outcomes(ann.gitops, before, done)
        assert outcomes.problems() == [], f"seed {seed}"
        assert outcomes.commits, f"seed {seed}"


def together(ann, folder: Path, seed: int) -> list[dict[str, Any]]:
    """All that the people did, and how it ended."""
    started = [start(ann, folder / name, name, seed) for name in PEOPLE]
    for each in started:
        assert each.stdout
        assert each.stdout.readline() == "ready\n"
    found = []
    for each in started:
        assert each.stdin
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in started:
        out, err = each.communicate(timeout=300)
        assert each.returncode == 0, err
        found += [json.loads(line) for line in out.splitlines()]
    assert len(found) == len(PEOPLE) * OPERATIONS
    return found


def start(ann, home: Path, name: str, seed: int) -> subprocess.Popen[str]:
    project = home / "project"
    project.mkdir(parents=True)
    (project / "gitops-ml.yaml").write_text((ann.project / "gitops-ml.yaml").read_text())
    (project / "api.yaml").write_text((ann.project / "api.yaml").read_text())
    words = ("-m", "tests.support.team_member", ann.gitops, project, name, seed, OPERATIONS)
    person = {"GIT_AUTHOR_NAME": name, "GITOPS_ML_CACHE": str(home / "cache")}
    return subprocess.Popen(
        [sys.executable, *map(str, words)], env={**os.environ, **person}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


# -- what the commits did --------------------------------------------------------------------------


@dataclass
class Outcomes:
    """The results of the commands, held against the commits after ``before``."""

    repository: Path
    before: str
    done: list[dict[str, Any]]
    commits: list[str] = field(init=False)

    def __post_init__(self) -> None:
        listed = self.git("rev-list", "--reverse", "--topo-order", f"{self.before}..main")
        self.commits = listed.split()

    def git(self, *arguments: str) -> str:
        return git(*arguments, cwd=self.repository)

    def problems(self) -> list[str]:
        reported = {each["commit"]: each for each in self.done if each["commit"]}
        found = [f"{each} has no message" for each in self.done if each["code"] and not each["message"]]  # fmt: skip
        found += [f"{each} failed in an unexpected way" for each in self.done if each["code"] not in (0, 2, 6)
                  and each["verb"] not in ("edit", "note")]  # fmt: skip
        if sorted(reported) != sorted(self.commits):
            lost, more = set(reported) - set(self.commits), set(self.commits) - set(reported)
            found.append(
                f"lost: {[reported[each] for each in lost]}, of no command: {sorted(more)}"
            )
            return found
        parents = self.git("rev-list", "--parents", f"{self.before}..main").splitlines()
        found += [f"a merge: {line}" for line in parents if len(line.split()) != 2]
        for commit in self.commits:
            found += [
                f"{reported[commit]}: {each}" for each in self.wrong(commit, reported[commit])
            ]
        return found

    def wrong(self, commit: str, reported: dict[str, Any]) -> list[str]:
        """What the commit did beside what was asked for."""
        api, mark, verb = reported["api"], reported["mark"], reported["verb"]
        place = "production" if verb == "promote" else "staging"
        own = f"notes/{mark}" if verb == "note" else f"releases/{place}/{api}/"
        changed = self.git("diff-tree", "-r", "--name-only", "--no-commit-id", commit).split()
        problems = [f"changes {path}" for path in changed if not path.startswith(own)]
        before, after = (self.values(place, api, at) for at in (f"{commit}^", commit))
        match verb:
            case "deploy":
                is_done = mark in str(after)
            case "patch":
                is_done = after.pop("autoscaling")["maxReplicas"] == reported["most"]
                before.pop("autoscaling")
                is_done = is_done and after == before
            case "promote":
                is_done = env(after) == env(self.values("staging", api, f"{commit}^"))
            case "delete":
                is_done = after == {} != before
            case "refresh":
                is_done = before != after and env(before) == env(after)
            case "rollback":
                is_done = self.was_there(api, commit)
            case _:
                is_done = before == after
        return problems if is_done else [*problems, f"is not done: {before} {after}"]

    def values(self, place: str, api: str, commit: str) -> dict[str, Any]:
        path = f"releases/{place}/{api}/values.yaml"
        if not self.git("ls-tree", commit, "--", path):
            return {}
        return yaml.safe_load(self.git("show", f"{commit}:{path}"))

    def was_there(self, api: str, commit: str) -> bool:
        """Whether the release was once as this commit leaves it, and not just before."""
        path = f"releases/staging/{api}"
        now, *earlier = (
            self.git("rev-parse", f"{each}:{path}")
            for each in [commit, *self.git("rev-list", f"{commit}^").split()]
            if self.git("ls-tree", each, "--", path)
        )
        return now in earlier


def env(values: dict[str, Any]) -> Any:
    return values.get("container", {}).get("env")
