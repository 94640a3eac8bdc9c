"""A person at a terminal: a project folder, a GitOps repository, and the command `gitops-ml`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops_ml.cli.main import main
from tests.support.git_servers import bare_repository, branches, git

DIGEST = "sha256:" + "1" * 64
NO_REGISTRY = ("--offline", "--by-tag")
ENVIRONMENTS = {
    "staging": {"cluster": "main", "namespace": "ml-staging"},
    "production": {"cluster": "main", "namespace": "ml-production", "protected": True},
}
PREDICTOR = """\
class PythonPredictor:
    def __init__(self, config):
        self.factor = config["factor"]

    def predict(self, payload):
        return {"answer": self.factor * payload["x"]}
"""


def container_api(name: str, **changes: Any) -> dict[str, Any]:
    """An API with a ready-made image: nothing has to be built for it."""
    image = {"image": f"registry.example.org/{name}@{DIGEST}", "port": 8080}
    return {
        "name": name,
        "kind": "RealtimeAPI",
        "container": image,
        "autoscaling": {"max_replicas": 5},
        **changes,
    }


def predictor_api(name: str, **changes: Any) -> dict[str, Any]:
    predictor = {"path": "predictor.py", "config": {"factor": 2}}
    return {"name": name, "kind": "RealtimeAPI", "predictor": predictor, **changes}


@dataclass(frozen=True)
class CommandResult:
    """What a call ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Person:
    """``project`` is where they are; ``gitops`` is the bare repository that their project names."""

    home: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    project: Path = field(init=False)
    gitops: Path = field(init=False)

    def __post_init__(self) -> None:
        self.project = self.home / "project"
        self.project.mkdir()
        self.gitops = bare_repository(self.home / "gitops.git")
        self.go(self.project)

    def go(self, folder: Path) -> None:
        self.monkeypatch.chdir(folder)

    # -- the project ---------------------------------------------------------------------------

    def has(
        self, *apis: Mapping[str, Any], file: str = "api.yaml", folder: Path | None = None
    ) -> None:
        """A manifest with these APIs and, where there is none yet, a project file."""
        folder = folder or self.project
        manifest = folder / file
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(yaml.safe_dump(list(apis), sort_keys=False))
        if any("predictor" in api for api in apis):
            (manifest.parent / "predictor.py").write_text(PREDICTOR)
        if not (folder / "gitops-ml.yaml").exists():
            self.configures(folder=folder)

    def configures(self, *, folder: Path | None = None, **changes: Any) -> None:
        """The project file; ``gitops`` is merged, other keys replace."""
        gitops = {"repository": str(self.gitops)}
        words = {
            "project": "shop",
            "image": {"repository": "registry.example.org/ml"},
            "clusters": {"main": {"server": "https://kubernetes.default.svc"}},
            "environments": ENVIRONMENTS,
            **changes,
            "gitops": {**gitops, **changes.get("gitops", {})},
        }
        text = yaml.safe_dump(words, sort_keys=False)
        ((folder or self.project) / "gitops-ml.yaml").write_text(text)

    def keeps_source_in_git(self) -> str:
        """The project becomes a Git repository with one commit; returns its id."""
        git("init", "-q", ".", cwd=self.project)
        return self.commits_source()

    def commits_source(self) -> str:
        git("add", "--all", cwd=self.project)
        git("commit", "-q", "--allow-empty", "-m", "Work", cwd=self.project)
        return git("rev-parse", "HEAD", cwd=self.project)

    # -- the command -----------------------------------------------------------------------------

    def runs(self, *arguments: str | Path) -> CommandResult:
        """`gitops-ml` with these arguments, in this process."""
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = self.capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return CommandResult(code, out, err)

    def deploys(self, *arguments: str | Path) -> CommandResult:
        """`gitops-ml deploy`, which must end well; to every environment unless some are named."""
        everywhere = [] if "-e" in arguments else self._everywhere()
        result = self.runs("deploy", *arguments, *everywhere)
        assert result.code == 0, result
        return result

    def _everywhere(self) -> list[str]:
        """Each environment of the project file as an option: protected ones need their names."""
        document = yaml.safe_load(Path("gitops-ml.yaml").read_text())
        return [word for name in document["environments"] for word in ("-e", name)]

    # -- the GitOps repository -------------------------------------------------------------------

    def head(self, repository: Path | None = None) -> str:
        return branches(repository or self.gitops)["main"]

    def commits(self) -> int:
        if "main" not in branches(self.gitops):
            return 0
        return int(git("rev-list", "--count", "main", cwd=self.gitops))

    def paths(self, below: str = "") -> list[str]:
        names = git("ls-tree", "-r", "--name-only", "main", cwd=self.gitops).splitlines()
        return [name for name in names if name.startswith(below)]

    def text(self, path: str) -> str:
        return git("show", f"main:{path}", cwd=self.gitops) + "\n"

    def yaml(self, path: str) -> Any:
        return yaml.safe_load(self.text(path))

    def release(self, api: str, environment: str = "staging") -> Any:
        return self.yaml(f"releases/{environment}/{api}/release.yaml")

    def touched(self, commit: str = "main") -> list[str]:
        """The paths that the commit changed."""
        listing = git("show", "--format=", "--name-only", commit, cwd=self.gitops)
        return listing.splitlines()

    def checks_out(self) -> Path:
        """The GitOps repository as files."""
        folder = self.home / "checkout"
        git("clone", "-q", self.gitops, folder)
        return folder


def program(*arguments: str | Path) -> list[str]:
    """The command that starts `gitops-ml` as a process of its own."""
    return [sys.executable, "-m", "gitops_ml", *map(str, arguments)]


def started(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        program(*arguments), cwd=cwd, env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL, preexec_fn=_heeds_interrupts,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )  # fmt: skip


def _heeds_interrupts() -> None:
    """As in a terminal: what a shell starts in the background ignores Ctrl-C, and so would we."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finished(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        program(*arguments), cwd=cwd, env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


def written_below(folders: Iterable[Path]) -> dict[Path, bytes]:
    """Every file of the folders."""
    return {
        path: path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
