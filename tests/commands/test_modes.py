"""The two modes of a GitOps repository: Helm values for Argo CD to render, or the objects themselves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import yaml

from gitops_ml.helm import engines
from gitops_ml.helm.engines import LibraryHelm
from tests.support.git_servers import commit_files, git
from tests.support.helm_program import by_identity, helm_template
from tests.support.person import NO_REGISTRY, container_api, predictor_api

pytest.importorskip("helm_python", reason="Helm's engine is the extra gitops-ml[helm]")

ROSES = "releases/staging/roses/manifest.yaml"
MANIFESTS = ("releases/production/iris/manifest.yaml", "releases/staging/iris/manifest.yaml")


def chart_mode(ann):
    ann.configures()


def manifests_mode(ann):
    ann.configures(gitops={"mode": "manifests"})


def application(ann, environment="staging"):
    return ann.yaml(f"argocd/{environment}.yaml")["spec"]["template"]


def test_both_modes_deploy_the_same_objects(ann):
    ann.has(container_api("iris"), predictor_api("answer"))
    manifests_mode(ann)
    ann.deploys(*NO_REGISTRY)
    files = ann.checks_out()
    for name in ("iris", "answer"):
        for environment in ("staging", "production"):
            text = (files / f"releases/{environment}/{name}/manifest.yaml").read_text()
            written = by_identity(yaml.safe_load_all(text))
            namespace = f"ml-{environment}"
            assert written == helm_template(files, name, environment, namespace=namespace)


def test_helm_makes_of_the_gitops_repository_what_render_shows(ann):
    """What an ops team without gitops-ml sees is what the reviewer saw."""
    ann.has(predictor_api("answer", monitoring={"model_type": "regression"}))
    ann.deploys(*NO_REGISTRY)
    shown = ann.runs("render", "--manifests", "-e", "production", *NO_REGISTRY[:1])
    assert by_identity(yaml.safe_load_all(shown.out)) == helm_template(
        ann.checks_out(), "answer", "production", namespace="ml-production"
    )


def test_switching_to_manifests_adds_them_and_changes_the_source_of_the_applications(ann):
    ann.has(container_api("iris"))
    ann.deploys()
    before = application(ann)
    manifests_mode(ann)
    ann.deploys()

    assert ann.touched() == ["argocd/production.yaml", "argocd/staging.yaml", *MANIFESTS]
    after = application(ann)
    changed = {key for key in after["spec"] if after["spec"][key] != before["spec"][key]}
    assert (after["metadata"], changed) == (before["metadata"], {"source"})


def test_switching_back_leaves_no_manifest_behind(ann):
    ann.has(container_api("iris"))
    ann.deploys()
    before = git("rev-parse", "main^{tree}", cwd=ann.gitops)
    manifests_mode(ann)
    ann.deploys()
    chart_mode(ann)
    result = ann.deploys()

    assert "2 modified, 2 deleted" in result.out
    assert git("rev-parse", "main^{tree}", cwd=ann.gitops) == before


def test_a_stale_manifest_is_shown_by_diff_as_well(ann):
    ann.has(container_api("iris"))
    manifests_mode(ann)
    ann.deploys()
    chart_mode(ann)
    changes = ann.runs("diff", "-o", "json", "-e", "staging", "-e", "production").json["changes"]
    assert [c["path"] for c in changes if c["action"] == "delete"] == list(MANIFESTS)


def test_a_manifest_that_somebody_edited_is_put_right(ann):
    ann.has(container_api("iris"))
    manifests_mode(ann)
    ann.deploys()
    right = ann.text(MANIFESTS[0])
    commit_files(ann.gitops, {MANIFESTS[0]: right.replace("maxReplicaCount: 5", "x: 6")})
    ann.deploys()
    assert (ann.text(MANIFESTS[0]), ann.touched()) == (right, [MANIFESTS[0]])


def test_the_switch_carries_along_what_is_not_deployed_with_it(ann):
    """Argo CD would find nothing to sync for it."""
    ann.has(container_api("iris"), container_api("roses"))
    ann.deploys("-e", "staging")
    manifests_mode(ann)
    ann.deploys("-e", "staging", "--api", "iris")
    assert ann.touched() == ["argocd/staging.yaml", MANIFESTS[1], ROSES]
    assert ann.deploys("-e", "staging").out == "nothing to change\n"


def test_a_release_that_lost_its_manifest_gets_it_with_the_next_deploy_of_another(ann):
    ann.has(container_api("iris"), container_api("roses"))
    manifests_mode(ann)
    ann.deploys("-e", "staging")
    right = ann.text(ROSES)
    commit_files(ann.gitops, {ROSES: None})
    result = ann.deploys("-e", "staging", "--api", "iris")
    assert (ann.touched(), ann.text(ROSES)) == ([ROSES], right)
    assert f"{ROSES} was missing, and Argo CD syncs nothing else" in result.err


def test_deploying_again_in_mode_manifests_changes_nothing(ann):
    ann.has(container_api("iris"))
    manifests_mode(ann)
    ann.deploys()
    assert ann.deploys().out == "nothing to change\n"


pytest.importorskip("helm_python", reason="Helm's engine is the extra gitops-ml[helm]")

FACES = "releases/staging/faces"
IRIS = "releases/staging/iris"
CHART = "charts/predictor"


@pytest.fixture
def others(ann):
    """The folder of a second project; both have a release in staging."""
    folder = ann.home / "others"
    folder.mkdir()
    switches(ann, "chart", project="others", folder=folder)
    ann.has(container_api("faces"), folder=folder)
    switches(ann, "chart")
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")
    ann.go(folder)
    ann.deploys("-e", "staging")
    ann.go(ann.project)
    return folder


def switches(ann, mode, **changes):
    ann.configures(gitops={"mode": mode}, **changes)


def follows(ann, others, mode):
    switches(ann, mode, project="others", folder=others)


def application_set(ann):
    return ann.yaml("argocd/staging.yaml")


def tree(ann, below="releases/"):
    return {path: ann.text(path) for path in ann.paths(below)}


VERBS = {
    "deploy": ("deploy", "-e", "staging"),
    "patch": ("patch", "iris", "-e", "staging", "--set", "autoscaling.max_replicas=6"),
    "bootstrap": ("bootstrap", "-e", "staging"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_switch_carries_the_releases_of_other_projects_along(ann, others, verb):
    before, commits = tree(ann, FACES), ann.commits()
    switches(ann, "manifests")
    result = ann.runs(*VERBS[verb])

    assert (result.code, ann.commits()) == (0, commits + 1), result
    assert application_set(ann)["spec"]["template"]["spec"]["source"]["directory"]
    after = tree(ann, FACES)
    manifest = after.pop(f"{FACES}/manifest.yaml")
    assert after == before
    assert by_identity(yaml.safe_load_all(manifest)) == helm_template(
        ann.checks_out(), "faces", "staging", namespace="ml-staging"
    )
    assert f"{IRIS}/manifest.yaml" in ann.paths()
    assert (
        "argocd/staging.yaml: staging switches from mode `chart` to `manifests`, with all of its 2 "
        "releases (projects: others, shop). Argo CD gets the same objects from another source: the "
        "switch restarts no pod\n"
    ) in result.err


def test_the_commit_is_named_after_the_switch_unless_a_release_changes_with_it(ann, others):
    switches(ann, "manifests")
    ann.deploys("-e", "staging")
    assert subject(ann) == "Switch staging to mode manifests"
    switches(ann, "chart")
    ann.has(container_api("iris", autoscaling={"max_replicas": 6}))
    ann.deploys("-e", "staging")
    assert subject(ann) == "Deploy iris to staging"


def subject(ann):
    return git("log", "-1", "--format=%s", "main", cwd=ann.gitops)


def test_the_switch_back_leaves_no_manifest_of_anybody(ann, others):
    before = tree(ann)
    switches(ann, "manifests")
    ann.deploys("-e", "staging")
    switches(ann, "chart")
    result = ann.deploys("-e", "staging")
    assert tree(ann) == before
    assert "from mode `manifests` to `chart`" in result.err
    assert ann.deploys("-e", "staging").out == "nothing to change\n"


def test_promote_switches_the_environment_that_it_changes(ann, others):
    for project in (others, ann.project):
        ann.go(project)
        ann.deploys("-e", "production")
    switches(ann, "manifests")
    result = ann.runs("promote", "iris", "--from", "staging", "--to", "production")
    assert result.code == 0, result
    assert "releases/production/faces/manifest.yaml" in ann.paths()
    assert f"{FACES}/manifest.yaml" not in ann.paths()


def test_a_project_that_disagrees_is_refused_and_does_not_switch_back(ann, others):
    switches(ann, "manifests")
    ann.deploys("-e", "staging")
    before = ann.head()
    ann.go(others)
    ann.has(container_api("faces", autoscaling={"max_replicas": 7}), folder=others)
    for verb in (("deploy", "-e", "staging"), ("bootstrap", "-e", "staging")):
        result = ann.runs(*verb)
        assert (result.code, ann.head()) == (6, before)
        assert (
            "argocd/staging.yaml in the GitOps repository syncs staging in mode `manifests` (the project "
            "'shop' decided that), and the project file of 'others' has `chart`: an environment has "
            "one mode. Set gitops.mode to `manifests`; to switch the environment, deploy from 'shop' with "
            "gitops.mode `chart`; or use an environment of your own\n"
        ) in result.err

    follows(ann, others, "manifests")
    ann.deploys("-e", "staging")
    assert "maxReplicaCount: 7" in ann.text(f"{FACES}/manifest.yaml")
    assert application_set(ann)["metadata"]["annotations"]["gitops-ml.dev/mode-of"] == "shop"


def test_a_newcomer_does_not_decide_the_mode_of_the_others(ann, others):
    third = ann.home / "third"
    third.mkdir()
    switches(ann, "manifests", project="third", folder=third)
    ann.has(container_api("roses"), folder=third)
    ann.go(third)
    before = ann.head()
    result = ann.runs("deploy", "-e", "staging")
    assert (result.code, ann.head()) == (6, before)
    assert "'third' has no release there, and 'others', 'shop' has" in result.err


def test_who_decided_the_mode_and_left_does_not_decide_it_any_more(ann, others):
    switches(ann, "manifests")
    ann.deploys("-e", "staging")
    assert ann.runs("delete", "iris", "-e", "staging", "--yes").code == 0
    ann.go(others)
    ann.deploys("-e", "staging")
    assert (
        tree(ann, FACES).keys(),
        "gitops-ml.dev/mode-of" in application_set(ann)["metadata"]["annotations"],
    ) == (
        {f"{FACES}/release.yaml", f"{FACES}/values.yaml"},
        False,
    )


@pytest.mark.parametrize("verb", ["refresh", "rollback"])
def test_what_comes_back_follows_the_mode_of_the_environment(ann, others, verb):
    """A project file that is behind never takes away what Argo CD syncs."""
    ann.go(others)
    ann.has(container_api("faces", autoscaling={"max_replicas": 7}), folder=others)
    ann.deploys("-e", "staging")
    ann.go(ann.project)
    switches(ann, "manifests")
    ann.deploys("-e", "staging")
    before = application_set(ann)
    ann.go(others)
    result = ann.runs(verb, "faces", "-e", "staging")
    assert result.code == 0, result
    found = by_identity(yaml.safe_load_all(ann.text(f"{FACES}/manifest.yaml")))
    assert found == helm_template(ann.checks_out(), "faces", "staging", namespace="ml-staging")
    assert application_set(ann) == before


def test_each_release_is_rendered_with_its_own_chart_version(ann, others):
    """The repository's, although this version of gitops-ml has another one."""
    (version,) = {path.split("/")[2] for path in ann.paths(CHART)}
    old = {
        path.replace(f"/{version}/", "/0.0.9/"): ann.text(path).replace(version, "0.0.9")
        for path in ann.paths(CHART)
    }
    file = f"{CHART}/0.0.9/templates/service.yaml"
    old[file] = old[file].replace("kind: Service\n", "kind: Service\n# of long ago\n", 1)
    facts = ann.text(f"{FACES}/release.yaml").replace(f'"{version}"', '"0.0.9"', 1)
    commit_files(ann.gitops, {**old, f"{FACES}/release.yaml": facts})
    switches(ann, "manifests")
    ann.deploys("-e", "staging")
    assert "# of long ago" in ann.text(f"{FACES}/manifest.yaml")
    assert "helm.sh/chart: predictor-0.0.9" in ann.text(f"{FACES}/manifest.yaml")
    assert "# of long ago" not in ann.text(f"{IRIS}/manifest.yaml")
    assert ann.text(f"{FACES}/release.yaml") == facts


