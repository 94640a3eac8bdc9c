"""One of several people who change the same releases at once: a random series of commands, in one process.

    python -m tests.support.team_member <GitOps repository> <project> <name> <seed> <count>

Prints one line of JSON for each operation: what was done, with what, and how it ended.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gitops_ml.cli.main import main
from tests.support.git_servers import git
from tests.support.person import container_api

APIS = ("iris", "fraud")
ALL = ("deploy", "deploy", "patch", "promote", "rollback", "delete", "refresh", "edit", "note")


@dataclass
class Member:
    repository: str
    project: Path
    name: str
    random: random.Random
    number: int = 0

    def acts(self) -> dict[str, Any]:
        self.number += 1
        verb, api = self.random.choice(ALL), self.random.choice(APIS)
        given: dict[str, Any] = {"verb": verb, "api": api, "mark": f"{self.name}-{self.number}"}
        if verb in ("edit", "note"):
            return given | self.by_hand(**given)
        code, out, err = command(*self.arguments(given))
        return given | {"code": code, "commit": out.get("commit"), "message": err}

    def arguments(self, given: dict[str, Any]) -> list[str]:
        staging = ["-e", "staging"]
        match given:
            case {"verb": "deploy", "api": api, "mark": mark}:
                apis = [container_api(each) for each in APIS]
                for each in apis:
                    each["container"]["env"] = {"MARK": mark}
                text = yaml.safe_dump(apis, sort_keys=False)
                (self.project / "api.yaml").write_text(text)
                return ["deploy", "-a", api, *staging, "--offline", "--by-tag"]
            case {"verb": "patch", "api": api}:
                given["most"] = self.random.randint(2, 99)
                return [
                    "patch",
                    api,
                    *staging,
                    "--set",
                    f"autoscaling.max_replicas={given['most']}",
                ]
            case {"verb": "promote", "api": api}:
                return ["promote", api, "--from", "staging", "--to", "production"]
            case {"verb": "delete", "api": api}:
                return ["delete", api, *staging, "--yes"]
        return [given["verb"], given["api"], *staging]

    def by_hand(self, verb: str, api: str, mark: str) -> dict[str, Any]:
        """As a person with git does it: pull, edit, commit, push; and again where the branch moved."""
        folder = self.project.parent / f"hand-{mark}"
        file = f"notes/{mark}" if verb == "note" else f"releases/staging/{api}/values.yaml"
        while True:
            git("clone", "-q", self.repository, folder / str(self.random.random()))
            (clone,) = folder.iterdir()
            path = clone / file
            if verb == "edit" and not path.exists():
                return {"code": 1, "commit": None, "message": "there is no such release"}
            path.parent.mkdir(exist_ok=True)
            with path.open("a") as text:
                text.write(f"# {mark}\n")
            git("add", "-A", cwd=clone)
            git("commit", "-q", "-m", mark, cwd=clone)
            push = ["git", "push", "-q", "origin", "HEAD:main"]
            done = subprocess.run(push, cwd=clone, capture_output=True, check=False)
            commit = git("rev-parse", "HEAD", cwd=clone)
            folder = folder.with_name(f"{folder.name}-")
            if done.returncode == 0:
                return {"code": 0, "commit": commit, "message": ""}


def command(*arguments: str) -> tuple[int, dict[str, Any], str]:
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([*arguments, "-o", "json"])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, json.loads(out.getvalue()) if code == 0 else {}, err.getvalue()


def act(repository: str, project: str, name: str, seed: str, count: str) -> None:
    os.chdir(project)
    member = Member(repository, Path(project), name, random.Random(f"{name} {seed}"))
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(count)):
        print(json.dumps(member.acts()), flush=True)


if __name__ == "__main__":
    act(*sys.argv[1:])
