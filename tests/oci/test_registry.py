"""Registries that fail: what is pushed is whole or not there, what is read is what was asked for."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import Refused, ServerFailed
from gitops_ml.http.response import RetryPolicy, retry_after
from gitops_ml.oci.image_manifest import CONFIG, LAYER, MANIFEST, ImageManifest, Platform, describe
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.oci.registry_session import RegistrySession
from tests.support.faulty_registry import Asked, Fault, FaultyRegistry, faulty_registry
from tests.support.oci import IMPATIENT, push_tiny_base, registry_of, silent, source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.real import RealRegistry

BIG = os.urandom(1 << 20) * 40


@pytest.fixture
def proxy(registry: RealRegistry) -> Iterator[FaultyRegistry]:
    with faulty_registry(registry.host) as found:
        yield found


def once(method: str, part: str, fault: Fault, *, times: int = 1) -> object:
    """A choice that gives ``fault`` to the first requests of a kind."""
    left = [times]

    def choose(asked: Asked) -> Fault | None:
        if asked.method == method and part in asked.path and left[0]:
            left[0] -= 1
            return fault
        return None

    return choose


@pytest.mark.parametrize(
    "fault",
    [Fault(429, (("Retry-After", "0"),)), Fault(500), Fault(503), Fault(reset=True)],
    ids=["429", "500", "503", "reset"],
)
@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "GET"])
def test_a_failure_that_passes_is_not_noticed(
    proxy: FaultyRegistry, fault: Fault, method: str
) -> None:
    proxy.choose = once(method, "/v2/", fault, times=3)  # type: ignore[assignment]
    registry = registry_of()
    content = os.urandom(5000)
    blob = describe(content, LAYER)
    repository = f"{proxy.host}/faults/passing"
    assert registry.push_blob(repository, blob, source(content), progress=silent).how == "sent"
    assert registry.blob(repository, blob) == content
    manifest = ImageManifest(config=blob, layers=()).to_bytes()
    digest = registry.push_manifest(repository, manifest, media_type=MANIFEST, to="v1")
    assert registry.head(ImageRef(repository, "v1")) is not None
    assert registry.manifest(ImageRef(repository, "v1"))[1].digest == digest


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_failure_that_stays_is_told(proxy: FaultyRegistry, status: int) -> None:
    proxy.choose = lambda asked: Fault(status)
    with pytest.raises(ServerFailed, match=f"answered {status} about faults/staying"):
        registry_of().head(ImageRef(f"{proxy.host}/faults/staying", "v1"))
    assert len(proxy.asked) == IMPATIENT.attempts


def test_the_registry_says_how_long_to_wait(proxy: FaultyRegistry) -> None:
    waits: list[float] = []
    session = RegistrySession({}, patience=RetryPolicy(sleep=waits.append, attempts=4))
    answers = iter([Fault(429, (("Retry-After", "7"),)), Fault(503, (("Retry-After", "90"),))])
    proxy.choose = lambda asked: next(answers, None)
    OciRegistry(session).head(ImageRef(f"{proxy.host}/faults/waiting", "v1"))
    assert waits == [7, 90]


def test_nobody_waits_for_as_long_as_some_registries_ask_for(proxy: FaultyRegistry) -> None:
    waits: list[float] = []
    session = RegistrySession({}, patience=RetryPolicy(sleep=waits.append))
    proxy.choose = lambda asked: Fault(429, (("Retry-After", "3600"),))
    with pytest.raises(ServerFailed, match=r"429 .*retry after 3600 seconds"):
        OciRegistry(session).head(ImageRef(f"{proxy.host}/faults/waiting", "v1"))
    assert (waits, len(proxy.asked)) == ([], 1)


def test_a_time_of_day_is_a_time_to_wait_until() -> None:
    import email.utils
    import time

    in_a_while = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 25 < (retry_after(in_a_while) or 0) <= 30
    assert retry_after("soon") is None


@pytest.mark.parametrize("sent", [0, 1, 5 << 20, 33 << 20])
def test_an_upload_that_breaks_goes_on_where_the_registry_has_got_to(
    proxy: FaultyRegistry, sent: int
) -> None:
    proxy.choose = once("PATCH", "/uploads/", Fault(upload_bytes=sent))  # type: ignore[assignment]
    registry, blob = registry_of(), describe(BIG, LAYER)
    repository = f"{proxy.host}/faults/resumed-{sent}"
    lines: list[str] = []
    placed = registry.push_blob(repository, blob, source(BIG), progress=lines.append)
    assert placed.how == "sent"
    assert hashlib.sha256(registry.blob(repository, blob)).hexdigest() == blob.digest[7:]
    assert any("resumed from" in line for line in lines)
    assert proxy.count("GET .*/uploads/")


def test_an_upload_that_the_registry_forgot_begins_anew(proxy: FaultyRegistry) -> None:
    faults = iter([Fault(upload_bytes=1000), Fault(404)])

    def choose(asked: Asked) -> Fault | None:
        is_upload = asked.method in ("PATCH", "GET") and "/uploads/" in asked.path
        return next(faults, None) if is_upload else None

    proxy.choose = choose
    registry, blob = registry_of(), describe(BIG, LAYER)
    repository = f"{proxy.host}/faults/forgotten"
    assert registry.push_blob(repository, blob, source(BIG), progress=silent).how == "sent"
    assert registry.blob(repository, blob) == BIG


def test_an_upload_that_keeps_breaking_ends_with_an_error(proxy: FaultyRegistry) -> None:
    proxy.choose = once("PATCH", "/uploads/", Fault(reset=True), times=99)  # type: ignore[assignment]
    with pytest.raises(ServerFailed, match="cannot be reached"):
        registry_of().push_blob(
            f"{proxy.host}/faults/hopeless", describe(BIG, LAYER), source(BIG), progress=silent
        )
    assert proxy.count("PATCH") == IMPATIENT.attempts


def test_a_blob_whose_bytes_are_not_its_digests_is_refused_by_the_registry(
    proxy: FaultyRegistry,
) -> None:
    content = b"what was promised"
    with pytest.raises(ServerFailed, match=r"400.*DIGEST_INVALID"):
        registry_of().push_blob(
            f"{proxy.host}/faults/wrong", describe(content, LAYER), source(b"something other!!"),
            progress=silent,
        )  # fmt: skip


def test_a_download_that_breaks_goes_on_where_it_broke(proxy: FaultyRegistry) -> None:
    registry, blob = registry_of(), describe(BIG, LAYER)
    repository = f"{proxy.host}/faults/download"
    registry.push_blob(repository, blob, source(BIG), progress=silent)
    fault = Fault(answer_bytes=3 << 20)
    proxy.choose = once("GET", "/blobs/", fault, times=2)  # type: ignore[assignment]
    assert b"".join(registry.read_blob(repository, blob)) == BIG
    assert proxy.count("GET .*/blobs/") == 3
    assert b"".join(registry.read_blob(repository, blob, offset=5)) == BIG[5:]


@pytest.mark.parametrize("what", ["/blobs/", "/manifests/"])
def test_what_was_damaged_on_the_way_is_not_taken(proxy: FaultyRegistry, what: str) -> None:
    registry = registry_of()
    base = push_tiny_base(registry, f"{proxy.host}/faults/damaged")
    proxy.choose = once("GET", what, Fault(damage=True), times=9)  # type: ignore[assignment]
    with pytest.raises(ServerFailed, match="sent other content for"):
        manifest, _ = registry.image_manifest(base.image, Platform.parse("linux/amd64"))
        registry.blob(base.image.repository, manifest.config)


def test_a_registry_that_stores_something_else_is_not_believed(proxy: FaultyRegistry) -> None:
    registry = registry_of()
    content = b"{}"
    repository = f"{proxy.host}/faults/liar"
    registry.push_blob(repository, describe(content, CONFIG), source(content), progress=silent)
    other = (("Docker-Content-Digest", f"sha256:{'0' * 64}"),)
    proxy.choose = once("PUT", "/manifests/", Fault(answer_headers=other))  # type: ignore[assignment]
    manifest = ImageManifest(config=describe(content, CONFIG), layers=()).to_bytes()
    with pytest.raises(ServerFailed, match="stored faults/liar:v1 as sha256:000"):
        registry.push_manifest(repository, manifest, media_type=MANIFEST, to="v1")


def test_a_manifest_without_its_blobs_gets_no_tag(proxy: FaultyRegistry) -> None:
    registry = registry_of()
    repository = f"{proxy.host}/faults/halved"
    content = ImageManifest(config=describe(b"never pushed", CONFIG), layers=()).to_bytes()
    with pytest.raises(ServerFailed, match=r"MANIFEST_BLOB_UNKNOWN|BLOB_UNKNOWN|404|400"):
        registry.push_manifest(repository, content, media_type=MANIFEST, to="v1")
    assert registry.head(ImageRef(repository, "v1")) is None


def test_a_token_that_expires_is_fetched_anew(proxy: FaultyRegistry) -> None:
    proxy.token_uses = 2
    registry, blob = registry_of(), describe(BIG, LAYER)
    repository = f"{proxy.host}/faults/tokens"
    assert registry.push_blob(repository, blob, source(BIG), progress=silent).how == "sent"
    assert registry.blob(repository, blob) == BIG
    assert len(proxy.tokens) > 2
    assert "repository:faults/tokens:pull,push" in proxy.scopes


def test_a_blob_of_another_repository_is_mounted_and_the_token_may_read_that(
    proxy: FaultyRegistry,
) -> None:
    proxy.token_uses = 5
    registry, blob = registry_of(), describe(BIG, LAYER)
    registry.push_blob(f"{proxy.host}/faults/origin", blob, source(BIG), progress=silent)
    placed = registry.push_blob(
        f"{proxy.host}/faults/mounted", blob, source(BIG),
        mount_from=f"{proxy.host}/faults/origin", progress=silent,
    )  # fmt: skip
    assert (placed.how, placed.sent) == ("mounted", 0)
    assert "repository:faults/origin:pull" in proxy.scopes


def test_wrong_credentials_are_told_with_the_name_that_was_shown(
    private_registry: RealRegistry,
) -> None:
    image = ImageRef(f"{private_registry.host}/ml/iris", "v1")
    assert registry_of(private_registry.environ).head(image) is None
    with pytest.raises(Refused, match="requires credentials for ml/iris: `docker login"):
        registry_of().head(image)


def test_a_registry_that_is_not_there_is_told() -> None:
    with pytest.raises(ServerFailed, match=r"127.0.0.1:9 cannot be reached: .*refused"):
        registry_of().head(ImageRef("127.0.0.1:9/ml/iris", "v1"))


def test_many_may_push_the_same_blobs_and_manifests_to_one_repository_at_once(
    registry: RealRegistry,
) -> None:
    """docker-registry answers DIGEST_INVALID where it meets a link that is being written."""
    from concurrent.futures import ThreadPoolExecutor

    repository = f"{registry.host}/faults/together"
    shared = b"{}"
    client = registry_of()

    def push(number: int) -> str:
        client.push_blob(repository, describe(shared, CONFIG), source(shared), progress=silent)
        content = ImageManifest(
            config=describe(shared, CONFIG), layers=(), annotations={"n": str(number)}
        ).to_bytes()
        digest = describe(content, MANIFEST).digest
        return client.push_manifest(repository, content, media_type=MANIFEST, to=digest)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(push, range(200)))) == 200
