"""A ready-made container with limits gets a proxy, whose image is built once and travels with its releases."""

from __future__ import annotations

import pytest

from gitops_ml.oci.reference import ImageRef
from tests.support.person import container_api


def limited(**changes):
    api = container_api("answer", **changes)
    return {**api, "container": {**api["container"], "max_concurrency": 4}}


@pytest.fixture
def proxied(mill):
    mill.person.has(limited())
    mill.project.joinpath("requirements.txt").unlink()
    return mill


def image_of(mill, environment="production"):
    return mill.person.yaml(f"releases/{environment}/answer/values.yaml")["proxy"]["image"]


def test_the_first_deploy_builds_it_and_a_second_one_changes_nothing(proxied):
    person = proxied.person
    before = str(person.runs("build", "--dry-run", "-o", "json").json)
    assert "gitops-ml-proxy:h-" in before
    result = person.deploys("-o", "json")
    image = image_of(proxied)
    folder = proxied.repository.rpartition("/")[0]
    assert image["repository"] == f"{folder}/gitops-ml-proxy"
    assert f"{image['repository']}:{image['tag']}" in before, "its name needs no lock"
    name = ImageRef.parse(f"{image['repository']}:{image['tag']}")
    assert proxied.client.digest(name) == image["digest"]
    assert [each["image"] for each in result.json["images"]] == [f"{name}@{image['digest']}"]
    record = person.yaml("releases/production/answer/release.yaml")
    assert record["proxy"] == image
    assert record["image"]["repository"] == "registry.example.org/answer"
    assert not proxied.lock.exists()

    again = person.deploys("-o", "json")
    assert (again.json["images"], again.json["commit"]) == ([], None), again
    assert person.runs("diff").code == 0


def test_verbs_that_build_nothing_keep_it(proxied):
    person = proxied.person
    person.deploys()
    before = image_of(proxied)
    outcome = person.runs(
        "patch", "answer", "-e", "production", "--set", "container.max_concurrency=8"
    )
    assert outcome.code == 0, outcome
    assert image_of(proxied) == before
    values = person.yaml("releases/production/answer/values.yaml")
    assert values["runtime"]["maxConcurrency"] == 8


def test_a_verb_that_builds_nothing_cannot_add_it(mill):
    mill.person.has(container_api("answer"))
    mill.person.deploys()
    outcome = mill.person.runs(
        "patch", "answer", "-e", "production", "--set", "container.max_concurrency=8"
    )
    assert outcome.code != 0
    assert "gitops-ml deploy -e production -a answer" in outcome.err
