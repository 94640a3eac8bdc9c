"""`gitops-ml check`: what a change of the source does to the releases."""

from __future__ import annotations

import pytest

from gitops_ml.errors import UsageError
from tests.support.git_servers import commit_files, git
from tests.support.person import container_api, predictor_api

pytest.importorskip("helm_python")


@pytest.fixture
def source(ann):
    """Iris and roses, in a Git repository whose branch main has them."""
    ann.has(container_api("iris"), folder=ann.project / "iris")
    ann.configures()
    (ann.project / "iris" / "gitops-ml.yaml").unlink()
    ann.has(predictor_api("roses"), folder=ann.project / "roses")
    (ann.project / "roses" / "gitops-ml.yaml").unlink()
    ann.keeps_source_in_git()
    git("branch", "-M", "main", cwd=ann.project)
    git("checkout", "-q", "-b", "change", cwd=ann.project)
    return ann


def checked(person, *arguments):
    return person.runs("check", "--base", "main", "-o", "json", *arguments)


def test_no_change_gives_no_release(source):
    result = checked(source)
    assert (result.code, result.json["releases"]) == (0, [])


def test_more_replicas_restart_nothing(source):
    source.has(
        container_api("iris", autoscaling={"max_replicas": 7}), folder=source.project / "iris"
    )
    (source.project / "iris" / "gitops-ml.yaml").unlink()
    found = {each["environment"]: each for each in checked(source).json["releases"]}
    assert set(found) == {"staging", "production"}
    staging = found["staging"]
    assert (staging["action"], staging["rollout"]["pods"]) == ("modify", "no restart")
    assert staging["fields"] == [
        {"path": "autoscaling.max_replicas", "action": "modify", "before": 5, "after": 7}
    ]
    assert [(each["kind"], each["risk"]) for each in staging["objects"]] == [
        ("ScaledObject", "medium")
    ]


def test_a_changed_predictor_is_a_new_image_and_a_rollout(source):
    with (source.project / "roses" / "predictor.py").open("a") as file:
        file.write("\n# another line\n")
    found = checked(source).json["releases"]
    assert [(each["api"], each["environment"]) for each in found] == [
        ("roses", "production"),
        ("roses", "staging"),
    ]
    assert found[0]["image"]["rebuilt"]
    assert found[0]["image"]["why"] == ["predictor.py"]
    assert found[0]["rollout"]["restarts"]
    assert [each["path"] for each in found[0]["files"]] == ["predictor.py"]


# -- against the GitOps repository -----------------------------------------------------------------


def compared(person, *arguments):
    return person.runs("check", "-o", "json", *arguments)


@pytest.fixture
def deployed(ann):
    """Iris and roses run in both environments."""
    ann.has(container_api("iris"), container_api("roses"))
    ann.deploys()
    return ann


def test_what_is_deployed_differs_in_nothing(deployed):
    result = compared(deployed)
    assert (result.code, result.json["releases"], result.json["recorded"]) == (0, [], [])


def test_without_a_base_the_checkout_is_compared_with_what_runs(deployed):
    deployed.has(container_api("iris", compute={"cpu": "300m"}), container_api("tulips"))
    result = compared(deployed).json
    assert {(each["api"], each["environment"], each["action"]) for each in result["releases"]} == {
        (api, environment, action)
        for api, action in (("iris", "modify"), ("roses", "delete"), ("tulips", "add"))
        for environment in ("staging", "production")
    }
    iris = next(each for each in result["releases"] if each["api"] == "iris")
    assert iris["rollout"]["restarts"]
    assert {"path": "compute.cpu", "action": "add", "before": None, "after": "300m"} in iris[
        "fields"
    ]
    assert iris["objects"][0]["kind"] == "Deployment"
    assert result["base"]["commit"] == git("rev-parse", "main", cwd=deployed.gitops)
    assert result["counts"] == {"staging": 2, "production": 2}


def test_an_edit_by_hand_that_the_change_undoes_is_shown(source):
    source.deploys("-e", "staging", "--by-tag")
    values = "releases/staging/iris/values.yaml"
    edited = source.text(values).replace("maxReplicas: 5", "maxReplicas: 50")
    commit_files(source.gitops, {values: edited})
    source.has(
        container_api("iris", autoscaling={"max_replicas": 7}), folder=source.project / "iris"
    )
    (source.project / "iris" / "gitops-ml.yaml").unlink()
    result = checked(source).json
    (edit,) = result["hand_edits"]
    assert "autoscaling.maxReplicas: 50 becomes 7" in edit
    text = source.runs("check", "--base", "main", "-o", "markdown").out
    assert "Edits by hand" in text
    (edit,) = compared(source, "-e", "staging").json["hand_edits"]
    assert "50 becomes 7" in edit
    assert checked(source, "--offline").json["hand_edits"] == []


