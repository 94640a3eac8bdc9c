"""Pull requests out of Python, at a forge that holds a real repository."""

from __future__ import annotations

import pytest

import gitops_ml as gml
from gitops_ml.errors import NotLive, UsageError
from tests.support import controllers as k8s
from tests.support import sessions
from tests.support.forges.running import forge_running, kind_of
from tests.support.git_servers import TOKEN
from tests.support.person import container_api

CLASS = '''
import gitops_ml as gml

class Doubler:
    """```` and <b>HTML</b> are the text of its author."""
    def predict(self, payload):
        return 2 * payload["x"]

client = gml.client("staging", offline=True)
api = client.create_api(
    {"name": "iris", "kind": "RealtimeAPI"}, predictor=Doubler, by_tag=True, why="It doubles."
)
print(api)
'''


@pytest.fixture
def forge(life, tmp_path):
    with forge_running("gitea", tmp_path / "forge") as found:
        life.ann.gitops = found.bare
        life.ann.configures(
            gitops={
                "repository": f"{found.url}/acme/gitops.git",
                "token_env": "MY_TOKEN",
                "forge": {"type": kind_of(found)},
            }
        )
        life.ann.monkeypatch.setenv("MY_TOKEN", TOKEN)
        yield found


def test_a_class_is_proposed_with_its_source_and_its_reason(forge, life):
    output = sessions.script(CLASS, cwd=life.ann.project)
    (pull,) = forge.pulls
    assert f"pull request   #1 {pull.title}" in " ".join(output.split()).replace(
        "pull request ", "pull request   "
    )
    assert pull.body.startswith("It doubles.\n")
    assert "<details><summary>The predictor</summary>" in pull.body
    assert "        return 2 * payload" in pull.body
    # A fence that is longer than any in the source: nothing of the text leaves its block.
    assert "`````python\n" in pull.body


def test_a_proposal_is_waited_for_until_it_is_merged_and_live(forge, life):
    life.ann.has(container_api("iris"))
    client = gml.client("staging", offline=True)
    api = client.create_api(container_api("iris"))
    assert (api.pull_request.number, api.pull_request.state) == (1, "open")
    assert api.pull_request.url.startswith(forge.url)
    with pytest.raises(NotLive, match="it waits for its review"):
        api.wait(timeout=0, interval=0)
    forge.merge(1)
    life.syncs()
    life.runs(k8s.ready())
    assert api.wait(timeout=5, interval=0).is_live


def test_a_proposal_that_was_closed_says_so(forge, life):
    life.ann.has(container_api("iris"))
    api = gml.client("staging", offline=True).create_api(container_api("iris"))
    forge.close(1)
    with pytest.raises(NotLive, match="closed without being merged"):
        api.wait(timeout=5, interval=0)


def test_proposing_twice_is_one_pull_request(forge, life):
    client = gml.client("staging", offline=True)
    first = client.create_api(container_api("iris"))
    second = client.create_api(container_api("iris", autoscaling={"max_replicas": 7}))
    assert len(forge.pulls) == 1
    assert first.pull_request.url == second.pull_request.url


def committing_as(monkeypatch, name):
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", name)
        monkeypatch.setenv(f"GIT_{who}_EMAIL", f"{name.lower()}@example.org")


def test_two_people_who_propose_the_same_are_named_to_each_other(forge, life, monkeypatch):
    client = gml.client("staging", offline=True)
    committing_as(monkeypatch, "Ann")
    assert "Ann" not in "".join(client.create_api(container_api("iris")).warnings)
    committing_as(monkeypatch, "Ben")
    (same,) = [each for each in client.create_api(container_api("iris")).warnings if "Ann" in each]
    assert same.startswith("Ann has proposed the same already (gitops-ml/deploy/staging/iris,")
    committing_as(monkeypatch, "Ann")
    client.create_api(container_api("iris"))
    committing_as(monkeypatch, "Ben")
    other = container_api("iris", autoscaling={"max_replicas": 7})
    for is_plan in (True, False):
        api = client.create_api(other, dry_run=is_plan)
        (text,) = [each for each in api.warnings if "Ann" in each]
        assert text.startswith("Ann proposed another change of the same on ")
    # The forge notifies Ann of the change of her pull request.
    (pull,) = forge.pulls
    assert pull.body.startswith("> Ann proposed another change of the same on ")


def test_what_is_proposed_is_known_until_it_is_merged(forge, life):
    client = gml.client("staging", offline=True)
    client.create_api(container_api("iris"))
    waiting = client.get_api("iris")
    assert repr(waiting).splitlines()[0] == "iris in staging  [proposed]"
    assert waiting.pull_request.number == 1
    assert [repr(each).splitlines()[0] for each in client.list_apis()] == [
        "iris in staging  [proposed]"
    ]
    with pytest.raises(UsageError, match="not deployed to staging yet; proposed: pull re"):
        client.status("iris")
    forge.merge(1)
    merged = client.get_api("iris")
    assert (merged.is_current, merged.proposed) == (True, ())
    assert "[deployed]" in repr(merged)
    client.create_api(container_api("iris", autoscaling={"max_replicas": 7}))
    (proposed,) = client.get_api("iris").proposed
    assert proposed.pull_request.is_open
    assert f"#{proposed.pull_request.number}" in repr(client.list_apis())
    assert client.status("iris").proposed == (proposed,)
    forge.close(proposed.pull_request.number)
    assert client.get_api("iris").proposed == ()
