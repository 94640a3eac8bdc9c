"""Whatever a server answers, a call gives a result or an error of ours, never another one."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitops_ml.cluster.kubernetes_objects import read_application, read_event
from gitops_ml.errors import GitopsMlError, ServerFailed
from gitops_ml.forge.address import ForgeAddress
from gitops_ml.forge.api_session import ForgeSession
from gitops_ml.forge.open import forge_over
from gitops_ml.forge.pull_request import Proposal, PullRequest
from gitops_ml.http.json_reader import Part, read_answer
from gitops_ml.http.response import RetryPolicy
from gitops_ml.oci.image_manifest import BadManifest, Platform, parse_manifest
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry, referrers
from gitops_ml.oci.registry_session import RegistrySession
from tests.support.http_servers import Handler, answering
from tests.support.workloads import read_workloads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("https://x.org/1")
    | st.just("\ud800") | st.just(10**4000) | st.just("open") | st.just("2026-01-01T00:00:00Z")
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "number",
        "iid",
        "id",
        "html_url",
        "web_url",
        "title",
        "body",
        "description",
        "state",
        "head",
        "base",
        "ref",
        "sha",
        "label",
        "labels",
        "name",
        "merged",
        "merged_at",
        "draft",
        "links",
        "self",
        "href",
        "fromRef",
        "toRef",
        "displayId",
        "values",
        "isLastPage",
        "nextPageStart",
        "source_branch",
        "target_branch",
        "source_project_id",
        "target_project_id",
        "reviewers",
        "username",
        "user",
        "login",
        "requested_reviewers",
        "requested_teams",
        "slug",
        "errors",
        "message",
        "token",
        "access_token",
        "manifests",
        "layers",
        "config",
        "digest",
        "size",
        "mediaType",
        "annotations",
        "platform",
        "subject",
        "artifactType",
        "files",
        "filename",
        "url",
        "hashes",
        "yanked",
        "metadata",
        "spec",
        "status",
        "conditions",
        "type",
        "reason",
        "history",
        "syncResult",
        "operationState",
        "resources",
        "template",
        "replicas",
        "generation",
        "containerStatuses",
        "state",
        "lastState",
        "terminated",
        "waiting",
        "series",
        "version",
    ]
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=8),
    max_leaves=25,
)  # fmt: skip
PULL = {
    "number": 1, "iid": 1, "id": 1, "html_url": "https://x.org/1", "web_url": "https://x.org/1",
    "title": "Deploy iris", "body": "b", "description": "b", "state": "open", "draft": False,
    "head": {"ref": "h", "sha": "1" * 40, "repo_id": 1}, "base": {"ref": "main", "repo_id": 1},
    "merged": False, "merged_at": None, "merge_commit_sha": None, "labels": [], "reviewers": [],
    "requested_reviewers": [], "requested_teams": [], "auto_merge": None, "node_id": "n",
    "source_branch": "h", "target_branch": "main", "sha": "1" * 40, "source_project_id": 1,
    "target_project_id": 1, "links": {"self": [{"href": "https://x.org/1"}]}, "version": 0,
    "fromRef": {"displayId": "h", "latestCommit": "1" * 40, "id": "refs/heads/h"},
    "toRef": {"displayId": "main", "id": "refs/heads/main"},
}  # fmt: skip
QUICK = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
IMPATIENT = RetryPolicy(attempts=1, first_wait=0, sleep=lambda seconds: None)


class Server:
    """Answers everything with the same bytes."""

    host = ""
    answer = b""
    kind = "application/json"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@contextmanager
def serving() -> Iterator[Server]:
    state = Server()

    class Answering(Handler):
        def _any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer(200, state.answer, {"Content-Type": state.kind})

        do_GET = do_POST = do_PUT = do_PATCH = do_HEAD = _any

    with answering(Answering) as state.host:
        yield state


@st.composite
def pulls(draw: Callable[[Any], Any]) -> Any:
    """A pull request of which some fields are odd, alone, in a list or in a page."""
    odd = {draw(st.sampled_from(sorted(PULL))): draw(JSON) for _ in range(draw(st.integers(0, 2)))}
    pull = {**PULL, **odd}
    if draw(st.booleans()):
        key = draw(st.sampled_from(["head", "base", "fromRef", "toRef", "links"]))
        pull[key] = {**PULL[key], draw(KEYS): draw(JSON)}  # type: ignore[dict-item]
    page = {"values": [pull], "isLastPage": draw(JSON), "nextPageStart": draw(JSON)}
    return draw(st.sampled_from([pull, [pull], page]))


def written(value: Any) -> bytes:
    return json.dumps(value).encode()


def sane(found: PullRequest) -> None:
    """What is printed, put into Markdown and written to disk can be."""
    json.dumps(found.title).encode()
    found.title.encode()
    found.head.encode()
    assert found.url.startswith(("http://", "https://"))
    assert not any(each.isspace() or ord(each) < 32 for each in found.url)
    assert found.number >= 0


@pytest.mark.parametrize("kind", ["github", "gitlab", "gitea", "bitbucket"])
@QUICK
@given(answer=st.one_of(JSON, pulls()).map(written) | st.binary(max_size=40))
def test_any_answer_of_a_forge_is_a_result_or_a_sentence(
    server: Server, kind: str, answer: bytes
) -> None:
    server.answer, server.kind = answer, "application/json"
    address = ForgeAddress(
        type=kind, api_url=f"http://{server.host}", repository="acme/gitops", host=server.host
    )
    session = ForgeSession(address=address, token=None, environ={}, patience=IMPATIENT)
    forge = forge_over(session)
    proposal = Proposal(
        head="h", base="main", title="Deploy iris", body="b", reviewers=("ann",), teams=("a",),
        labels=("ml",), auto_merge=True,
    )  # fmt: skip
    known = PullRequest(number=1, url="", title="", state="open", head="h", base="main")
    calls: list[Callable[[], Any]] = [
        lambda: forge.find(head="h", base="main"),
        lambda: forge.open(proposal),
        lambda: forge.update(known, proposal),
        lambda: forge.get(1),
        lambda: forge.of_commit("1" * 40),
    ]
    for call in calls:
        with suppress(GitopsMlError):
            found = call()
            for each in found if isinstance(found, tuple) else [found] if found else []:
                sane(each)


@QUICK
@given(answer=JSON.map(written) | st.binary(max_size=40))
def test_any_answer_of_a_registry_is_a_result_or_a_sentence(server: Server, answer: bytes) -> None:
    server.answer, server.kind = answer, "application/vnd.oci.image.index.v1+json"
    registry = OciRegistry(RegistrySession({}, patience=IMPATIENT))
    repository = f"{server.host}/a/b"
    calls: list[Callable[[], Any]] = [
        lambda: registry.head(ImageRef(repository, "t")),
        lambda: registry.image_manifest(ImageRef(repository, "t"), Platform.parse("linux/amd64")),
        lambda: referrers(registry, repository, "sha256:" + "0" * 64),
        lambda: registry.put_manifest(repository, b"{}", media_type="x", to="t"),
    ]
    for call in calls:
        with suppress(GitopsMlError):
            call()
    with suppress(BadManifest):
        parse_manifest(answer).to_bytes()


@settings(max_examples=100, deadline=None)
@given(item=JSON, more=JSON)
def test_any_object_of_a_cluster_can_be_read(item: Any, more: Any) -> None:
    metadata = {"name": "iris", "namespace": "ml"}
    odd = {**(item if isinstance(item, dict) else {}), "metadata": {**metadata, "labels": more}}
    for spec in (item, {"template": more, "replicas": more}):
        whole = {**odd, "spec": spec, "status": more}
        read_application(whole)
        read_event({**whole, "series": more, "lastTimestamp": item})
        read_workloads([whole], [whole], [whole])


@given(value=JSON)
def test_json_is_read_so_that_it_can_be_written(value: Any) -> None:
    with suppress(ValueError):
        json.dumps(read_answer(written(value)), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"head": {"ref": 7}}, "head.ref is a number, not text"),
        ({"head": []}, "head is a list, not an object"),
        ({"head": {"ref": None}}, "head.ref is missing, not text"),
        ({"head": {"ref": ""}}, "head.ref is empty"),
        ([], "it is a list, not an object"),
    ],
)
def test_an_odd_field_is_named_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(ServerFailed) as failed:
        Part(value, "x.org answered GET /1")["head"]["ref"].text()
    assert str(failed.value) == f"x.org answered GET /1: {words}"


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "https://x.org/\n1", "https://x.org/\x1b[31m", "//x.org", "https://",
     "https://x.org/<b>", "http://[", "data:text/html,x", "https://x.org/a b"],
)  # fmt: skip
def test_an_address_that_a_terminal_or_a_page_obeys_is_none(url: str) -> None:
    with pytest.raises(ServerFailed, match="is not the address of a page"):
        Part({"html_url": url}, "x.org")["html_url"].url()


def test_numbers_that_are_none() -> None:
    for value in (True, -1, 1.5, 10**400, "1"):
        with pytest.raises(ServerFailed):
            Part(value, "x.org").number()
