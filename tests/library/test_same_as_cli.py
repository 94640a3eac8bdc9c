"""The command line and the client, taken through the same scenarios: the same repository afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

import gitops_ml as gml
from tests.adapters.git_servers import git
from tests.cli.person import NO_REGISTRY, Person, container_api, predictor_api

ARGOCD = {"argocd_repository": "https://git.example.org/gitops.git"}
"""So that both repositories are called the same in what is written."""


@dataclass
class AtTheTerminal:
    """One way to say it: files and commands."""

    person: Person

    def has_project(self) -> None:
        self.person.configures(gitops=ARGOCD)

    def deploys(self, api: dict[str, Any], **options: Any) -> None:
        folder = f"apis/{api['name']}"
        self.person.has(api, file=f"{folder}/api.yaml")
        flags = ("--message", options["message"]) if "message" in options else ()
        self.person.deploys("-e", "staging", "--api", api["name"], *NO_REGISTRY, *flags)


@dataclass
class InPython:
    """The other way: dicts and methods."""

    person: Person
    client: Any = field(default=None)

    def has_project(self) -> None:
        self.person.configures(gitops=ARGOCD)

    def deploys(self, api: dict[str, Any], **options: Any) -> None:
        self.person.go(self.person.project)
        folder = self.person.project / "apis" / api["name"]
        folder.mkdir(parents=True, exist_ok=True)
        if "predictor" in api:
            from tests.cli.person import PREDICTOR

            (folder / "predictor.py").write_text(PREDICTOR)
        client = gml.client("staging", offline=True)
        client.create_api(api, project_dir=folder, pull_request=False, by_tag=True, **options)


def one_container(who: Any) -> None:
    who.has_project()
    who.deploys(container_api("iris"))


def a_predictor_in_a_folder(who: Any) -> None:
    who.has_project()
    who.deploys(predictor_api("iris", compute={"cpu": 1}))


def two_one_after_the_other(who: Any) -> None:
    who.has_project()
    who.deploys(container_api("iris"))
    who.deploys(container_api("faces"), message="Faces, at last")


def the_same_twice(who: Any) -> None:
    who.has_project()
    who.deploys(container_api("iris"))
    who.deploys(container_api("iris"))


def a_change(who: Any) -> None:
    who.has_project()
    who.deploys(container_api("iris"))
    who.deploys(container_api("iris", autoscaling={"max_replicas": 7}))


def old_spellings(who: Any) -> None:
    who.has_project()
    who.deploys({**predictor_api("iris"), "endpoint": "/flowers"})


SCENARIOS = (
    one_container,
    a_predictor_in_a_folder,
    two_one_after_the_other,
    the_same_twice,
    a_change,
    old_spellings,
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_both_leave_the_same_repository(scenario, nobodys_settings, tmp_path, monkeypatch, capsys):
    histories = []
    for kind in (AtTheTerminal, InPython):
        home = tmp_path / kind.__name__
        home.mkdir()
        person = Person(home, monkeypatch, capsys)
        scenario(kind(person))
        histories.append(history(person))
    assert histories[0] == histories[1]
    assert histories[0], "nothing was committed"


def history(person: Person) -> list[tuple[str, str]]:
    """Tree, author and whole message of every commit: what two repositories have in common."""
    log = git("log", "--format=%T %an <%ae>%x00%B%x01", "main", cwd=person.gitops)
    return [tuple(entry.strip().split("\0")) for entry in log.split("\x01") if entry.strip()]
