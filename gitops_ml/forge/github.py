"""Pull requests at GitHub and GitHub Enterprise: REST, and GraphQL for auto-merge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from gitops_ml.errors import Refused
from gitops_ml.forge.api_session import ForgeSession
from gitops_ml.forge.own_comment import Comment, CommentPage
from gitops_ml.forge.protocol import Extra, Forge
from gitops_ml.forge.pull_request import Proposal, PullRequest, newest
from gitops_ml.http.json_reader import Part
from gitops_ml.system.clean_text import one_line

_VERSION = "2022-11-28"
_AUTO_MERGE = """\
mutation ($id: ID!, $method: PullRequestMergeMethod!) {
  enablePullRequestAutoMerge(input: {pullRequestId: $id, mergeMethod: $method}) {
    clientMutationId
  }
}"""
_VIEWER = "query { viewer { login } }"


class GitHub(Forge):
    """GitHub and GitHub Enterprise. Gitea has a copy of this API, with the changes of its class."""

    _teams = ("requested_teams", "slug")
    """The field of the teams that shall review, and of a team's name."""

    def __init__(self, session: ForgeSession) -> None:
        self._path = f"/repos/{session.address.repository}"
        self._owner = session.address.repository.partition("/")[0]
        self._prepare(session)
        super().__init__(session, pulls=f"{self._path}/pulls")

    def _prepare(self, session: ForgeSession) -> None:
        session.headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": _VERSION,
        }

    def find(self, *, head: str, base: str) -> PullRequest | None:
        found = self.session.get(
            self._pulls, head=f"{self._owner}:{head}", base=base, state="all",
            sort="created", direction="desc", per_page=100,
        )  # fmt: skip
        return newest(self._parse(each) for each in found if _branch(each["head"]) == head)

    def comments(self, number: int) -> CommentPage:
        return GitHubComments(self.session, f"{self._path}/issues", number)

    def _new_fields(self, proposal: Proposal) -> Mapping[str, Any]:
        return {
            "title": proposal.title,
            "body": proposal.body,
            "head": proposal.head,
            "base": proposal.base,
            "draft": proposal.is_draft,
        }

    def _with_commit(self, commit: str) -> Iterable[Part]:
        return self.session.get(f"{self._path}/commits/{commit}/pulls", per_page=100)

    @classmethod
    def _parse(cls, data: Part) -> PullRequest:
        is_merged = cls._is_merged(data)
        return PullRequest(
            number=data["number"].number(),
            url=data["html_url"].url(),
            title=data["title"].text_or().removeprefix(cls._draft_mark),
            state="merged" if is_merged else data["state"].text(),
            head=data["head"]["ref"].text(),
            base=data["base"]["ref"].text(),
            commit=data["head"]["sha"].text(),
            merge_commit=data["merge_commit_sha"].text() if is_merged else None,
            is_draft=cls._is_draft(data),
        )

    @staticmethod
    def _is_merged(data: Part) -> bool:
        return bool(data["merged_at"])

    @staticmethod
    def _is_draft(data: Part) -> bool:
        return data["draft"].flag()

    def _extras(self, known: Part, proposal: Proposal) -> Iterator[Extra]:
        number = known["number"].number()
        labels = {each["name"].text() for each in known["labels"].items()}
        if missing := [each for each in proposal.labels if each not in labels]:
            yield from self._label_extras(number, missing)
        path = f"{self._pulls}/{number}/requested_reviewers"
        for key, names, requested in (
            ("reviewers", proposal.reviewers, _names(known["requested_reviewers"], "login")),
            ("team_reviewers", proposal.teams, _names(known[self._teams[0]], self._teams[1])),
        ):
            # One by one: GitHub refuses a whole request for one name that it does not know.
            for name in names:
                if name.lower() not in requested:
                    ask = partial(self.session.send, "POST", path, {key: [name]})
                    yield f"the review of {name}", ask
        if proposal.auto_merge:
            yield from self._merge_extras(known, proposal.merge_method)

    def _label_extras(self, number: int, labels: list[str]) -> Iterator[Extra]:
        path = f"{self._path}/issues/{number}/labels"
        add = partial(self.session.send, "POST", path, {"labels": labels})
        yield f"the labels {', '.join(labels)}", add

    def _merge_extras(self, known: Part, method: str) -> Iterator[Extra]:
        if not known["auto_merge"]:
            yield "auto-merge", partial(self._auto_merge, known["node_id"].text(), method.upper())

    def _auto_merge(self, node: str, method: str) -> None:
        body = {"query": _AUTO_MERGE, "variables": {"id": node, "method": method}}
        url = _graphql_url(self.session.address.api_url)
        if errors := [*self.session.send("POST", url, body)["errors"].items()]:
            raise Refused("; ".join(one_line(each["message"].text()) for each in errors))


class GitHubComments(CommentPage):
    """The comments of a pull request at GitHub, which are those of an issue; Gitea copies them."""

    _edit_method = "PATCH"
    _size: Mapping[str, int] = {"per_page": 100}
    """The parameter that asks for the longest page of a list."""

    def __init__(self, session: ForgeSession, issues: str, number: int) -> None:
        super().__init__(session, f"{issues}/{number}/comments", each=f"{issues}/comments")

    def account(self) -> str | None:
        try:
            return self.session.get("/user")["login"].text()
        except Refused:
            # The token of GitHub Actions, and of an app, may not ask the REST API who it is.
            return self._viewer()

    def _viewer(self) -> str | None:
        url = _graphql_url(self.session.address.api_url)
        try:
            data = self.session.send("POST", url, {"query": _VIEWER})["data"]
        except Refused:
            return None
        return data["viewer"]["login"].text() if data and data["viewer"] else None

    def listed(self) -> Iterable[Comment]:
        return map(self._parse, self.session.pages(self._path, **self._size))

    @staticmethod
    def _parse(data: Part) -> Comment:
        return Comment(
            id=data["id"].number(),
            author=data["user"]["login"].text() if data["user"] else "",
            body=data["body"].text_or(),
            url=data["html_url"].url(),
        )


def _graphql_url(api_url: str) -> str:
    """The GraphQL API beside the REST API; at GitHub Enterprise `/api/graphql` beside `/api/v3`."""
    parts = urlsplit(api_url)
    return parts._replace(path=f"{parts.path.removesuffix('/v3')}/graphql").geturl()


def _names(people: Part, key: str) -> set[str]:
    return {each[key].text().lower() for each in people.items()}


def _branch(end: Part) -> str:
    """The branch at one end of a pull request; empty where the fork that had it is gone."""
    return end["ref"].text_or() if end else ""
