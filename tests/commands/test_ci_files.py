"""`gitops-ml init --ci`: workflows that linters accept, and that give a stranger's pull request no secret."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from gitops_ml._version import __version__
from gitops_ml.commands.init import FILES

GITHUB = ".github/workflows/gitops-ml-"
GITEA = ".gitea/workflows/gitops-ml-"
MERGED = '$CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == "main" && $CI_COMMIT_REF_PROTECTED == "true"'
OWN_PROJECT = "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID"
STORED = ("secrets.REGISTRY_USER", "secrets.REGISTRY_TOKEN")
SCHEMAS = {
    "gitlab": "gitlab-ci", "bitbucket": "bamboo-spec", "github": "github-workflows",
    "gitea": "github-workflows",
}  # fmt: skip


@pytest.fixture(params=FILES)
def forge(request) -> str:
    return str(request.param)


@pytest.fixture
def written(ann):
    """The files of a forge in a new project, by their paths."""

    def write(kind: str, *more: str) -> dict[str, str]:
        result = ann.runs("init", "--ci", kind, "--name", "iris", *more)
        assert result.code == 0, result
        return {path: (ann.project / path).read_text() for path in FILES[kind].values()}

    return write


def program(name: str) -> str:
    return shutil.which(name, path=str(Path(sys.executable).parent)) or name


def documents(text: str) -> list[Any]:
    return list(yaml.safe_load_all(text))


def jobs_with_secrets(workflow: dict[str, Any]) -> dict[str, Any]:
    return {n: job for n, job in workflow["jobs"].items() if "secrets." in yaml.safe_dump(job)}


# -- linters -----------------------------------------------------------------------------------------


def test_the_schema_of_the_ci_service_holds(written, forge):
    place = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((place / f"{SCHEMAS[forge]}.json").read_text())
    validator = Draft7Validator(schema)
    for path, text in written(forge).items():
        for document in documents(text):
            # YAML 1.1 reads the key `on` as a truth value.
            named = {"on" if key is True else key: value for key, value in document.items()}
            assert [error.message for error in validator.iter_errors(named)] == [], path


@pytest.mark.parametrize("forge", ["github", "gitea"])
def test_actionlint_has_nothing_to_say(written, ann, forge):
    files = [str(ann.project / path) for path in written(forge)]
    done = subprocess.run(
        [program("actionlint"), "-no-color", *files], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_has_nothing_to_say(written, ann):
    text = "".join(written("github").values())
    command = [program("zizmor"), "--offline", "--no-config", "--strict-collection"]
    done = subprocess.run(
        [*command, "--persona", "auditor", "--no-progress", str(ann.project)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # The workflow that comments must not be the pull request's own; it executes nothing of it.
    assert re.findall(r"zizmor: (.+?)\]", text) == ["ignore[dangerous-triggers"]


def test_zizmor_has_nothing_to_say_about_the_action():
    command = [program("zizmor"), "--offline", "--no-config", "--persona", "auditor"]
    action = Path(__file__).parents[2] / "action.yml"
    done = subprocess.run(
        [*command, "--no-progress", str(action)], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_action_is_named_by_commit_with_its_version_beside_it(written):
    action = (Path(__file__).parents[2] / "action.yml").read_text()
    for text in (*written("github").values(), action):
        uses = re.findall(r"uses: (.+)", text)
        assert uses
        wrong = [
            each for each in uses if not re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)
        ]
        assert wrong == []


def test_the_files_install_this_version(written, forge):
    text = "".join(written(forge).values())
    found = re.findall(r"pip install .*'gitops-ml\[helm\]==([^']+)'", text)
    assert set(found) == {__version__}


# -- secrets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "prefix"), [("github", GITHUB), ("gitea", GITEA)])
def test_a_pull_request_gets_no_secret_and_no_rights_of_the_base(written, kind, prefix):
    files = written(kind)
    check = files[f"{prefix}check.yaml"]
    workflow = yaml.safe_load(check)
    assert set(workflow[True]) == {"pull_request"}
    assert workflow["permissions"] == {}
    assert "secrets." not in check
    assert "pull_request_target" not in "".join(
        line for text in files.values() for line in text.splitlines() if not line.startswith("#")
    )
    rights = (
        {"contents": "read"} if kind == "github" else {"contents": "read", "pull-requests": "write"}
    )
    assert workflow["jobs"]["check"]["permissions"] == rights


def test_the_workflow_that_comments_checks_out_and_executes_nothing(written):
    comment = yaml.safe_load(written("github")[f"{GITHUB}comment.yaml"])
    assert set(comment[True]) == {"workflow_run"}
    (job,) = comment["jobs"].values()
    assert job["permissions"] == {"actions": "read", "pull-requests": "write"}
    assert [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step] == [
        "actions/setup-python", "actions/download-artifact",
    ]  # fmt: skip
    runs = "".join(step.get("run", "") for step in job["steps"])
    assert "${{" not in runs, "what others wrote would be part of a script"
    assert '--commit "$HEAD_SHA"' in runs


@pytest.mark.parametrize(("kind", "prefix"), [("github", GITHUB), ("gitea", GITEA)])
def test_secrets_are_in_jobs_of_merged_code_with_an_environment(written, kind, prefix):
    files = written(kind)
    for name, events in (("deploy", {"push"}), ("drift", {"schedule", "workflow_dispatch"})):
        workflow = yaml.safe_load(files[f"{prefix}{name}.yaml"])
        assert set(workflow[True]) == events
        having = jobs_with_secrets(workflow)
        assert having
        assert {job["environment"] for job in having.values()} == {"gitops-ml"}
        for job in having.values():
            assert "GITOPS_ML_TOKEN_HOSTS" in yaml.safe_dump(job)
            assert "${{" not in "".join(step.get("run", "") for step in job["steps"])


def test_nothing_is_shared_between_pull_requests_and_deployments(written, forge):
    text = "".join(written(forge).values())
    assert "cache" not in text.replace("cache: []", "")


def test_gitlab_gives_environments_to_its_own_branches_only(written):
    jobs = yaml.safe_load(written("gitlab")[".gitlab-ci.yml"])
    rules = {
        name: [rule["if"] for rule in job["rules"]]
        for name, job in jobs.items()
        if "environment" in job
    }
    assert rules == {
        "gitops-ml comment": [f'$CI_PIPELINE_SOURCE == "merge_request_event" && {OWN_PROJECT}'],
        "gitops-ml deploy": [MERGED],
        "gitops-ml drift": [MERGED.replace('"push"', '"schedule"')],
    }
    check = yaml.safe_dump(jobs["gitops-ml check"])
    assert not re.search(r"TOKEN|PASSWORD|SECRET", check)


def test_bamboo_gives_the_secrets_of_a_deployment_to_no_plan_branch(written):
    check, deploy, drift = documents(written("bitbucket")["bamboo-specs/bamboo.yaml"])
    assert check["branches"]["create"] == "for-pull-request"
    assert "gitops_token" not in yaml.safe_dump(check)
    for plan in (deploy, drift):
        assert plan["branches"] == {"create": "manually"}


# -- what is deployed --------------------------------------------------------------------------------


def test_production_changes_by_a_pull_request_alone(written, forge):
    text = "".join(written(forge).values())
    commands = re.findall(r"gitops-ml ((?:deploy|promote) .+)", text)
    commands = [each for each in commands if each.startswith(("deploy --", "promote --"))]
    assert commands == [
        "deploy --frozen -e staging",
        "promote --all --from staging --to production --pull-request",
    ]


def test_several_protected_environments_are_promoted_one_after_the_other(written, ann):
    ann.configures(environments={
        name: {"cluster": "main", "namespace": f"ml-{name}", "protected": name[0] in "cp"}
        for name in ("dev", "staging", "canary", "production")
    })  # fmt: skip
    text = written("gitlab")[".gitlab-ci.yml"]
    assert "deploy --frozen -e dev" in text
    assert re.findall(r"--from (\w+) --to (\w+)", text) == [
        ("staging", "canary"), ("canary", "production"),
    ]  # fmt: skip


def test_a_project_with_protected_environments_alone_is_refused(ann):
    ann.configures(environments={"p": {"cluster": "main", "namespace": "ml", "protected": True}})
    result = ann.runs("init", "--ci", "github")
    assert (result.code, "every environment is protected" in result.err) == (2, True)
    assert not (ann.project / ".github").exists()


def test_deployments_wait_for_each_other(written):
    deploy = yaml.safe_load(written("github")[f"{GITHUB}deploy.yaml"])
    assert deploy["concurrency"] == {"group": "gitops-ml-deploy", "cancel-in-progress": False}
    gitlab = yaml.safe_load(written("gitlab")[".gitlab-ci.yml"])
    assert gitlab["gitops-ml deploy"]["resource_group"] == "gitops-ml-deploy"


@pytest.mark.parametrize(
    ("kind", "repository", "login"),
    [
        ("github", "ghcr.io/acme/ml", ("ghcr.io", "github.actor", "github.token")),
        ("github", "r.acme.example:5000/ml", ("r.acme.example:5000", *STORED)),
        ("gitea", "git.acme.example/acme/ml", ("git.acme.example", *STORED)),
    ],
)  # fmt: skip
def test_the_registry_gets_the_token_of_the_forge_where_it_takes_one(
    written, kind, repository, login
):
    files = written(kind, "--image-repository", repository)
    text = next(text for path, text in files.items() if path.endswith("deploy.yaml"))
    host, user, token = login
    assert f"gitops-ml login {host} --username" in text
    assert f"REGISTRY_USER: ${{{{ {user} }}}}" in text
    assert f"REGISTRY_TOKEN: ${{{{ {token} }}}}" in text


def test_gitlabs_own_registry_gets_the_token_of_the_job(written):
    files = written("gitlab", "--image-repository", "registry.gitlab.com/acme/ml")
    login = (
        'login "$CI_REGISTRY" --username "$CI_REGISTRY_USER" --password-env CI_REGISTRY_PASSWORD'
    )
    assert login in files[".gitlab-ci.yml"]


def test_a_second_time_keeps_what_people_changed(written, ann):
    written("github")
    path = ann.project / f"{GITHUB}deploy.yaml"
    path.write_text("# ours\n")
    result = ann.runs("init", "--ci", "github")
    assert f"kept  {GITHUB}deploy.yaml" in result.out
    assert path.read_text() == "# ours\n"


def test_in_a_folder_of_a_repository_the_root_is_named(ann):
    (ann.project / ".git").mkdir()
    result = ann.runs("init", "--ci", "github", "below")
    assert (result.code, f"which is {ann.project}" in result.err) == (2, True)


def test_the_hooks_run_commands_that_exist(ann):
    hooks = yaml.safe_load((Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text())
    ann.runs("init")
    for hook in hooks:
        assert {"id", "name", "entry", "language", "files"} <= set(hook)
        assert re.search(hook["files"], "models/api.yaml")
        name, *arguments = hook["entry"].split()
        assert name == "gitops-ml"
        # A project without a lock is valid, and its lock is missing.
        assert ann.runs(*arguments).code == (0 if hook["id"].endswith("validate") else 7)


@pytest.mark.parametrize("more", [(), ("--gitops-repository", "https://git.acme.example/a/b.git")])
def test_every_job_that_commits_states_an_author(written, forge, more):
    """git on the machine of a CI service knows none, and a commit without one is refused."""
    text = "".join(written(forge, *more).values())
    places = {
        "github": lambda: yaml.safe_load(written(forge, *more)[GITHUB + "deploy.yaml"])["env"],
        "gitea": lambda: yaml.safe_load(written(forge, *more)[GITEA + "deploy.yaml"])["env"],
        "gitlab": lambda: yaml.safe_load(text)["gitops-ml deploy"]["variables"],
        "bitbucket": lambda: documents(text)[1]["Deploy"]["tasks"][1]["script"]["scripts"][0],
    }
    where = places[forge]()
    assert "GIT_AUTHOR_NAME" in where
    assert "GIT_AUTHOR_EMAIL" in where


def test_the_package_is_installed_with_what_the_project_file_needs(written, ann, forge):
    ann.configures(
        checks={"rules": [{"id": "acme", "title": "All is well", "expression": "true"}]},
        image={"repository": "ghcr.io/acme/ml", "signing": {"key": "env://KEY"}},
    )
    text = "".join(written(forge).values())
    assert set(re.findall(r"gitops-ml\[([^]]*)\]==", text)) == {"cel,helm,sign"}
