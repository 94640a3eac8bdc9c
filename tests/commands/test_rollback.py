"""`gitops-ml rollback`: what stood there comes back, byte for byte."""

from __future__ import annotations

import pytest

from tests.support.git_servers import commit_files, git
from tests.support.person import container_api
from tests.support.releases import body, deployed, did, files, id_of, iris

DIRECTORY = "releases/staging/iris"
CHART = "charts/predictor"


def test_the_previous_deployment_comes_back_byte_for_byte(ann):
    first = deployed(ann, iris())
    before = files(ann, DIRECTORY)
    second = deployed(ann, iris(compute={"cpu": "300m"}))
    result = did(ann, "rollback", "iris", "-e", "staging")

    assert files(ann, DIRECTORY) == before
    pods = ["rolling,", "1", "to", "3", "at", "a", "time"]
    assert result.out.splitlines()[1].split() == ["staging", "iris", *pods, first, second]
    assert '  ~ resources.cpu: "300m" -> "200m"' in result.out
    assert body(ann).splitlines() == [
        f"Roll back iris in staging to {first}",
        "",
        f"* iris in staging: {first}",
        "",
        f"Deployment-Id: {first}",
        "Gitops-Ml-Action: rollback",
    ]


def test_any_earlier_deployment_can_be_named(ann):
    first = deployed(ann, iris())
    for cpu in ("300m", "400m", "500m"):
        deployed(ann, iris(compute={"cpu": cpu}))
    did(ann, "rollback", "iris", "-e", "staging", "--to", first)
    assert id_of(ann, "iris") == first


# -- several states with one deployment id ---------------------------------------------------------


@pytest.fixture
def scaled(ann):
    """The commits of four states: two pods, each with two scalings."""
    commits = []
    for cpu, most in (("200m", 5), ("200m", 6), ("300m", 7), ("300m", 8)):
        deployed(ann, iris(compute={"cpu": cpu}, autoscaling={"max_replicas": most}))
        commits.append(ann.head())
    return commits


def replicas(ann) -> int:
    return ann.yaml(f"{DIRECTORY}/values.yaml")["autoscaling"]["maxReplicas"]


def test_the_previous_state_comes_back_not_the_previous_id(ann, scaled):
    id = id_of(ann, "iris")
    result = did(ann, "rollback", "iris", "-e", "staging")
    assert (replicas(ann), id_of(ann, "iris")) == (7, id)
    assert "  ~ autoscaling.maxReplicas: 8 -> 7" in result.out
    assert body(ann).splitlines() == [
        f"Roll back iris in staging to {scaled[2][:12]}",
        "",
        f"* iris in staging: {id}",
        "",
        f"Deployment-Id: {id}",
        "Gitops-Ml-Action: rollback",
    ]
    rows = ann.runs("history", "iris", "-o", "json").json["deployments"]
    assert [row["action"] for row in rows] == ["rollback", *["deploy"] * 4]


def test_an_id_is_the_last_state_with_it_before_the_current_one(ann, scaled):
    rows = ann.runs("history", "iris", "-o", "json").json["deployments"]
    second, first = (rows[at]["deployment_id"] for at in (0, -1))
    did(ann, "rollback", "iris", "-e", "staging", "--to", second)
    assert replicas(ann) == 7
    did(ann, "rollback", "iris", "-e", "staging", "--to", first)
    assert replicas(ann) == 6


@pytest.mark.parametrize("length", [7, 12, 40])
def test_a_commit_is_exactly_its_state(ann, scaled, length):
    did(ann, "rollback", "iris", "-e", "staging", "--to", scaled[0][:length])
    assert replicas(ann) == 5
    assert ann.yaml(f"{DIRECTORY}/values.yaml")["resources"]["cpu"] == "200m"


def test_what_is_neither_an_id_nor_a_commit_names_both(ann, scaled):
    id = id_of(ann, "iris")
    for wrong in ("0" * 12, scaled[0][:6]):
        result = ann.runs("rollback", "iris", "-e", "staging", "--to", wrong)
        assert (result.code, f"it was: {id} ({scaled[3][:12]})" in result.err) == (2, True)


# -- what comes back, and what does not ------------------------------------------------------------


def test_rolling_back_again_goes_on_back(ann, scaled):
    ids = [id_of(ann, "iris")]
    for most in (7, 6, 5):
        did(ann, "rollback", "iris", "-e", "staging")
        assert replicas(ann) == most
    result = ann.runs("rollback", "iris", "-e", "staging")
    assert (result.code, "has its first deployment" in result.err) == (2, True)
    did(ann, "rollback", "iris", "-e", "staging", "--to", ids[0])
    assert id_of(ann, "iris") == ids[0]


