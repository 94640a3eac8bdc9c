"""`gitops-ml promote`: what stands in one environment goes on to another, by the other's own words."""

from __future__ import annotations

import pytest

from tests.support.git_servers import commit_files, git
from tests.support.oci import push_tiny_base, registry_of
from tests.support.person import DIGEST, ENVIRONMENTS, container_api, predictor_api
from tests.support.releases import body, deployed, did, files, id_of, iris, values

TO_PRODUCTION = ("--from", "staging", "--to", "production")


def with_digest(ann, api: str, environment: str = "staging") -> None:
    """The release as it stands where a registry has answered: its image by digest."""
    directory = f"releases/{environment}/{api}"
    facts = ann.text(f"{directory}/release.yaml").replace("digest: null", f'digest: "{DIGEST}"')
    text = ann.text(f"{directory}/values.yaml")
    tag = next(line for line in text.splitlines() if line.startswith("  tag: "))
    text = text.replace(tag, f'{tag}\n  digest: "{DIGEST}"')
    commit_files(ann.gitops, {f"{directory}/release.yaml": facts, f"{directory}/values.yaml": text})


def test_the_target_gets_the_same_image_and_its_own_words(ann):
    overrides = {"production": {"autoscaling": {"max_replicas": 50}}}
    first = deployed(ann, iris(environments=overrides))
    result = did(ann, "promote", "iris", *TO_PRODUCTION)

    release = ann.release("iris", "production")
    assert release["image"]["digest"] == DIGEST
    assert release["namespace"] == "ml-production"
    assert values(ann, "iris", "production")["autoscaling"]["maxReplicas"] == 50
    assert release["deployment_id"] != first
    lines = result.out.splitlines()
    assert lines[1].split() == ["production", "iris", "starts", release["deployment_id"], "-"]
    assert lines[2:4] == [
        "iris: what else differs",
        "  ~ autoscaling.maxReplicas: 5 -> 50",
    ]
    assert lines[-1].startswith(f"committed {ann.head()[:12]}: ")


def test_the_commit_says_what_it_is(ann):
    deployed(ann, iris())
    did(ann, "promote", "iris", *TO_PRODUCTION)
    id = id_of(ann, "iris", "production")
    assert body(ann).splitlines() == [
        "Promote iris from staging to production",
        "",
        f"* iris in production: {id}",
        "",
        f"Deployment-Id: {id}",
        "Gitops-Ml-Action: promote",
    ]


def test_it_is_what_a_deploy_of_the_same_manifest_would_have_made(ann):
    deployed(ann, iris(environments={"production": {"autoscaling": {"max_replicas": 50}}}))
    did(ann, "promote", "iris", *TO_PRODUCTION)
    assert did(ann, "deploy", "-e", "production").out == "nothing to change\n"


def test_the_work_tree_has_no_say(ann):
    """What was tried in staging goes on, whatever its author has begun since."""
    deployed(ann, iris())
    ann.has(iris(autoscaling={"max_replicas": 77}))
    (ann.project / "broken.yaml").write_text("]")
    did(ann, "promote", "iris", *TO_PRODUCTION)
    assert values(ann, "iris", "production")["autoscaling"]["maxReplicas"] == 5


def test_an_image_that_was_built_is_promoted_without_its_source(ann):
    ann.has(predictor_api("answer"))
    ann.deploys("-e", "staging", "--offline", "--by-tag")
    with_digest(ann, "answer")
    staging = ann.release("answer")
    for path in ann.project.glob("*.py"):
        path.unlink()
    did(ann, "promote", "answer", *TO_PRODUCTION)
    production = ann.release("answer", "production")
    assert production["image"] == staging["image"]
    assert production["content_hash"] == staging["content_hash"]


@pytest.fixture
def by_tag(ann, registry):
    """A release that names its image by a tag, which the registry knows."""
    image = push_tiny_base(registry_of(), f"{registry.host}/by-tag").image
    ann.has(iris(container={"image": f"{image.repository}:{image.tag}", "port": 8080}))
    ann.deploys("-e", "staging", "--offline", "--by-tag")
    assert ann.release("iris")["image"]["digest"] is None
    return image


def test_an_image_by_tag_is_promoted_by_the_digest_that_the_registry_has(ann, by_tag):
    result = did(ann, "promote", "iris", *TO_PRODUCTION)
    assert ann.release("iris", "production")["image"]["digest"] == by_tag.digest
    assert f"{by_tag} is what the tag means now" in result.err


def test_a_patch_of_an_image_by_tag_names_its_digest(ann, by_tag):
    did(ann, "patch", "iris", "-e", "staging", "--set", "autoscaling.max_replicas=9")
    assert ann.release("iris")["image"]["digest"] == by_tag.digest
    assert values(ann, "iris")["image"]["digest"] == by_tag.digest


