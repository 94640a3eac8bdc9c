"""`gitops-ml deploy` against a bare repository: what is committed, and what is left alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from gitops_ml._version import __version__
from tests.support.git_servers import commit_files, git
from tests.support.person import (
    DIGEST,
    ENVIRONMENTS,
    NO_REGISTRY,
    container_api,
    finished,
    predictor_api,
    started,
    written_below,
)

ROOT = Path(__file__).parents[2]
CHART = "charts/predictor/" + yaml.safe_load(
    (ROOT / "charts/predictor/Chart.yaml").read_text()
)["version"]  # fmt: skip


# -- what is written -------------------------------------------------------------------------------


def test_the_first_deploy_fills_an_empty_repository(ann):
    ann.gitops = ann.gitops.rename(ann.home / "git ops.git")
    ann.has(container_api("iris"))
    result = ann.deploys()

    chart = [f"{CHART}/{path}" for path in _files(ROOT / "charts/predictor")]
    assert ann.paths() == sorted(
        [
            *chart,
            "argocd/production.yaml",
            "argocd/projects/ml.yaml",
            "argocd/staging.yaml",
            *(
                f"releases/{environment}/iris/{name}"
                for environment in ("production", "staging")
                for name in ("release.yaml", "values.yaml")
            ),
        ]
    )
    assert result.out.splitlines()[-1] == (
        f"committed {ann.head()[:12]}: {len(ann.paths())} files: {len(ann.paths())} added"
    )
    assert git("log", "--format=%an <%ae> %s", "main", cwd=ann.gitops) == (
        "Ann <ann@example.org> Deploy iris to production, staging"
    )


def _files(folder: Path) -> list[str]:
    return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]


def test_the_release_says_what_it_is_and_where_it_came_from(ann):
    ann.has(container_api("iris", team="vision"))
    commit = ann.keeps_source_in_git()
    git("remote", "add", "origin", "https://ann:s3cret@example.org/shop.git", cwd=ann.project)
    ann.deploys("-e", "staging")

    release = ann.release("iris")
    identity = release["deployment_id"]
    assert re.fullmatch(r"iris-[0-9a-f]{12}", identity)
    assert release == {
        "name": "iris",
        "environment": "staging",
        "team": "vision",
        "namespace": "ml-staging",
        "server": "https://kubernetes.default.svc",
        "project": "shop",
        "deployment_id": identity,
        "chart": {"name": "predictor", "version": CHART.rpartition("/")[2]},
        "image": {"repository": "registry.example.org/iris", "tag": None, "digest": DIGEST},
        "content_hash": None,
        "manifest_file": "api.yaml",
        "manifest": container_api("iris", team="vision"),
        "provenance": {
            "repository": "https://example.org/shop.git",
            "commit": commit,
            "dirty": False,
            "author": "Ann <ann@example.org>",
            "gitops_ml": __version__,
        },
    }
    body = git("log", "-1", "--format=%B", "main", cwd=ann.gitops)
    assert body.splitlines()[-2:] == [f"Deployment-Id: {identity}", f"Source-Commit: {commit}"]


def test_changes_elsewhere_in_the_source_repository_do_not_make_the_project_dirty(ann):
    ann.has(container_api("iris"), folder=ann.project / "apis/shop")
    ann.keeps_source_in_git()
    (ann.project / "unrelated.txt").write_text("untracked")
    ann.go(ann.project / "apis/shop")
    ann.deploys("-e", "staging")
    assert ann.release("iris")["provenance"]["dirty"] is False


def test_outside_a_git_repository_the_source_is_unknown(ann):
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")
    assert ann.release("iris")["provenance"] == {
        "repository": None,
        "commit": None,
        "dirty": False,
        "author": "Ann <ann@example.org>",
        "gitops_ml": __version__,
    }


def test_a_source_repository_without_any_commit_is_no_obstacle(ann):
    ann.has(container_api("iris"))
    git("init", "-q", ".", cwd=ann.project)
    ann.deploys("-e", "staging")
    assert ann.release("iris")["provenance"]["commit"] is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody else")
def test_a_source_repository_that_git_distrusts_is_no_obstacle(ann):
    """As in many CI containers: the checkout belongs to another user (`safe.directory`)."""
    ann.has(container_api("iris"))
    ann.keeps_source_in_git()
    for path in [ann.project, *ann.project.rglob("*")]:
        os.chown(path, 12345, 12345)
    ann.deploys("-e", "staging")
    assert ann.release("iris")["name"] == "iris"


# -- again -----------------------------------------------------------------------------------------


def test_deploying_again_changes_nothing_and_commits_nothing(ann):
    ann.has(container_api("iris"), predictor_api("answer"))
    ann.deploys(*NO_REGISTRY)
    before = ann.head()

    result = ann.deploys(*NO_REGISTRY)
    assert result.out == "nothing to change\n"
    assert ann.head() == before


def test_a_changed_manifest_touches_its_own_release_only(ann):
    ann.has(container_api("iris"), container_api("roses"))
    ann.deploys()
    ann.has(container_api("iris"), container_api("roses", autoscaling={"max_replicas": 7}))
    ann.deploys()

    assert ann.touched() == [
        f"releases/{environment}/roses/{name}"
        for environment in ("production", "staging")
        for name in ("release.yaml", "values.yaml")
    ]


def test_an_override_of_one_environment_touches_that_environments_values_only(ann):
    ann.has(container_api("iris"))
    ann.deploys()
    before = ann.release("iris", "staging")
    overrides = {"production": {"autoscaling": {"max_replicas": 9}}}
    ann.has(container_api("iris", environments=overrides))
    ann.deploys()

    # What was submitted is on record in both; what runs changes in one.
    assert ann.touched() == [
        "releases/production/iris/release.yaml",
        "releases/production/iris/values.yaml",
        "releases/staging/iris/release.yaml",
    ]
    after = ann.release("iris", "staging")
    assert after["deployment_id"] == before["deployment_id"]
    assert after["provenance"] == before["provenance"]


def test_one_api_of_several_can_be_deployed_alone(ann):
    ann.has(container_api("iris"), container_api("roses"))
    ann.deploys("-e", "staging", "--api", "roses")
    assert ann.paths("releases/") == [
        "releases/staging/roses/release.yaml",
        "releases/staging/roses/values.yaml",
    ]


def test_an_edited_file_changes_the_release_whose_image_holds_it(ann):
    ann.has(predictor_api("answer"), folder=ann.project)
    ann.has(predictor_api("question"), file="question/api.yaml")
    ann.deploys("-e", "staging", *NO_REGISTRY)
    before = {api: ann.release(api)["content_hash"] for api in ("answer", "question")}
    (ann.project / "question/predictor.py").write_text("class PythonPredictor: ...\n")
    ann.deploys("-e", "staging", "--api", "question", *NO_REGISTRY)

    after = {api: ann.release(api)["content_hash"] for api in ("answer", "question")}
    assert after["answer"] == before["answer"]
    assert after["question"] != before["question"]


# -- provenance ------------------------------------------------------------------------------------


def test_an_unrelated_commit_keeps_the_provenance(ann):
    ann.has(container_api("iris"))
    first = ann.keeps_source_in_git()
    ann.deploys()
    ann.has(container_api("iris"), container_api("roses"))
    second = ann.commits_source()
    ann.deploys()

    commits = {api: ann.release(api)["provenance"]["commit"] for api in ("iris", "roses")}
    assert commits == {"iris": first, "roses": second}
    assert not [path for path in ann.touched() if "/iris/" in path]


def test_a_new_deployment_id_brings_its_own_provenance(ann, monkeypatch):
    ann.has(container_api("iris"))
    ann.keeps_source_in_git()
    ann.deploys()
    before = ann.release("iris")["deployment_id"]
    ann.has(container_api("iris", compute={"cpu": "300m"}))
    second = ann.commits_source()
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Bob")
    ann.deploys()

    release = ann.release("iris")
    assert release["deployment_id"] != before
    assert release["provenance"]["commit"] == second
    assert release["provenance"]["author"] == "Bob <ann@example.org>"


def test_a_change_of_scaling_is_a_commit_that_keeps_the_deployment_id(ann, monkeypatch):
    """The provenance is that of the pods; who scaled, and from which source, is in the commit."""
    ann.has(container_api("iris"))
    ann.keeps_source_in_git()
    ann.deploys("-e", "staging")
    before = ann.release("iris")
    changed = container_api(
        "iris",
        autoscaling={"max_replicas": 6},
        labels={"cost": "ml"},
        networking={"endpoint": "/i"},
    )
    ann.has(changed)
    second = ann.commits_source()
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Bob")
    assert "maxReplicas: 6" in ann.runs("diff", "-e", "staging").out
    result = ann.deploys("-e", "staging")

    assert "autoscaling.maxReplicas: 5 -> 6" in result.out
    assert ann.release("iris") == {**before, "manifest": changed}
    message = git("log", "-1", "--format=%an%n%B", "main", cwd=ann.gitops).splitlines()
    assert message[0] == "Bob"
    assert message[-2:] == [f"Deployment-Id: {before['deployment_id']}", f"Source-Commit: {second}"]


def test_a_manifest_that_talks_of_provenance_does_not_confuse_it(ann):
    """The provenance is found by its first line; an API's own words may hold that line, too."""
    env = {"NOTE": "first\nprovenance:\n  commit: none\n"}
    image = {**container_api("iris")["container"], "env": env}
    ann.has(container_api("iris", container=image))
    first = ann.keeps_source_in_git()
    ann.deploys("-e", "staging")
    ann.commits_source()
    assert ann.deploys("-e", "staging").out == "nothing to change\n"
    assert ann.release("iris")["provenance"]["commit"] == first
    assert ann.release("iris")["manifest"]["container"]["env"] == env


