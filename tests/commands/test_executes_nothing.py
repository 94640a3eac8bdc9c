"""Every command against a hostile project: nothing that it reads is executed."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tarfile
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from gitops_ml.client import Client
from gitops_ml.errors import GitopsMlError
from gitops_ml.packages.index import IndexSettings
from gitops_ml.packages.resolver import Resolver
from tests.commands.executes import CLIENT, EXECUTES, PROGRAMS
from tests.commands.hostile import Trap, every_command, launcher, make_hostile, started
from tests.support import controllers as k8s
from tests.support.git_servers import git
from tests.support.kubernetes_server import Log, api_server
from tests.support.life_of_a_release import Life
from tests.support.person import NO_REGISTRY, container_api, predictor_api
from tests.support.victim import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.images_without_docker import Mill

JINJA = "{{ cycler.__init__.__globals__.os.popen('touch executed').read() }}"


def test_the_list_names_every_command_and_knows_every_program():
    assert set(EXECUTES) == set(every_command())
    assert {name for each in EXECUTES.values() for name in each.programs} <= set(PROGRAMS)


def test_the_list_names_verbs_of_the_client():
    assert set(CLIENT) <= set(dir(Client))


class Attack:
    """Somebody's CI, in the folder of a project that tries to be executed."""

    def __init__(self, mill: Mill, life: Life, listener: Listener) -> None:
        self.mill, self.life, self.ann = mill, life, mill.person
        self.home, self.listener = self.ann.home, listener
        self.trap = Trap(self.home / "marks", f"http://127.0.0.1:{listener.port}")
        self.trap.marks.mkdir()
        self._program = launcher(self.home)
        self._log = self.home / "started"

    def prepares(self) -> None:
        """A release that lives, and then the project becomes hostile."""
        source = self.home / "source"
        source.mkdir()
        self.ann.project = self.ann.project.rename(source / "project")
        self.ann.go(self.ann.project)
        config = {"factor": 2, "text": JINJA, "$(touch executed)": "`touch executed`"}
        predictor = {"path": "predictor.py", "config": config}
        self.life.deploys(
            container_api("iris"), {**predictor_api("answer"), "predictor": predictor}
        )
        self.mill.configures()
        self.life.syncs()
        self.life.runs(k8s.ready())
        pod = self.life.pod()["metadata"]["name"]
        self.life.server.logs[pod, "predictor", False] = Log(
            ["2026-11-25T12:00:01.000000000Z ready"], is_over=True
        )
        make_hostile(self.ann.project, self.trap)

    def runs(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = f".::bin:{os.environ['PATH']}"
        self.trap.reset()
        self._log.unlink(missing_ok=True)
        return subprocess.run(
            [*self._program, *arguments], cwd=self.ann.project, stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": path, "STARTED_LOG": str(self._log), **env},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def found(self, command: str) -> dict[str, Any]:
        """What was executed that may not be."""
        allowed = EXECUTES[command].programs
        foreign = {
            name
            for name in started(self._log)
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in allowed)
        }
        facts = {
            "executed": self.trap.sprung,
            "started": sorted(foreign),
            "asked": self.listener.connections,
        }
        return {key: value for key, value in facts.items() if value}


@pytest.fixture
def attack(mill: Mill) -> Iterator[Attack]:
    with api_server() as server, closing(Listener()) as listener:
        life = Life(mill.person, server)
        life.has_kubeconfig()
        attack = Attack(mill, life, listener)
        attack.prepares()
        yield attack


def calls(attack: Attack) -> Iterator[tuple[str, list[str], int]]:
    """Command, its arguments, and the exit code: each does its work to the end, if it can here."""
    ann, home = attack.ann, attack.home
    no_registry = list(NO_REGISTRY)
    yield "validate", [], 0
    yield "render", ["--offline"], 0
    yield "render", ["--offline", "--manifests", "-e", "staging"], 0
    yield "lock", [], 0
    yield "build", [], 0
    yield "build", ["--no-push", "--output", f"oci-layout={home}/layout"], 0
    image = f"{attack.mill.repository}:{tag(attack)}"
    yield "inspect", [image], 0
    yield "inspect", ["--changes", "-a", "answer"], 0
    yield "export", [image, str(home / "exported")], 0
    yield "diff", [], 0
    yield "deploy", ["-e", "staging", "--dry-run"], 0
    yield "deploy", ["-e", "staging"], 0
    yield "deploy", ["-e", "production", "--pull-request", *no_registry, "--dry-run"], 0
    yield "patch", ["iris", "-e", "staging", "--set", "autoscaling.max_replicas=7"], 0
    yield "rollback", ["iris", "-e", "staging"], 0
    yield "refresh", ["iris", "-e", "staging"], 0
    yield "promote", ["iris", "--from", "staging", "--to", "production"], 0
    yield "bootstrap", ["-e", "staging", "--to", str(home / "bootstrapped")], 0
    yield "get", [], 0
    yield "describe", ["iris", "-e", "staging"], 0
    yield "logs", ["iris", "-e", "staging"], 0
    (home / "request.json").write_text("{}")
    yield "predict", ["iris", str(home / "request.json"), "--address", "http://127.0.0.1:1"], 4
    yield "history", ["iris"], 0
    yield "trace", [ann.release("iris")["deployment_id"]], 0
    id = ann.release("iris")["deployment_id"]
    # The pods of a ready-made container have no metrics here.
    yield "compare", [id, id], 4
    yield "doctor", ["-e", "staging"], 7
    yield "cost", ["-e", "staging", "--prometheus", "http://127.0.0.1:1"], 4
    quick = ["--clients", "1", "--duration", "0.1", "--warm-up", "0"]
    yield "bench", ["http://127.0.0.1:1", str(home / "request.json"), *quick], 4
    reference = f"oci://{attack.mill.repository}/model:1"
    yield "model push", ["model", reference], 0
    yield "model pull", [reference, str(home / "pulled")], 0
    yield "check", ["--base", "HEAD"], 0
    yield "base update", ["--check"], 0
    yield "delete", ["iris", "-e", "staging", "--yes"], 0
    yield "schema", ["api"], 0
    yield "completion", ["bash"], 0
    yield "version", [], 0
    yield "init", [str(home / "new")], 0
    registry = attack.mill.repository.partition("/")[0]
    yield "comment", [str(home / "request.json"), "--pull-request", "1"], 2
    yield "login", [registry, "-u", "ann", "--password-env", "PATH"], 0


def tag(attack: Attack) -> str:
    result = attack.ann.runs("build", "-o", "json")
    assert result.code == 0, result
    return str(json.loads(result.out)["images"][0]["image"]).rpartition(":")[2]


def test_no_command_executes_what_it_reads(attack):
    wrong, called = {}, {"run"}
    for command, arguments, code in calls(attack):
        result = attack.runs(*command.split(), *arguments)
        assert result.returncode == code, (command, arguments, result.stdout, result.stderr)
        called.add(command)
        if found := attack.found(command):
            wrong[f"{command} {' '.join(arguments)}"] = found
    assert wrong == {}
    assert called == set(EXECUTES)


def test_the_traps_are_sprung_by_who_is_less_careful(attack):
    """So that the test above can fail."""
    for command in (
        ["git", "-c", "safe.bareRepository=all", "status"],
        ["sh", "-c", "cd ..; PATH=${PATH#.::bin:}; git status"],
        [*python("import yaml, predictor_base, gitops_ml")],
        [*python("import pickle; pickle.load(open('model/model.pkl', 'rb'))")],
        ["helm", "version"],
    ):
        environ = {**os.environ, "PATH": f".::bin:{os.environ['PATH']}"}
        program = (
            shutil.which(command[0], path=os.environ["PATH"]) if command[0] != "helm" else None
        )
        subprocess.run(
            command, executable=program, cwd=attack.ann.project, env=environ,
            capture_output=True, check=False,
        )  # fmt: skip
    assert {"fsmonitor", "clean", "yaml.py", "predictor_base", "gitops_ml", "pickle"} <= set(
        attack.trap.sprung
    )
    assert "program-helm" in attack.trap.sprung


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


# -- documents that name code ----------------------------------------------------------------------

YAML_TAGS = (
    "!!python/object/apply:os.system ['touch {mark}']",
    "!!python/object/new:subprocess.Popen [['touch', '{mark}']]",
    "!!python/name:os.system",
    "!!python/module:yaml",
    "!!python/object/apply:builtins.exec [\"open('{mark}', 'w')\"]",
    "!!js/function 'touch {mark}'",
)
DOCUMENTS = ("api.yaml", "gitops-ml.yaml")


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("tag", YAML_TAGS)
def test_a_tag_of_yaml_makes_no_object(ann, document, tag):
    mark = ann.home / "executed"
    ann.has(container_api("iris"))
    with (ann.project / document).open("a") as file:
        extra = "- {name: b, labels: {x: TAG}}\n" if document == "api.yaml" else "teams: TAG\n"
        file.write(extra.replace("TAG", tag.format(mark=mark)))
    for command in (["validate"], ["render", "--offline"], ["diff", "--offline"]):
        assert ann.runs(*command).code == 3
    assert not mark.exists()


REQUIREMENTS = {
    "editable": "-e .",
    "editable elsewhere": "--editable=./package",
    "a folder": "./package",
    "a folder by name": "trap @ file://{project}/package",
    "a source archive": "./trap-1.0.tar.gz",
    "a source archive by name": "trap @ file://{project}/trap-1.0.tar.gz",
    "a folder of archives": "--find-links ./\ntrap",
    "an archive of the index": "trap",
    "git": "trap @ git+file://{project}/package",
    "git over a program": "trap @ git+ext::{mark}",
    "git in a relative folder": "git+file:./package#egg=trap",
    "another file": "-r more.txt",
    "a constraint": "-c more.txt\ntrap",
    "a project file": "-r package/pyproject.toml",
    "a variable": "$(touch {mark})",
    "a config setting": "trap --config-settings=x=y --global-option=x",
}


def a_package(project: Path) -> Path:
    """A package in the project, also as archive and as repository; the file that a build leaves."""
    mark = project.parent / "executed"
    code = f"open({str(mark)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='trap')\n"
    for folder in (project, project / "package"):
        folder.mkdir(exist_ok=True)
        (folder / "setup.py").write_text(code)
        (folder / "backend.py").write_text(code)
        (folder / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            '[project]\nname = "trap"\ndynamic = ["version", "dependencies"]\n'
        )
    git("init", "-q", ".", cwd=project / "package")
    git("add", "--all", cwd=project / "package")
    git("commit", "-q", "-m", "x", cwd=project / "package")
    with tarfile.open(project / "trap-1.0.tar.gz", "w:gz") as tar:
        for name in ("setup.py", "backend.py", "pyproject.toml"):
            tar.add(project / "package" / name, f"trap-1.0/{name}")
    (project / "more.txt").write_text("-e ./package\n")
    return mark


@pytest.mark.parametrize("kind", REQUIREMENTS)
def test_no_requirement_builds_a_package(mill, kind):
    """Not even for its metadata: what only a build could tell is refused."""
    project = mill.project
    mark = a_package(project)
    shutil.copy(project / "trap-1.0.tar.gz", mill.index.folder)
    mill.requires(*REQUIREMENTS[kind].format(project=project, mark=mark).splitlines())
    for builder in ("auto", "oci"):
        mill.configures(builder=builder)
        for command in ("validate", "lock", "build", "diff", "render"):
            result = mill.person.runs(command)
            assert not mark.exists(), (builder, command, result)
    assert mill.person.runs("build").code != 0


@pytest.mark.parametrize(
    "kind", [k for k in REQUIREMENTS if "index" not in k and "folder of" not in k]
)
def test_the_resolver_builds_nothing_that_it_is_given(tmp_path, kind):
    mark = a_package(tmp_path)
    lines = REQUIREMENTS[kind].format(project=tmp_path, mark=mark)
    (tmp_path / "requirements.txt").write_text(f"{lines}\n")
    settings = IndexSettings(indexes=(), find_links=())
    with pytest.raises(GitopsMlError):
        Resolver(
            project=tmp_path, python="3.11", platform="linux/amd64", settings=settings
        ).resolve([tmp_path / "requirements.txt"])
    assert not mark.exists()