@pytest.mark.parametrize("host", ["127.0.0.1:9", "the registry"])
def test_an_image_by_tag_that_no_registry_has_is_not_promoted_and_can_be_patched(
    ann, registry, host
):
    image = f"{registry.host if host == 'the registry' else host}/nothing/here:1"
    ann.has(iris(container={"image": image, "port": 8080}))
    ann.deploys("-e", "staging", "--offline", "--by-tag")
    result = ann.runs("promote", "iris", *TO_PRODUCTION)
    assert result.code == 5
    assert f"({image})" in result.err
    assert "`gitops-ml deploy -e staging -a iris`" in result.err
    did(ann, "patch", "iris", "-e", "staging", "--set", "autoscaling.max_replicas=9")
    assert ann.release("iris")["image"]["digest"] is None
    other = image.replace("here", "there")
    result = ann.runs("patch", "iris", "-e", "staging", "--set", f"container.image={other}")
    assert (result.code, f"({other})" in result.err) == (5, True)


def test_the_source_is_still_known(ann):
    ann.has(iris())
    source = ann.keeps_source_in_git()
    ann.deploys("-e", "staging")
    first = id_of(ann, "iris")
    ann.commits_source()
    did(ann, "promote", "iris", *TO_PRODUCTION)
    provenance = ann.release("iris", "production")["provenance"]
    assert provenance["commit"] == source
    assert provenance["derived_from"] == {
        "by": "promote",
        "environment": "staging",
        "deployment_id": first,
    }
    traced = did(ann, "trace", id_of(ann, "iris", "production"), "--output", "json").json
    assert traced["source"]["commit"] == source
    assert traced["deployments"][0]["action"] == "promote"


def test_promoting_again_changes_nothing(ann):
    deployed(ann, iris())
    did(ann, "promote", "iris", *TO_PRODUCTION)
    before = ann.head()
    assert did(ann, "promote", "iris", *TO_PRODUCTION).out == "nothing to change\n"
    assert ann.head() == before


def test_what_changes_in_the_target_is_shown(ann):
    deployed(ann, iris())
    did(ann, "promote", "iris", *TO_PRODUCTION)
    other = {"image": f"registry.example.org/iris@sha256:{'2' * 64}", "port": 8080}
    deployed(ann, iris(container=other, labels={"tier": "gold"}))
    result = did(ann, "promote", "iris", *TO_PRODUCTION, "--output", "json").json
    (release,) = result["releases"]
    assert {f["path"]: (f["before"], f["after"]) for f in release["fields"]} == {
        "image.digest": (DIGEST, f"sha256:{'2' * 64}"),
        "labels": (None, {"tier": "gold"}),
    }
    assert release["differs"] == []


def test_a_dry_run_changes_nothing(ann):
    deployed(ann, iris())
    before = ann.head()
    result = did(ann, "promote", "iris", *TO_PRODUCTION, "--dry-run")
    assert result.out.splitlines()[-1].startswith("would commit: ")
    assert ann.head() == before


# -- which ones ------------------------------------------------------------------------------------


@pytest.fixture
def three(ann):
    """iris and roses of different teams, and a gold one."""
    deployed(
        ann,
        container_api("iris", team="vision"),
        container_api("roses", team="search", labels={"tier": "gold"}),
        container_api("tulips", team="search", labels={"tier": "tin"}),
    )
    return ann


