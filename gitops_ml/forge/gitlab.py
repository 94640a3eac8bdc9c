"""Merge requests at GitLab, which are pull requests here."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from gitops_ml.errors import Refused
from gitops_ml.forge.api_session import NotThere, Unacceptable
from gitops_ml.forge.extras import Extra, same_text, with_extras
from gitops_ml.forge.pull_request import PullRequest, newest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.forge.api_session import ForgeSession
    from gitops_ml.forge.pull_request import Proposal
    from gitops_ml.http.answers import Part

_DRAFT = "Draft: "
_STATES = {"opened": "open", "locked": "open", "merged": "merged", "closed": "closed"}


class GitLab:
    """See `ports.Forge`."""

    def __init__(self, session: ForgeSession) -> None:
        self._session = session
        self._project = f"/projects/{quote(session.address.repository, safe='')}"
        self._path = f"{self._project}/merge_requests"

    def find(self, *, head: str, base: str) -> PullRequest | None:
        """See `ports.Forge.find`."""
        found = self._session.get(
            self._path, source_branch=head, target_branch=base, state="all",
            order_by="created_at", sort="desc", per_page=100,
        )  # fmt: skip
        # Forks may have a branch of the same name.
        own = (each for each in found if _is_own(each))
        return newest(map(_pull_request, own))

    def open(self, proposal: Proposal) -> PullRequest:
        """See `ports.Forge.open`."""
        if found := self._open_one(proposal):
            return self.update(found, proposal)
        body = {
            "source_branch": proposal.head,
            "target_branch": proposal.base,
            "title": f"{_DRAFT if proposal.is_draft else ''}{proposal.title}",
            "description": proposal.body,
            "remove_source_branch": True,
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
        path = f"{self._path}/{pull_request.number}"
        known = self._session.get(path)
        title = f"{_DRAFT if known['draft'].flag() else ''}{proposal.title}"
        wanted = {"title": title, "description": proposal.body}
        if not all(same_text(known[key].text_or(), value) for key, value in wanted.items()):
            known = self._session.send("PUT", path, wanted).data
        return with_extras(_pull_request(known), self._extras(known, proposal))

    def get(self, number: int) -> PullRequest:
        """See `ports.Forge.get`."""
        return _pull_request(self._session.get(f"{self._path}/{number}"))

    def of_commit(self, commit: str) -> tuple[PullRequest, ...]:
        """See `ports.Forge.of_commit`."""
        try:
            path = f"{self._project}/repository/commits/{commit}/merge_requests"
            found = self._session.get(path, per_page=100)
        except (NotThere, Unacceptable):
            return ()
        return tuple(sorted(map(_pull_request, found), key=lambda each: -each.number))

    def _open_one(self, proposal: Proposal) -> PullRequest | None:
        found = self.find(head=proposal.head, base=proposal.base)
        return found if found and found.is_open else None

    def _extras(self, known: Part, proposal: Proposal) -> Iterator[Extra]:
        """What is wanted besides and not there yet."""
        path = f"{self._path}/{known['iid'].number()}"
        labels = {each.text() for each in known["labels"].items()}
        if missing := [each for each in proposal.labels if each not in labels]:
            body = {"add_labels": ",".join(missing)}
            yield (
                f"the labels {', '.join(missing)}",
                partial(self._session.send, "PUT", path, body),
            )
        asked = {
            each["username"].text().lower(): each["id"].number()
            for each in known["reviewers"].items()
        }
        if missing := [each for each in proposal.reviewers if each.lower() not in asked]:
            ids = set(asked.values())
            for name in missing:
                yield f"the review of {name}", partial(self._ask, path, name, ids)
        for team in proposal.teams:
            yield f"the review of {team}", _no_teams
        if proposal.auto_merge and not known["merge_when_pipeline_succeeds"].flag():
            yield "auto-merge", partial(self._merge_by_itself, known, proposal.merge_method)

    def _ask(self, path: str, name: str, ids: set[int]) -> None:
        """Ask ``name`` as well as those in ``ids``: GitLab takes the whole list."""
        found = [*self._session.get("/users", username=name)]
        if not found:
            raise Refused(f"{self._session.address.host} knows no user {name!r}")
        ids.add(found[0]["id"].number())
        self._session.send("PUT", path, {"reviewer_ids": sorted(ids)})

    def _merge_by_itself(self, known: Part, method: str) -> None:
        # `auto_merge` is today's word for the other one. With either, GitLab merges once the
        # pipeline has succeeded, and never before; where it knows of no pipeline yet it says 405.
        body = {
            "auto_merge": True,
            "merge_when_pipeline_succeeds": True,
            "should_remove_source_branch": True,
            "squash": method == "squash",
            "sha": known["sha"].text(),
        }
        path = f"{self._path}/{known['iid'].number()}/merge"
        patience = self._session.patience
        for attempt in range(patience.attempts):
            try:
                self._session.send("PUT", path, body)
            except Unacceptable:
                # It looks at a new merge request in the background first.
                if attempt + 1 >= patience.attempts:
                    raise
                patience.wait(attempt, None)
            else:
                return


def _no_teams() -> None:
    raise Refused("GitLab asks users for reviews, and no groups; name them in reviewers")


def _is_own(data: Part) -> bool:
    """Whether the branch is not one of a fork; a fork that was deleted has no number."""
    source = data["source_project_id"]
    return bool(source) and source.number() == data["target_project_id"].number()


def _pull_request(data: Part) -> PullRequest:
    state = _STATES.get(data["state"].text(), "closed")
    title, is_draft = data["title"].text_or(), data["draft"].flag()
    sha = data["sha"].text()
    merged = data["merge_commit_sha"].text_or() or data["squash_commit_sha"].text_or() or sha
    return PullRequest(
        number=data["iid"].number(),
        url=data["web_url"].url(),
        title=title.removeprefix(_DRAFT) if is_draft else title,
        state=state,
        head=data["source_branch"].text(),
        base=data["target_branch"].text(),
        commit=sha,
        merge_commit=merged if state == "merged" else None,
        is_draft=is_draft,
    )
