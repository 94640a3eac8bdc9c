"""GitHub Enterprise as its REST description says it is; every request and answer is checked with it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openapi_core import Config, OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

from tests.support.forges.server import Forge, Note, Pull, Reply, Request, Route, paged

_SPEC = Path(__file__).parent / "specs" / "github.json"
_HOST = "http://forge.test"
_ALWAYS_POSSIBLE = (301, 307, 401, 403, 404, 429, 500, 502, 503)
"""Answers that the description does not repeat for each path."""
TIME = "2026-01-02T03:04:05Z"


@functools.cache
def specification() -> Any:
    return json.loads(_SPEC.read_text())


@functools.cache
def description() -> OpenAPI:
    # The description is trimmed and known to be sound; checking itself takes a second.
    return OpenAPI.from_dict(specification(), config=Config(spec_validator_cls=None))


def filled(schema: Any) -> Any:
    """The least that a schema of the description allows."""
    if "$ref" in schema:
        return filled(specification()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return filled(schema[key][0])
    if "allOf" in schema:
        return {key: value for each in schema["allOf"] for key, value in filled(each).items()}
    if schema.get("nullable"):
        return None
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: filled(properties[name]) for name in schema.get("required", ())}
        case "array":
            return []
        case "boolean":
            return False
        case "integer" | "number":
            return 0
    return TIME if schema.get("format") == "date-time" else "http://forge.test/x"


def shape(name: str) -> Any:
    return filled({"$ref": f"#/components/schemas/{name}"})


class GitHub(Forge):
    prefix = "/api/v3"
    scopes = "repo, read:org"

    def api(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Reply | None:
        if target.startswith("/api/graphql"):
            target = f"{self.prefix}/graphql"
        return super().api(method, target, headers, body)

    def routes(self) -> Mapping[str, Route]:
        pulls, issues = (f"/repos/{self.repository}/{each}" for each in ("pulls", "issues"))
        return {
            f"GET {pulls}": self._list,
            f"POST {pulls}": self._open,
            f"GET {pulls}/{{n}}": lambda _, n: self._shown(n),
            f"PATCH {pulls}/{{n}}": self._edit,
            f"POST {pulls}/{{n}}/requested_reviewers": self._ask,
            f"POST /repos/{self.repository}/issues/{{n}}/labels": self._label,
            f"GET /repos/{self.repository}/commits/{{sha}}/pulls": self._of_commit,
            f"GET /repos/{self.repository}": lambda _: Reply(200, self._repository()),
            "POST /graphql": self._graphql,
            "GET /user": self._user,
            f"GET {issues}/{{n}}/comments": self._comments,
            f"POST {issues}/{{n}}/comments": self._add_comment,
            f"PATCH {issues}/comments/{{id}}": self.edit_comment,
            f"DELETE {issues}/comments/{{id}}": self.remove_comment,
        }

    def unauthorized(self) -> Reply:
        return Reply(401, {"message": "Bad credentials", "documentation_url": "https://docs"})

    def not_found(self) -> Reply:
        return Reply(404, {"message": "Not Found", "documentation_url": "https://docs"})

    def check(self, request: Request, reply: Reply) -> None:
        if request.path == "/graphql":
            return
        asked = MockRequest(
            _HOST, request.method.lower(), request.path, args=dict(request.query),
            headers=dict(request.headers),
            data=json.dumps(request.body).encode() if request.body is not None else b"",
        )  # fmt: skip
        response = MockResponse(json.dumps(reply.data).encode(), reply.status, dict(reply.headers))
        try:
            description().validate_request(asked)
            if reply.status not in _ALWAYS_POSSIBLE:
                description().validate_response(asked, response)
        except OpenAPIError as error:
            found = getattr(error.__cause__, "schema_errors", ()) or (error,)
            words = [f"{list(getattr(e, 'path', ()))} {str(e)[:200]}" for e in found]
            self.violations.append(f"{request.line} ({reply.status}): {words}")

    # -- routes ------------------------------------------------------------------------------------

    def _list(self, request: Request) -> Reply:
        self.sync()
        query = request.query
        states = {"open": ("open",), "closed": ("closed", "merged")}.get(
            query.get("state", "open"), ("open", "closed", "merged")
        )
        owner = self.repository.partition("/")[0]
        found = [
            self._simple(pull)
            for pull in reversed(self.pulls)
            if pull.state in states
            and query.get("head", f"{owner}:{pull.head}") == f"{owner}:{pull.head}"
            and query.get("base", pull.base) == pull.base
        ]
        return paged(request, found, self.api_url)

    def _open(self, request: Request) -> Reply:
        body = request.body
        owner = self.repository.partition("/")[0]
        for key in ("head", "base"):
            if not self.head_of(body[key]):
                return _invalid({"resource": "PullRequest", "field": key, "code": "invalid"})
        if self.head_of(body["head"]) == self.head_of(body["base"]):
            return _invalid(
                {
                    "resource": "PullRequest",
                    "code": "custom",
                    "message": f"No commits between {body['base']} and {body['head']}",
                }
            )
        if self.is_open(body["head"], body["base"]):
            words = f"A pull request already exists for {owner}:{body['head']}."
            return _invalid({"resource": "PullRequest", "code": "custom", "message": words})
        pull = self.add(
            body["title"], body.get("body") or "", body["head"], body["base"],
            draft=body.get("draft", False),
        )  # fmt: skip
        return Reply(201, self._full(pull))

    def _shown(self, number: str) -> Reply:
        return Reply(200, self._full(self.pull(int(number))))

    def _edit(self, request: Request, number: str) -> Reply:
        pull = self.pull(int(number))
        pull.title = request.body.get("title", pull.title)
        pull.body = request.body.get("body", pull.body)
        return Reply(200, self._full(pull))

    def _ask(self, request: Request, number: str) -> Reply:
        pull = self.pull(int(number))
        users, teams = request.body.get("reviewers", []), request.body.get("team_reviewers", [])
        if self.user in users:
            return _error(422, "Review cannot be requested from pull request author.")
        if not {*users} <= {*self.people} or not {*teams} <= {*self.teams}:
            return _error(422, "Reviews may only be requested from collaborators.")
        pull.reviewers += users
        pull.teams += teams
        return Reply(201, self._simple(pull))

    def _label(self, request: Request, number: str) -> Reply:
        pull = self.pull(int(number))
        pull.labels += [name for name in request.body["labels"] if name not in pull.labels]
        return Reply(200, [self._a_label(name) for name in pull.labels])

    def _of_commit(self, request: Request, sha: str) -> Reply:
        return Reply(200, [self._simple(pull) for pull in self.brought_by(sha)])

    def _user(self, request: Request) -> Reply:
        if not self.names_account:
            return _error(403, "Resource not accessible by integration")
        return Reply(200, self._person(self.user))

    def _comments(self, request: Request, number: str) -> Reply:
        shown = [self.comment(each) for each in self.notes_of(number)]
        return paged(request, shown, self.api_url)

    def _add_comment(self, request: Request, number: str) -> Reply:
        if not self.pull(int(number)) or len(request.body["body"]) > 65536:
            return _invalid({"resource": "IssueComment", "field": "body", "code": "too_long"})
        return self.add_comment(request, number)

    def comment(self, note: Note) -> Any:
        return {
            **shape("issue-comment"), "id": note.id, "body": note.body,
            "user": self._person(note.author),
            "html_url": f"{self.url}/{self.repository}/pull/{note.pull}#issuecomment-{note.id}",
        }  # fmt: skip

    def _graphql(self, request: Request) -> Reply:
        if "viewer" in request.body["query"]:
            return Reply(200, {"data": {"viewer": {"login": self.user}}})
        variables = request.body["variables"]
        if "enablePullRequestAutoMerge" not in request.body["query"]:
            return Reply(200, {"errors": [{"message": "Field does not exist"}]})
        pull = next(p for p in self.pulls if f"PR_{p.number}" == variables["id"])
        pull.auto_merge = variables["method"].lower()
        return Reply(200, {"data": {"enablePullRequestAutoMerge": {"clientMutationId": None}}})

    # -- shapes ------------------------------------------------------------------------------------

    def _simple(self, pull: Pull) -> Any:
        return {**shape("pull-request-simple"), **self._facts(pull)}

    def _full(self, pull: Pull) -> Any:
        return {**shape("pull-request"), **self._facts(pull), "merged": pull.state == "merged"}

    def _facts(self, pull: Pull) -> dict[str, Any]:
        is_merged = pull.state == "merged"
        how = {"enabled_by": self._person(self.user), "merge_method": pull.auto_merge}
        url = f"{self.api_url}/repos/{self.repository}/pulls/{pull.number}"
        return {
            "number": pull.number,
            "node_id": f"PR_{pull.number}",
            "url": url,
            "html_url": f"{self.url}/{self.repository}/pull/{pull.number}",
            "title": pull.title,
            "body": pull.body,
            "state": "open" if pull.state == "open" else "closed",
            "draft": pull.draft,
            "user": self._person(self.user),
            "labels": [self._a_label(name) for name in pull.labels],
            "requested_reviewers": [self._person(name) for name in pull.reviewers],
            "requested_teams": [{**shape("team"), "slug": t, "name": t} for t in pull.teams],
            "head": self._ref(pull.head, pull.commit),
            "base": self._ref(pull.base, self.head_of(pull.base)),
            "merged_at": TIME if is_merged else None,
            # Of an open one: the merge that GitHub makes to see whether there are conflicts.
            "merge_commit_sha": pull.merge_commit or "0" * 40,
            "auto_merge": {**how, "commit_title": "", "commit_message": ""}
            if pull.auto_merge
            else None,
        }

    def _ref(self, name: str, commit: str) -> Any:
        owner = self.repository.partition("/")[0]
        return {
            "label": f"{owner}:{name}",
            "ref": name,
            "sha": commit,
            "repo": self._repository(),
            "user": self._person(owner),
        }

    def _repository(self) -> Any:
        owner, _, name = self.repository.partition("/")
        full = {**shape("repository"), **shape("full-repository")}
        url = f"{self.api_url}/repos/{self.repository}"
        return {
            **full, "name": name, "full_name": self.repository, "owner": self._person(owner),
            "url": url,
        }  # fmt: skip

    def _person(self, name: str) -> Any:
        return {**shape("simple-user"), "login": name, "url": f"{self.api_url}/users/{name}"}

    def _a_label(self, name: str) -> Any:
        return {**shape("label"), "name": name, "color": "ededed", "description": ""}


def limited(request: Request) -> Reply:
    """GitHub's answer to those who ask too often."""
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9999999999"}
    return Reply(403, {"message": "API rate limit exceeded for user ID 1."}, headers)


def _invalid(error: Mapping[str, Any]) -> Reply:
    return Reply(
        422,
        {"message": "Validation Failed", "errors": [error], "documentation_url": "https://docs"},
    )


def _error(status: int, message: str) -> Reply:
    return Reply(status, {"message": message, "documentation_url": "https://docs"})
