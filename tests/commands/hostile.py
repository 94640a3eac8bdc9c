"""A project that tries to be executed, in every way that a reader of it might fall for."""

from __future__ import annotations

import json
import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitops_ml.cli.main import COMMANDS, gitops_ml
from tests.support.git_servers import git
from tests.support.person import PREDICTOR

if TYPE_CHECKING:
    from collections.abc import Iterator

_LAUNCHER = """\
import json, os, sys
log = os.open(os.environ.pop("STARTED_LOG"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def note(event, arguments):
    if event == "subprocess.Popen":
        os.write(log, json.dumps(list(map(str, arguments[1]))).encode() + b"\\n")
    elif event in ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn"):
        os.write(log, json.dumps([event]).encode() + b"\\n")

sys.addaudithook(note)
from gitops_ml.cli.main import main
main()
"""
SHADOWED = (
    "sitecustomize", "usercustomize", "conftest", "setup", "yaml", "json", "click", "jsonschema",
    "docker", "git", "requests", "kubernetes", "keyring", "jinja2", "packaging", "uv", "helm_python",
    "orjson", "tomllib", "cloudpickle", "certifi", "numpy", "onnxruntime",
)  # fmt: skip
"""Modules that a search of the project's folder would find first."""
PACKAGES = ("gitops_ml", "predictor_base", "encodings", "six")
PROGRAMS = (
    "git", "helm", "docker", "uv", "python", "python3", "sh", "env", "ssh", "gpg", "kubectl", "less",
    "git-remote-https", "git-lfs", "docker-credential-desktop", "ldconfig", "gcc", "uname", "pip", "bash", "zsh",
    "fish", "sleep",
)  # fmt: skip


@dataclass(frozen=True)
class Trap:
    """Things that leave a file in ``marks`` when they are executed, named after what they are."""

    marks: Path
    address: str = "http://127.0.0.1:1"
    """Of the attacker's server, which settings name wherever a tool might ask one."""

    def __call__(self, name: str) -> str:
        """A program of this name, as a path."""
        program = self.marks.parent / "traps" / name
        if not program.exists():
            self.program(program, name)
        return str(program)

    def program(self, path: Path, name: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n: > '{self.marks}/{name}'\nexit 1\n")
        path.chmod(0o755)

    def python(self, name: str) -> str:
        """A module that leaves its mark when it is imported."""
        return f"open({str(self.marks / name)!r}, 'w').close()\n"

    @property
    def sprung(self) -> list[str]:
        return sorted(path.name for path in self.marks.iterdir())

    def reset(self) -> None:
        for path in self.marks.iterdir():
            path.unlink()


def make_hostile(project: Path, trap: Trap) -> None:
    """Traps of all kinds in the folder of a project, which is in a Git repository above it."""
    modules(project, trap)
    programs(project, trap)
    settings(project, trap)
    model(project / "model", trap)
    repository(project.parent, trap)
    bare_repository_layout(project, trap)


def modules(project: Path, trap: Trap) -> None:
    (project / "predictor.py").write_text(trap.python("predictor.py") + PREDICTOR)
    for name in SHADOWED:
        (project / f"{name}.py").write_text(trap.python(f"{name}.py"))
    for name in PACKAGES:
        (project / name).mkdir()
        (project / name / "__init__.py").write_text(trap.python(name))
        (project / name / "__main__.py").write_text(trap.python(f"{name}-main"))
    (project / "trap.pth").write_text(f"import os; os.open({str(trap.marks / 'pth')!r}, 65)\n")


def programs(project: Path, trap: Trap) -> None:
    for name in PROGRAMS:
        trap.program(project / name, f"program-{name}")
        trap.program(project / "bin" / name, f"program-{name}")


def settings(project: Path, trap: Trap) -> None:
    """Files that tools look for in the folder that they are called in."""
    backend = '[build-system]\nrequires = []\nbuild-backend = "setup"\nbackend-path = ["."]\n'
    (project / "pyproject.toml").write_text(
        f'{backend}[project]\nname = "trap"\nversion = "1"\n'
        f'[tool.uv]\npython-preference = "system"\nindex-url = "{trap.address}/"\n'
    )
    (project / "uv.toml").write_text(f'index-url = "{trap.address}/"\n')
    (project / "pip.conf").write_text(f"[global]\nindex-url = {trap.address}/\n")
    (project / "setup.cfg").write_text("[metadata]\nname = trap\n")
    (project / ".python-version").write_text("3.11\n")
    (project / ".env").write_text(f"UV_PYTHON={project}/python\nGIT_SSH={trap('dotenv')}\n")
    (project / ".netrc").write_text("default login x password y\n")
    user = {"user": {"exec": {"apiVersion": "v1", "command": trap("exec-plugin")}}, "name": "x"}
    kubeconfig = {"apiVersion": "v1", "kind": "Config", "users": [user]}
    (project / "kubeconfig").write_text(json.dumps(kubeconfig))
    (project / ".lfsconfig").write_text(f"[lfs]\n url = {trap.address}/lfs\n")
    (project / "config.json").write_text(json.dumps({"credsStore": "desktop"}))
    (project / "notebook.ipynb").write_text(json.dumps({"cells": [], "nbformat": 4}))
    installed(project, trap)
    charts(project, trap)


def installed(project: Path, trap: Trap) -> None:
    """A package beside the manifests that claims rules and a keyring by its entry points."""
    folder = project / "trap-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: trap\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(
        "[gitops_ml.rules]\ntrap = setup\n[keyring.backends]\ntrap = setup\n"
    )