# -- prune -----------------------------------------------------------------------------------------


def test_a_release_without_a_manifest_is_told_and_stays(ann):
    ann.has(container_api("iris"), container_api("roses"))
    ann.deploys("-e", "staging")
    before = ann.head()
    ann.has(container_api("iris"))
    result = ann.deploys("-e", "staging")

    assert result.err == (
        "warning: releases/staging/roses is in the GitOps repository, but no manifest describes "
        "it any more; `gitops-ml deploy --prune` removes it\n"
    )
    assert (result.out, ann.head()) == ("nothing to change\n", before)


def test_prune_removes_what_left_the_manifests(ann):
    ann.has(container_api("iris"), container_api("roses"))
    ann.deploys("-e", "staging")
    ann.has(container_api("iris"))
    result = ann.deploys("-e", "staging", "--prune")

    assert result.out.splitlines()[0] == "removed releases/staging/roses"
    assert ann.touched() == [
        "releases/staging/roses/release.yaml",
        "releases/staging/roses/values.yaml",
    ]
    assert git("log", "-1", "--format=%s", "main", cwd=ann.gitops) == "Remove roses from staging"


def test_prune_removes_every_file_of_a_release_also_those_of_others(ann):
    ann.has(container_api("iris"), container_api("roses"))
    ann.deploys("-e", "staging")
    commit_files(ann.gitops, {"releases/staging/roses/notes/why.md": "because\n"})
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging", "--prune")
    assert ann.paths("releases/staging/roses") == []


