"""GitLab, as its documentation of the REST API says it is; python-gitlab is the other reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from jsonschema import Draft202012Validator

from tests.support.forges.server import Forge, Note, Pull, Reply, Request, Route, paged

TIME = "2026-01-02T03:04:05.000Z"
_TEXT, _NUMBER, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_BODIES: Mapping[str, Mapping[str, Any]] = {
    # https://docs.gitlab.com/api/merge_requests: "Create MR", "Update MR", "Merge a merge request"
    "POST": {
        "source_branch": _TEXT, "target_branch": _TEXT, "title": _TEXT, "description": _TEXT,
        "labels": _TEXT, "reviewer_ids": {"type": "array", "items": _NUMBER},
        "remove_source_branch": _FLAG, "squash": _FLAG,
    },
    "PUT": {
        "title": _TEXT, "description": _TEXT, "add_labels": _TEXT, "state_event": _TEXT,
        "reviewer_ids": {"type": "array", "items": _NUMBER},
    },
    "merge": {
        "auto_merge": _FLAG, "merge_when_pipeline_succeeds": _FLAG, "sha": _TEXT,
        "should_remove_source_branch": _FLAG, "squash": _FLAG,
    },
    # https://docs.gitlab.com/api/notes: "Create new merge request note", "Modify existing …"
    "notes": {"body": {"type": "string", "maxLength": 1_000_000}},
}  # fmt: skip
_REQUIRED = {"notes": ["body"], "POST": ["source_branch", "target_branch", "title"]}


class GitLab(Forge):
    """GitLab. Its pipelines start with ``has_pipeline``."""

    prefix = "/api/v4"
    has_pipeline = True

    def routes(self) -> Mapping[str, Route]:
        project = f"/projects/{quote(self.repository, safe='')}"
        requests = f"{project}/merge_requests"
        return {
            f"GET {requests}": self._list,
            f"POST {requests}": self._open,
            f"GET {requests}/{{n}}": lambda _, n: Reply(200, self._full(self.pull(int(n)))),
            f"PUT {requests}/{{n}}": self._edit,
            f"PUT {requests}/{{n}}/merge": self._merge,
            f"GET {project}/repository/commits/{{sha}}/merge_requests": self._of_commit,
            f"GET {project}": lambda _: Reply(200, self._project()),
            "GET /users": self._users,
            "GET /user": self._user,
            f"GET {requests}/{{n}}/notes": self._list_notes,
            f"POST {requests}/{{n}}/notes": self.add_comment,
            f"PUT {requests}/{{n}}/notes/{{id}}": self.edit_comment,
            f"DELETE {requests}/{{n}}/notes/{{id}}": self.remove_comment,
        }

    def _reply(self, request: Request) -> Reply:
        # A project is called by its number as well.
        by_name = request.path.replace(
            "/projects/7", f"/projects/{quote(self.repository, safe='')}"
        )
        return super()._reply(replace(request, path=by_name))

    def moved(self, request: Request) -> Reply | None:
        old, new = (quote(name or "", safe="") for name in (self.renamed_from, self.repository))
        if not old or f"/projects/{old}" not in request.path:
            return None
        # GitLab redirects only requests that read.
        if request.method != "GET":
            return self.not_found()
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in request.query.items())
        return Reply(
            301, None, {"Location": f"{self.api_url}{request.path.replace(old, new)}?{query}"}
        )

    def unauthorized(self) -> Reply:
        return Reply(401, {"message": "401 Unauthorized"})

    def not_found(self) -> Reply:
        return Reply(404, {"message": "404 Project Not Found"})

    def token_of(self, headers: Mapping[str, str]) -> str | None:
        return headers.get("private-token") or super().token_of(headers)

    def check(self, request: Request, reply: Reply) -> None:
        if request.body is None:
            return
        kind = "merge" if request.path.endswith("/merge") else request.method
        kind = "notes" if "/notes" in request.path else kind
        schema = {
            "type": "object", "properties": _BODIES[kind], "additionalProperties": False,
            "required": _REQUIRED.get(kind, []),
        }  # fmt: skip
        for error in Draft202012Validator(schema).iter_errors(request.body):
            self.violations.append(f"{request.line}: {error.message}")

    # -- routes ------------------------------------------------------------------------------------

    def _list(self, request: Request) -> Reply:
        self.sync()
        query = request.query
        found = [
            self._full(pull)
            for pull in reversed(self.pulls)
            if query.get("source_branch", pull.head) == pull.head
            and query.get("target_branch", pull.base) == pull.base
        ]
        return paged(request, found, self.api_url)

    def _open(self, request: Request) -> Reply:
        body = request.body
        if self.is_open(body["source_branch"], body["target_branch"]):
            words = "Another open merge request already exists for this source branch: !1"
            return Reply(409, {"message": [words]})
        if not self.head_of(body["source_branch"]):
            return Reply(400, {"message": {"source_branch": ["does not exist"]}})
        title = body["title"]
        pull = self.add(
            title, body.get("description", ""), body["source_branch"], body["target_branch"],
            draft=title.startswith("Draft:"),
        )  # fmt: skip
        return Reply(201, self._full(pull))

    def _edit(self, request: Request, number: str) -> Reply:
        pull, body = self.pull(int(number)), request.body
        pull.title = body.get("title", pull.title)
        pull.body = body.get("description", pull.body)
        pull.draft = pull.title.startswith("Draft:")
        pull.labels += [each for each in body.get("add_labels", "").split(",") if each]
        if "reviewer_ids" in body:
            pull.reviewers = [self.people[id - 1] for id in body["reviewer_ids"]]
        return Reply(200, self._full(pull))

    def _merge(self, request: Request, number: str) -> Reply:
        pull = self.pull(int(number))
        if request.body["sha"] != pull.commit:
            return Reply(409, {"message": "SHA does not match HEAD of source branch"})
        if not self.has_pipeline:
            return Reply(405, {"message": "405 Method Not Allowed"})
        pull.auto_merge = "squash" if request.body["squash"] else "merge"
        return Reply(200, self._full(pull))

    def _of_commit(self, request: Request, sha: str) -> Reply:
        return paged(request, [self._full(pull) for pull in self.brought_by(sha)], self.api_url)

    def _users(self, request: Request) -> Reply:
        name = request.query["username"]
        return Reply(200, [self._person(name)] if name in self.people else [])

    def _user(self, request: Request) -> Reply:
        is_told = self.names_account
        me = {"id": 99, "username": self.user, "name": self.user}
        return Reply(200, me) if is_told else Reply(403, {"message": "403 Forbidden"})

    def _list_notes(self, request: Request, number: str) -> Reply:
        assert (request.query["order_by"], request.query["sort"]) == ("created_at", "asc")
        pushed = {**self.comment(Note(1, int(number), self.user, "added 1 commit")), "system": True}
        shown = [pushed, *map(self.comment, self.notes_of(number))]
        return paged(request, shown, self.api_url)

    # -- shapes ------------------------------------------------------------------------------------

    def _full(self, pull: Pull) -> Any:
        state = "opened" if pull.state == "open" else pull.state
        return {
            "id": 100 + pull.number,
            "iid": pull.number,
            "project_id": 7,
            "source_project_id": 7,
            "target_project_id": 7,
            "title": pull.title,
            "description": pull.body,
            "state": state,
            "draft": pull.draft,
            "source_branch": pull.head,
            "target_branch": pull.base,
            "sha": pull.commit,
            "merge_commit_sha": pull.merge_commit,
            "squash_commit_sha": None,
            "merged_at": TIME if state == "merged" else None,
            "created_at": TIME,
            "updated_at": TIME,
            "labels": pull.labels,
            "author": {"id": 99, "username": self.user, "name": self.user},
            "reviewers": [self._person(name) for name in pull.reviewers],
            "merge_when_pipeline_succeeds": pull.auto_merge is not None,
            "detailed_merge_status": "mergeable",
            "web_url": f"{self.url}/{self.repository}/-/merge_requests/{pull.number}",
        }

    def comment(self, note: Note) -> Any:
        id = 99 if note.author == self.user else 98
        author = {"id": id, "username": note.author, "name": note.author}
        return {
            "id": note.id, "body": note.body, "author": author, "system": False,
            "noteable_type": "MergeRequest", "noteable_iid": note.pull,
            "created_at": TIME, "updated_at": TIME,
        }  # fmt: skip

    def _person(self, name: str) -> Any:
        return {"id": self.people.index(name) + 1, "username": name, "name": name}

    def _project(self) -> Any:
        return {"id": 7, "path_with_namespace": self.repository, "default_branch": "main"}