def charts(project: Path, trap: Trap) -> None:
    """The project as a chart, with a copy of ours and a template of ours that read the environment."""
    dependency = {"name": "trap", "version": "1", "repository": trap.address}
    chart = {
        "apiVersion": "v2",
        "name": "predictor",
        "version": "0.2.0",
        "dependencies": [dependency],
    }
    for folder in (project, project / "charts" / "predictor"):
        (folder / "templates").mkdir(parents=True)
        (folder / "Chart.yaml").write_text(json.dumps(chart))
        (folder / ".helmignore").write_text("*\n")
        (folder / "templates" / "configmap.yaml").write_text('{{ getHostByName "evil.example" }}\n')
    (project / "templates" / "check.md.j2").write_text(
        "{{ cycler.__init__.__globals__.os.popen('" + trap("jinja") + "').read() }}"
    )


class _Reduced:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.mark), "w")


def model(folder: Path, trap: Trap) -> None:
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps(_Reduced(trap.marks / "pickle")))
    (folder / "__init__.py").write_text(trap.python("model"))


def repository(folder: Path, trap: Trap) -> None:
    """A checkout whose own configuration names a program wherever it can."""
    git("init", "-q", ".", cwd=folder)
    (folder / ".gitattributes").write_text("* filter=trap diff=trap merge=trap\n")
    (folder / ".gitmodules").write_text(
        f'[submodule "x"]\n path = x\n url = ext::{trap("ext-submodule")}\n update = !{trap("update")}\n'
    )
    git("add", "--all", "--force", cwd=folder)
    git("commit", "-q", "-m", "Work", cwd=folder)
    git("remote", "add", "origin", "https://forge.example.org/shop.git", cwd=folder)
    with (folder / ".git" / "config").open("a") as file:
        file.write(configuration(trap))
    for name in ("post-index-change", "reference-transaction", "pre-push", "fsmonitor-watchman"):
        trap.program(folder / ".git" / "hooks" / name, f"hook-{name}")
    os.utime(folder / ".gitattributes", (1, 1))


def configuration(trap: Trap) -> str:
    return (
        f"[core]\n fsmonitor = {trap('fsmonitor')}\n sshCommand = {trap('ssh')}\n"
        f" pager = {trap('pager')}\n editor = {trap('editor')}\n askPass = {trap('askpass')}\n"
        f" gitProxy = {trap('proxy')}\n alternateRefsCommand = {trap('alternates')}\n"
        f'[filter "trap"]\n clean = {trap("clean")}\n smudge = {trap("smudge")}\n required\n'
        f'[diff]\n external = {trap("external")}\n[diff "trap"]\n textconv = {trap("textconv")}\n'
        f'[merge "trap"]\n driver = {trap("driver")}\n[credential]\n helper = {trap("helper")}\n'
        f"[gpg]\n program = {trap('gpg')}\n[uploadpack]\n packObjectsHook = {trap('pack')}\n"
        f'[protocol "ext"]\n allow = always\n[url "ext::{trap("ext")} "]\n insteadOf = https:\n'
        f"[alias]\n status = !{trap('alias')}\n fetch = !{trap('alias')}\n"
    )


def bare_repository_layout(folder: Path, trap: Trap) -> None:
    for name in ("objects", "refs"):
        (folder / name).mkdir()
        (folder / name / "keep").touch()
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    head = "[core]\n repositoryformatversion = 0\n bare = false\n worktree = .\n"
    (folder / "config").write_text(head + configuration(trap))
    for name in ("post-index-change", "pre-receive", "update"):
        trap.program(folder / "hooks" / name, f"bare-hook-{name}")


# -- the command -----------------------------------------------------------------------------------


def every_command() -> Iterator[str]:
    """``deploy``, ``model push``, …: what click knows."""
    context = click.Context(gitops_ml)
    for name in COMMANDS:
        command = gitops_ml.get_command(context, name)
        if isinstance(command, click.Group):
            yield from (f"{name} {inner}" for inner in command.commands)
        else:
            yield name


def launcher(folder: Path) -> list[str]:
    """The start of a command line of `gitops-ml` that notes which programs it starts."""
    script = folder / "launcher" / "gitops-ml"
    script.parent.mkdir(exist_ok=True)
    script.write_text(_LAUNCHER)
    return [sys.executable, str(script)]


def started(log: Path) -> set[str]:
    """The names of the programs in the log of the launcher."""
    lines = log.read_text().splitlines() if log.exists() else []
    return {_name(json.loads(line)) for line in lines}


def _name(command: list[str]) -> str:
    if command[0] == "env":
        command = [part for part in command[1:] if part != "-u" and not part.startswith("GIT_")]
    name = Path(command[0]).name
    return "python" if name.startswith("python") else name
