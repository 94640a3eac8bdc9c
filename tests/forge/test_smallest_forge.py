"""The smallest forge: what a new one has to state, and what it has without a line of its own."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_ml.forge.api_session import NotThere, Unacceptable
from gitops_ml.forge.protocol import Forge
from gitops_ml.forge.pull_request import PullRequest, newest
from gitops_ml.http.json_reader import Part
from tests.support.forges.running import HEAD, proposal


class Smallest(Forge):
    def find(self, *, head, base):
        found = map(self._parse, self.session.get(self._pulls))
        return newest(each for each in found if (each.head, each.base) == (head, base))

    def _new_fields(self, proposal):
        return {"title": proposal.title, "head": proposal.head, "base": proposal.base}

    def _text_fields(self, proposal, known):
        return {"title": proposal.title}

    def _with_commit(self, commit):
        return self.session.get(f"{self._pulls}/of/{commit}")

    def comments(self, number):
        raise NotThere("there are no comments")

    def _extras(self, known, proposal):
        for label in proposal.labels:
            yield f"the label {label}", self._refuse

    @staticmethod
    def _refuse():
        raise Unacceptable("there are no labels")

    @staticmethod
    def _parse(data):
        number, state = data["number"].number(), data["state"].text()
        title, head, base = (data[key].text() for key in ("title", "head", "base"))
        url = f"https://forge.example/{number}"
        return PullRequest(number=number, url=url, title=title, state=state, head=head, base=base)


class Session:
    """The pull requests of a forge in memory; ``meanwhile`` runs before one is opened."""

    def __init__(self) -> None:
        self.pulls: list[dict[str, Any]] = []
        self.sent: list[str] = []
        self.meanwhile = lambda: None

    def get(self, path: str) -> Part:
        if "/of/" in path:
            raise NotThere("no such commit")
        found = self.pulls if path == "/pulls" else self.pulls[int(path.rpartition("/")[2]) - 1]
        return Part(found, "odd")

    def send(self, method: str, path: str, fields: dict[str, Any]) -> Part:
        self.sent.append(f"{method} {path}")
        if method == "PATCH":
            self.pulls[0].update(fields)
            return Part(self.pulls[0], "odd")
        self.meanwhile()
        if self.pulls:
            raise Unacceptable("there is one already")
        return Part(self.add(**fields), "odd")

    def add(self, **fields: Any) -> dict[str, Any]:
        self.pulls.append({"number": len(self.pulls) + 1, "state": "open", **fields})
        return self.pulls[-1]


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def forge(session: Session) -> Smallest:
    return Smallest(session, pulls="/pulls")


def test_it_opens_a_pull_request_and_updates_it_once(forge, session):
    assert forge.open(proposal()).number == 1
    assert forge.open(proposal(title="Better")).title == "Better"
    assert forge.open(proposal(title="Better")) == forge.get(1)
    assert session.sent == ["POST /pulls", "PATCH /pulls/1"]


def test_it_updates_what_another_run_opens_meanwhile(forge, session):
    session.meanwhile = lambda: session.add(title="Theirs", head=HEAD, base="main")
    assert forge.open(proposal()).title == "Deploy iris"
    assert len(session.pulls) == 1


def test_a_refusal_without_an_open_pull_request_is_an_error(forge, session):
    session.meanwhile = lambda: session.add(title="Theirs", head="other", base="main")
    with pytest.raises(Unacceptable, match="already"):
        forge.open(proposal())


def test_a_refused_label_is_a_warning(forge):
    made = forge.open(proposal(labels=("ml",)))
    assert made.warnings == (f"{made.url} is open, but without the label ml: there are no labels",)


def test_an_unknown_commit_has_no_pull_request(forge):
    assert forge.of_commit("0" * 40) == ()
