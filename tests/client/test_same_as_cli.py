"""The command line and the client, taken through the same scenarios: the same repository afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

import gitops_ml as gml
from tests.support.git_servers import git
from tests.support.person import NO_REGISTRY, Person, container_api, predictor_api

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
        flags = self._landing(options)
        self.person.deploys("-e", "staging", "--api", api["name"], *NO_REGISTRY, *flags)

    def _landing(self, options: dict[str, Any]) -> tuple[str, ...]:
        flags: tuple[str, ...] = ()
        if options.get("message"):
            flags += ("--message", options["message"])
        return (*flags, "--pull-request") if options.get("pull_request") else flags

    def _runs(self, *arguments: str, **options: Any) -> None:
        result = self.person.runs(*arguments, *self._landing(options))
        assert result.code == 0, result

    def promotes(self, *apis: str, **options: Any) -> None:
        chosen = apis or ("--all",)
        self._runs("promote", *chosen, "--from", "staging", "--to", "production", **options)

    def rolls_back(self, api: str, environment: str = "staging", **options: Any) -> None:
        self._runs("rollback", api, "-e", environment, **options)

    def patches(self, api: str, settings: dict[str, Any], **options: Any) -> None:
        file = self.person.home / "patch.json"
        file.write_text(json.dumps(settings))
        self._runs("patch", api, str(file), "-e", "staging", **options)

    def refreshes(self, api: str, **options: Any) -> None:
        self._runs("refresh", api, "-e", "staging", **options)

    def deletes(self, api: str, **options: Any) -> None:
        self._runs("delete", api, "-e", "staging", "--yes", **options)


@dataclass
class InPython:
    """The other way: dicts and methods."""

    person: Person

    def client(self, environment: str = "staging") -> gml.Client:
        self.person.go(self.person.project)
        return gml.client(environment, offline=True)

    def has_project(self) -> None:
        self.person.configures(gitops=ARGOCD)

    def deploys(self, api: dict[str, Any], **options: Any) -> None:
        self.person.go(self.person.project)
        folder = self.person.project / "apis" / api["name"]
        folder.mkdir(parents=True, exist_ok=True)
        if "predictor" in api:
            from tests.support.person import PREDICTOR

            (folder / "predictor.py").write_text(PREDICTOR)
        options = {"pull_request": False, **options}
        self.client().create_api(api, project_dir=folder, by_tag=True, **options)

    def promotes(self, *apis: str, **options: Any) -> None:
        options = {"pull_request": False, **options}
        self.client().promote(apis, every=not apis, to="production", **options)

    def rolls_back(self, api: str, environment: str = "staging", **options: Any) -> None:
        self.client(environment).rollback(api, **{"pull_request": False, **options})

    def patches(self, api: str, settings: dict[str, Any], **options: Any) -> None:
        words = {"name": api, **settings}
        self.client().patch(words, **{"pull_request": False, **options})

    def refreshes(self, api: str, **options: Any) -> None:
        self.client().refresh(api, **{"pull_request": False, **options})

    def deletes(self, api: str, **options: Any) -> None:
        self.client().delete_api(api, **{"pull_request": False, **options})


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


def a_life(who: Any) -> None:
    who.has_project()
    who.deploys(container_api("iris"))
    who.promotes("iris")
    who.deploys(container_api("iris", autoscaling={"max_replicas": 7}))
    who.patches("iris", {"compute": {"cpu": "300m"}, "autoscaling": {"min_replicas": 2}})
    who.refreshes("iris")
    who.promotes(message="On, all of you")
    who.rolls_back("iris", "production")
    who.rolls_back("iris")
    who.deletes("iris")


def a_life_in_proposals(who: Any) -> None:
    who.has_project()
    who.deploys(container_api("iris"))
    who.deploys(container_api("iris", compute={"cpu": "300m"}), pull_request=True)
    who.promotes("iris", pull_request=True)
    who.patches("iris", {"compute": {"cpu": "400m"}}, pull_request=True)
    who.refreshes("iris", pull_request=True, message="Again")
    who.deletes("iris", pull_request=True)


PROPOSED = {
    "gitops-ml/deploy/staging/iris",
    "gitops-ml/promote/production/iris",
    "gitops-ml/patch/staging/iris",
    "gitops-ml/refresh/staging/iris",
    "gitops-ml/delete/staging/iris",
}
SCENARIOS = (
    one_container,
    a_predictor_in_a_folder,
    two_one_after_the_other,
    the_same_twice,
    a_change,
    old_spellings,
    a_life,
    a_life_in_proposals,
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
    branches = {"main"} | (PROPOSED if scenario is a_life_in_proposals else set())
    assert set(histories[0]) == branches


def history(person: Person) -> dict[str, list[tuple[str, ...]]]:
    """Tree, author and whole message of every commit of every branch: what repositories have in common."""
    return {
        branch: [
            tuple(entry.strip().split("\0"))
            for entry in git(
                "log", "--format=%T %an <%ae>%x00%B%x01", branch, cwd=person.gitops
            ).split("\x01")
            if entry.strip()
        ]
        for branch in git(
            "for-each-ref", "--format=%(refname:short)", "refs/heads", cwd=person.gitops
        ).split()
    }
