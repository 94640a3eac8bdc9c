"""`gitops-ml patch`: other words, the same image, every rule."""

from __future__ import annotations

import json

import pytest

from tests.commands.test_promote import with_digest
from tests.support.person import DIGEST, NO_REGISTRY, container_api, predictor_api
from tests.support.releases import body, deployed, did, id_of, iris, values


def test_a_field_is_changed_and_the_image_stays(ann):
    first = deployed(ann, iris())
    result = did(ann, "patch", "iris", "-e", "staging", "--set", "compute.cpu=300m")
    release = ann.release("iris")
    assert values(ann, "iris")["resources"]["cpu"] == "300m"
    assert release["image"]["digest"] == DIGEST
    assert release["manifest"] == iris(compute={"cpu": "300m"})
    assert release["provenance"]["derived_from"]["deployment_id"] == first
    assert '  ~ resources.cpu: "200m" -> "300m"' in result.out
    assert "api.yaml of shop has other values" in result.err
    assert body(ann).splitlines()[0] == "Patch iris in staging"
    assert body(ann).splitlines()[-2:] == [
        f"Deployment-Id: {id_of(ann, 'iris')}",
        "Gitops-Ml-Action: patch",
    ]


def test_a_patch_of_scaling_restarts_nothing(ann):
    first = deployed(ann, iris())
    before = ann.release("iris")
    result = did(ann, "patch", "iris", "-e", "staging", "--set", "autoscaling.max_replicas=9")
    assert ann.release("iris") == {**before, "manifest": iris(autoscaling={"max_replicas": 9})}
    assert "  ~ autoscaling.maxReplicas: 5 -> 9" in result.out
    assert body(ann).splitlines()[2:] == [
        f"* iris in staging: {first}",
        "",
        f"Deployment-Id: {first}",
        "Gitops-Ml-Action: patch",
    ]


def test_an_image_whose_source_is_not_at_hand_is_kept(ann):
    ann.has(predictor_api("answer"))
    ann.deploys("-e", "staging", "--offline", "--by-tag")
    with_digest(ann, "answer")
    image = ann.release("answer")["image"]
    (ann.project / "predictor.py").unlink()
    did(ann, "patch", "answer", "-e", "staging", "--set", "predictor.config.factor=3")
    assert ann.release("answer")["image"] == image
    assert values(ann, "answer")["runtime"]["config"] == {"factor": 3}


@pytest.mark.parametrize("form", ["yaml", "json", "a list of APIs"])
def test_a_file_says_several_things(ann, form):
    deployed(ann, iris(labels={"old": "x"}))
    words = {"autoscaling": {"max_replicas": 8}, "labels": {"old": None, "tier": "gold"}}
    text = {
        "yaml": "autoscaling: {max_replicas: 8}\nlabels:\n  old: null\n  tier: gold\n",
        "json": json.dumps(words),
        "a list of APIs": json.dumps([{"name": "roses"}, {"name": "iris", **words}]),
    }[form]
    (ann.project / "changes.yaml").write_text(text)
    did(ann, "patch", "iris", "changes.yaml", "-e", "staging", "--set", r"labels.backstage\.io/c=d")
    assert values(ann, "iris")["labels"] == {"tier": "gold", "backstage.io/c": "d"}
    assert values(ann, "iris")["autoscaling"]["maxReplicas"] == 8


def test_what_the_environment_says_of_its_own_does_not_win_over_the_patch(ann):
    deployed(ann, iris(environments={"staging": {"autoscaling": {"max_replicas": 3}}}))
    did(ann, "patch", "iris", "-e", "staging", "--set", "autoscaling.max_replicas=9")
    assert values(ann, "iris")["autoscaling"]["maxReplicas"] == 9


def test_null_takes_a_field_back(ann):
    deployed(ann, iris())
    did(ann, "patch", "iris", "-e", "staging", "--set", "autoscaling=null")
    assert "autoscaling" not in ann.release("iris")["manifest"]


def test_older_spellings_are_patched_in_todays(ann):
    scaling = {"max_replicas": 5, "target_replica_concurrency": 4}
    ann.has(predictor_api("answer", autoscaling=scaling))
    ann.deploys("-e", "staging", *NO_REGISTRY)
    with_digest(ann, "answer")
    did(ann, "patch", "answer", "-e", "staging", "--set", "autoscaling.target_in_flight=8")
    assert ann.release("answer")["manifest"]["autoscaling"] == {
        "max_replicas": 5,
        "target_in_flight": 8,
    }


def test_a_patch_goes_on_with_a_promotion(ann):
    deployed(ann, iris())
    did(ann, "patch", "iris", "-e", "staging", "--set", "autoscaling.max_replicas=9")
    did(ann, "promote", "iris", "--to", "production")
    assert values(ann, "iris", "production")["autoscaling"]["maxReplicas"] == 9


def test_a_patch_that_is_in_the_manifest_already_changes_nothing(ann):
    deployed(ann, iris())
    result = did(ann, "patch", "iris", "-e", "staging", "--set", "autoscaling.max_replicas=5")
    assert (result.out, result.err) == ("nothing to change\n", "")


def test_a_ready_made_image_can_be_another_one_by_digest(ann):
    deployed(ann, iris())
    image = f"registry.example.org/iris@sha256:{'4' * 64}"
    did(ann, "patch", "iris", "-e", "staging", "--set", f"container.image={image}")
    assert ann.release("iris")["image"]["digest"] == f"sha256:{'4' * 64}"


@pytest.mark.parametrize(
    ("setting", "code", "words"),
    [
        ("autoscaling.max_replicas=0", 3, "iris.autoscaling.max_replicas"),
        ("autoscaling.max_replica=3", 3, "did you mean 'max_replicas'?"),
        ("autoscaling.max_replicas=many", 3, "max_replicas"),
        ("name=roses", 2, "iris has the name 'iris', and the patch has 'roses'"),
        ("kind=AsyncAPI", 2, "the patch has 'AsyncAPI'"),
        ("autoscaling.max_replicas", 2, "is not a setting"),
        (".x=1", 2, "is not a setting"),
        ("a..b=1", 2, "is not a setting"),
        ("labels=[", 2, "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_changes(ann, setting, code, words):
    deployed(ann, iris())
    before = ann.head()
    result = ann.runs("patch", "iris", "-e", "staging", "--set", setting)
    assert (result.code, words in result.err) == (code, True), result
    assert ann.head() == before


def test_what_the_image_holds_is_not_patched(ann):
    ann.has(predictor_api("answer"))
    ann.deploys("-e", "staging", "--offline", "--by-tag")
    with_digest(ann, "answer")
    result = ann.runs("patch", "answer", "-e", "staging", "--set", "predictor.path=other.py")
    assert (result.code, "predictor.path of answer" in result.err) == (2, True)


def test_an_endpoint_that_another_api_has_is_refused(ann):
    deployed(ann, iris(), container_api("roses"))
    result = ann.runs("patch", "iris", "-e", "staging", "--set", "networking.endpoint=/roses")
    assert (result.code, "/roses" in result.err) == (3, True)


def test_a_patch_without_words_is_refused(ann):
    deployed(ann, iris())
    assert ann.runs("patch", "iris", "-e", "staging").code == 2


def test_another_projects_release_is_left_alone(ann):
    deployed(ann, iris())
    ann.configures(project="garden")
    assert ann.runs("patch", "iris", "-e", "staging", "--set", "labels.a=b").code == 6
