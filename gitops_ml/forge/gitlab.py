"""Pull requests at GitLab, which calls them merge requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from gitops_ml.errors import Refused
from gitops_ml.forge.api_session import ForgeSession, Unacceptable
from gitops_ml.forge.own_comment import Comment, CommentPage
from gitops_ml.forge.protocol import Extra, Forge
from gitops_ml.forge.pull_request import Proposal, PullRequest, newest
from gitops_ml.http.json_reader import Part

_STATES = {"opened": "open", "locked": "open", "merged": "merged", "closed": "closed"}


class GitLab(Forge):
    """gitlab.com and GitLab's own servers."""

    _edit_method = "PUT"
    _body_field = "description"
    _draft_mark = "Draft: "

    def __init__(self, session: ForgeSession) -> None:
        self._project = f"/projects/{quote(session.address.repository, safe='')}"
        super().__init__(session, pulls=f"{self._project}/merge_requests")

    def find(self, *, head: str, base: str) -> PullRequest | None:
        found = self.session.get(
            self._pulls, source_branch=head, target_branch=base, state="all",
            order_by="created_at", sort="desc", per_page=100,
        )  # fmt: skip
        # Forks may have a branch of the same name.
        return newest(self._parse(each) for each in found if not _is_of_fork(each))

    def comments(self, number: int) -> CommentPage:
        return GitLabNotes(self.session, f"{self._pulls}/{number}/notes")

    def _new_fields(self, proposal: Proposal) -> Mapping[str, Any]:
        return {
            "source_branch": proposal.head,
            "target_branch": proposal.base,
            "title": f"{self._draft_mark if proposal.is_draft else ''}{proposal.title}",
            "description": proposal.body,
            "remove_source_branch": True,
        }

    def _with_commit(self, commit: str) -> Iterable[Part]:
        path = f"{self._project}/repository/commits/{commit}/merge_requests"
        return self.session.get(path, per_page=100)

    @classmethod
    def _parse(cls, data: Part) -> PullRequest:
        state = _STATES.get(data["state"].text(), "closed")
        title, is_draft = data["title"].text_or(), data["draft"].flag()
        sha = data["sha"].text()
        merged = data["merge_commit_sha"].text_or() or data["squash_commit_sha"].text_or() or sha
        return PullRequest(
            number=data["iid"].number(),
            url=data["web_url"].url(),
            title=title.removeprefix(cls._draft_mark) if is_draft else title,
            state=state,
            head=data["source_branch"].text(),
            base=data["target_branch"].text(),
            commit=sha,
            merge_commit=merged if state == "merged" else None,
            is_draft=is_draft,
        )

    def _extras(self, known: Part, proposal: Proposal) -> Iterator[Extra]:
        path = f"{self._pulls}/{known['iid'].number()}"
        labels = {each.text() for each in known["labels"].items()}
        if missing := [each for each in proposal.labels if each not in labels]:
            body = {"add_labels": ",".join(missing)}
            yield (
                f"the labels {', '.join(missing)}",
                partial(self.session.send, "PUT", path, body),
            )
        requested = {
            each["username"].text().lower(): each["id"].number()
            for each in known["reviewers"].items()
        }
        if missing := [each for each in proposal.reviewers if each.lower() not in requested]:
            ids = set(requested.values())
            for name in missing:
                yield f"the review of {name}", partial(self._add_reviewer, path, name, ids)
        for team in proposal.teams:
            yield f"the review of {team}", _no_teams
        if proposal.auto_merge and not known["merge_when_pipeline_succeeds"].flag():
            yield "auto-merge", partial(self._auto_merge, known, proposal.merge_method)

    def _add_reviewer(self, path: str, name: str, ids: set[int]) -> None:
        """Add ``name`` to the reviewers in ``ids``: GitLab takes the whole list."""
        found = [*self.session.get("/users", username=name)]
        if not found:
            raise Refused(f"{self.session.address.host} has no user {name!r}")
        ids.add(found[0]["id"].number())
        self.session.send("PUT", path, {"reviewer_ids": sorted(ids)})

    def _auto_merge(self, known: Part, method: str) -> None:
        # `auto_merge` replaces the older name below it. With either, GitLab merges once the
        # pipeline has succeeded, and never before; without a pipeline it answers 405.
        body = {
            "auto_merge": True,
            "merge_when_pipeline_succeeds": True,
            "should_remove_source_branch": True,
            "squash": method == "squash",
            "sha": known["sha"].text(),
        }
        path = f"{self._pulls}/{known['iid'].number()}/merge"
        patience = self.session.patience
        for attempt in range(patience.attempts):
            try:
                self.session.send("PUT", path, body)
            except Unacceptable:
                # GitLab checks a new merge request in the background first.
                if attempt + 1 >= patience.attempts:
                    raise
                patience.wait(attempt, None)
            else:
                return


class GitLabNotes(CommentPage):
    """The notes of a merge request."""

    limit = 1_000_000

    def account(self) -> str | None:
        try:
            return str(self.session.get("/user")["id"].number())
        except Refused:
            return None

    def listed(self) -> Iterable[Comment]:
        found = self.session.pages(self._path, per_page=100, order_by="created_at", sort="asc")
        return (self._parse(each) for each in found if not each["system"].flag())

    @staticmethod
    def _parse(data: Part) -> Comment:
        author = str(data["author"]["id"].number()) if data["author"] else ""
        return Comment(id=data["id"].number(), author=author, body=data["body"].text_or())


def _no_teams() -> None:
    raise Refused("reviewers at GitLab are users, not groups; name the users in reviewers")


def _is_of_fork(data: Part) -> bool:
    """Whether the branch belongs to a fork; a fork that was deleted has no number."""
    source = data["source_project_id"]
    return not source or source.number() != data["target_project_id"].number()
