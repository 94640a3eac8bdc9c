"""What is attached to an image, found as others look for it: by the referrers API, or by its tag."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import uuid4

import oras.client
import pytest

from gitops_ml.image.attestations import CYCLONEDX
from gitops_ml.oci.image_manifest import MANIFEST, describe
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import Attachment, attach, read_attachment, referrers
from gitops_ml.oci.signatures import IN_TOTO
from tests.support.oci import push_tiny_base, registry_of
from tests.support.referring_registry import referring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitops_ml.oci.image_manifest import Descriptor
    from tests.support.real import RealRegistry

ORAS = shutil.which("oras")
"""Looks for itself where it is installed."""
BILL = Attachment(artifact_type=CYCLONEDX, content=b'{"bomFormat":"CycloneDX"}')
STATEMENT = Attachment(
    artifact_type=IN_TOTO, content=b'{"_type":"x"}', annotations={"about": "the build"}
)


@pytest.fixture(params=["without", "with"])
def host(request: pytest.FixtureRequest, registry: RealRegistry) -> Iterator[str]:
    """A registry without referrers API, and one with."""
    if request.param == "without":
        yield registry.host
        return
    with referring(registry.host) as found:
        yield found.host


@pytest.fixture
def subject(host: str, tmp_path: Path) -> tuple[str, Descriptor]:
    repository = f"{host}/{uuid4().hex}"
    base = push_tiny_base(registry_of(), repository)
    return repository, describe(base.manifests["linux/amd64"], MANIFEST)


def as_others_see(repository: str, digest: str) -> list[dict[str, object]]:
    """The referrers, by oras' Python library: the API first, then the tag, as its CLI does."""
    host, _, name = repository.partition("/")
    client = oras.client.OrasClient(hostname=host, insecure=True)
    response = client.do_request(f"http://{host}/v2/{name}/referrers/{digest}")
    if response.status_code == 200:
        return [*response.json()["manifests"]]
    container = client.get_container(f"{repository}:{digest.replace(':', '-')}")
    return [*client.get_manifest(container)["manifests"]]


def test_everybody_finds_what_is_attached(subject: tuple[str, Descriptor], tmp_path: Path) -> None:
    repository, image = subject
    client = registry_of()
    made = attach(client, repository, image, [BILL, STATEMENT])
    found = as_others_see(repository, image.digest)
    assert {(each["artifactType"], each["digest"]) for each in found} == {
        (document.artifact_type, descriptor.digest)
        for document, descriptor in zip((BILL, STATEMENT), made, strict=True)
    }
    (about,) = [each for each in found if each["artifactType"] == IN_TOTO]
    assert about["annotations"] == {"about": "the build"}
    if ORAS:
        result = subprocess.run(
            [ORAS, "discover", "--plain-http", "--format", "json", f"{repository}@{image.digest}"],
            capture_output=True, check=True,
        )  # fmt: skip
        theirs = {each["digest"] for each in json.loads(result.stdout)["referrers"]}
        assert theirs == {descriptor.digest for descriptor in made}

    # oras' own library pulls the document by what the list says
    (bill,) = [each for each in found if each["artifactType"] == CYCLONEDX]
    host = repository.partition("/")[0]
    theirs_client = oras.client.OrasClient(hostname=host, insecure=True)
    manifest = theirs_client.get_manifest(
        theirs_client.get_container(f"{repository}@{bill['digest']}")
    )
    assert manifest["subject"]["digest"] == image.digest
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    blob = theirs_client.get_blob(
        theirs_client.get_container(repository), manifest["layers"][0]["digest"]
    )
    assert blob.content == BILL.content


def test_attaching_again_changes_nothing_and_more_is_added(
    subject: tuple[str, Descriptor],
) -> None:
    repository, image = subject
    client = registry_of()
    attach(client, repository, image, [BILL])
    before = as_others_see(repository, image.digest)
    attach(client, repository, image, [BILL])
    assert as_others_see(repository, image.digest) == before
    attach(client, repository, image, [STATEMENT])
    assert len(as_others_see(repository, image.digest)) == 2
    (one,) = referrers(client, repository, image.digest, artifact_type=IN_TOTO)
    assert read_attachment(client, repository, one) == STATEMENT.content


def test_the_fallback_tag_is_written_only_where_it_is_needed(
    subject: tuple[str, Descriptor], request: pytest.FixtureRequest
) -> None:
    repository, image = subject
    attach(registry_of(), repository, image, [BILL])
    tag = ImageRef(repository, image.digest.replace(":", "-"))
    has_api = request.node.callspec.params["host"] == "with"
    assert (registry_of().digest(tag) is None) is has_api


def test_nothing_is_attached_to_what_nobody_attached_to(subject: tuple[str, Descriptor]) -> None:
    repository, image = subject
    assert referrers(registry_of(), repository, image.digest) == ()


def test_what_is_attached_at_once_by_the_same_builder_is_all_there(
    subject: tuple[str, Descriptor],
) -> None:
    repository, image = subject
    with ThreadPoolExecutor(3) as pool:
        for done in [
            pool.submit(attach, registry_of(), repository, image, [BILL, STATEMENT])
            for _ in range(3)
        ]:
            done.result()
    assert len(referrers(registry_of(), repository, image.digest)) == 2