def test_a_deploy_after_a_rollback_is_what_the_next_one_goes_back_from(ann, scaled):
    did(ann, "rollback", "iris", "-e", "staging")
    deployed(ann, iris(compute={"cpu": "400m"}, autoscaling={"max_replicas": 9}))
    for most in (7, 6, 5):
        did(ann, "rollback", "iris", "-e", "staging")
        assert replicas(ann) == most


def test_to_where_it_stands_changes_nothing(ann):
    deployed(ann, iris())
    id = deployed(ann, iris(compute={"cpu": "300m"}))
    before = ann.head()
    result = did(ann, "rollback", "iris", "-e", "staging", "--to", id)
    assert (result.out, ann.head()) == ("nothing to change\n", before)


def test_other_releases_stay_however_far_the_branch_has_moved(ann):
    deployed(ann, iris(), container_api("roses"))
    deployed(ann, iris(autoscaling={"max_replicas": 6}), container_api("roses"))
    ann.has(iris(autoscaling={"max_replicas": 6}), container_api("roses", labels={"a": "b"}))
    ann.deploys("-e", "staging")
    commit_files(ann.gitops, {"README.md": "hello\n", f"{DIRECTORY}/notes.md": "why\n"})
    roses = files(ann, "releases/staging/roses")
    did(ann, "rollback", "iris", "-e", "staging")
    assert files(ann, "releases/staging/roses") == roses
    assert ann.text(f"{DIRECTORY}/notes.md") == "why\n"
    assert ann.touched() == [f"{DIRECTORY}/release.yaml", f"{DIRECTORY}/values.yaml"]


def test_what_was_deleted_comes_back(ann):
    first = deployed(ann, iris())
    before = files(ann, DIRECTORY)
    did(ann, "delete", "iris", "-e", "staging", "--yes")
    did(ann, "rollback", "iris", "-e", "staging")
    assert (files(ann, DIRECTORY), id_of(ann, "iris")) == (before, first)


def test_the_base_chart_of_that_time_comes_back_where_it_is_gone(ann):
    deployed(ann, iris())
    chart = {path: ann.text(path) for path in ann.paths(f"{CHART}/")}
    deployed(ann, iris(autoscaling={"max_replicas": 6}))
    checkout = ann.checks_out()
    git("rm", "-rq", CHART, cwd=checkout)
    git("commit", "-q", "-m", "Clean up", cwd=checkout)
    git("push", "-q", "origin", "main", cwd=checkout)
    did(ann, "rollback", "iris", "-e", "staging")
    assert {path: ann.text(path) for path in ann.paths(f"{CHART}/")} == chart


def test_a_base_chart_that_is_not_what_it_was_is_refused(ann):
    deployed(ann, iris())
    (chart,) = [path for path in ann.paths(f"{CHART}/") if path.endswith("/values.yaml")]
    deployed(ann, iris(autoscaling={"max_replicas": 6}))
    commit_files(ann.gitops, {chart: "altered: true\n"})
    result = ann.runs("rollback", "iris", "-e", "staging")
    assert (result.code, "a chart version never changes" in result.err) == (6, True)


def test_a_by_hand_edit_is_undone_too(ann):
    deployed(ann, iris())
    before = files(ann, DIRECTORY)
    path = f"{DIRECTORY}/values.yaml"
    commit_files(ann.gitops, {path: ann.text(path).replace("maxReplicas: 5", "maxReplicas: 99")})
    did(ann, "rollback", "iris", "-e", "staging")
    assert files(ann, DIRECTORY) == before


@pytest.mark.parametrize("how", ["first", "unknown", "of another environment", "never there"])
def test_what_cannot_be_gone_back_to_is_told(ann, how):
    only = deployed(ann, iris())
    ann.deploys("-e", "production")
    arguments = {
        "first": ("iris",),
        "unknown": ("iris", "--to", "iris-000000000000"),
        "of another environment": ("iris", "--to", id_of(ann, "iris", "production")),
        "never there": ("roses",),
    }[how]
    result = ann.runs("rollback", *arguments, "-e", "staging")
    assert result.code == 2
    words = {
        "first": "has its first deployment",
        "never there": "nothing was ever deployed as 'roses'",
    }
    assert words.get(how, f"it was: {only}") in result.err


def test_the_beginning_of_several_ids_is_not_enough(ann):
    deployed(ann, iris())
    deployed(ann, iris(compute={"cpu": "300m"}))
    result = ann.runs("rollback", "iris", "-e", "staging", "--to", "iris-")
    assert (result.code, "begins several ids" in result.err) == (2, True)


