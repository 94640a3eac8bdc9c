"""Pull requests at Gitea and Forgejo, such as Codeberg."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from gitops_ml.errors import Refused
from gitops_ml.forge.api_session import NotThere, Unacceptable
from gitops_ml.forge.protocol import Forge
from gitops_ml.forge.pull_request import PullRequest, newest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gitops_ml.forge.api_session import ForgeSession
    from gitops_ml.forge.extras import Extra
    from gitops_ml.forge.pull_request import Proposal
    from gitops_ml.http.json_reader import Part

_DRAFT = "WIP: "
_DRAFTS = ("WIP:", "[WIP]", "Draft:")
_PAGE = 50
_MOST_CLOSED = 2 * _PAGE
"""How many closed pull requests are searched, the latest first."""


class Gitea(Forge):
    """Gitea and Forgejo."""

    def __init__(self, session: ForgeSession) -> None:
        session.scheme, session.takes_passwords = "token", True
        self._path = f"/repos/{session.address.repository}"
        super().__init__(session, pulls=f"{self._path}/pulls")

    def find(self, *, head: str, base: str) -> PullRequest | None:
        return self._find_open(head=head, base=base) or newest(
            islice(self._listed("closed", head, base, most=_MOST_CLOSED), 1)
        )

    def _find_open(self, *, head: str, base: str) -> PullRequest | None:
        return newest(self._listed("open", head, base))

    def _listed(
        self, state: str, head: str, base: str, *, most: int | None = None
    ) -> Iterator[PullRequest]:
        """The API has no filter for a branch, so the list is searched."""
        pages = self._session.pages(self._pulls, state=state, sort="recentupdate", limit=_PAGE)
        for each in islice(pages, most):
            ends = each["head"], each["base"]
            is_own = ends[0]["repo_id"].value == ends[1]["repo_id"].value
            if is_own and tuple(end["ref"].text_or() for end in ends) == (head, base):
                yield self._parse(each)

    def _new_fields(self, proposal: Proposal) -> Mapping[str, Any]:
        return {
            "head": proposal.head,
            "base": proposal.base,
            "title": f"{_DRAFT if proposal.is_draft else ''}{proposal.title}",
            "body": proposal.body,
        }

    def _text_fields(self, proposal: Proposal, known: Part) -> Mapping[str, str]:
        title = f"{_DRAFT if _is_draft(known) else ''}{proposal.title}"
        return {"title": title, "body": proposal.body}

    def _with_commit(self, commit: str) -> Iterable[Part]:
        return (self._session.get(f"{self._path}/commits/{commit}/pull"),)

    @staticmethod
    def _parse(data: Part) -> PullRequest:
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

    def _extras(self, known: Part, proposal: Proposal) -> Iterator[Extra]:
        number, send = known["number"].number(), self._session.send
        labels = {each["name"].text() for each in known["labels"].items()}
        for label in proposal.labels:
            if label not in labels:
                yield f"the label {label}", partial(self._add_label, number, label)
        path = f"{self._pulls}/{number}/requested_reviewers"
        requested = {
            "reviewers": _names(known["requested_reviewers"], "login"),
            "team_reviewers": _names(known["requested_reviewers_teams"], "name"),
        }
        wanted = {"reviewers": proposal.reviewers, "team_reviewers": proposal.teams}
        for key, names in wanted.items():
            for name in names:
                if name.lower() not in requested[key]:
                    yield f"the review of {name}", partial(send, "POST", path, {key: [name]})
        if proposal.auto_merge:
            yield "auto-merge", partial(self._auto_merge, known, proposal.merge_method)

    def _add_label(self, number: int, name: str) -> None:
        """The API takes a label's number; a label may be the organization's."""
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
        raise Refused(f"the repository has no label {name!r}; create it there first")

    def _auto_merge(self, known: Part, method: str) -> None:
        body = {
            "Do": method,
            "merge_when_checks_succeed": True,
            "head_commit_id": known["head"]["sha"].text(),
        }
        try:
            self._session.send("POST", f"{self._pulls}/{known['number'].number()}/merge", body)
        except Unacceptable as error:
            # 409: an earlier run has scheduled it.
            if "already scheduled" not in str(error):
                raise


def _names(people: Part, key: str) -> set[str]:
    return {each[key].text().lower() for each in people.items()}


def _is_draft(data: Part) -> bool:
    return data["draft"].flag() or data["title"].text_or().upper().startswith(
        tuple(each.upper() for each in _DRAFTS)
    )
