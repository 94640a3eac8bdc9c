"""`gitops-ml build` where registries, lines, disks and people fail: recovered from, or reported, and never
a tag that points at a broken image."""

from __future__ import annotations

import base64
import os
import signal
import threading

import pytest

from gitops_ml.oci.reference import ImageRef
from tests.image.test_builder import assert_whole
from tests.oci.test_credentials_and_registries import token_registry
from tests.oci.test_registry_session import an_authority
from tests.support.faulty_registry import Fault, faulty_registry
from tests.support.oci import push_tiny_base, registry_of
from tests.support.person import finished, started
from tests.support.real import PASSWORD, USER, docker_config, small_disk

__all__ = ["an_authority", "token_registry"]


@pytest.fixture
def proxy(mill):
    """The mill's registry, behind a proxy that fails on request."""
    with faulty_registry(mill.registry.host) as found:
        move(mill, found.host)
        assert mill.person.runs("lock").code == 0
        yield found


def move(mill, host: str) -> None:
    """The project's images and base image are at ``host`` from now on."""
    path = mill.repository.partition("/")[2]
    mill.configures(
        repository=f"{host}/{path.rpartition('/')[0]}",
        base=str(mill.base.image).replace(mill.registry.host, host),
    )


def tag_of(mill) -> str:
    (planned,) = mill.person.runs("build", "--no-push", "--dry-run", "-o", "json").json["images"]
    return ImageRef.parse(planned["image"]).tag


def assert_no_tag(mill) -> None:
    assert mill.client.digest(ImageRef(mill.repository, tag_of(mill))) is None


def assert_built(mill, result) -> None:
    assert result.code == 0, result
    image = ImageRef(mill.repository, tag_of(mill))
    (built,) = result.json["images"]
    assert mill.client.digest(image) == built["digest"]
    assert_whole(mill.client, image)


# -- what passes ------------------------------------------------------------------------------------


def once(*faults):
    """Each of ``(what the request is like, the fault)`` befalls the first request that is so."""
    waiting = list(faults)
    guard = threading.Lock()

    def choose(asked):
        with guard:
            for fault in waiting:
                if fault[0] in f"{asked.method} {asked.path}":
                    waiting.remove(fault)
                    return fault[1]
        return None

    choose.waiting = waiting
    return choose


def test_a_registry_that_is_busy_fails_or_hangs_up_once_is_asked_again(mill, proxy):
    proxy.choose = once(
        ("POST", Fault(429, (("Retry-After", "0"),))),
        ("PUT", Fault(503, (("Retry-After", "0"),))),
        ("HEAD", Fault(500, (("Retry-After", "0"),))),
        ("manifests/", Fault(reset=True)),
        ("/blobs/sha256", Fault(reset=True)),
    )
    assert_built(mill, mill.person.runs("build", "-o", "json"))
    assert proxy.choose.waiting == []


def test_a_token_that_expires_during_the_push_is_renewed(mill, proxy):
    # more uses than there are uploads at a time, so that a new token is not used up by the others
    proxy.token_uses = 8
    assert_built(mill, mill.person.runs("build", "-o", "json"))
    assert len(proxy.tokens) > 1


# -- what does not ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "fault", "code", "words"),
    [
        ("POST", Fault(429, (("Retry-After", "3600"),)), 4, "retry after 3600 seconds"),
        ("PUT", Fault(403), 5, "refused access to"),
        ("PUT", Fault(413), 4, "answered 413"),
        ("GET", Fault(damage=True), 4, "sent other content"),
        (
            "PUT /v2/{name}/manifests/h-",
            Fault(answer_headers=(("Docker-Content-Digest", "sha256:" + "0" * 64),)),
            4,
            "which is not sha256:",
        ),
        ("PUT /v2/{name}/manifests/h-", Fault(400), 4, "answered 400"),
    ],
    ids=[
        "busy for an hour",
        "may not push",
        "too large",
        "damaged base",
        "lies",
        "refuses the tag",
    ],
)
def test_what_stays_is_told_and_no_tag_points_at_half_an_image(
    mill, proxy, what, fault, code, words
):
    name = mill.repository.partition("/")[2]
    wanted = what.format(name=name)
    proxy.choose = lambda asked: fault if wanted in f"{asked.method} {asked.path}" else None
    result = mill.person.runs("build")
    assert (result.code, words in result.err) == (code, True), result
    image = ImageRef(mill.repository, tag_of(mill))
    if mill.client.digest(image) is not None:
        assert_whole(mill.client, image)
    proxy.choose = lambda asked: None
    assert_built(mill, mill.person.runs("build", "-o", "json"))


