"""Bitbucket Data Center, as the documentation of its REST API says it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from tests.support.forges.server import Forge, Note, Pull, Reply, Request, Route

_TEXT = {"type": "string"}
_REF = {
    "type": "object", "required": ["id", "repository"], "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "pattern": "^refs/heads/"},
        "repository": {
            "type": "object", "required": ["slug", "project"],
            "properties": {"slug": _TEXT, "project": {"type": "object", "required": ["key"]}},
        },
    },
}  # fmt: skip
_PEOPLE = {
    "type": "array",
    "items": {
        "type": "object", "required": ["user"], "additionalProperties": False,
        "properties": {"user": {"type": "object", "required": ["name"]}},
    },
}  # fmt: skip
_COMMENT = {"type": "string", "maxLength": 32768}
_BODIES: Mapping[str, Any] = {
    "POST pull-requests": {
        "required": ["title", "fromRef", "toRef"],
        "properties": {
            "title": {"type": "string", "maxLength": 255},
            "description": {"type": "string", "maxLength": 32768},
            "fromRef": _REF, "toRef": _REF, "reviewers": _PEOPLE, "draft": {"type": "boolean"},
        },
    },
    "PUT": {
        "required": ["title", "version"],
        "properties": {
            "title": {"type": "string", "maxLength": 255},
            "description": {"type": "string", "maxLength": 32768},
            "version": {"type": "integer"}, "reviewers": _PEOPLE, "toRef": _REF,
        },
    },
    "POST participants": {
        "required": ["user", "role"],
        "properties": {"user": {"type": "object"}, "role": {"enum": ["REVIEWER"]}},
    },
    "POST comments": {"required": ["text"], "properties": {"text": _COMMENT}},
    "PUT comments": {
        "required": ["text", "version"],
        "properties": {"text": _COMMENT, "version": {"type": "integer"}},
    },
    "POST merge": {
        "required": ["version"],
        "properties": {
            "version": {"type": "integer"}, "autoMerge": {"type": "boolean"},
            "strategyId": {"enum": ["no-ff", "squash", "rebase-no-ff"]},
        },
    },
}  # fmt: skip


class Bitbucket(Forge):
    """Bitbucket. A ``version`` below 8.15 does not have auto-merge, one below 8.18 drafts."""

    prefix = "/rest"
    version = "9.4.1"

    def routes(self) -> Mapping[str, Route]:
        project, _, slug = self.repository.partition("/")
        here = f"/api/latest/projects/{project}/repos/{slug}"
        requests = f"{here}/pull-requests"
        return {
            f"GET {requests}": self._list,
            f"POST {requests}": self._open,
            f"GET {requests}/{{n}}": self._shown,
            f"PUT {requests}/{{n}}": self._edit,
            f"POST {requests}/{{n}}/participants": self._ask,
            f"POST {requests}/{{n}}/merge": self._merge,
            f"GET {here}/commits/{{sha}}/pull-requests": self._of_commit,
            f"GET {requests}/{{n}}/activities": self._activities,
            f"POST {requests}/{{n}}/comments": self._add_comment,
            f"PUT {requests}/{{n}}/comments/{{id}}": self._edit_comment,
            f"DELETE {requests}/{{n}}/comments/{{id}}": self._remove_comment,
            "GET /api/latest/application-properties": lambda _: Reply(
                200, {"version": self.version, "buildNumber": "1", "displayName": "Bitbucket"}
            ),
        }

    def unauthorized(self) -> Reply:
        return _errors(401, "Authentication failed. Please check your credentials.")

    def not_found(self) -> Reply:
        return _errors(404, f"Repository {self.repository} does not exist.")

    def moved(self, request: Request) -> Reply | None:
        """Bitbucket does not send anybody on."""
        return None

    def check(self, request: Request, reply: Reply) -> None:
        if request.body is None:
            return
        word = request.path.rpartition("/")[2]
        kind = "PUT" if request.method == "PUT" else f"{request.method} {word}"
        if "/comments/" in request.path:
            kind = "PUT comments"
        schema = {"type": "object", "additionalProperties": False, **_BODIES[kind]}
        for error in Draft202012Validator(schema).iter_errors(request.body):
            self.violations.append(f"{request.line}: {error.message}")
        if request.headers.get("x-atlassian-token") != "no-check":
            self.violations.append(f"{request.line}: XSRF check failed")

    # -- routes ------------------------------------------------------------------------------------

    def _page(self, request: Request, items: list[Any]) -> Reply:
        start, limit = int(request.query.get("start", 0)), int(request.query.get("limit", 25))
        limit = min(limit, 3)  # a server may give fewer than it is asked for
        shown = items[start : start + limit]
        is_last = start + limit >= len(items)
        following = None if is_last else start + limit
        return Reply(
            200,
            {
                "size": len(shown), "limit": limit, "start": start, "isLastPage": is_last,
                "values": shown, "nextPageStart": following,
            },
        )  # fmt: skip

    def _list(self, request: Request) -> Reply:
        self.sync()
        query = request.query
        assert (query["direction"], query["state"]) == ("OUTGOING", "ALL")
        found = [
            self._full(pull)
            for pull in reversed(self.pulls)
            if query["at"] == f"refs/heads/{pull.head}"
        ]
        return self._page(request, found)

    def _open(self, request: Request) -> Reply:
        body = request.body
        head, base = (body[key]["id"].removeprefix("refs/heads/") for key in ("fromRef", "toRef"))
        if not self.head_of(head):
            return _errors(404, f'Branch "{head}" does not exist')
        if self.is_open(head, base):
            return _errors(409, "Only one pull request may be open for a given source and target")
        pull = self.add(
            body["title"], body.get("description", ""), head, base, draft=body.get("draft", False)
        )
        return Reply(201, self._full(pull))

    def _edit(self, request: Request, number: str) -> Reply:
        pull, body = self.pull(int(number)), request.body
        if body["version"] != pull.version:
            words = "You are attempting to modify a pull request based on out-of-date information."
            return _errors(409, words)
        pull.title, pull.body = body["title"], body.get("description", "")
        pull.reviewers = [each["user"]["name"] for each in body.get("reviewers", ())]
        pull.version += 1
        return Reply(200, self._full(pull))

    def _ask(self, request: Request, number: str) -> Reply:
        pull, name = self.pull(int(number)), request.body["user"]["name"]
        if name not in self.people:
            return _errors(409, f"{name} is not a user")
        pull.reviewers.append(name)
        return Reply(200, {"user": {"name": name}, "role": "REVIEWER", "approved": False})

    def _merge(self, request: Request, number: str) -> Reply:
        pull = self.pull(int(number))
        knows_auto_merge = tuple(map(int, self.version.split(".")[:2])) >= (8, 15)
        assert knows_auto_merge, "it would be merged at once"
        assert request.body["autoMerge"]
        if request.body["version"] != pull.version:
            return _errors(409, "out-of-date")
        pull.auto_merge = request.body["strategyId"]
        return Reply(200, self._full(pull))

    def _of_commit(self, request: Request, sha: str) -> Reply:
        return self._page(request, [self._full(pull) for pull in self.brought_by(sha)])

    def _shown(self, request: Request, number: str) -> Reply:
        known = {"X-AUSERNAME": self.user} if self.names_account else {}
        return Reply(200, self._full(self.pull(int(number))), known)

    def _activities(self, request: Request, number: str) -> Reply:
        done = [
            {"id": each.id, "action": "COMMENTED", "commentAction": "ADDED",
             "comment": self._comment(each)} for each in self.notes_of(number)
        ]  # fmt: skip
        return self._page(request, [*reversed(done), {"id": 1, "action": "OPENED"}])

    def _add_comment(self, request: Request, number: str) -> Reply:
        return Reply(201, self._comment(self.note(int(number), request.body["text"])))

    def _edit_comment(self, request: Request, number: str, id: str) -> Reply:
        body = request.body
        return self.with_note(
            id, lambda note: self._outdated(note, body["version"])
            or Reply(200, self._comment(self.edited(note, body["text"]))),
        )  # fmt: skip

    def _remove_comment(self, request: Request, number: str, id: str) -> Reply:
        version = int(request.query["version"])
        return self.with_note(
            id, lambda note: self._outdated(note, version) or Reply(204, self.notes.remove(note))
        )

    def _outdated(self, note: Note, version: int) -> Reply | None:
        words = "You are attempting to modify a comment based on out-of-date information."
        return None if version == note.version else _errors(409, words)

    # -- shapes ------------------------------------------------------------------------------------

    def _full(self, pull: Pull) -> Any:
        project, _, slug = self.repository.partition("/")
        state = {"open": "OPEN", "merged": "MERGED", "closed": "DECLINED"}[pull.state]
        page = f"{self.url}/projects/{project}/repos/{slug}/pull-requests/{pull.number}"
        facts = {
            "id": pull.number,
            "version": pull.version,
            "title": pull.title,
            "description": pull.body,
            "state": state,
            "open": state == "OPEN",
            "closed": state != "OPEN",
            "draft": pull.draft,
            "fromRef": self._ref(pull.head, pull.commit),
            "toRef": self._ref(pull.base, self.head_of(pull.base)),
            "reviewers": [
                {"user": {"name": name, "slug": name}, "role": "REVIEWER", "status": "UNAPPROVED"}
                for name in pull.reviewers
            ],
            "properties": {"mergeCommit": {"id": pull.merge_commit}} if pull.merge_commit else {},
            "links": {"self": [{"href": page}]},
        }
        if tuple(map(int, self.version.split(".")[:2])) < (8, 18):
            del facts["draft"]
        return facts

    def _comment(self, note: Note) -> Any:
        author = {"name": note.author, "slug": note.author, "id": 1, "active": True}
        return {
            "id": note.id, "version": note.version, "text": note.body, "author": author,
            "comments": [], "severity": "NORMAL", "state": "OPEN",
        }  # fmt: skip

    def _ref(self, name: str, commit: str) -> Any:
        project, _, slug = self.repository.partition("/")
        return {
            "id": f"refs/heads/{name}", "displayId": name, "latestCommit": commit, "type": "BRANCH",
            "repository": {"slug": slug, "project": {"key": project}},
        }  # fmt: skip


def _errors(status: int, message: str) -> Reply:
    return Reply(
        status, {"errors": [{"context": None, "message": message, "exceptionName": "com.x.E"}]}
    )
