"""`gitops-ml build` and `deploy` where no engine answers: locked, built, pushed, and known again."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from gitops_ml.image.attestations import API_MANIFEST, CYCLONEDX
from gitops_ml.oci.image_manifest import Index, Platform, parse_manifest
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import read_attachment, referrers
from gitops_ml.oci.signatures import IN_TOTO
from tests.support.person import NO_REGISTRY
from tests.support.real import find
from tests.support.wheels import make_wheel


def one(result):
    """The only image of a `build -o json`."""
    assert result.code == 0, result
    (image,) = result.json["images"]
    return image


def test_what_is_built_is_pushed_with_its_documents_and_not_built_again(mill):
    result = mill.person.runs("build", "-o", "json")
    first = one(result)
    assert (first["state"], first["builder"]) == ("built", "oci")
    assert first["reason"] == "nothing in it needs a container"
    assert result.err == "warning: pylock.toml was written (8 packages): commit it\n"
    image = ImageRef.parse(f"{first['image']}@{first['digest']}")
    assert mill.client.digest(ImageRef.parse(first["image"])) == first["digest"]
    found = {r.artifact_type: r for r in referrers(mill.client, mill.repository, image.digest)}
    assert set(found) == {CYCLONEDX, IN_TOTO, API_MANIFEST}
    manifest = read_attachment(mill.client, mill.repository, found[API_MANIFEST])
    assert manifest == (mill.project / "api.yaml").read_bytes()

    second = mill.person.runs("build", "-o", "json")
    assert one(second) == {**first, "state": "exists"}
    assert second.err == ""


def labels_of(mill, built) -> dict[str, str]:
    manifest, _ = mill.client.image_manifest(
        ImageRef(mill.repository, digest=built["digest"]), Platform.parse("linux/amd64")
    )
    return json.loads(mill.client.blob(mill.repository, manifest.config))["config"]["Labels"]


def test_an_image_tells_its_inputs_and_its_api_by_labels(mill):
    (mill.project / "predictor.py").write_text(
        "class PythonPredictor:\n"
        "    def __init__(self, config): ...\n"
        "    def predict(self, payload: dict[str, int]) -> float: ...\n"
    )
    built = one(mill.person.runs("build", "-o", "json"))
    labels = labels_of(mill, built)
    api = json.loads(labels.pop("dev.gitops-ml.openapi"))
    assert api["info"]["title"] == "answer"
    operation = api["paths"]["/predict"]["post"]
    assert operation["responses"]["200"]["content"]["application/json"]["schema"] == {
        "type": "number"
    }
    assert labels["dev.gitops-ml.deployment-schema"] == "1"
    assert labels["dev.gitops-ml.content-hash"] == built["content_hash"]
    assert re.fullmatch("[0-9a-f]{64}", labels["dev.gitops-ml.lock"])
    assert re.search(
        r"dev.gitops-ml.openapi +\d+ characters", mill.person.runs("inspect", built["image"]).out
    )


def test_what_an_image_does_not_get_has_no_say_in_its_labels(mill):
    (mill.project / ".gitopsmlignore").write_text("sample.json\n")
    (mill.project / "sample.json").write_text('{"from": "sample"}')
    first = one(mill.person.runs("build", "-o", "json"))
    assert "sample" not in labels_of(mill, first)["dev.gitops-ml.openapi"]


def test_the_provenance_names_the_commit_of_the_source_where_nothing_else_is_in_it(mill):
    mill.person.runs("lock")
    commit = mill.person.keeps_source_in_git()
    from tests.support.git_servers import git

    git("remote", "add", "origin", "https://x:s3cret@example.org/shop.git", cwd=mill.project)
    built = one(mill.person.runs("build", "-o", "json"))
    (found,) = referrers(mill.client, mill.repository, built["digest"], artifact_type=IN_TOTO)
    text = read_attachment(mill.client, mill.repository, found).decode()
    (source,) = [
        each
        for each in json.loads(text)["predicate"]["buildDefinition"]["resolvedDependencies"]
        if each["name"] == "source"
    ]
    assert source["uri"] == "https://example.org/shop.git"
    assert source["digest"] == {"gitCommit": commit}
    assert "s3cret" not in text


def test_deploy_locks_builds_pushes_and_names_the_image_by_digest(mill):
    result = mill.person.deploys("-o", "json")
    assert result.code == 0, result
    image = mill.person.yaml("releases/production/answer/values.yaml")["image"]
    name = f"{image['repository']}:{image['tag']}@{image['digest']}"
    assert result.json["images"] == [
        {"image": name, "builder": "oci", "reason": "nothing in it needs a container"}
    ]
    assert {release["image"] for release in result.json["releases"]} == {name}
    assert mill.lock.is_file()
    assert mill.person.deploys("--offline").out == "nothing to change\n"


def test_the_reason_for_a_container_is_told(mill):
    (mill.project / "dependencies.sh").write_text("true\n")
    found = one(mill.person.runs("build", "--dry-run", "-o", "json"))
    assert (found["builder"], found["state"]) == ("docker", "to build")
    assert found["reason"] == "dependencies.sh is a script, which needs a container"
    result = mill.person.runs("build")
    words = f"docker is the builder, since {found['reason']}: no Docker engine answers"
    assert (result.code, words in result.err) == (4, True)
    mill.configures(builder="oci")
    result = mill.person.runs("build")
    assert result.code == 2
    assert (
        "answer: image.builder is oci, which runs nothing, but dependencies.sh is a" in result.err
    )


def test_an_index_is_made_for_several_platforms(mill):
    mill.configures(platforms=["linux/arm64", "linux/amd64"])
    built = one(mill.person.runs("build", "-o", "json"))
    content, _ = mill.client.manifest(ImageRef(mill.repository, digest=built["digest"]))
    index = parse_manifest(content)
    assert isinstance(index, Index)
    assert [str(each.platform) for each in index.manifests] == ["linux/amd64", "linux/arm64"]


# -- without a lock, or with one of yesterday -------------------------------------------------------


def test_rendering_never_resolves_and_says_what_would(mill):
    mill.index.asked.clear()
    result = mill.person.runs("render", "--offline", "--to", "../rendered")
    assert result.code == 0
    assert result.err.splitlines()[0] == (
        "warning: pylock.toml is not there, so the image has another tag once `gitops-ml "
        "lock`, `build` or `deploy` has resolved the requirements"
    )
    assert (mill.index.asked, mill.lock.exists()) == ([], False)


def test_a_release_by_tag_needs_neither_registry_nor_index_nor_lock(mill, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    result = mill.person.deploys(*NO_REGISTRY)
    assert "pylock.toml is not there" in result.err
    assert mill.person.commits() == 1
    assert not mill.lock.exists()


def test_the_tag_is_the_final_one_where_the_lock_is_up_to_date(mill):
    assert mill.person.runs("lock").code == 0
    result = mill.person.deploys(*NO_REGISTRY, "-e", "staging", "-o", "json")
    assert "pylock.toml" not in result.err
    (release,) = result.json["releases"]
    assert one(mill.person.runs("build", "-o", "json"))["image"] == release["image"]


def test_frozen_resolves_nothing_and_wants_a_lock_of_today(mill, monkeypatch):
    words = r"pylock\.toml is not there: run `gitops-ml lock` and commit"
    for command in (["build", "--frozen"], ["deploy", "--frozen"], ["deploy", "--offline"]):
        monkeypatch.setenv("GITOPS_ML_FROZEN", "1")
        result = mill.person.runs(*command)
        assert (result.code, mill.lock.exists()) == (2, False)
        assert re.search(words, result.err), result
    monkeypatch.delenv("GITOPS_ML_FROZEN")
    assert mill.person.runs("lock").code == 0
    assert mill.person.runs("build", "--frozen").code == 0
    mill.requires("six==1.17.0")
    result = mill.person.runs("build", "--frozen")
    assert (result.code, "is older than the requirements" in result.err) == (2, True)


def test_a_package_that_a_pull_request_adds_to_the_lock_enters_no_image(mill, monkeypatch):
    """What is stated beside the packages is forged along with it: the wheels themselves decide."""
    assert mill.person.runs("build").code == 0
    right = mill.lock.read_text()
    evil = make_wheel(mill.index.folder, "evil", "1.0")
    fingerprint = hashlib.sha256(evil.read_bytes()).hexdigest()
    entry = (
        f'[[packages]]\nname = "evil"\nversion = "1.0"\nwheels = [{{ path = "{evil.name}", '
        f'hashes = {{ sha256 = "{fingerprint}" }} }}]\n\n'
    )
    six = '[[packages]]\nname = "six"\nversion = "1.16.0"\n'
    after, requires = '[[packages]]\nname = "httptools"\n', 'dependencies = [{ name = "evil" }]\n'
    assert six in right
    assert after in right
    for forged, offline in (
        (right.replace(after, entry + after), True),
        (right.replace(after, entry + after).replace(six, f"{six}{requires}"), False),
    ):
        mill.lock.write_text(forged)
        result = mill.person.runs("lock", "--check", "-o", "json")
        words = f"evil 1.0 (line {forged[: forged.index('evil')].count(chr(10))}) is required"
        assert (result.code, words in result.json["locks"][0]["state"]) == (7, True), (
            "six's wheel is at hand"
        )
        monkeypatch.setenv("GITOPS_ML_CACHE", str(mill.person.home / "empty"))
        assert mill.person.runs("lock", "--check").code == (7 if offline else 0)
        for command in (("build", "--frozen"), ("deploy", "--frozen")):
            result = mill.person.runs(*command)
            outcome = (result.code, words in result.err, "gitops-ml lock" in result.err)
            assert outcome == (2, True, True), result.err
        monkeypatch.setenv("GITOPS_ML_CACHE", str(mill.person.home / "cache"))
    mill.lock.write_text(right)
    assert mill.person.runs("lock", "--check").code == 0
    assert mill.person.runs("build", "--frozen").code == 0


def test_without_building_the_missing_lock_is_named_beside_the_missing_image(mill):
    result = mill.person.runs("deploy", "--no-build")
    assert result.code == 5
    assert "the registry has no such image" in result.err
    assert "pylock.toml is not there" in result.err
    assert not mill.lock.exists()


def test_another_tools_lock_is_left_alone(mill):
    mill.lock.write_text("six==1.16.0\n")
    result = mill.person.runs("build")
    assert result.code == 3
    assert "pylock.toml:1:1: it is another tool's lock" in result.err
    assert mill.person.runs("lock").code == 3
    assert mill.lock.read_text() == "six==1.16.0\n"


def test_two_pythons_in_one_folder_do_not_share_a_lock(mill):
    from tests.support.person import predictor_api

    other = predictor_api("other")
    other["predictor"]["python_version"] = "3.12"
    mill.person.has(predictor_api("answer"), other)
    result = mill.person.runs("render", "--offline")
    assert result.code == 2
    assert "shares" in result.err
    assert "give one of them a folder of its own" in result.err


# -- without a registry -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [["--output", "oci-layout", "../layout"], ["--output=oci-layout", "../layout"],
     ["-o", "oci-layout=../layout", "-o", "json"]],
    ids=["two words", "an equals sign before", "beside json"],
)  # fmt: skip
def test_an_oci_layout_holds_the_image_and_no_registry_is_asked_for_it(mill, words):
    result = mill.person.runs("build", *words)
    assert result.code == 0, result
    index = json.loads((mill.person.home / "layout/index.json").read_text())
    (entry,) = index["manifests"]
    tag = entry["annotations"]["org.opencontainers.image.ref.name"]
    assert mill.client.digest(ImageRef(mill.repository, tag)) is None
    if "json" in words:
        assert one(result)["digest"] == entry["digest"]
        assert one(result)["state"] == "local"
    if skopeo := find("skopeo"):
        import subprocess

        inspected = subprocess.run(
            [skopeo, "inspect", f"oci:{mill.person.home / 'layout'}:{tag}"],
            capture_output=True, check=True,
        )  # fmt: skip
        assert json.loads(inspected.stdout)["Digest"] == entry["digest"]


def test_an_output_that_nobody_knows_is_refused_with_those_that_are(mill):
    for words in (["-o", "tar"], ["--output", "oci-layout="], ["--output", "oci-layout"]):
        result = mill.person.runs("build", *words)
        assert result.code == 2
        assert "not one of text, json, docker, oci-layout=DIR" in result.err


def test_without_pushing_the_digest_is_the_one_that_a_push_would_have(mill):
    local = one(mill.person.runs("build", "--no-push", "-o", "json"))
    assert local["state"] == "local"
    assert mill.client.digest(ImageRef.parse(local["image"])) is None
    pushed = one(mill.person.runs("build", "-o", "json"))
    assert pushed == {**local, "state": "built"}


def test_a_private_index_may_stand_in_the_requirements(mill, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("OUR_TOKEN", "s3cret-of-the-index")
    mill.index.password = "s3cret-of-the-index"
    make_wheel(mill.index.folder, "ours", "1.0")
    address = mill.index.url.replace("//", "//user:${OUR_TOKEN}@")
    mill.requires(f"--index-url {address}", "ours", "six")
    result = mill.person.runs("build", "-o", "json")
    built = one(result)
    folder = mill.person.home / "cache"
    for path in (mill.lock, *(path for path in folder.rglob("*") if path.is_file())):
        assert b"s3cret" not in path.read_bytes(), path
    assert "s3cret" not in result.out + result.err
    assert mill.client.digest(ImageRef.parse(built["image"])) == built["digest"]


def _takes(mill, fields: str) -> None:
    """The predictor of the project takes and answers with these fields."""
    (mill.project / "predictor.py").write_text(
        "from typing import TypedDict\n\n\n"
        f"class Flower(TypedDict):\n    {fields}: float\n\n\n"
        "class PythonPredictor:\n"
        "    def __init__(self, config): ...\n\n"
        "    def predict(self, payload: Flower) -> Flower: ...\n"
    )


def test_a_deploy_reports_what_callers_of_the_current_image_fail_on(mill):
    _takes(mill, "width")
    assert "schema-changed" not in mill.person.deploys("-e", "staging").err
    _takes(mill, "length")
    result = mill.person.deploys("-e", "staging")
    assert "the request requires length; " in result.err, result
    assert "width is gone from the response; " in result.err
    assert "[schema-changed]" in result.err
    # A promotion compares the labels of two images.
    mill.person.deploys("-e", "production")
    _takes(mill, "width")
    mill.person.deploys("-e", "staging")
    result = mill.person.runs("promote", "answer", "--from", "staging", "--to", "production")
    assert result.code == 0, result
    assert "the request requires width; " in result.err, result
    mill.configures(checks={"severities": {"schema-changed": "error"}})
    _takes(mill, "length")
    result = mill.person.runs("deploy", "-e", "staging")
    assert result.code == 7, result
    assert "the request requires length; " in result.err


def test_a_current_image_without_a_document_is_reported(mill):
    # A label has a limit.
    _takes(mill, ": float\n    ".join(f"field_{number}" for number in range(400)))
    mill.person.deploys("-e", "staging")
    _takes(mill, "width")
    result = mill.person.deploys("-e", "staging")
    assert "answer in staging: the image of the current release has no document" in result.err
