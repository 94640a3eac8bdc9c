"""The steps of Gitea's workflows, run one by one: a pull request, its merge, the promotion, the night."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gitops_ml._version import __version__
from tests.support.forges.running import forge_running
from tests.support.git_servers import TOKEN, bare_repository, git
from tests.support.person import container_api

if TYPE_CHECKING:
    from tests.support.images_without_docker import Mill

SOURCE = "acme/source"
PLACES = {
    "staging": {"cluster": "main", "namespace": "ml-staging"},
    "production": {"cluster": "main", "namespace": "ml-production", "protected": True},
}


@dataclass
class Runner:
    """Runs the ``run:`` steps of a workflow as act_runner does: one by one, in bash, in the checkout."""

    mill: Mill
    forge: Any
    event: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.mill.project

    def runs(self, workflow: str, **github: str) -> str:
        """The output of all steps, each of which must end well."""
        document = yaml.safe_load((self.project / f".gitea/workflows/{workflow}.yaml").read_text())
        output, ours = "", document.get("env", {})
        for job in document["jobs"].values():
            for step in job["steps"]:
                if "run" in step:
                    output += self._step(
                        step, {**ours, **job.get("env", {}), **step.get("env", {})}, github
                    )
        return output

    def _step(self, step: dict[str, Any], env: dict[str, Any], github: dict[str, str]) -> str:
        if step["run"].startswith("pip install"):
            assert step["run"] == f"pip install 'gitops-ml[helm]=={__version__}'"
            return ""
        own = {name: self._value(str(value)) for name, value in env.items()}
        return ran(step["run"], self.project, {
            "RUNNER_TEMP": str(self.mill.person.home / "runner"),
            "GITHUB_ACTIONS": "true", "GITEA_ACTIONS": "true",
            "GITHUB_SERVER_URL": self.forge.url, "GITHUB_API_URL": self.forge.api_url,
            "GITHUB_REPOSITORY": SOURCE, "GITHUB_ACTOR": "ann", **github, **own,
        })  # fmt: skip

    def _value(self, text: str) -> str:
        known = {
            "github.actor": "ann", "github.token": TOKEN, "secrets.GITOPS_TOKEN": TOKEN,
            "secrets.REGISTRY_USER": "ann", "secrets.REGISTRY_TOKEN": "of-an-open-registry",
            "secrets.KUBECONFIG": "",
        }  # fmt: skip
        return re.sub(r"\$\{\{ (.+?) \}\}", lambda match: known[match[1]], text)


def ran(script: str, folder: Path, environ: dict[str, str]) -> str:
    """The output of a script of bash, which must end well and show no token."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # git on the machine of a CI service knows no author.
    own = {
        k: v for k, v in os.environ.items() if not k.startswith(("GIT_AUTHOR_", "GIT_COMMITTER_"))
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], cwd=folder,
        env={**own, "PATH": path, "CI": "true", **environ},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
    assert TOKEN not in done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def runner(mill: Mill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A project with workflows in a repository of the forge, which has the GitOps repository as well."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with forge_running("gitea", tmp_path / "forge") as forge:
        mill.person.configures(
            image={
                "repository": mill.repository.rpartition("/")[0], "base": str(mill.base.image),
                "python_version": "3.11",
            },
            environments=PLACES,
            gitops={
                "repository": f"{forge.url}/acme/gitops.git", "token_env": "GITOPS_TOKEN",
                "username": "ann", "forge": {"type": "gitea"},
            },
        )  # fmt: skip
        person = mill.person
        assert person.runs("init", "--ci", "gitea").code == 0
        assert person.runs("lock").code == 0
        person.keeps_source_in_git()
        git("branch", "-M", "main", cwd=mill.project)
        bare_repository(forge.base / f"{SOURCE}.git", {"README.md": "x\n"})
        git("remote", "add", "origin", str(forge.base / f"{SOURCE}.git"), cwd=mill.project)
        git("push", "-q", "--force", "origin", "main", cwd=mill.project)
        git("fetch", "-q", "origin", cwd=mill.project)
        yield Runner(mill, forge)


def replicas(runner: Runner, number: int) -> None:
    """A commit that changes the most replicas, on a branch."""
    file = runner.project / "api.yaml"
    manifest = yaml.safe_load(file.read_text())
    manifest[0]["autoscaling"] = {"max_replicas": number}
    file.write_text(yaml.safe_dump(manifest, sort_keys=False))
    runner.mill.person.commits_source()


def test_from_the_pull_request_to_production(runner):
    runner.runs("gitops-ml-deploy")
    gitops = runner.forge.bare
    assert "releases/staging/answer/values.yaml" in git(
        "ls-tree", "-r", "--name-only", "main", cwd=gitops
    )
    assert "releases/production" not in git("ls-tree", "-r", "--name-only", "main", cwd=gitops)
    (promotion,) = runner.forge.pulls
    assert "production" in promotion.title
    runner.forge.merge(promotion.number)
    assert "releases/production/answer/values.yaml" in git(
        "ls-tree", "-r", "--name-only", "main", cwd=gitops
    )
    assert runner.runs("gitops-ml-drift")

    git("checkout", "-q", "-b", "more", cwd=runner.project)
    replicas(runner, 7)
    runner.forge.repository, delivery = SOURCE, runner.forge.repository
    git("push", "-q", "origin", "more", cwd=runner.project)
    pull = runner.forge.add("More replicas", "", "more", "main", draft=False)
    job = {"GITHUB_REF": f"refs/pull/{pull.number}/head", "GITHUB_BASE_REF": "main"}
    runner.runs("gitops-ml-check", **job)
    replicas(runner, 8)
    runner.runs("gitops-ml-check", **job)
    (comment,) = runner.forge.notes
    assert (comment.pull, comment.version) == (pull.number, 1)
    assert "answer" in comment.body
    assert "staging" in comment.body

    git("checkout", "-q", "main", cwd=runner.project)
    git("merge", "-q", "more", cwd=runner.project)
    runner.forge.repository = delivery
    runner.runs("gitops-ml-deploy")
    values = git("show", "main:releases/staging/answer/values.yaml", cwd=gitops)
    assert yaml.safe_load(values)["autoscaling"]["maxReplicas"] == 8
    assert len([each for each in runner.forge.pulls if "romote" in each.title]) == 2


def gitlab_jobs(project: Path, forge: Any) -> list[tuple[str, dict[str, str]]]:
    """The scripts of the jobs of a merge request, with the variables of each."""
    jobs = yaml.safe_load((project / ".gitlab-ci.yml").read_text())
    known = {
        "GITLAB_CI": "true", "CI_SERVER_URL": forge.url, "CI_API_V4_URL": forge.api_url,
        "CI_PROJECT_PATH": forge.repository, "CI_MERGE_REQUEST_IID": "1",
        "CI_MERGE_REQUEST_PROJECT_URL": f"{forge.url}/is-private",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
    }  # fmt: skip
    check, comment = (
        "\n".join(jobs[f"gitops-ml {name}"]["script"]) for name in ("check", "comment")
    )
    return [(check, known), (comment, {**known, "GITLAB_TOKEN": TOKEN})]


def bamboo_jobs(project: Path, forge: Any) -> list[tuple[str, dict[str, str]]]:
    """The script of the plan that builds pull requests."""
    text = (project / "bamboo-specs" / "bamboo.yaml").read_text()
    plan = next(yaml.safe_load_all(text))
    (script,) = plan["Check"]["tasks"][1]["script"]["scripts"]
    install = f"pip install --quiet 'gitops-ml[helm]=={__version__}'\n"
    assert install in script
    script = script.replace(install, "").replace("https://git.acme.example", forge.url)
    return [(script, {
        "bamboo_repository_pr_key": "1", "bamboo_repository_pr_targetBranch": "main",
        "bamboo_planRepository_repositoryUrl": f"ssh://git@127.0.0.1:7999/{forge.repository}.git",
        "bamboo_gitops_ml_comment_secret": TOKEN,
    })]  # fmt: skip


@pytest.mark.parametrize(("kind", "jobs"), [("gitlab", gitlab_jobs), ("bitbucket", bamboo_jobs)])
def test_the_jobs_of_a_pull_request_check_and_comment(ann, tmp_path, kind, jobs):
    with forge_running(kind, tmp_path / "forge") as forge:
        ann.has(container_api("iris"))
        ann.configures(gitops={"repository": "https://git.acme.example/acme/gitops.git"})
        assert ann.runs("init", "--ci", kind).code == 0
        ann.keeps_source_in_git()
        git("branch", "-M", "main", cwd=ann.project)
        git("remote", "add", "origin", str(forge.bare), cwd=ann.project)
        git("push", "-q", "--force", "origin", "main", cwd=ann.project)
        git("checkout", "-q", "-b", "more", cwd=ann.project)
        ann.has(container_api("iris", autoscaling={"max_replicas": 7}))
        # A stranger's report, and a link in its place, are not what is posted.
        (ann.project / "report").mkdir()
        (ann.project / "report" / "check.md").symlink_to("/proc/self/environ")
        ann.commits_source()
        git("push", "-q", "origin", "more", cwd=ann.project)
        forge.add("More", "", "more", "main", draft=False)
        for script, environ in jobs(ann.project, forge):
            ran(script, ann.project, environ)
        (comment,) = forge.notes
    assert "iris" in comment.body
    assert "max_replicas" in comment.body