@pytest.mark.parametrize(
    "spared",
    ["another environment's", "another project's", "a filtered API's", "a folder's beside"],
)
def test_prune_never_removes(ann, spared):
    ann.has(container_api("iris"), container_api("roses"))
    ann.deploys()
    arguments = ["--prune"]
    if spared == "another environment's":
        ann.has(container_api("iris"))
        arguments += ["-e", "production"]
    elif spared == "another project's":
        folder = ann.home / "other"
        ann.has(container_api("tulips"), folder=folder)
        ann.configures(folder=folder, project="garden")
        ann.go(folder)
    elif spared == "a filtered API's":
        arguments += ["--api", "iris"]
    else:
        ann.has(container_api("tulips"), file="tulips/api.yaml")
        arguments += ["tulips"]
    ann.deploys(*arguments)
    assert "releases/staging/roses/values.yaml" in ann.paths()
    assert "releases/staging/iris/values.yaml" in ann.paths()


def test_prune_of_a_project_without_any_api_left_removes_all_of_its_releases(ann):
    ann.has(container_api("iris"))
    ann.deploys()
    (ann.project / "api.yaml").unlink()
    ann.deploys("--prune")
    assert ann.paths("releases/") == []


# -- what is refused -------------------------------------------------------------------------------


def test_an_altered_base_chart_is_refused(ann):
    ann.has(container_api("iris"))
    ann.deploys()
    commit_files(ann.gitops, {f"{CHART}/values.yaml": "altered: true\n"})
    before = ann.head()
    ann.has(container_api("iris"), container_api("roses"))

    result = ann.runs("deploy")
    assert result.code == 6
    assert f"{CHART}/values.yaml in the GitOps repository is not what this version" in result.err
    assert ann.head() == before


def test_a_file_added_to_a_base_chart_is_refused(ann):
    """A template more is another chart, as much as a template changed."""
    ann.has(container_api("iris"))
    ann.deploys()
    commit_files(ann.gitops, {f"{CHART}/templates/extra.yaml": "kind: Job\n"})
    ann.has(container_api("iris"), container_api("roses"))
    result = ann.runs("deploy")
    assert (result.code, f"{CHART}/templates/extra.yaml" in result.err) == (6, True)


