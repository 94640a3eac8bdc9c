"""Every client against servers that hold it up: it gives up with a sentence, in time, in bounds."""

from __future__ import annotations

import resource
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gitops_ml.cluster.kubeconfig import ClusterRef
from gitops_ml.cluster.kubernetes import KubernetesCluster
from gitops_ml.errors import GitopsMlError, Refused, ServerFailed, UsageError
from gitops_ml.forge.address import ForgeAddress
from gitops_ml.forge.api_session import ForgeSession
from gitops_ml.http.client import post
from gitops_ml.http.deadlines import GaveUp, Limits, Watch
from gitops_ml.http.response import RetryPolicy
from gitops_ml.oci.image_manifest import LAYER, MANIFEST, Descriptor, Platform
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry, referrers
from gitops_ml.oci.registry_session import RegistrySession
from gitops_ml.packages.index import IndexSettings, PackageFile, PackageIndex
from tests.support.certificate_authority import authority
from tests.support.hostile_archives import bomb
from tests.support.hostile_servers import (
    BROKEN,
    ENDLESS,
    PAUSE,
    SLOW,
    flood,
    hostile,
    once,
    with_body,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HASTE = {
    "GITOPS_ML_CONNECT_TIMEOUT": "1",
    "GITOPS_ML_IDLE_TIMEOUT": "0.4",
    "GITOPS_ML_ANSWER_TIMEOUT": "0.8",
    "GITOPS_ML_COMMIT_TIMEOUT": "0.1",
    "GITOPS_ML_SMALLEST_RATE": "5000",
    "GITOPS_ML_RATE_WINDOW": "0.3",
}
DIGEST = "sha256:" + "0" * 64
LONGEST = 60
"""Seconds that nothing here comes near to, on a machine that has other work as well."""


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HASTE.items():
        monkeypatch.setenv(name, value)


def registry() -> OciRegistry:
    patience = RetryPolicy(attempts=3, first_wait=0, sleep=lambda seconds: None)
    return OciRegistry(RegistrySession(HASTE, patience=patience))


def forge(host: str) -> ForgeSession:
    address = ForgeAddress(
        type="gitea", api_url=f"http://{host}/api/v1", repository="acme/gitops", host=host
    )
    patience = RetryPolicy(attempts=3, first_wait=0, sleep=lambda seconds: None)
    return ForgeSession(address=address, token=None, environ=HASTE, patience=patience)


def cluster(host: str, folder: Path) -> KubernetesCluster:
    config = {
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": f"http://{host}"}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    }
    (folder / "config").write_text(yaml.safe_dump(config))
    wanted = ClusterRef(
        name="the cluster main",
        key="clusters.main.context",
        context=None,
        server=None,
        is_only=True,
    )
    return KubernetesCluster(wanted, {**HASTE, "KUBECONFIG": str(folder / "config")})


def index(host: str) -> PackageIndex:
    return PackageIndex(IndexSettings(indexes=(f"http://{host}/simple",)))


def wheel(host: str) -> PackageFile:
    return PackageFile(filename="x-1-py3-none-any.whl", url=f"http://{host}/x.whl")


ASKS: dict[str, Any] = {
    "registry: manifest": lambda host, _: registry().image_manifest(
        ImageRef(f"{host}/a/b", "t"), Platform.parse("linux/amd64")
    ),
    "registry: head": lambda host, _: registry().head(ImageRef(f"{host}/a/b", "t")),
    "registry: blob": lambda host, _: registry().blob(
        f"{host}/a/b", Descriptor(LAYER, DIGEST, 5000)
    ),
    "registry: referrers": lambda host, _: referrers(registry(), f"{host}/a/b", DIGEST),
    "registry: push": lambda host, _: registry().push_manifest(
        f"{host}/a/b", b"{}", media_type=MANIFEST, to="t"
    ),
    "forge: get": lambda host, _: forge(host).get("/repos/acme/gitops/pulls/1")["number"].number(),
    "forge: pages": lambda host, _: [*forge(host).pages("/repos/acme/gitops/pulls")],
    "index: download": lambda host, folder: _whole(index(host).download(wheel(host), folder)),
    "cluster: list": lambda host, folder: cluster(host, folder).warnings("ml"),
    "cluster: post": lambda host, folder: _json(
        cluster(host, folder).post("ml", "iris", "/", body=b"{}", headers={}, seconds=0.8).body
    ),
    "prediction": lambda host, _: _json(
        post(f"http://{host}/", body=b"{}", headers={}, seconds=0.8).body
    ),
}


def _whole(found: Path) -> None:
    """A file is judged by its hash, so that any bytes may come."""


def _json(body: bytes) -> None:
    """A prediction is whatever the API answers."""


SAYS_ANYTHING = ("index: download", "cluster: post", "prediction")
"""Calls whose answers need not be JSON."""


def given_up(ask: Any, host: str, folder: Path) -> GitopsMlError:
    begun = time.monotonic()
    with pytest.raises(GitopsMlError) as failed:
        ask(host, folder)
    assert time.monotonic() - begun < LONGEST
    assert isinstance(failed.value, ServerFailed | Refused)
    assert host.partition(":")[0] in str(failed.value)
    assert "\x1b" not in str(failed.value)
    return failed.value


class Waits:
    """The calls to slow servers that were collected, all begun at once: nearly all of their time is waiting."""

    def __init__(self, pairs: list[tuple[str, str]], folder: Path) -> None:
        self._pool = ThreadPoolExecutor(max_workers=32)
        self._failed = {
            pair: self._pool.submit(self._call, pair, folder / str(number))
            for number, pair in enumerate(pairs)
        }

    def of(self, ask: str, what: str) -> GitopsMlError:
        return self._failed[ask, what].result(LONGEST * 4)

    def end(self) -> None:
        self._pool.shutdown()

    def _call(self, pair: tuple[str, str], folder: Path) -> GitopsMlError:
        folder.mkdir()
        ask, what = pair
        with hostile(SLOW[what], pause=PAUSE) as host:  # type: ignore[arg-type]
            return given_up(ASKS[ask], host, folder)


@pytest.fixture(scope="module")
def waits(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Waits]:
    name = "test_a_server_that_is_too_slow_is_given_up"
    calls = [
        item.callspec.params
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == name
    ]
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in HASTE.items():
            patch.setenv(variable, value)
        found = Waits([(each["ask"], each["what"]) for each in calls], tmp_path_factory.mktemp("w"))
        yield found
        found.end()


@pytest.mark.xdist_group("slow servers")
@pytest.mark.parametrize("what", SLOW)
@pytest.mark.parametrize("ask", ASKS)
def test_a_server_that_is_too_slow_is_given_up(waits: Waits, ask: str, what: str) -> None:
    message = str(waits.of(ask, what))
    assert "given up" in message or "did not answer in time" in message or "no HTTP" in message


def _is_passed_on(ask: str, what: str) -> bool:
    """Whether such an answer is the API's own."""
    is_status = "requests for ever" in what or "redirects" in what
    return is_status and ask in ("cluster: post", "prediction")


@pytest.mark.parametrize(
    ("ask", "what"),
    [(ask, what) for ask in ASKS for what in ENDLESS if not _is_passed_on(ask, what)],
)
def test_a_server_that_does_not_end_is_given_up(ask: str, what: str, tmp_path: Path) -> None:
    with hostile(ENDLESS[what]) as host:
        given_up(ASKS[ask], host, tmp_path)


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("ask", ASKS)
def test_an_answer_that_is_none_is_a_sentence(ask: str, what: str, tmp_path: Path) -> None:
    with hostile(BROKEN[what]) as host:
        try:
            ASKS[ask](host, tmp_path)
        except (ServerFailed, Refused) as error:
            assert "\x1b" not in str(error)
            assert len(str(error)) < 1000
        else:
            assert ask in (*SAYS_ANYTHING, "registry: head", "registry: push"), "it passed"


@pytest.mark.parametrize(
    "ask", [ask for ask in ASKS if ask not in ("index: download", "prediction")]
)
def test_a_bomb_and_a_flood_take_little_memory(ask: str, tmp_path: Path) -> None:
    script = once(with_body(bomb(b"", 300 << 20), "Content-Encoding: gzip"))
    endless = flood(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[", b"[],")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for each in (script, endless):
        with hostile(each) as host:
            if ask in ("cluster: post", "registry: head", "registry: push"):
                with suppress(ServerFailed):
                    ASKS[ask](host, tmp_path)
            else:
                given_up(ASKS[ask], host, tmp_path)
    if ask != "cluster: post":  # an answer of an API may have 256 MiB
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


@pytest.mark.parametrize("what", ["a body that trickles", "headers that trickle", "silence"])
@pytest.mark.parametrize("kind", ["registry", "forge", "prediction"])
def test_tls_is_under_the_same_watch(
    kind: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, context = authority(tmp_path)
    monkeypatch.setenv("GITOPS_ML_CA_BUNDLE", str(bundle))
    environ = {**HASTE, "GITOPS_ML_CA_BUNDLE": str(bundle)}
    patience = RetryPolicy(attempts=2, first_wait=0, sleep=lambda seconds: None)

    def ask(host: str, _: Path) -> object:
        if kind == "registry":
            session = RegistrySession(environ, patience=patience)
            session._schemes[host] = "https"
            return OciRegistry(session).manifest(ImageRef(f"{host}/a/b", "t"))
        if kind == "prediction":
            return post(f"https://{host}/", body=b"{}", headers={}, seconds=0.8)
        address = ForgeAddress(
            type="gitea", api_url=f"https://{host}/api/v1", repository="acme/gitops", host=host
        )
        forge = ForgeSession(address=address, token=None, environ=environ, patience=patience)
        return forge.get("/repos/acme/gitops/pulls/1")

    with hostile(SLOW[what], pause=PAUSE, tls=context) as host:  # type: ignore[arg-type]
        words = str(given_up(ask, host, tmp_path))
    assert "given up" in words or "did not answer in time" in words


def test_pages_that_link_to_each_other_have_an_end() -> None:
    page = with_body(b"[]", 'Link: </api/v1/next>; rel="next"')
    with hostile(once(page)) as host, pytest.raises(ServerFailed, match="more than 50 pages"):
        for _ in forge(host).pages("/repos/acme/gitops/pulls"):
            raise AssertionError("the pages are empty")


def test_a_download_that_breaks_after_each_byte_is_not_tried_for_ever() -> None:
    body = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 9\r\n\r\nx"
    with hostile(once(body)) as host, pytest.raises(ServerFailed, match="broke off"):
        registry().blob(f"{host}/a/b", Descriptor(LAYER, DIGEST, 5000))


# -- the watch itself ------------------------------------------------------------------------------


def watch(**changes: Any) -> Watch:
    return Limits(**changes).download("example.org", "during GET", size=10_000)


def test_a_slow_line_that_keeps_the_smallest_rate_is_never_given_up() -> None:
    slow = watch(rate=1000, window=60)
    for _ in range(10):
        slow.moved(1.0, received=1000)
    for _ in range(600):
        slow.moved(0.01, received=10)
    assert not slow.is_over


def test_what_is_slower_is_given_up_at_the_end_of_the_window() -> None:
    slow = watch(rate=1000, window=60)
    slow.moved(0, received=1)
    for _ in range(59):
        slow.moved(1.0, received=1)
    with pytest.raises(GaveUp, match=r"example.org .* 60 bytes in 60 seconds .*SMALLEST_RATE"):
        slow.moved(1.0, received=1)


def test_time_that_the_reader_takes_for_itself_is_not_the_servers() -> None:
    fast = watch(rate=1000, window=0.001, total=1)
    time.sleep(0.05)
    fast.moved(0.0, received=1)
    fast.moved(0.0001, received=1)
    assert not fast.is_over


@pytest.mark.parametrize("value", ["x", "-1", "0", "inf", "nan", "1s"])
def test_a_limit_that_is_no_number_is_a_wrong_call(value: str) -> None:
    with pytest.raises(UsageError, match="GITOPS_ML_IDLE_TIMEOUT must be"):
        Limits.from_environ({"GITOPS_ML_IDLE_TIMEOUT": value})
