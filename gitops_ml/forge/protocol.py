"""Open, update and find pull requests of one repository: what all forges have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from gitops_ml.errors import GitopsMlError
from gitops_ml.forge.api_session import ForgeSession, NotThere, Unacceptable
from gitops_ml.forge.own_comment import CommentPage, Posted, plain, upsert
from gitops_ml.forge.pull_request import Proposal, PullRequest
from gitops_ml.http.json_reader import Part

Extra = tuple[str, Callable[[], object]]
"""A label, a reviewer or auto-merge: its name, which follows "without" in a warning, and the call that
sets it."""


class Forge(ABC):
    """The pull requests of one repository at GitHub, GitLab, Gitea, Bitbucket, …

    A forge is a subclass that states its paths, its fields and how to ask for labels, reviewers and
    auto-merge.
    """

    _edit_method = "PATCH"
    """The HTTP method that changes some fields of a pull request."""
    _body_field = "body"
    """The field of the description."""
    _draft_mark = ""
    """The start of a draft's title, where the title is what makes it a draft."""

    def __init__(self, session: ForgeSession, *, pulls: str) -> None:
        self.session = session
        self._pulls = pulls
        """The path of the repository's pull requests; each is at ``<pulls>/<number>``."""

    @abstractmethod
    def find(self, *, head: str, base: str) -> PullRequest | None:
        """The newest pull request from ``head`` to ``base``: the open one if there is one."""

    def open(self, proposal: Proposal) -> PullRequest:
        """Open a pull request; one that is already open is updated instead."""
        if found := self._find_open(head=proposal.head, base=proposal.base):
            return self.update(found, proposal)
        try:
            made = self.session.send("POST", self._pulls, self._new_fields(proposal))
        except Unacceptable:
            # Another run may have opened it since the look above.
            if (found := self._find_open(head=proposal.head, base=proposal.base)) is None:
                raise
            return self.update(found, proposal)
        return self._with_extras(made, proposal)

    def update(self, pull_request: PullRequest, proposal: Proposal) -> PullRequest:
        """Give an open pull request the content of ``proposal``; what is equal is not sent."""
        known = self._read(pull_request.number)
        fields = self._text_fields(proposal, known)
        if not all(plain(known[key].text_or()) == plain(text) for key, text in fields.items()):
            known = self._edit(pull_request.number, fields)
        return self._with_extras(known, proposal)

    def get(self, number: int) -> PullRequest:
        """The pull request as it is now."""
        return self._parse(self._read(number))

    def of_commit(self, commit: str) -> tuple[PullRequest, ...]:
        """The pull requests that brought ``commit`` (hex id) to the branch; the newest first."""
        try:
            found = [*self._with_commit(commit)]
        except (NotThere, Unacceptable):
            return ()
        return tuple(sorted(map(self._parse, found), key=lambda each: -each.number))

    def upsert_comment(self, number: int, marker: str, body: str) -> Posted:
        """Give the pull request one comment of ours with this ``marker``; it is updated in place."""
        return upsert(self.comments(number), marker, body)

    @abstractmethod
    def comments(self, number: int) -> CommentPage:
        """The comments of a pull request."""

    def _with_extras(self, known: Part, proposal: Proposal) -> PullRequest:
        """The pull request, with a warning for each extra that the forge refused.

        A pull request without its labels and reviewers is still useful.
        """
        found, warnings = self._parse(known), []
        for what, act in self._extras(known, proposal):
            try:
                act()
            except GitopsMlError as error:
                warnings.append(f"{found.url} is open, but without {what}: {error}")
        return replace(found, warnings=tuple(warnings))

    def _find_open(self, *, head: str, base: str) -> PullRequest | None:
        found = self.find(head=head, base=base)
        return found if found and found.is_open else None

    def _read(self, number: int) -> Part:
        return self.session.get(f"{self._pulls}/{number}")

    def _edit(self, number: int, fields: Mapping[str, str]) -> Part:
        return self.session.send(self._edit_method, f"{self._pulls}/{number}", fields)

    @abstractmethod
    def _new_fields(self, proposal: Proposal) -> Mapping[str, Any]:
        """The body of the request that opens a pull request."""

    def _text_fields(self, proposal: Proposal, known: Part) -> Mapping[str, str]:
        """Title and description as the fields of the pull request ``known``."""
        mark = self._draft_mark if self._parse(known).is_draft else ""
        return {"title": f"{mark}{proposal.title}", self._body_field: proposal.body}

    @abstractmethod
    def _extras(self, known: Part, proposal: Proposal) -> Iterator[Extra]:
        """Labels, reviewers and auto-merge that ``proposal`` wants and ``known`` does not have."""

    @abstractmethod
    def _with_commit(self, commit: str) -> Iterable[Part]:
        """The pull requests that contain a commit."""

    @staticmethod
    @abstractmethod
    def _parse(data: Part) -> PullRequest:
        """The pull request in the forge's answer."""
