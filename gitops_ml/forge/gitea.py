"""Pull requests at Gitea and Forgejo, Codeberg among them."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from gitops_ml.errors import Refused
from gitops_ml.forge.api_session import NotThere, Unacceptable
from gitops_ml.forge.extras import Extra, same_text, with_extras
from gitops_ml.forge.pull_request import PullRequest, newest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.forge.api_session import ForgeSession
    from gitops_ml.forge.pull_request import Proposal
    from gitops_ml.http.answers import Part

_DRAFT = "WIP: "
_DRAFTS = ("WIP:", "[WIP]", "Draft:")
_PAGE = 50
_MOST_CLOSED = 2 * _PAGE
"""Of the pull requests that were closed, how many are looked through, the latest first."""


class Gitea:
    """See `ports.Forge`."""

    def __init__(self, session: ForgeSession) -> None:
        self._session = session
        session.scheme, session.takes_passwords = "token", True
        self._path = f"/repos/{session.address.repository}"

    def find(self, *, head: str, base: str) -> PullRequest | None:
        """See `ports.Forge.find`."""
        return self._open_one(head=head, base=base) or newest(
            islice(self._listed("closed", head, base, most=_MOST_CLOSED), 1)
        )

    def open(self, proposal: Proposal) -> PullRequest:
        """See `ports.Forge.open`."""
        if found := self._open_one(head=proposal.head, base=proposal.base):
            return self.update(found, proposal)
        body = {
            "head": proposal.head,
            "base": proposal.base,
            "title": f"{_DRAFT if proposal.is_draft else ''}{proposal.title}",
            "body": proposal.body,
        }
        try:
            made = self._session.send("POST", f"{self._path}/pulls", body).data
        except Unacceptable:
            # Somebody else may have opened it in this moment.
            if (found := self._open_one(head=proposal.head, base=proposal.base)) is None:
                raise
            return self.update(found, proposal)
        return with_extras(_pull_request(made), self._extras(made, proposal))

    def update(self, pull_request: PullRequest, proposal: Proposal) -> PullRequest:
        """See `ports.Forge.update`."""
        path = f"{self._path}/pulls/{pull_request.number}"
        known = self._session.get(path)
        title = f"{_DRAFT if _is_draft(known) else ''}{proposal.title}"
        wanted = {"title": title, "body": proposal.body}
        if not all(same_text(known[key].text_or(), value) for key, value in wanted.items()):
            known = self._session.send("PATCH", path, wanted).data
        return with_extras(_pull_request(known), self._extras(known, proposal))

    def get(self, number: int) -> PullRequest:
        """See `ports.Forge.get`."""
        return _pull_request(self._session.get(f"{self._path}/pulls/{number}"))

    def of_commit(self, commit: str) -> tuple[PullRequest, ...]:
        """See `ports.Forge.of_commit`."""
        try:
            return (_pull_request(self._session.get(f"{self._path}/commits/{commit}/pull")),)
        except (NotThere, Unacceptable):
            return ()

    def _open_one(self, *, head: str, base: str) -> PullRequest | None:
        return newest(self._listed("open", head, base))

    def _listed(
        self, state: str, head: str, base: str, *, most: int | None = None
    ) -> Iterator[PullRequest]:
        """The list cannot be asked for a branch, so it is looked through."""
        pages = self._session.pages(
            f"{self._path}/pulls", state=state, sort="recentupdate", limit=_PAGE
        )
        for each in islice(pages, most):
            ends = each["head"], each["base"]
            is_own = ends[0]["repo_id"].value == ends[1]["repo_id"].value
            if is_own and tuple(end["ref"].text_or() for end in ends) == (head, base):
                yield _pull_request(each)

    def _extras(self, known: Part, proposal: Proposal) -> Iterator[Extra]:
        """What is wanted besides and not there yet."""
        number, send = known["number"].number(), self._session.send
        labels = {each["name"].text() for each in known["labels"].items()}
        for label in proposal.labels:
            if label not in labels:
                yield f"the label {label}", partial(self._label, number, label)
        asked = _names(known["requested_reviewers"], "login")
        teams = _names(known["requested_reviewers_teams"], "name")
        path = f"{self._path}/pulls/{number}/requested_reviewers"
        for name in proposal.reviewers:
            if name.lower() not in asked:
                yield f"the review of {name}", partial(send, "POST", path, {"reviewers": [name]})
        for name in proposal.teams:
            if name.lower() not in teams:
                body = {"team_reviewers": [name]}
                yield f"the review of {name}", partial(send, "POST", path, body)
        if proposal.auto_merge:
            yield "auto-merge", partial(self._merge_by_itself, known, proposal.merge_method)

    def _label(self, number: int, name: str) -> None:
        """Labels are known by number; those of the organization count as well."""
        owner = self._session.address.repository.partition("/")[0]
        for path in (f"{self._path}/labels", f"/orgs/{owner}/labels"):
            try:
                found = self._session.pages(path, limit=_PAGE)
                id = next((e["id"].number() for e in found if e["name"].text_or() == name), None)
            except NotThere:
                continue
            if id is not None:
                body = {"labels": [id]}
                self._session.send("POST", f"{self._path}/issues/{number}/labels", body)
                return
        raise Refused(f"the repository has no label {name!r}; make it there first")

    def _merge_by_itself(self, known: Part, method: str) -> None:
        body = {
            "Do": method,
            "merge_when_checks_succeed": True,
            "head_commit_id": known["head"]["sha"].text(),
        }
        try:
            self._session.send("POST", f"{self._path}/pulls/{known['number'].number()}/merge", body)
        except Unacceptable as error:
            # 409: it is going to, since the last time that we said so.
            if "already scheduled" not in str(error):
                raise


def _names(people: Part, key: str) -> set[str]:
    return {each[key].text().lower() for each in people.items()}


def _is_draft(data: Part) -> bool:
    return data["draft"].flag() or data["title"].text_or().upper().startswith(
        tuple(each.upper() for each in _DRAFTS)
    )


def _pull_request(data: Part) -> PullRequest:
    is_merged = data["merged"].flag()
    return PullRequest(
        number=data["number"].number(),
        url=data["html_url"].url(),
        title=data["title"].text_or().removeprefix(_DRAFT),
        state="merged" if is_merged else data["state"].text(),
        head=data["head"]["ref"].text(),
        base=data["base"]["ref"].text(),
        commit=data["head"]["sha"].text(),
        merge_commit=data["merge_commit_sha"].text() if is_merged else None,
        is_draft=_is_draft(data),
    )
