"""Pull requests at Bitbucket Data Center (formerly Bitbucket Server)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from gitops_ml.errors import Refused
from gitops_ml.forge.api_session import ForgeSession, NotThere, Unacceptable
from gitops_ml.forge.own_comment import Comment, CommentPage
from gitops_ml.forge.protocol import Extra, Forge
from gitops_ml.forge.pull_request import Proposal, PullRequest, newest
from gitops_ml.http.json_reader import Part

_STATES = {"OPEN": "open", "MERGED": "merged", "DECLINED": "closed"}
_STRATEGIES = {"merge": "no-ff", "squash": "squash", "rebase": "rebase-no-ff"}
_FIRST_WITH_AUTO_MERGE = (8, 15)
_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
_MOST_PAGES = 20
_MOST_ACTIVITIES = 200
"""Pages of a pull request's activities."""
_NO_TEAMS = "reviewers at Bitbucket are users, not teams; name the users in reviewers"


class Bitbucket(Forge):
    """Bitbucket Data Center."""

    _body_field = "description"

    def __init__(self, session: ForgeSession) -> None:
        session.takes_passwords = True
        # Without it, Bitbucket takes a POST for a form of the user's browser.
        session.headers = {"X-Atlassian-Token": "no-check"}
        project, _, slug = session.address.repository.partition("/")
        self._repository = {"slug": slug, "project": {"key": project}}
        self._path = f"/api/latest/projects/{project}/repos/{slug}"
        super().__init__(session, pulls=f"{self._path}/pull-requests")

    def find(self, *, head: str, base: str) -> PullRequest | None:
        found = self._pages(
            self._pulls, at=_ref(head), direction="OUTGOING", state="ALL", order="NEWEST"
        )
        requests = map(self._parse, found)
        return newest(each for each in requests if (each.head, each.base) == (head, base))

    def comments(self, number: int) -> CommentPage:
        return BitbucketComments(self.session, f"{self._pulls}/{number}")

    def _pages(self, path: str, **query: str) -> Iterator[Part]:
        return _pages(self.session, path, query)

    def _new_fields(self, proposal: Proposal) -> Mapping[str, Any]:
        return {
            "title": proposal.title,
            "description": proposal.body,
            "fromRef": {"id": _ref(proposal.head), "repository": self._repository},
            "toRef": {"id": _ref(proposal.base), "repository": self._repository},
            "draft": proposal.is_draft,
        }

    def _edit(self, number: int, fields: Mapping[str, str]) -> Part:
        """Change ``fields`` and send the others as they are: Bitbucket removes what is missing."""
        known = self._read(number)
        body = {
            "title": known["title"].text_or(),
            "description": known["description"].text_or(),
            "version": known["version"].number(),
            "reviewers": [{"user": {"name": name}} for name in _reviewers(known)],
            "toRef": {"id": known["toRef"]["id"].text(), "repository": self._repository},
            **fields,
        }
        return self.session.send("PUT", f"{self._pulls}/{number}", body)

    def _with_commit(self, commit: str) -> Iterable[Part]:
        return self._pages(f"{self._path}/commits/{commit}/pull-requests")

    @staticmethod
    def _parse(data: Part) -> PullRequest:
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

    def _extras(self, known: Part, proposal: Proposal) -> Iterator[Extra]:
        if proposal.labels:
            labels = ", ".join(proposal.labels)
            yield f"the labels {labels}", _refused("pull requests at Bitbucket have no labels")
        requested = {name.lower() for name in _reviewers(known)}
        number = known["id"].number()
        for name in proposal.reviewers:
            if name.lower() not in requested:
                yield f"the review of {name}", partial(self._add_reviewer, number, name)
        for team in proposal.teams:
            yield f"the review of {team}", _refused(_NO_TEAMS)
        if proposal.is_draft and not known.has("draft"):
            yield "being a draft", _refused("Bitbucket has drafts from 8.18 on")
        if proposal.auto_merge:
            yield "auto-merge", partial(self._auto_merge, number, proposal.merge_method)

    def _add_reviewer(self, number: int, name: str) -> None:
        body = {"user": {"name": name}, "role": "REVIEWER"}
        self.session.send("POST", f"{self._pulls}/{number}/participants", body)

    def _auto_merge(self, number: int, method: str) -> None:
        # An older Bitbucket ignores `autoMerge` and merges at once.
        found = self.session.get("/api/latest/application-properties")["version"]
        bitbucket = found.text()
        if (match := _VERSION.match(bitbucket)) is None:
            raise found.odd("is not a version")
        if (int(match[1]), int(match[2])) < _FIRST_WITH_AUTO_MERGE:
            raise Refused(f"Bitbucket has auto-merge from 8.15 on, and this is {bitbucket}")
        version = self._read(number)["version"].number()
        body = {"autoMerge": True, "strategyId": _STRATEGIES[method], "version": version}
        self.session.send("POST", f"{self._pulls}/{number}/merge", body)


class BitbucketComments(CommentPage):
    """The comments of a pull request, which Bitbucket lists among its activities."""

    limit = 32768
    hidden = "[//]: # ({})"
    """Bitbucket shows HTML as text; it does not show a definition that no link uses."""
    shows_html = False

    _field = "text"

    def __init__(self, session: ForgeSession, pull: str) -> None:
        super().__init__(session, f"{pull}/comments")
        self._pull = pull

    def account(self) -> str | None:
        return self.session.header("GET", self._pull, "X-AUSERNAME") or None

    def listed(self) -> Iterable[Comment]:
        for each in _pages(self.session, f"{self._pull}/activities", {}, most=_MOST_ACTIVITIES):
            if each["action"].text_or() == "COMMENTED" and each["comment"]:
                yield self._parse(each["comment"])

    def edit(self, comment: Comment, body: str) -> Comment:
        fields = {"text": body, "version": comment.version}
        try:
            return self._parse(self.session.send("PUT", f"{self._each}/{comment.id}", fields))
        except Unacceptable as error:
            # 409: another run changed it meanwhile. Reading it again gives its version.
            raise NotThere(str(error)) from error

    def remove(self, comment: Comment) -> None:
        query = {"version": comment.version}
        try:
            self.session.send("DELETE", f"{self._each}/{comment.id}", query=query)
        except Unacceptable:
            # 409: its version moved, or a person answered it. The next run looks again.
            return

    @staticmethod
    def _parse(data: Part) -> Comment:
        return Comment(
            id=data["id"].number(),
            author=data["author"]["name"].text() if data["author"] else "",
            body=data["text"].text_or(),
            version=data["version"].number(),
        )


def _pages(
    session: ForgeSession, path: str, query: Mapping[str, str], *, most: int = _MOST_PAGES
) -> Iterator[Part]:
    start, watch = 0, session.watch(f"GET of all pages of {path}")
    for _ in range(most):
        wanted = {**query, "start": start, "limit": 100}
        page = session.send("GET", path, query=wanted, watch=watch)
        yield from page["values"]
        if not page["nextPageStart"] or page["isLastPage"].flag():
            return
        start = page["nextPageStart"].number()
    raise session.endless(path, most)


def _refused(text: str) -> Callable[[], None]:
    def refuse() -> None:
        raise Refused(text)

    return refuse


def _ref(branch: str) -> str:
    return f"refs/heads/{branch}"


def _reviewers(known: Part) -> list[str]:
    return [each["user"]["name"].text() for each in known["reviewers"].items()]