def test_a_head_needs_a_base(deployed):
    result = deployed.runs("check", "--head", "HEAD")
    assert (result.code, "name a base" in result.err) == (2, True)


def test_a_base_that_is_not_there_is_named(source):
    result = source.runs("check", "--base", "nowhere")
    assert (result.code, "'nowhere' is no commit" in result.err) == (2, True)


def test_what_others_merged_since_is_no_part_of_the_change(source):
    with (source.project / "roses" / "predictor.py").open("a") as file:
        file.write("# mine\n")
    source.commits_source()
    git("checkout", "-q", "main", cwd=source.project)
    with (source.project / "iris" / "api.yaml").open("a") as file:
        file.write("  compute: {cpu: 700m}\n")
    source.commits_source()
    git("checkout", "-q", "change", cwd=source.project)
    assert {each["api"] for each in checked(source).json["releases"]} == {"roses"}


def test_only_some_environments_and_apis(source):
    for name in ("iris", "roses"):
        with (source.project / name / "api.yaml").open("a") as file:
            file.write("  compute: {cpu: 700m}\n")
    found = checked(source, "-e", "staging", "-a", "iris").json["releases"]
    assert [(each["api"], each["environment"]) for each in found] == [("iris", "staging")]


def test_errors_are_all_in_the_comment_and_the_exit_code_is_3(source):
    (source.project / "iris" / "api.yaml").write_text("- name: iris\n  kind: RealtimeApi\n")
    with (source.project / "roses" / "api.yaml").open("a") as file:
        file.write("  compute: {cpu: lots}\n")
    result = source.runs("check", "--base", "main", "-o", "markdown")
    assert result.code == 3
    assert "`iris/api.yaml:" in result.out
    assert "`roses/api.yaml:" in result.out


def test_a_broken_rule_of_severity_error_is_exit_code_7(source):
    project = source.project / "gitops-ml.yaml"
    project.write_text(project.read_text() + "checks: {required_labels: [cost-center]}\n")
    source.commits_source()
    git("branch", "-f", "main", cwd=source.project)
    with (source.project / "iris" / "api.yaml").open("a") as file:
        file.write("  compute: {cpu: 700m}\n")
    result = source.runs("check", "--base", "main")
    assert result.code == 7
    assert "cost-center" in result.out


def test_a_project_in_a_folder_of_the_repository(ann):
    (ann.project / "README.md").write_text("x")
    folder = ann.project / "ml"
    ann.has(container_api("iris"), folder=folder)
    ann.keeps_source_in_git()
    git("branch", "-M", "main", cwd=ann.project)
    ann.has(container_api("iris", compute={"cpu": "1"}), folder=folder)
    found = ann.runs("check", "ml", "--base", "main", "-o", "json").json["releases"]
    assert {each["api"] for each in found} == {"iris"}
    ann.go(folder)
    assert len(ann.runs("check", "--base", "main", "-o", "json").json["releases"]) == 2


def test_without_helm_everything_but_the_objects_is_shown(source, monkeypatch):
    def nowhere():
        raise UsageError("rendering Kubernetes objects needs Helm")

    monkeypatch.setattr("gitops_ml.review.make_review.find_helm", nowhere)
    with (source.project / "iris" / "api.yaml").open("a") as file:
        file.write("  compute: {cpu: 700m}\n")
    result = checked(source).json
    assert result["releases"][0]["rollout"]["restarts"]
    assert result["releases"][0]["objects"] == []
    assert "needs Helm" in result["warnings"][0]


def test_an_environment_that_is_not_there_is_named(source):
    result = checked(source, "-e", "stagin")
    assert (result.code, "unknown environment 'stagin'" in result.err) == (2, True)


def test_of_several_projects_below_one_has_to_be_named(ann):
    ann.has(container_api("iris"), folder=ann.project / "a")
    ann.keeps_source_in_git()
    git("branch", "-M", "main", cwd=ann.project)
    ann.has(container_api("iris", compute={"cpu": "1"}), folder=ann.project / "a")
    assert len(checked(ann).json["releases"]) == 2
    ann.has(container_api("oak"), folder=ann.project / "b")
    result = checked(ann)
    assert (result.code, "several projects here (a, b)" in result.err) == (2, True)
    assert {each["api"] for each in checked(ann, "b").json["releases"]} == {"oak"}


