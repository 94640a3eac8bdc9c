"""A forge in this process: real bare repositories over HTTP with tokens, and its API beside them.

What the four forges have in common is here; their modules beside it speak each one's API. A request
or an answer that the forge's published description does not allow is kept in ``violations``, which
the fixtures look at when a test is over.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support.git_servers import TOKEN, HttpServer, branches, git

API = "application/json"


@dataclass(frozen=True)
class Request:
    """One call of the API."""

    method: str
    path: str
    """Without the API's prefix, percent-encoded as received."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Reply:
    status: int
    data: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    drops_the_line: bool = False
    """Whether the connection ends where the answer should come."""


@dataclass
class Pull:
    """A pull request, in the form of none of the forges."""

    number: int
    title: str
    body: str
    head: str
    base: str
    state: str = "open"
    draft: bool = False
    labels: list[str] = field(default_factory=list)
    reviewers: list[str] = field(default_factory=list)
    teams: list[str] = field(default_factory=list)
    auto_merge: str | None = None
    commit: str = ""
    merge_commit: str | None = None
    version: int = 0


@dataclass
class Note:
    """A comment on a pull request."""

    id: int
    pull: int
    author: str
    body: str
    version: int = 0


Route = Callable[..., Reply]


@dataclass
class Forge(HttpServer):
    """A forge with one user, whose token opens both git and the API."""

    repository: str = "acme/gitops"
    user: str = "ann"
    people: tuple[str, ...] = ("bea", "cem")
    teams: tuple[str, ...] = ("platform",)
    labels: tuple[str, ...] = ("deployment", "ml")
    pulls: list[Pull] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    """The comments of all pull requests."""
    names_account: bool = True
    """Whether the token may ask whose it is."""
    requests: list[Request] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    answers: list[Callable[[Request], Reply | None]] = field(default_factory=list)
    """Asked before the API is; the first that has an answer takes its place."""
    renamed_from: str | None = None
    """The name that the repository had; what is asked there is sent on."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    prefix = ""
    """Where the API starts."""

    def __post_init__(self) -> None:
        self.users = dict.fromkeys(("x-access-token", self.user), TOKEN)

    @property
    def api_url(self) -> str:
        return f"{self.url}{self.prefix}"

    @property
    def bare(self) -> Path:
        return self.base / f"{self.repository}.git"

    # -- what happens at the forge without us ------------------------------------------------------

    def close(self, number: int) -> None:
        self.pull(number).state = "closed"

    def merge(self, number: int, how: str = "merge") -> str:
        """Merge as the forge's button does, and delete the branch; returns the new commit."""
        pull = self.pull(number)
        base = self.head_of(pull.base)
        tree = git("merge-tree", "--write-tree", base, pull.commit, cwd=self.bare).splitlines()[0]
        parents = ["-p", base, *(["-p", pull.commit] if how == "merge" else [])]
        title = f"{pull.title} (#{number})"
        commit = git("commit-tree", tree, *parents, "-m", title, cwd=self.bare)
        git("update-ref", f"refs/heads/{pull.base}", commit, base, cwd=self.bare)
        git("update-ref", "-d", f"refs/heads/{pull.head}", cwd=self.bare)
        pull.state, pull.merge_commit = "merged", commit
        return commit

    def rename(self, name: str) -> None:
        """Call the repository otherwise; the old name sends everybody on."""
        (self.base / f"{name}.git").parent.mkdir(parents=True, exist_ok=True)
        self.bare.rename(self.base / f"{name}.git")
        self.renamed_from, self.repository = self.repository, name

    def calls(self) -> list[str]:
        return [request.line for request in self.requests]

    # -- for the forges' own modules ---------------------------------------------------------------

    def pull(self, number: int) -> Pull:
        self.sync()
        return next(each for each in self.pulls if each.number == number)

    def sync(self) -> None:
        """Look at the branches, as a forge does after each push."""
        heads = branches(self.bare)
        for pull in self.pulls:
            if pull.state == "open":
                pull.commit = heads.get(pull.head, pull.commit)
                pull.state = "open" if pull.head in heads else "closed"

    def head_of(self, branch: str) -> str:
        return branches(self.bare).get(branch, "")

    def is_open(self, head: str, base: str) -> bool:
        self.sync()
        return any((p.head, p.base, p.state) == (head, base, "open") for p in self.pulls)

    def brought_by(self, commit: str) -> list[Pull]:
        """The pull requests that ``commit`` belongs to."""
        self.sync()
        return [p for p in self.pulls if commit in (p.commit, p.merge_commit)]

    def add(self, title: str, body: str, head: str, base: str, *, draft: bool) -> Pull:
        commit = self.head_of(head)
        pull = Pull(len(self.pulls) + 1, title, body, head, base, draft=draft, commit=commit)
        self.pulls.append(pull)
        return pull

    def note(self, pull: int, body: str, *, author: str | None = None) -> Note:
        """A new comment, by default of the user of the token."""
        id = 1 + max((each.id for each in self.notes), default=100)
        self.notes.append(Note(id, pull, author or self.user, body))
        return self.notes[-1]

    def notes_of(self, pull: str) -> list[Note]:
        return [each for each in self.notes if each.pull == int(pull)]

    def with_note(self, id: str, act: Callable[[Note], Reply]) -> Reply:
        """What ``act`` does with a comment; not found where it is gone."""
        found = [each for each in self.notes if each.id == int(id)]
        return act(found[0]) if found else self.not_found()

    def edited(self, note: Note, body: str) -> Note:
        note.body, note.version = body, note.version + 1
        return note

    def comment(self, note: Note) -> Any:
        """A comment in the forge's own form."""
        raise NotImplementedError

    def add_comment(self, request: Request, number: str) -> Reply:
        return Reply(201, self.comment(self.note(int(number), request.body["body"])))

    def edit_comment(self, request: Request, *place: str) -> Reply:
        """``place`` ends with the id of the comment."""
        body = request.body["body"]
        return self.with_note(
            place[-1], lambda note: Reply(200, self.comment(self.edited(note, body)))
        )

    def remove_comment(self, request: Request, *place: str) -> Reply:
        return self.with_note(place[-1], lambda note: Reply(204, self.notes.remove(note)))

    def token_of(self, headers: Mapping[str, str]) -> str | None:
        """The token in the request's headers, by whatever way the forge takes one."""
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            return TOKEN if self.user_in(headers.get("authorization")) else value
        return value or None

    def routes(self) -> Mapping[str, Route]:
        """``METHOD /path/{name}`` to what answers it; the names are passed on in their order."""
        raise NotImplementedError

    def unauthorized(self) -> Reply:
        raise NotImplementedError

    def not_found(self) -> Reply:
        raise NotImplementedError

    def moved(self, request: Request) -> Reply | None:
        """Where the repository's old name is asked for."""
        old = self.renamed_from
        if old is None or f"/{old}" not in request.path:
            return None
        path = request.path.replace(f"/{old}", f"/{self.repository}", 1)
        query = "&".join(f"{key}={value}" for key, value in request.query.items())
        location = f"{self.api_url}{path}{f'?{query}' if query else ''}"
        status = 301 if request.method == "GET" else 307
        return Reply(status, {"message": "Moved"}, {"Location": location})

    def check(self, request: Request, reply: Reply) -> None:
        """Note in ``violations`` what the forge's description does not allow."""

    # -- HTTP --------------------------------------------------------------------------------------

    def api(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Reply | None:
        """The API's answer; ``None`` where it is git that is spoken."""
        parts = urlsplit(target)
        if self.renamed_from and parts.path == f"/{self.renamed_from}.git/info/refs":
            location = f"{self.url}/{self.repository}.git/info/refs?{parts.query}"
            return Reply(301, None, {"Location": location})
        if not parts.path.startswith(self.prefix) or "/info/refs" in parts.path:
            return None
        data = json.loads(body) if body else None
        lowered = {name.lower(): value for name, value in headers.items()}
        path = parts.path[len(self.prefix) :]
        request = Request(method, path, dict(parse_qsl(parts.query)), lowered, data)
        with self.lock:
            self.requests.append(request)
            reply = self._reply(request)
            if not reply.drops_the_line:
                self.check(request, reply)
        return reply

    def _reply(self, request: Request) -> Reply:
        for answer in self.answers:
            if (reply := answer(request)) is not None:
                return reply
        if self.token_of(request.headers) != TOKEN:
            return self.unauthorized()
        if (moved := self.moved(request)) is not None:
            return moved
        for pattern, route in self.routes().items():
            method, _, path = pattern.partition(" ")
            expression = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
            match = re.fullmatch(expression, request.path)
            if match and method == request.method:
                return route(request, *map(unquote, match.groups()))
        return self.not_found()


def paged(request: Request, items: list[Any], url: str, *, size: str = "per_page") -> Reply:
    """A page of a list, with the link to the next one (RFC 8288)."""
    per_page = min(int(request.query.get(size, 30)), 100)
    page = int(request.query.get("page", 1))
    shown = items[(page - 1) * per_page : page * per_page]
    if page * per_page >= len(items):
        return Reply(200, shown)
    query = {**request.query, "page": str(page + 1)}
    target = "&".join(f"{key}={value}" for key, value in query.items())
    return Reply(200, shown, {"Link": f'<{url}{request.path}?{target}>; rel="next"'})


def protect(bare: Path, pattern: str, message: str) -> None:
    """Have the server refuse every push to a branch, with ``message``."""
    hook = bare / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\ncase "$1" in {pattern}) echo "{message}" >&2; exit 1;; esac\n')
    hook.chmod(0o755)