@pytest.mark.parametrize(
    ("choice", "promoted"),
    [
        (("--all",), ["iris", "roses", "tulips"]),
        (("iris", "roses"), ["iris", "roses"]),
        (("--team", "search"), ["roses", "tulips"]),
        (("--label", "tier=gold"), ["roses"]),
        (("--team", "vision", "--team", "search", "--label", "tier=tin"), ["tulips"]),
    ],
)
def test_several_can_be_chosen_and_go_in_one_commit(three, choice, promoted):
    before = three.commits()
    did(three, "promote", *choice, *TO_PRODUCTION)
    there = {path.split("/")[2] for path in three.paths("releases/production/")}
    assert sorted(there) == promoted
    assert three.commits() == before + 1


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ((), "name the APIs, or choose them"),
        (("iris", "--all"), "--all means every API"),
        (("irsi",), "did you mean 'iris'?"),
        (("--team", "nobody"), "no release of shop in staging matches"),
        (("--label", "tier"), "is not KEY=VALUE"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(three, choice, words):
    result = three.runs("promote", *choice, *TO_PRODUCTION)
    assert (result.code, words in result.err) == (2, True), result


def test_another_projects_releases_are_left_alone(ann):
    deployed(ann, iris())
    folder = ann.home / "other"
    ann.has(container_api("tulips"), folder=folder)
    ann.configures(folder=folder, project="garden")
    ann.go(folder)
    ann.deploys("-e", "staging")
    did(ann, "promote", "--all", *TO_PRODUCTION)
    assert not ann.paths("releases/production/iris")
    result = ann.runs("promote", "iris", *TO_PRODUCTION)
    assert (result.code, "belongs to the project 'shop'" in result.err) == (6, True)


# -- from where to where ---------------------------------------------------------------------------

THREE = {
    "dev": {"cluster": "main", "namespace": "ml-dev"},
    **ENVIRONMENTS,
}


@pytest.mark.parametrize(
    "way", [(), ("--to", "production"), ("--from", "staging"), ("--from", "staging", "--to", "production")]
)  # fmt: skip
def test_the_order_of_the_project_file_adds_what_was_not_said(ann, way):
    deployed(ann, iris())
    did(ann, "promote", "iris", *way)
    assert ann.paths("releases/production/iris")


@pytest.mark.parametrize("way", [(), ("--to", "dev"), ("--from", "production"), ("--to", "prod")])
def test_a_way_that_is_not_clear_is_asked_for(ann, way):
    ann.configures(environments=THREE)
    deployed(ann, iris())
    result = ann.runs("promote", "iris", *way)
    assert (result.code, "dev, staging, production" in result.err) == (2, True), result


def test_a_protected_environment_is_not_reached_past_another(ann):
    ann.configures(environments=THREE)
    deployed(ann, iris(), to="dev")
    way = ("--from", "dev", "--to", "production")
    result = ann.runs("promote", "iris", *way)
    assert (result.code, "staging comes before it" in result.err) == (2, True)
    result = did(ann, "promote", "iris", *way, "--skip")
    assert "staging is skipped on the way" in result.err


def test_going_backwards_is_told(ann):
    deployed(ann, iris(), to="production")
    result = did(ann, "promote", "iris", "--from", "production", "--to", "staging")
    assert "promotes backwards" in result.err
    assert ann.paths("releases/staging/iris")


# -- what is refused -------------------------------------------------------------------------------


def test_what_was_never_there_is_not_promoted(ann):
    deployed(ann, iris(), to="production")
    result = ann.runs("promote", "iris", *TO_PRODUCTION)
    assert (result.code, "iris is not in staging; it is in production" in result.err) == (2, True)


def test_an_environment_that_needs_another_image_is_not_promoted_to(ann):
    overrides = {"production": {"predictor": {"python_version": "3.11"}}}
    ann.has(predictor_api("answer", environments=overrides))
    ann.deploys("-e", "staging", "--offline", "--by-tag")
    with_digest(ann, "answer")
    result = ann.runs("promote", "answer", *TO_PRODUCTION)
    assert (result.code, "predictor.python_version of answer" in result.err) == (2, True)


def test_an_environment_with_a_ready_made_image_of_its_own_keeps_it(ann):
    own = f"registry.example.org/iris@sha256:{'3' * 64}"
    deployed(ann, iris(environments={"production": {"container": {"image": own}}}))
    did(ann, "promote", "iris", *TO_PRODUCTION)
    assert ann.release("iris", "production")["image"]["digest"] == f"sha256:{'3' * 64}"


def test_every_broken_rule_of_every_api_is_told_at_once(ann):
    """The project file has changed since: production allows other teams only."""
    deployed(ann, container_api("iris", team="vision"), container_api("roses", team="search"))
    ann.configures(
        teams={"vision": {"namespaces": ["ml-staging"]}, "search": {"namespaces": ["x"]}}
    )
    result = ann.runs("promote", "--all", *TO_PRODUCTION)
    assert result.code == 3
    assert "releases/staging/iris/release.yaml: iris.team:" in result.err
    assert "releases/staging/roses/release.yaml: roses.team:" in result.err


def test_somebody_who_is_faster_is_built_upon(ann):
    """The other one's commit stays, and ours comes on top."""
    deployed(ann, iris(), container_api("roses"))
    clone = ann.checks_out()
    hook = ann.gitops / "hooks" / "pre-receive"
    git("-C", clone, "commit", "-q", "--allow-empty", "-m", "Faster")
    hook.write_text(
        f'#!/bin/sh\nmv $0 $0.done\nenv -i PATH="$PATH" git -C {clone} push -q origin HEAD:main\n'
    )
    hook.chmod(0o755)
    did(ann, "promote", "iris", *TO_PRODUCTION)
    assert git("log", "-2", "--format=%s", "main", cwd=ann.gitops).splitlines() == [
        "Promote iris from staging to production",
        "Faster",
    ]


def test_a_refreshed_release_is_promoted_without_its_refresh(ann):
    deployed(ann, iris())
    did(ann, "promote", "iris", *TO_PRODUCTION)
    before = files(ann, "releases/production/iris")
    did(ann, "refresh", "iris", "-e", "staging")
    assert did(ann, "promote", "iris", *TO_PRODUCTION).out == "nothing to change\n"
    assert files(ann, "releases/production/iris") == before