def test_another_projects_release_is_left_alone(ann):
    deployed(ann, iris())
    deployed(ann, iris(autoscaling={"max_replicas": 6}))
    ann.configures(project="garden")
    assert ann.runs("rollback", "iris", "-e", "staging").code == 6


def test_a_dry_run_changes_nothing(ann):
    deployed(ann, iris())
    deployed(ann, iris(autoscaling={"max_replicas": 6}))
    before = ann.head()
    result = did(ann, "rollback", "iris", "-e", "staging", "--dry-run")
    assert (result.out.splitlines()[-1], ann.head()) == (
        "would commit: 2 files: 2 modified",
        before,
    )


# -- mode manifests --------------------------------------------------------------------------------


def test_the_rendered_objects_come_back_too(ann):
    ann.configures(gitops={"mode": "manifests"})
    deployed(ann, iris())
    before = files(ann, DIRECTORY)
    assert f"{DIRECTORY}/manifest.yaml" in before
    deployed(ann, iris(autoscaling={"max_replicas": 6}))
    did(ann, "rollback", "iris", "-e", "staging")
    assert files(ann, DIRECTORY) == before


def test_after_a_change_of_mode_the_objects_are_rendered_from_the_chart_of_that_time(ann):
    ann.configures(gitops={"mode": "manifests"})
    deployed(ann, iris())
    rendered = files(ann, DIRECTORY)
    ann.configures()
    deployed(ann, iris(autoscaling={"max_replicas": 6}))
    deployed(ann, iris())
    ann.configures(gitops={"mode": "manifests"})
    deployed(ann, iris(autoscaling={"max_replicas": 7}))
    did(ann, "rollback", "iris", "-e", "staging")
    back = files(ann, DIRECTORY)
    assert back[f"{DIRECTORY}/manifest.yaml"] == rendered[f"{DIRECTORY}/manifest.yaml"]


def test_in_mode_chart_no_rendered_objects_come_back(ann):
    ann.configures(gitops={"mode": "manifests"})
    deployed(ann, iris())
    ann.configures()
    deployed(ann, iris(autoscaling={"max_replicas": 6}))
    did(ann, "rollback", "iris", "-e", "staging")
    assert sorted(files(ann, DIRECTORY)) == [
        f"{DIRECTORY}/release.yaml",
        f"{DIRECTORY}/values.yaml",
    ]


# -- another change comes first ------------------------------------------------------------------------


def overtaken_by(ann, commit: str, *, before: str) -> None:
    """The branch is at ``before``; just before the next push it moves on to ``commit``."""
    git("update-ref", "refs/heads/main", before, cwd=ann.gitops)
    hook = ann.gitops / "hooks" / "pre-receive"
    move = f"git -C {ann.gitops} update-ref refs/heads/main {commit}"
    hook.write_text(f'#!/bin/sh\nmv $0 $0.done\nenv -i PATH="$PATH" {move}\n')
    hook.chmod(0o755)


def three_states(ann) -> str:
    for cpu in ("300m", "400m", "500m"):
        deployed(ann, iris(compute={"cpu": cpu}))
    return ann.head()


def test_the_same_rollback_of_two_people_goes_back_once(ann):
    before = three_states(ann)
    did(ann, "rollback", "iris", "-e", "staging")
    of_ben, there = ann.head(), files(ann, DIRECTORY)
    overtaken_by(ann, of_ben, before=before)
    assert did(ann, "rollback", "iris", "-e", "staging").out == "nothing to change\n"
    assert (ann.head(), files(ann, DIRECTORY)) == (of_ben, there)


def test_a_rollback_does_not_undo_what_comes_meanwhile(ann):
    before = three_states(ann)
    deployed(ann, iris(compute={"cpu": "600m"}))
    of_ben = ann.head()
    overtaken_by(ann, of_ben, before=before)
    result = ann.runs("rollback", "iris", "-e", "staging")
    assert result.code == 6
    assert f"iris in staging was changed meanwhile, by {of_ben[:12]} of Ann" in result.err
    assert ann.head() == of_ben


def test_what_comes_to_other_releases_meanwhile_is_no_obstacle(ann):
    before = three_states(ann)
    deployed(ann, iris(compute={"cpu": "500m"}), container_api("roses"))
    overtaken_by(ann, ann.head(), before=before)
    did(ann, "rollback", "iris", "-e", "staging")
    assert ann.yaml(f"{DIRECTORY}/values.yaml")["resources"]["cpu"] == "400m"
    assert ann.release("roses")