def test_a_build_that_is_killed_leaves_no_tag_and_the_next_one_finishes(mill, proxy):
    for number in (1, 3, 6, 9, 12, 16, 20):
        reached, released = threading.Event(), threading.Event()
        end = len(proxy.asked) + number

        def choose(asked, end=end, reached=reached, released=released):
            if asked.number < end:
                return None
            reached.set()
            released.wait(60)
            return Fault(reset=True)

        proxy.choose = choose
        with started("build", cwd=mill.project, stdout=None, stderr=None) as process:
            while not reached.wait(0.1):
                assert process.poll() is None, f"it ended before request {number}"
            process.send_signal(signal.SIGKILL)
            process.wait()
        released.set()
        proxy.choose = lambda asked: None
        assert_no_tag(mill)
    done = finished("build", "-o", "json", cwd=mill.project)
    assert done.returncode == 0, done.stderr
    assert_whole(mill.client, ImageRef(mill.repository, tag_of(mill)))


def test_a_full_disk_is_told_and_leaves_neither_a_tag_nor_half_a_file(mill, monkeypatch):
    assert mill.person.runs("lock").code == 0
    (mill.project / "noise.bin").write_bytes(os.urandom(200_000))
    with small_disk(mill.person.home / "small", size="128k") as small:
        monkeypatch.setenv("GITOPS_ML_CACHE", str(small))
        result = mill.person.runs("build")
        assert result.code == 1
        assert "No space left on device" in result.err
        assert "GITOPS_ML_CACHE" in result.err
        assert not [path for path in small.rglob("*") if path.name.startswith(".new")]
        monkeypatch.setenv("GITOPS_ML_CACHE", str(mill.person.home / "cache"))
        assert_no_tag(mill)
        result = mill.person.runs("build", "--output", f"oci-layout={small / 'layout'}")
        assert (result.code, "No space left on device" in result.err) == (1, True)
        assert not (small / "layout/index.json").exists()
    assert mill.person.runs("build").code == 0


# -- who one is, and whom one trusts ----------------------------------------------------------------


def test_a_password_is_shown_and_the_image_skipped_the_next_time(
    mill, private_registry, monkeypatch
):
    monkeypatch.setenv("DOCKER_CONFIG", private_registry.environ["DOCKER_CONFIG"])
    push_tiny_base(registry_of(private_registry.environ), f"{private_registry.host}/mill/base")
    mill.configures(
        repository=f"{private_registry.host}/mill",
        base=f"{private_registry.host}/mill/base:1@{mill.base.image.digest}",
    )
    states = [mill.person.runs("build", "-o", "json").json["images"][0]["state"] for _ in range(2)]
    assert states == ["built", "exists"]
    monkeypatch.setenv("DOCKER_CONFIG", str(mill.person.home / "nobody"))
    result = mill.person.runs("build")
    assert result.code == 5
    assert (
        f"requires credentials for mill/answer: `docker login {private_registry.host}`"
        in result.err
    )


def test_tokens_are_fetched_for_the_password_and_for_what_is_done(
    mill, token_registry, monkeypatch
):
    registry, tokens = token_registry
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    environ = docker_config(mill.person.home / "docker", {"auths": {registry.host: {"auth": auth}}})
    monkeypatch.setenv("DOCKER_CONFIG", environ["DOCKER_CONFIG"])
    push_tiny_base(registry_of(environ), f"{registry.host}/mill/base")
    mill.configures(
        repository=f"{registry.host}/mill",
        base=f"{registry.host}/mill/base:1@{mill.base.image.digest}",
    )
    tokens.asked.clear()
    states = [mill.person.runs("build", "-o", "json").json["images"][0]["state"] for _ in range(2)]
    assert states == ["built", "exists"]
    assert all(asked.startswith("basic ") for asked in tokens.asked)


def test_a_registry_with_a_private_ca_is_pushed_to_once_the_ca_is_named(
    mill, authority, monkeypatch
):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    ca, context = authority
    with faulty_registry(mill.registry.host, tls=context) as secure:
        assert mill.person.runs("lock").code == 0
        move(mill, secure.host)
        result = mill.person.runs("build")
        assert result.code == 4
        assert (
            "its certificate is not trusted: name the CA bundle in GITOPS_ML_CA_BUNDLE"
            in result.err
        )
        monkeypatch.setenv("GITOPS_ML_CA_BUNDLE", str(ca))
        assert_built(mill, mill.person.runs("build", "-o", "json"))
        assert mill.person.runs("build", "-o", "json").json["images"][0]["state"] == "exists"
