"""Pull requests at Gitea and Forgejo, Codeberg among them."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from gitops_ml.adapters.forge_extras import Extra, same_text, with_extras
from gitops_ml.adapters.forge_session import NotThere, Unacceptable
from gitops_ml.core.pull_request import PullRequest, newest
from gitops_ml.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.adapters.forge_session import ForgeSession
    from gitops_ml.core.pull_request import Proposal

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
        if not all(same_text(known[key], value) for key, value in wanted.items()):
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
            is_own = each["head"]["repo_id"] == each["base"]["repo_id"]
            if is_own and (each["head"]["ref"], each["base"]["ref"]) == (head, base):
                yield _pull_request(each)

    def _extras(self, known: Any, proposal: Proposal) -> Iterator[Extra]:
        """What is wanted besides and not there yet."""
        number, send = known["number"], self._session.send
        labels = {each["name"] for each in known["labels"] or ()}
        for label in proposal.labels:
            if label not in labels:
                yield f"the label {label}", partial(self._label, number, label)
        asked = {each["login"].lower() for each in known.get("requested_reviewers") or ()}
        teams = {each["name"].lower() for each in known.get("requested_reviewers_teams") or ()}
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
                id = next((each["id"] for each in found if each["name"] == name), None)
            except NotThere:
                continue
            if id is not None:
                body = {"labels": [id]}
                self._session.send("POST", f"{self._path}/issues/{number}/labels", body)
                return
        raise Refused(f"the repository has no label {name!r}; make it there first")

    def _merge_by_itself(self, known: Any, method: str) -> None:
        body = {
            "Do": method,
            "merge_when_checks_succeed": True,
            "head_commit_id": known["head"]["sha"],
        }
        try:
            self._session.send("POST", f"{self._path}/pulls/{known['number']}/merge", body)
        except Unacceptable as error:
            # 409: it is going to, since the last time that we said so.
            if "already scheduled" not in str(error):
                raise


def _is_draft(data: Any) -> bool:
    return bool(data.get("draft")) or data["title"].upper().startswith(
        tuple(each.upper() for each in _DRAFTS)
    )


def _pull_request(data: Any) -> PullRequest:
    title = data["title"]
    return PullRequest(
        number=data["number"],
        url=data["html_url"],
        title=title.removeprefix(_DRAFT),
        state="merged" if data["merged"] else data["state"],
        head=data["head"]["ref"],
        base=data["base"]["ref"],
        commit=data["head"]["sha"],
        merge_commit=data["merge_commit_sha"] if data["merged"] else None,
        is_draft=_is_draft(data),
    )