def test_another_version_of_the_chart_stays_beside_ours(ann):
    commit_files(ann.gitops, {"charts/predictor/0.0.1/Chart.yaml": "version: 0.0.1\n"})
    ann.has(container_api("iris"))
    ann.deploys()
    assert ann.text("charts/predictor/0.0.1/Chart.yaml") == "version: 0.0.1\n"


def test_an_image_without_a_digest_is_refused(ann):
    ann.has(predictor_api("answer"))
    result = ann.runs("deploy", "--offline", "--no-build")
    assert result.code == 5
    assert re.search(r"answer:h-[0-9a-f]{20}: no digest is known", result.err)
    assert ann.commits() == 0


def test_offline_builds_nothing(ann, monkeypatch):
    """Nobody can know whether an image has to be built where no registry may be asked."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    ann.has(predictor_api("answer"))
    result = ann.runs("deploy", "--offline")
    assert (result.code, "Build it first" in result.err) == (5, True)


def test_by_tag_names_the_image_by_its_content_hash(ann):
    ann.has(predictor_api("answer"))
    result = ann.deploys("-e", "staging", *NO_REGISTRY)
    image = ann.yaml("releases/staging/answer/values.yaml")["image"]
    assert re.fullmatch(r"h-[0-9a-f]{20}", image["tag"])
    assert "digest" not in image or not image["digest"]
    assert "has no digest yet" in result.err


def test_by_tag_goes_on_where_the_registry_cannot_be_reached(ann):
    ann.has(predictor_api("answer"))
    ann.configures(image={"repository": "127.0.0.1:1/ml"})
    result = ann.deploys("-e", "staging", "--by-tag")
    assert result.err.count("127.0.0.1:1") >= 1
    assert ann.release("answer")["image"]["digest"] is None


def test_without_by_tag_a_registry_that_cannot_be_reached_is_the_end(ann):
    ann.has(predictor_api("answer"))
    ann.configures(image={"repository": "127.0.0.1:1/ml"})
    result = ann.runs("deploy", "-e", "staging")
    assert result.code == 4
    assert "127.0.0.1:1 cannot be reached" in result.err
    assert "check image.repository" in result.err
    assert "--by-tag" in result.err
    assert ann.commits() == 0


def test_a_digest_that_was_deployed_once_is_not_asked_for_again(ann):
    """A content-hash tag names one content, so what the GitOps repository knows is enough."""
    ann.has(predictor_api("answer"))
    ann.deploys("-e", "staging", *NO_REGISTRY)
    path = "releases/staging/answer/release.yaml"
    known = ann.text(path).replace("digest: null", f'digest: "{DIGEST}"')
    commit_files(ann.gitops, {path: known})
    ann.deploys("-e", "staging", "--offline")
    assert ann.yaml("releases/staging/answer/values.yaml")["image"]["digest"] == DIGEST


def test_what_changes_is_told(ann):
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")
    ann.has(container_api("iris", autoscaling={"max_replicas": 7}))
    lines = ann.deploys("-e", "staging", "-e", "staging").out.splitlines()
    assert lines[2].startswith("iris: what changes in staging")
    assert "~ autoscaling.maxReplicas:" in lines[3]
    assert lines[3].endswith("-> 7")


def test_images_without_a_digest_are_named_together_where_they_are_many(ann):
    ann.has(*(predictor_api(f"answer-{number}") for number in range(5)))
    result = ann.deploys("-e", "staging", *NO_REGISTRY)
    (line,) = (line for line in result.err.splitlines() if "no digest yet" in line)
    assert "and 4 other images have no digest yet" in line


def test_pull_request_environments_are_not_pushed_to(ann):
    ann.has(container_api("iris"))
    production = {**ENVIRONMENTS["production"], "delivery": "pull_request"}
    ann.configures(environments={**ENVIRONMENTS, "production": production})
    commit_files(ann.gitops, {"README.md": "hello\n"})
    result = ann.deploys()
    assert (ann.paths(), ann.commits()) == (["README.md"], 1)
    assert "pushed the branch gitops-ml/deploy/staging-production/iris" in result.out
    assert (
        "warning: staging: what changes there waits in the pull request with the rest" in result.err
    )


def test_a_branch_that_the_repository_does_not_have_is_named(ann):
    commit_files(ann.gitops, {"README.md": "hello\n"}, branch="trunk")
    ann.has(container_api("iris"))
    result = ann.runs("deploy")
    assert result.code == 2
    assert "has no branch 'main'; it has trunk" in result.err


def test_a_repository_that_is_not_there_is_a_failure(ann):
    ann.has(container_api("iris"))
    ann.configures(gitops={"repository": str(ann.home / "nowhere.git")})
    assert ann.runs("deploy").code == 4


def test_an_invalid_manifest_stops_everything(ann):
    ann.has(container_api("iris"), container_api("roses", autoscaling={"max_replicas": -1}))
    assert (ann.runs("deploy").code, ann.commits()) == (3, 0)


def test_without_a_project_file_deploy_tells_what_it_needs(ann):
    ann.has(container_api("iris"))
    (ann.project / "gitops-ml.yaml").unlink()
    result = ann.runs("deploy")
    assert (result.code, "`gitops-ml init` writes one" in result.err) == (2, True)


# -- dry run ---------------------------------------------------------------------------------------


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(ann):
    ann.has(container_api("iris"), container_api("roses"))
    ann.deploys("-e", "staging")
    ann.has(container_api("iris", autoscaling={"max_replicas": 6}))
    before, source = ann.head(), written_below([ann.project])
    result = ann.deploys("-e", "staging", "--prune", "--dry-run")

    assert (ann.head(), written_below([ann.project])) == (before, source)
    assert result.out.splitlines()[-1] == "would commit: 4 files: 2 modified, 2 deleted"
    assert "would remove releases/staging/roses" in result.out
    done = ann.deploys("-e", "staging", "--prune")
    assert done.out.splitlines()[-1].endswith("4 files: 2 modified, 2 deleted")


def test_a_dry_run_builds_nothing_and_refuses_nothing(ann, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    ann.has(predictor_api("answer"))
    result = ann.deploys("--offline", "--dry-run")
    assert (ann.commits(), "would commit" in result.out) == (0, True)


# -- together --------------------------------------------------------------------------------------


def test_apis_deployed_at_the_same_time_all_land(ann):
    names = [f"api-{number}" for number in range(4)]
    folders = [ann.home / name for name in names]
    for name, folder in zip(names, folders, strict=True):
        ann.has(container_api(name), folder=folder)
        ann.configures(folder=folder, project=name)
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(finished, "deploy", "-e", "staging", cwd=each) for each in folders]
    for call in calls:
        assert call.result().returncode == 0, call.result().stderr

    assert [path.split("/")[2] for path in ann.paths("releases/staging/")][::2] == names
    assert git("rev-list", "--merges", "main", cwd=ann.gitops) == ""
    git("fsck", "--full", "--strict", cwd=ann.gitops)
    for folder in folders:
        ann.go(folder)
        assert ann.deploys("-e", "staging").out == "nothing to change\n"


EVERYWHERE = ("-e", "staging", "-e", "production")
KILLS = int(os.environ.get("GITOPS_ML_EXAMPLES", "8"))


def test_a_deploy_that_is_killed_anywhere_is_finished_by_the_next(ann):
    """The moments are spread over a whole call, so that some fall into its fetch, commit and push."""
    count = KILLS
    begin = time.monotonic()
    ann.has(container_api("iris"))
    assert finished("deploy", "--dry-run", *EVERYWHERE, cwd=ann.project).returncode == 0
    whole = time.monotonic() - begin
    for number in range(count):
        ann.has(container_api("iris", autoscaling={"max_replicas": 6 + number}))
        process = started("deploy", *EVERYWHERE, cwd=ann.project, start_new_session=True)
        try:
            process.communicate(timeout=whole * (0.3 + 0.9 * number / count))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        assert _is_sound(ann.gitops)

    result = finished("deploy", *EVERYWHERE, cwd=ann.project)
    assert result.returncode == 0, result.stderr
    git("fsck", "--full", "--strict", cwd=ann.gitops)
    for environment in ENVIRONMENTS:
        values = ann.yaml(f"releases/{environment}/iris/values.yaml")
        assert values["autoscaling"]["maxReplicas"] == 5 + count


def _is_sound(repository: Path) -> bool:
    """Asked more than once: a push that outlives its parent may land while git looks."""
    command = ["git", "fsck", "--full", "--strict"]
    return any(
        subprocess.run(command, cwd=repository, capture_output=True, check=False).returncode == 0
        for _ in range(10)
    )