def lost_chart(ann):
    text = ann.text(f"{FACES}/release.yaml")
    version = yaml.safe_load(text)["chart"]["version"]
    return {f"{FACES}/release.yaml": text.replace(f'"{version}"', '"0.0.9"', 1)}


def with_hook(ann):
    text = ann.text(f"{FACES}/values.yaml")
    return {f"{FACES}/values.yaml": text + "annotations: {helm.sh/resource-policy: keep}\n"}


def renamed(ann):
    text = ann.text(f"{FACES}/release.yaml")
    return {f"{FACES}/release.yaml": text.replace("name: faces", "name: --post-renderer=x", 1)}


def an_endless_list(ann):
    return {f"{FACES}/values.yaml": "autoscaling: [1]\nimage: 5\n"}


BROKEN = {
    lost_chart: "charts/predictor/0.0.9 is not in the GitOps repository",
    with_hook: "helm.sh/resource-policy, which decides whether it is kept",
    renamed: f"{FACES}/release.yaml in the GitOps repository is damaged",
    an_endless_list: f"{FACES}/manifest.yaml: Helm renders nothing: ",
    lambda _: {f"{FACES}/values.yaml": "{"}: f"{FACES}/values.yaml in the GitOps repository is",
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_release_that_cannot_be_rendered_stops_the_switch_and_nothing_else(ann, others, damage):
    commit_files(ann.gitops, damage(ann))
    switches(ann, "manifests")
    before = ann.head()
    result = ann.runs("deploy", "-e", "staging")
    assert (result.code, ann.head()) == (6, before), result
    assert "staging cannot switch to mode `manifests`: 1 of its releases" in result.err
    assert BROKEN[damage] in result.err, result.err

    switches(ann, "chart")
    assert ann.runs("deploy", "-e", "staging").code == 0


def test_a_broken_release_of_another_project_is_a_warning_once_the_mode_has_switched(ann, others):
    switches(ann, "manifests")
    ann.deploys("-e", "staging")
    commit_files(ann.gitops, {f"{FACES}/manifest.yaml": None, **lost_chart(ann)})
    ann.has(container_api("iris", autoscaling={"max_replicas": 6}))
    result = ann.deploys("-e", "staging")
    assert f"{FACES} has no manifest.yaml, and Argo CD syncs nothing else" in result.err
    assert "maxReplicaCount: 6" in ann.text(f"{IRIS}/manifest.yaml")


@pytest.mark.parametrize("verb", ["deploy", "bootstrap"])
def test_without_helm_the_switch_is_refused_before_anything_is_written(
    ann, others, verb, monkeypatch
):
    monkeypatch.setattr(LibraryHelm, "load", lambda: None)
    monkeypatch.setattr(engines, "shutil", SimpleNamespace(which=lambda *_, **__: None))
    switches(ann, "manifests")
    before = ann.head()
    result = ann.runs(*VERBS[verb])
    assert (result.code, ann.head()) == (2, before)
    assert "pip install 'gitops-ml[helm]'" in result.err

    # The way back needs none.
    switches(ann, "chart")
    assert ann.runs(*VERBS[verb]).code == 0


def test_diff_says_what_switches(ann, others):
    switches(ann, "manifests")
    result = ann.runs("diff", "-e", "staging", "-o", "json").json
    assert {each["path"]: each["action"] for each in result["changes"]} == {
        "argocd/staging.yaml": "modify",
        f"{FACES}/manifest.yaml": "add",
        f"{IRIS}/manifest.yaml": "add",
    }
    assert "the switch restarts no pod" in "".join(result["warnings"])


def test_a_deploy_of_the_others_in_between_is_carried_along_as_well(ann, others, monkeypatch):
    """The push is refused, and everything is rendered again on top of what came in between."""
    from gitops_ml.git.repository import GitRepository

    push, pushed = GitRepository.push, []

    def racing(self, commit):
        if not pushed:
            pushed.append(commit)
            text = ann.text(f"{FACES}/values.yaml")
            changed = text.replace("maxReplicas: 5", "maxReplicas: 8")
            assert changed != text
            commit_files(ann.gitops, {f"{FACES}/values.yaml": changed})
        return push(self, commit)

    monkeypatch.setattr(GitRepository, "push", racing)
    switches(ann, "manifests")
    ann.deploys("-e", "staging")
    assert "maxReplicaCount: 8" in ann.text(f"{FACES}/manifest.yaml")


def test_a_folder_does_not_get_half_of_a_switch(ann, others):
    folder = ann.checks_out()
    switches(ann, "manifests")
    result = ann.runs("bootstrap", "--to", folder)
    assert result.code == 2
    assert "a switch changes the releases as well" in result.err
