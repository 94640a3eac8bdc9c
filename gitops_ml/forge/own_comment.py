"""Keep one comment of ours on a pull request: found by its marker and author, updated in place.

A comment of ours starts with a hidden line that has the marker. Anybody can copy that line, so only
comments of the account of the token count. Of several, which runs at the same time may write, the one
with the lowest id stays: every run removes the others, so all runs arrive at the same comment.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from gitops_ml.documents.markdown import unfolded
from gitops_ml.errors import ServerFailed, UsageError
from gitops_ml.forge.api_session import ForgeSession, NotThere
from gitops_ml.http.json_reader import Part

CHECK = "check"
"""The marker of the comment that `gitops-ml check` writes."""
CHECK_LINE = f"<!-- gitops-ml: {CHECK} -->"
"""The hidden line of that comment, for a text that another tool posts and updates."""
_MARKER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MARKER_LINE = re.compile(r"\A\s*<!-- gitops-ml: [a-z0-9-]+ -->[ \t]*\n")
_ATTEMPTS = 4
_CUT = "\n\n… the rest is left out: the forge takes at most {} characters in a comment.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A comment on a pull request."""

    id: int
    author: str
    """The name or id of the account, as `CommentPage.account` has it."""
    body: str
    url: str = ""
    """Its web page, if the forge names it."""
    version: int = 0
    """For forges that count changes."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a comment."""

    comment: Comment
    action: str
    """``created``, ``updated`` or ``unchanged``."""
    removed: int = 0
    """Second comments of ours, which are gone now."""


class CommentPage(ABC):
    """The comments of one pull request at one forge."""

    limit = 65536
    """Characters that the forge takes in one comment."""
    hidden = "<!-- {} -->"
    """A line that the forge's page does not show."""
    shows_html = True
    """Whether ``<details>`` folds; else it would be shown as text."""

    _edit_method = "PUT"
    _field = "body"
    """The field of the text."""

    def __init__(self, session: ForgeSession, path: str, *, each: str = "") -> None:
        """``path`` is that of the list; ``each`` that of one without its id, where it is another one."""
        self.session, self._path, self._each = session, path, each or path

    @abstractmethod
    def account(self) -> str | None:
        """The account of the token; ``None`` where the forge does not say."""

    @abstractmethod
    def listed(self) -> Iterable[Comment]:
        """All comments, in any order."""

    def create(self, body: str) -> Comment:
        return self._parse(self.session.send("POST", self._path, {self._field: body}))

    def edit(self, comment: Comment, body: str) -> Comment:
        """Raises: NotThere where it was deleted meanwhile."""
        fields = {self._field: body}
        path = f"{self._each}/{comment.id}"
        return self._parse(self.session.send(self._edit_method, path, fields))

    def remove(self, comment: Comment) -> None:
        """Raises: NotThere where it was deleted meanwhile."""
        self.session.send("DELETE", f"{self._each}/{comment.id}")

    @staticmethod
    @abstractmethod
    def _parse(data: Part) -> Comment:
        """The comment in the forge's answer."""


def upsert(page: CommentPage, marker: str, body: str) -> Posted:
    """The one comment of ours with ``marker``, which has ``body`` now."""
    if not _MARKER.fullmatch(marker):
        raise UsageError(
            f"{marker!r} is not a marker of comments: use lower-case letters, digits and dashes"
        )
    line = page.hidden.format(f"gitops-ml: {marker}")
    body = body if page.shows_html else unfolded(body)
    text = _within(f"{line}\n\n{without_marker(body).strip()}\n", page.limit)
    account = page.account()
    created = None if account and _ours(page, account, line) else page.create(text)
    account = created.author if created else account or ""
    for _ in range(_ATTEMPTS):
        # Listed again after creating: another run may have created one meanwhile.
        found = _ours(page, account, line)
        if not found and created:
            return Posted(created, "created")
        if not found:
            created = page.create(text)
            account = created.author
            continue
        try:
            return _settled(page, found, text, created)
        except NotThere:
            # A person or another run deleted the comment that would be updated.
            continue
    raise ServerFailed("the comment on the pull request was deleted again and again: try again")


def without_marker(body: str) -> str:
    """A report without the hidden line that it may start with; each forge has its own form of it."""
    return _MARKER_LINE.sub("", body)


def _settled(page: CommentPage, found: list[Comment], text: str, created: Comment | None) -> Posted:
    first, *others = found
    is_new = created is not None and created.id == first.id
    is_equal = plain(first.body) == plain(text)
    kept = first if is_equal else page.edit(first, text)
    for each in others:
        _remove(page, each)
    action = "created" if is_new else "unchanged" if is_equal else "updated"
    return Posted(kept, action, len(others))


def _remove(page: CommentPage, comment: Comment) -> None:
    try:
        page.remove(comment)
    except NotThere:
        return


def _ours(page: CommentPage, account: str, line: str) -> list[Comment]:
    """The comments of ``account`` that start with ``line``, the oldest first.

    A comment that is written between two pages of the list moves others to the next page, where they come again: each
    counts once, or it would be removed as a second one.
    """
    found = {each.id: each for each in page.listed() if each.author == account}
    return [found[id] for id in sorted(found) if plain(found[id].body).startswith(line)]


def _within(text: str, limit: int) -> str:
    """``text``, cut at the end of a line where it is too long."""
    if len(text) <= limit:
        return text
    note = _CUT.format(f"{limit:,}")
    return text[: limit - len(note)].rpartition("\n")[0] + note


def plain(text: str) -> str:
    """A text without what forges change in it: line ends, and white space around it."""
    return text.replace("\r\n", "\n").strip()
