"""Pull requests at GitHub and GitHub Enterprise, over REST; auto-merge is GraphQL's alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gitops_ml.errors import Refused
from gitops_ml.forge.api_session import NotThere, Unacceptable
from gitops_ml.forge.extras import Extra, same_text, with_extras
from gitops_ml.forge.pull_request import PullRequest, newest
from gitops_ml.system.clean_text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.forge.api_session import ForgeSession
    from gitops_ml.forge.pull_request import Proposal
    from gitops_ml.http.answers import Part

_VERSION = "2022-11-28"
_AUTO_MERGE = """\
mutation ($id: ID!, $method: PullRequestMergeMethod!) {
  enablePullRequestAutoMerge(input: {pullRequestId: $id, mergeMethod: $method}) {
    clientMutationId
  }
}"""


class GitHub:
    """See `ports.Forge`."""

    def __init__(self, session: ForgeSession) -> None:
        self._session = session
        session.headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": _VERSION,
        }
        self._path = f"/repos/{session.address.repository}"
        self._owner = session.address.repository.partition("/")[0]

    def find(self, *, head: str, base: str) -> PullRequest | None:
        """See `ports.Forge.find`."""
        found = self._session.get(
            f"{self._path}/pulls", head=f"{self._owner}:{head}", base=base, state="all",
            sort="created", direction="desc", per_page=100,
        )  # fmt: skip
        return newest(_pull_request(each) for each in found if _branch(each["head"]) == head)

    def open(self, proposal: Proposal) -> PullRequest:
        """See `ports.Forge.open`."""
        if found := self._open_one(proposal):
            return self.update(found, proposal)
        body = {
            "title": proposal.title,
            "body": proposal.body,
            "head": proposal.head,
            "base": proposal.base,
            "draft": proposal.is_draft,
        }
        try:
            made = self._session.send("POST", f"{self._path}/pulls", body).data
        except Unacceptable:
            # Somebody else may have opened it in this moment.
            if (found := self._open_one(proposal)) is None:
                raise
            return self.update(found, proposal)
        return with_extras(_pull_request(made), self._extras(made, proposal))

    def update(self, pull_request: PullRequest, proposal: Proposal) -> PullRequest:
        """See `ports.Forge.update`."""
        path = f"{self._path}/pulls/{pull_request.number}"
        known = self._session.get(path)
        wanted = {"title": proposal.title, "body": proposal.body}
        if not all(same_text(known[key].text_or(), value) for key, value in wanted.items()):
            known = self._session.send("PATCH", path, wanted).data
        return with_extras(_pull_request(known), self._extras(known, proposal))

    def get(self, number: int) -> PullRequest:
        """See `ports.Forge.get`."""
        return _pull_request(self._session.get(f"{self._path}/pulls/{number}"))

    def of_commit(self, commit: str) -> tuple[PullRequest, ...]:
        """See `ports.Forge.of_commit`."""
        try:
            found = self._session.get(f"{self._path}/commits/{commit}/pulls", per_page=100)
        except (NotThere, Unacceptable):
            return ()
        return tuple(sorted(map(_pull_request, found), key=lambda each: -each.number))

    def _open_one(self, proposal: Proposal) -> PullRequest | None:
        found = self.find(head=proposal.head, base=proposal.base)
        return found if found and found.is_open else None

    def _extras(self, known: Part, proposal: Proposal) -> Iterator[Extra]:
        """What is wanted besides and not there yet."""
        number, send = known["number"].number(), self._session.send
        labels = {each["name"].text() for each in known["labels"].items()}
        if missing := [each for each in proposal.labels if each not in labels]:
            path = f"{self._path}/issues/{number}/labels"
            yield (
                f"the labels {', '.join(missing)}",
                partial(send, "POST", path, {"labels": missing}),
            )
        asked = {
            "reviewers": _names(known["requested_reviewers"], "login"),
            "team_reviewers": _names(known["requested_teams"], "slug"),
        }
        path = f"{self._path}/pulls/{number}/requested_reviewers"
        wanted = {"reviewers": proposal.reviewers, "team_reviewers": proposal.teams}
        for key, names in wanted.items():
            # One by one: a name that GitHub does not know spoils the others.
            for name in names:
                if name.lower() not in asked[key]:
                    yield f"the review of {name}", partial(send, "POST", path, {key: [name]})
        if proposal.auto_merge and not known["auto_merge"]:
            method = proposal.merge_method.upper()
            yield "auto-merge", partial(self._merge_by_itself, known["node_id"].text(), method)

    def _merge_by_itself(self, node: str, method: str) -> None:
        body = {"query": _AUTO_MERGE, "variables": {"id": node, "method": method}}
        url = _graphql_url(self._session.address.api_url)
        if errors := [*self._session.send("POST", url, body).data["errors"].items()]:
            raise Refused("; ".join(one_line(each["message"].text()) for each in errors))


def _graphql_url(api_url: str) -> str:
    """GitHub's is beside the REST API; GitHub Enterprise's is `/api/graphql` beside `/api/v3`."""
    parts = urlsplit(api_url)
    return parts._replace(path=f"{parts.path.removesuffix('/v3')}/graphql").geturl()


def _names(people: Part, key: str) -> set[str]:
    return {each[key].text().lower() for each in people.items()}


def _branch(end: Part) -> str:
    """The branch at one end of a pull request; empty where the fork that had it is gone."""
    return end["ref"].text_or() if end else ""


def _pull_request(data: Part) -> PullRequest:
    is_merged = bool(data["merged_at"])
    return PullRequest(
        number=data["number"].number(),
        url=data["html_url"].url(),
        title=data["title"].text_or(),
        state="merged" if is_merged else data["state"].text(),
        head=data["head"]["ref"].text(),
        base=data["base"]["ref"].text(),
        commit=data["head"]["sha"].text(),
        merge_commit=data["merge_commit_sha"].text() if is_merged else None,
        is_draft=data["draft"].flag(),
    )
