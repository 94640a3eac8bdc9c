"""From the manifest to an image in a registry and a release that names it by digest."""

from __future__ import annotations

import json
import os
import re

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from gitops_ml.image.attestations import API_MANIFEST, CYCLONEDX
from gitops_ml.image.content_hash import ContentHash
from gitops_ml.image.docker import DockerBuilder
from gitops_ml.image.publish import is_made_by
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import read_attachment, referrers
from gitops_ml.oci.signatures import IN_TOTO
from tests.oci.test_keys import SIGNED_BY_COSIGN, public_key
from tests.support.base_image import VERSION
from tests.support.oci import registry_of, silent
from tests.support.person import predictor_api
from tests.support.real import needs_docker

pytestmark = needs_docker


@pytest.fixture
def shop(ann, docker_engine, registry, base_image, monkeypatch):
    """A project whose images go to a real registry, built by a real engine."""
    ann.has(predictor_api("answer"))
    image = {
        "repository": f"{registry.host}/{ann.home.name.replace('_', '-').lower()}",
        "base": str(base_image),
        "python_version": VERSION,
        "builder": "docker",
    }
    ann.configures(image=image)
    monkeypatch.setenv("DOCKER_HOST", docker_engine.address)
    return ann


def test_what_is_built_is_pushed_and_not_built_again(shop, monkeypatch):
    (first,) = shop.runs("build", "-o", "json").json["images"]
    assert first["state"] == "built"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", first["digest"])

    # Not even the engine is asked.
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    (second,) = shop.runs("build", "-o", "json").json["images"]
    assert second == {**first, "state": "exists"}
    assert f"{first['image']}  {first['digest']}  exists" in shop.runs("build").out

    (shop.project / "predictor.py").write_text("class PythonPredictor: ...\n")
    (third,) = shop.runs("build", "--dry-run", "-o", "json").json["images"]
    assert (third["state"], third["digest"]) == ("to build", None)
    assert third["image"] != first["image"]
    assert shop.runs("build").code == 4


def test_deploy_builds_pushes_and_names_the_image_by_digest(shop, monkeypatch):
    result = shop.deploys("-o", "json")
    assert result.code == 0, result
    image = shop.yaml("releases/production/answer/values.yaml")["image"]
    assert {release["image"] for release in result.json["releases"]} == {
        f"{image['repository']}:{image['tag']}@{image['digest']}"
    }
    assert shop.release("answer")["image"] == shop.release("answer", "production")["image"]

    # What was deployed once is known from the GitOps repository: no engine, and no registry either.
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert shop.deploys().out == "nothing to change\n"
    assert shop.deploys("--offline").out == "nothing to change\n"


def test_an_image_that_never_got_its_documents_gets_them_with_the_next_build(shop):
    (local,) = shop.runs("build", "--no-push", "-o", "json").json["images"]
    # A run that was ended between the engine's push and ours.
    DockerBuilder(os.environ).push(ImageRef.parse(local["image"]), progress=silent)
    (built,) = shop.runs("build", "-o", "json").json["images"]
    assert built["state"] == "built"
    image = ImageRef.parse(f"{built['image']}@{built['digest']}")
    found = {r.artifact_type for r in referrers(registry_of(), image.repository, image.digest)}
    assert found == {CYCLONEDX, IN_TOTO, API_MANIFEST}
    assert shop.runs("build", "-o", "json").json["images"] == [{**built, "state": "exists"}]


def test_without_pushing_an_image_stays_here_and_deploy_does_not_take_it(shop, monkeypatch):
    (built,) = shop.runs("build", "--no-push", "-o", "json").json["images"]
    assert built["state"] == "local"
    assert shop.runs("deploy", "--no-build").code == 5
    assert shop.commits() == 0


def test_what_an_engine_built_is_signed_and_tells_what_is_in_it(shop, registry, monkeypatch):
    (shop.project / "requirements.txt").write_text("six==1.16.0\n")
    monkeypatch.setenv("GITOPS_ML_SIGNING_KEY", str(SIGNED_BY_COSIGN / "cosign.key"))
    monkeypatch.setenv("COSIGN_PASSWORD", "fixture-password")
    result = shop.runs("build", "-o", "json")
    assert result.code == 0, result
    (built,) = result.json["images"]
    image = ImageRef.parse(f"{built['image']}@{built['digest']}")
    client = registry_of()
    key = public_key((SIGNED_BY_COSIGN / "cosign.pub").read_bytes())
    content_hash = ContentHash(built["content_hash"])
    assert is_made_by(key, image, registry=client, content_hash=content_hash)
    assert not is_made_by(key, image, registry=client, content_hash=ContentHash("0" * 64))

    found = {r.artifact_type: r for r in referrers(client, image.repository, image.digest)}
    assert set(found) == {CYCLONEDX, IN_TOTO, API_MANIFEST}
    bill = read_attachment(client, image.repository, found[CYCLONEDX]).decode()
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(bill) is None
    components = {each["name"]: each for each in json.loads(bill)["components"]}
    assert components["six"]["purl"] == "pkg:pypi/six@1.16.0"
    assert "pkg:pypi/starlette@" in components["starlette"]["purl"]
    # pip is the base image's
    assert "pip" not in components

    (again,) = shop.runs("build", "-o", "json").json["images"]
    assert again == {**built, "state": "exists"}
