"""Pull requests at Bitbucket Data Center (once Bitbucket Server)."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from gitops_ml.errors import Refused
from gitops_ml.forge.api_session import NotThere, Unacceptable
from gitops_ml.forge.extras import Extra, same_text, with_extras
from gitops_ml.forge.pull_request import PullRequest, newest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.forge.api_session import ForgeSession
    from gitops_ml.forge.pull_request import Proposal
    from gitops_ml.http.answers import Part

_STATES = {"OPEN": "open", "MERGED": "merged", "DECLINED": "closed"}
_STRATEGIES = {"merge": "no-ff", "squash": "squash", "rebase": "rebase-no-ff"}
_FIRST_WITH_AUTO_MERGE = (8, 15)
_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
_MOST_PAGES = 20


class Bitbucket:
    """See `ports.Forge`."""

    def __init__(self, session: ForgeSession) -> None:
        self._session = session
        session.takes_passwords = True
        # Without it, what is posted is taken for a form of the user's browser.
        session.headers = {"X-Atlassian-Token": "no-check"}
        project, _, slug = session.address.repository.partition("/")
        self._repository = {"slug": slug, "project": {"key": project}}
        self._base = f"/api/latest/projects/{project}/repos/{slug}"
        self._path = f"{self._base}/pull-requests"

    def find(self, *, head: str, base: str) -> PullRequest | None:
        """See `ports.Forge.find`."""
        found = self._pages(
            self._path, at=_ref(head), direction="OUTGOING", state="ALL", order="NEWEST"
        )
        requests = (_pull_request(each) for each in found)
        return newest(each for each in requests if (each.head, each.base) == (head, base))

    def open(self, proposal: Proposal) -> PullRequest:
        """See `ports.Forge.open`."""
        if found := self._open_one(proposal):
            return self.update(found, proposal)
        body = {
            "title": proposal.title,
            "description": proposal.body,
            "fromRef": {"id": _ref(proposal.head), "repository": self._repository},
            "toRef": {"id": _ref(proposal.base), "repository": self._repository},
            "draft": proposal.is_draft,
        }
        try:
            made = self._session.send("POST", self._path, body).data
        except Unacceptable:
            # Somebody else may have opened it in this moment.
            if (found := self._open_one(proposal)) is None:
                raise
            return self.update(found, proposal)
        return with_extras(_pull_request(made), self._extras(made, proposal))

    def update(self, pull_request: PullRequest, proposal: Proposal) -> PullRequest:
        """See `ports.Forge.update`."""
        known = self._session.get(f"{self._path}/{pull_request.number}")
        wanted = {"title": proposal.title, "description": proposal.body}
        if not all(same_text(known[key].text_or(), value) for key, value in wanted.items()):
            known = self._change(known["id"].number(), wanted)
        return with_extras(_pull_request(known), self._extras(known, proposal))

    def get(self, number: int) -> PullRequest:
        """See `ports.Forge.get`."""
        return _pull_request(self._session.get(f"{self._path}/{number}"))

    def of_commit(self, commit: str) -> tuple[PullRequest, ...]:
        """See `ports.Forge.of_commit`."""
        try:
            found = list(self._pages(f"{self._base}/commits/{commit}/pull-requests"))
        except (NotThere, Unacceptable):
            return ()
        return tuple(sorted(map(_pull_request, found), key=lambda each: -each.number))

    def _open_one(self, proposal: Proposal) -> PullRequest | None:
        found = self.find(head=proposal.head, base=proposal.base)
        return found if found and found.is_open else None

    def _pages(self, path: str, **query: object) -> Iterator[Part]:
        start, watch = 0, self._session.watch(f"GET of all pages of {path}")
        for _ in range(_MOST_PAGES):
            wanted = {**query, "start": start, "limit": 100}
            page = self._session.send("GET", path, query=wanted, watch=watch).data
            yield from page["values"]
            if not page["nextPageStart"] or page["isLastPage"].flag():
                return
            start = page["nextPageStart"].number()
        raise self._session.endless(path, _MOST_PAGES)

    def _change(self, number: int, words: dict[str, Any]) -> Part:
        """Change what ``words`` say and keep the rest: what is not sent would be taken away."""
        path = f"{self._path}/{number}"
        known = self._session.get(path)
        body = {
            "title": known["title"].text_or(),
            "description": known["description"].text_or(),
            "version": known["version"].number(),
            "reviewers": [{"user": {"name": name}} for name in _reviewers(known)],
            "toRef": {"id": known["toRef"]["id"].text(), "repository": self._repository},
            **words,
        }
        return self._session.send("PUT", path, body).data

    def _extras(self, known: Part, proposal: Proposal) -> Iterator[Extra]:
        """What is wanted besides and not there yet."""
        if proposal.labels:
            yield f"the labels {', '.join(proposal.labels)}", _no_labels
        asked = {name.lower() for name in _reviewers(known)}
        number = known["id"].number()
        for name in proposal.reviewers:
            if name.lower() not in asked:
                yield f"the review of {name}", partial(self._ask, number, name)
        for team in proposal.teams:
            yield f"the review of {team}", _no_teams
        if proposal.is_draft and not known.has("draft"):
            yield "being a draft", _no_drafts
        if proposal.auto_merge:
            yield "auto-merge", partial(self._merge_by_itself, number, proposal.merge_method)

    def _ask(self, number: int, name: str) -> None:
        body = {"user": {"name": name}, "role": "REVIEWER"}
        self._session.send("POST", f"{self._path}/{number}/participants", body)

    def _merge_by_itself(self, number: int, method: str) -> None:
        # An older Bitbucket would not know the word, and merge at once.
        found = self._session.get("/api/latest/application-properties")["version"]
        bitbucket = found.text()
        if (match := _VERSION.match(bitbucket)) is None:
            raise found.odd("is not a version")
        if (int(match[1]), int(match[2])) < _FIRST_WITH_AUTO_MERGE:
            raise Refused(f"Bitbucket merges by itself from 8.15 on, and this is {bitbucket}")
        version = self._session.get(f"{self._path}/{number}")["version"].number()
        body = {"autoMerge": True, "strategyId": _STRATEGIES[method], "version": version}
        self._session.send("POST", f"{self._path}/{number}/merge", body)


def _no_labels() -> None:
    raise Refused("pull requests at Bitbucket have no labels")


def _no_teams() -> None:
    raise Refused("Bitbucket asks users for reviews; name them in reviewers")


def _no_drafts() -> None:
    raise Refused("Bitbucket has drafts from 8.18 on")


def _ref(branch: str) -> str:
    return f"refs/heads/{branch}"


def _reviewers(known: Part) -> list[str]:
    return [each["user"]["name"].text() for each in known["reviewers"].items()]


def _pull_request(data: Part) -> PullRequest:
    state = _STATES.get(data["state"].text(), "closed")
    merged = None
    if state == "merged" and data["properties"] and data["properties"]["mergeCommit"]:
        merged = data["properties"]["mergeCommit"]["id"].text()
    return PullRequest(
        number=data["id"].number(),
        url=data["links"]["self"][0]["href"].url(),
        title=data["title"].text_or(),
        state=state,
        head=data["fromRef"]["displayId"].text(),
        base=data["toRef"]["displayId"].text(),
        commit=data["fromRef"]["latestCommit"].text_or() or None,
        merge_commit=merged,
        is_draft=data["draft"].flag(),
    )
