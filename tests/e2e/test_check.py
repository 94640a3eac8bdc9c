"""What the comment of a pull request says is what Argo CD does after the merge: ten changes in two rounds."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.e2e.machine.gitea import USER
from tests.e2e.machine.processes import until
from tests.e2e.story import answer_api
from tests.support.git_servers import git

if TYPE_CHECKING:
    from tests.e2e.story import Story


API = {"compute": {"cpu": "20m", "mem": "160Mi"}, "predictor": {"config": {"factor": 2}}}


def api(name: str) -> dict[str, Any]:
    return answer_api(**copy.deepcopy(API)) | {"name": name}


@dataclass
class SourceRepository:
    """The source of a story at the forge."""

    story: Story
    apis: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def requests(self) -> str:
        return f"/repos/{USER}/source-{self.story.mark}"

    def begin(self) -> None:
        url = self.story.site.forge.create_repository(f"source-{self.story.mark}")
        access = url.replace("http://", f"http://{USER}:{self.story.site.forge.token}@")
        self.writes()
        self.story.runs("lock")
        self.story.ann.keeps_source_in_git()
        self.git("branch", "-M", "main")
        self.git("remote", "add", "origin", access)
        self.git("push", "-q", "origin", "main")

    def git(self, *arguments: str) -> str:
        return git(*arguments, cwd=self.story.ann.project)

    def writes(self) -> None:
        self.story.has(*self.apis.values())

    def pushes(self, branch: str) -> str:
        self.writes()
        commit = self.story.ann.commits_source()
        self.git("push", "-q", "origin", branch)
        return commit

    def opens(self, branch: str) -> int:
        body = {"head": branch, "base": "main", "title": branch}
        return int(self.story.site.forge.ask("POST", f"{self.requests}/pulls", body)["number"])

    def checks(self, number: int) -> dict[str, dict[str, Any]]:
        """What the check says about each API; it posts the comment as the job of Gitea Actions does."""
        forge = self.story.site.forge
        environ = {
            "GITHUB_ACTIONS": "true", "GITEA_ACTIONS": "true", "GITHUB_SERVER_URL": forge.url,
            "GITHUB_API_URL": f"{forge.url}/api/v1", "GITEA_TOKEN": forge.token,
            "GITHUB_REPOSITORY": f"{USER}/source-{self.story.mark}",
            "GITHUB_REF": f"refs/pull/{number}/head",
        }  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            outcome = self.story.runs("check", "--base", "origin/main", "--comment", "-o", "json")
        return {each["api"]: each for each in outcome.json["releases"]}

    def comments(self, number: int) -> list[dict[str, Any]]:
        found = self.story.site.forge.ask("GET", f"{self.requests}/issues/{number}/comments")
        return list(found)

    def merges(self, number: int) -> None:
        self.story.site.forge.merge(f"{self.requests}/pulls/{number}")
        self.git("checkout", "-q", "main")
        self.git("pull", "-q", "origin", "main")

    def pods(self) -> dict[str, set[str]]:
        """The pods that run, by API."""
        return {
            name: {pod["metadata"]["uid"] for pod in self.story.settled(name)} for name in self.apis
        }


def test_ten_changes_do_what_the_comment_said(story, record_property):
    source = SourceRepository(
        story, {name: api(name) for name in ("first", "second", "third", "fourth")}
    )
    source.begin()
    story.bootstraps()
    story.deploys()

    def scale(name: str, **values: int) -> None:
        source.apis[name].setdefault("autoscaling", {}).update(values)

    def first_part() -> None:
        scale("first", max_replicas=2)
        source.apis["third"]["predictor"]["config"]["factor"] = 3

    def second_part() -> None:
        source.apis["fourth"]["labels"] = {"tier": "gold"}
        source.apis["fifth"] = api("fifth")
        del source.apis["second"]

    said = round_of(source, "round-one", first_part, second_part)
    assert (said["second"]["action"], said["fifth"]["action"]) == ("delete", "add")

    def third_part() -> None:
        source.apis["first"]["predictor"]["env"] = {"GREETING": "hello"}
        source.apis["third"]["pod_labels"] = {"billing": "ml"}
        source.apis["fourth"]["annotations"] = {"backstage.io/note": "x"}

    def fourth_part() -> None:
        source.apis["fifth"]["compute"]["cpu"] = "30m"
        scale("fourth", max_replicas=3)

    round_of(source, "round-two", third_part, fourth_part)
    record_property("changes_that_did_what_the_comment_said", 10)


def round_of(source: SourceRepository, branch: str, *parts: Any) -> dict[str, dict[str, Any]]:
    """A pull request in two pushes with one comment, its merge and its deployment."""
    story = source.story
    before = source.pods()
    source.git("checkout", "-q", "-b", branch)
    seen, number = [], 0
    for part in parts:
        part()
        source.pushes(branch)
        number = number or source.opens(branch)
        said = source.checks(number)
        (comment,) = source.comments(number)
        seen.append((comment["id"], comment["body"]))
    assert seen[0][0] == seen[1][0], "the comment was not updated in place"
    assert seen[0][1] != seen[1][1]
    assert all(name in seen[1][1] for name in said)

    source.merges(number)
    story.deploys("--prune")
    for name, release in said.items():
        if release["action"] == "delete":
            until(lambda name=name: not story.pods(name), f"{name} is gone", seconds=90)
    after = source.pods()
    wrong = {
        name: (release["rollout"], before.get(name), after.get(name))
        for name, release in said.items()
        if release["rollout"]["restarts"] != (not before.get(name, set()) <= after.get(name, set()))
    }
    assert wrong == {}
    unsaid = {name for name in before if before[name] != after.get(name)} - set(said)
    assert unsaid == set()
    for name, release in said.items():
        assert bool(after.get(name)) == (release["action"] != "delete"), name
        for each in release["objects"]:
            check_object(story, each)
    return said


def check_object(story: Story, change: dict[str, Any]) -> None:
    """The cluster has the new value of each field that the comment names."""
    kind, name = change["kind"].lower(), change["name"]
    command = ("get", kind, name, "-n", story.namespace, "--ignore-not-found", "-o", "yaml")
    if change["action"] == "delete":
        until(lambda: not story.cluster.kubectl(*command), f"{kind} {name} is gone", seconds=90)
        return
    found = yaml.safe_load(story.cluster.kubectl(*command))
    for each in change["fields"]:
        if (
            each["action"] == "delete"
            or "[" in each["path"]
            or not isinstance(each["after"], (str, int))
        ):
            continue
        value = found
        for part in each["path"].split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            assert str(value) == str(each["after"]), (kind, name, each)