def test_a_repository_without_a_manifest_is_a_usage_error(ann):
    (ann.project / "README.md").write_text("x")
    ann.keeps_source_in_git()
    git("branch", "-M", "main", cwd=ann.project)
    result = checked(ann)
    assert (result.code, "there is no manifest (api.yaml)" in result.err) == (2, True)


def test_a_project_file_that_is_a_link_is_followed_inside_of_the_repository(source):
    real, link = source.project / "shared" / "settings.yaml", source.project / "gitops-ml.yaml"
    real.parent.mkdir()
    link.rename(real)
    link.symlink_to("shared/settings.yaml")
    source.commits_source()
    git("branch", "-f", "main", cwd=source.project)
    assert checked(source).json["releases"] == []
    real.write_text(real.read_text().replace("namespace: ml-staging", "namespace: ml-other"))
    for arguments in ((), ("--head", source.commits_source())):
        found = checked(source, *arguments).json["releases"]
        assert {each["environment"] for each in found} == {"staging"}, arguments
        assert {each["api"] for each in found} == {"iris", "roses"}


def test_a_submodule_with_another_commit_is_reported(source):
    for commit in ("1" * 40, "2" * 40):
        entry = f"160000,{commit},iris/lib"
        git("update-index", "--add", "--cacheinfo", entry, cwd=source.project)
        git("commit", "-q", "-m", "Move the library", cwd=source.project)
    words = "the submodule iris/lib changes from {} to {}, and its files are not compared"
    found = source.runs("check", "--base", "main", "--head", "HEAD", "-o", "json").json["warnings"]
    assert any(words.format("nothing", "2" * 12) in each for each in found), found
    found = source.runs("check", "--base", "HEAD~1", "--head", "HEAD", "-o", "json").json[
        "warnings"
    ]
    assert any(words.format("1" * 12, "2" * 12) in each for each in found), found


@pytest.fixture
def with_library(source, tmp_path):
    """The predictor of roses imports a submodule that is checked out; returns how it gets another commit."""
    library = tmp_path / "library"
    library.mkdir()
    git("init", "-q", "--bare", "-b", "main", cwd=library)
    commit_files(library, {"words.py": "WORDS = 1\n"})
    allowed = ("-c", "protocol.file.allow=always", "submodule", "--quiet")
    git(*allowed, "add", str(library), "roses/lib", cwd=source.project)
    source.commits_source()
    git("branch", "-f", "main", cwd=source.project)

    def moves(**files: str) -> None:
        commit_files(library, {f"{name}.py": text for name, text in files.items()})
        git("-c", "protocol.file.allow=always", "pull", "-q", cwd=source.project / "roses" / "lib")

    return moves


def test_the_files_of_a_submodule_are_compared_where_it_is_checked_out(source, with_library):
    with_library(words="WORDS = 2\n", more="MORE = 1\n")
    uncommitted = checked(source).json
    assert not any("submodule" in each for each in uncommitted["warnings"])
    assert {each["api"] for each in uncommitted["releases"]} == {"roses"}
    assert uncommitted["releases"][0]["image"]["why"] == ["lib/more.py", "lib/words.py"]
    source.commits_source()
    result = checked(source, "--head", "HEAD")
    assert result.json["releases"] == uncommitted["releases"]


def test_a_commit_of_the_source_is_none_of_its_submodule(source, with_library):
    """Else a change could show files for the submodule that no deploy would find there."""
    other = git("rev-parse", "HEAD", cwd=source.project)
    git("update-index", "--cacheinfo", f"160000,{other},roses/lib", cwd=source.project)
    git("commit", "-q", "-m", "Move the library", cwd=source.project)
    found = checked(source, "--head", "HEAD").json
    (warning,) = (each for each in found["warnings"] if "submodule" in each)
    assert warning.startswith("the submodule roses/lib changes from ")


def test_a_manifest_that_is_a_link_to_an_untouched_folder_is_read(source):
    folder = source.project / "lilies"
    folder.mkdir()
    (source.project / "common").mkdir()
    text = (source.project / "iris" / "api.yaml").read_text()
    (source.project / "common" / "lilies.yaml").write_text(text.replace("iris", "lilies"))
    source.commits_source()
    git("branch", "-f", "main", cwd=source.project)
    (folder / "api.yaml").symlink_to("../common/lilies.yaml")
    source.commits_source()
    result = checked(source)
    assert [each["api"] for each in result.json["releases"]] == ["lilies", "lilies"], result


def test_a_switch_of_the_mode_is_reported(source):
    source.configures(gitops={"mode": "manifests"})
    (warning,) = checked(source).json["warnings"]
    assert warning.startswith("gitops.mode changes from chart to manifests: the next deploy")
