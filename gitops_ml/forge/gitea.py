"""Pull requests at Gitea and Forgejo, such as Codeberg."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

from gitops_ml.errors import Refused
from gitops_ml.forge.api_session import ForgeSession, NotThere, Unacceptable
from gitops_ml.forge.github import GitHub, GitHubComments
from gitops_ml.forge.own_comment import CommentPage
from gitops_ml.forge.protocol import Extra
from gitops_ml.forge.pull_request import Proposal, PullRequest, newest
from gitops_ml.http.json_reader import Part

_DRAFTS = ("WIP:", "[WIP]", "DRAFT:")
_LABEL_COLOR = "#ededed"
_PAGE = 50
_MOST_CLOSED = 2 * _PAGE
"""How many closed pull requests are searched, the latest first."""
_SECONDS_FOR_A_PUSH = 30
"""How long Gitea may take for the first push to a repository."""


class Gitea(GitHub):
    """Gitea and Forgejo, whose API is GitHub's but for what this class states."""

    _draft_mark = "WIP: "
    _teams = ("requested_reviewers_teams", "name")

    def _prepare(self, session: ForgeSession) -> None:
        session.scheme, session.takes_passwords = "token", True

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
        for each in islice(self._all(state), most):
            ends = each["head"], each["base"]
            is_own = ends[0]["repo_id"].value == ends[1]["repo_id"].value
            if is_own and tuple(end["ref"].text_or() for end in ends) == (head, base):
                yield self._parse(each)

    def _all(self, state: str) -> Iterator[Part]:
        pages = partial(
            self.session.pages, self._pulls, state=state, sort="recentupdate", limit=_PAGE
        )
        found = pages()
        try:
            first = next(found, None)
        except NotThere:
            self._await_pull_requests()
            found = pages()
            first = next(found, None)
        if first is not None:
            yield first
            yield from found

    def _await_pull_requests(self) -> None:
        """Wait until Gitea has processed the first push: an empty repository has no pull requests."""
        address = self.session.address
        name = f"{address.host} has no pull requests for {address.repository}"
        for _ in range(_SECONDS_FOR_A_PUSH):
            known = self.session.get(self._path)
            if not known["has_pull_requests"].flag() and not known["empty"].flag():
                raise Refused(
                    f"{name}: they are off in its settings. Turn them on, or push without them "
                    "(`delivery: push`)"
                )
            if not known["empty"].flag():
                return
            self.session.patience.sleep(1)
        raise Refused(
            f"{name}: it counts as empty {_SECONDS_FOR_A_PUSH} seconds after the push, which is not processed yet. "
            "The branch is there; run the command again"
        )

    def comments(self, number: int) -> CommentPage:
        return GiteaComments(self.session, f"{self._path}/issues", number)

    def _new_fields(self, proposal: Proposal) -> Mapping[str, Any]:
        return {
            "head": proposal.head,
            "base": proposal.base,
            "title": f"{self._draft_mark if proposal.is_draft else ''}{proposal.title}",
            "body": proposal.body,
        }

    def _with_commit(self, commit: str) -> Iterable[Part]:
        return (self.session.get(f"{self._path}/commits/{commit}/pull"),)

    @staticmethod
    def _is_merged(data: Part) -> bool:
        return data["merged"].flag()

    @staticmethod
    def _is_draft(data: Part) -> bool:
        return data["draft"].flag() or data["title"].text_or().upper().startswith(_DRAFTS)

    def _label_extras(self, number: int, labels: list[str]) -> Iterator[Extra]:
        for label in labels:
            yield f"the label {label}", partial(self._add_label, number, label)

    def _add_label(self, number: int, name: str) -> None:
        """The API takes a label's number; a label that does not exist is created, as on other forges."""
        found = self._label_in(f"{self._path}/labels", name) or self._label_of_owner(name)
        id = found or self._new_label(name)
        self.session.send("POST", f"{self._path}/issues/{number}/labels", {"labels": [id]})

    def _label_in(self, path: str, name: str) -> int | None:
        """The number of a label in a list."""
        found = self.session.pages(path, limit=_PAGE)
        return next((each["id"].number() for each in found if each["name"].text_or() == name), None)

    def _label_of_owner(self, name: str) -> int | None:
        """The number of an organization's label; `None` for a person, or for a token without
        `read:organization`, which nothing else needs."""
        try:
            return self._label_in(f"/orgs/{self._owner}/labels", name)
        except Refused:
            return None

    def _new_label(self, name: str) -> int:
        body = {"name": name, "color": _LABEL_COLOR}
        try:
            return self.session.send("POST", f"{self._path}/labels", body)["id"].number()
        except Refused as error:
            raise Refused(
                f"the repository has no label {name!r}, and the forge does not let this token create "
                f"it: {error}"
            ) from error

    def _merge_extras(self, known: Part, method: str) -> Iterator[Extra]:
        number = known["number"].number()
        body = {
            "Do": method,
            "merge_when_checks_succeed": True,
            "head_commit_id": known["head"]["sha"].text(),
        }
        yield "auto-merge", partial(self._schedule_merge, number, body)

    def _schedule_merge(self, number: int, body: Mapping[str, Any]) -> None:
        try:
            self.session.send("POST", f"{self._pulls}/{number}/merge", body)
        except Unacceptable as error:
            # 409: an earlier run has scheduled it.
            if "already scheduled" not in str(error):
                raise


class GiteaComments(GitHubComments):
    """The comments of a pull request at Gitea, whose list has no pages."""

    _size: Mapping[str, int] = {}

    def _viewer(self) -> str | None:
        """There is no GraphQL; a token without `read:user` does not say whose it is."""
        return None
