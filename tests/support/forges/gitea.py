"""Gitea; every request and answer is checked with the parts of its description that we speak."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.support.forges.server import Forge, Note, Pull, Reply, Request, Route, paged

TIME = "2026-01-02T03:04:05Z"
_REQUESTS = {
    "POST pulls": "CreatePullRequestOption",
    "PATCH pulls": "EditPullRequestOption",
    "POST labels": "CreateLabelOption",
    "POST requested_reviewers": "PullReviewRequestOptions",
    "POST merge": "MergePullRequestOption",
    "POST comments": "CreateIssueCommentOption",
    "PATCH comments": "EditIssueCommentOption",
}
_ANSWERS = {
    "GET pulls": "PullRequest",
    "POST pulls": "PullRequest",
    "PATCH pulls": "PullRequest",
    "GET pull": "PullRequest",
    "GET labels": "Label",
    "POST labels": "Label",
    "POST requested_reviewers": "PullReview",
    "GET comments": "Comment",
    "POST comments": "Comment",
    "PATCH comments": "Comment",
}


@functools.cache
def specification() -> Any:
    return json.loads((Path(__file__).parent / "specs" / "gitea.json").read_text())


def schema(name: str) -> Any:
    return specification()["$defs"][name]


@functools.cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({**specification(), "$ref": f"#/$defs/{name}"})


class Gitea(Forge):
    prefix = "/api/v1"

    def routes(self) -> Mapping[str, Route]:
        here = f"/repos/{self.repository}"
        return {
            f"GET {here}/pulls": self._list,
            f"POST {here}/pulls": self._open,
            f"GET {here}/pulls/{{n}}": lambda _, n: Reply(200, self._full(self.pull(int(n)))),
            f"PATCH {here}/pulls/{{n}}": self._edit,
            f"POST {here}/pulls/{{n}}/requested_reviewers": self._ask,
            f"POST {here}/pulls/{{n}}/merge": self._merge,
            f"POST {here}/issues/{{n}}/labels": self._label,
            f"GET {here}/labels": self._labels,
            f"POST {here}/labels": self._create_label,
            "GET /orgs/{owner}/labels": self._labels_of_owner,
            f"GET {here}/commits/{{sha}}/pull": self._of_commit,
            "GET /user": self._user,
            f"GET {here}/issues/{{n}}/comments": self._comments,
            f"POST {here}/issues/{{n}}/comments": self.add_comment,
            f"PATCH {here}/issues/comments/{{id}}": self.edit_comment,
            f"DELETE {here}/issues/comments/{{id}}": self.remove_comment,
        }

    def unauthorized(self) -> Reply:
        return Reply(401, {"message": "user does not exist [uid: 0, name: ]", "url": "x"})

    def not_found(self) -> Reply:
        return Reply(404, {"message": "The target couldn't be found.", "url": "x", "errors": []})

    def check(self, request: Request, reply: Reply) -> None:
        words = request.path.removeprefix(f"/repos/{self.repository}/").split("/")
        kind = f"{request.method} {next((w for w in reversed(words) if not w[-1].isdigit()), '')}"
        found: list[str] = []
        labels_an_issue = "labels" in (request.body or ())
        if request.body is not None and not labels_an_issue and (name := _REQUESTS.get(kind)):
            # "Do" is what it was called until 1.26, and is still taken.
            body = {"do" if key == "Do" else key: v for key, v in request.body.items()}
            found += [f"unknown: {key}" for key in body if key not in schema(name)["properties"]]
            found += [error.message for error in validator(name).iter_errors(body)]
        if reply.status < 300 and reply.data is not None and (name := _ANSWERS.get(kind)):
            shown = reply.data if isinstance(reply.data, list) else [reply.data]
            found += [e.message for each in shown for e in validator(name).iter_errors(each)]
        self.violations += [f"{request.line} ({reply.status}): {words}" for words in found]

    # -- routes ------------------------------------------------------------------------------------

    def _list(self, request: Request) -> Reply:
        self.sync()
        states = {"open": ("open",), "closed": ("closed", "merged")}.get(
            request.query.get("state", "open"), ("open", "closed", "merged")
        )
        found = [self._full(pull) for pull in reversed(self.pulls) if pull.state in states]
        return paged(request, found, self.api_url, size="limit")

    def _open(self, request: Request) -> Reply:
        body = request.body
        for key in ("head", "base"):
            if not self.head_of(body[key]):
                return self.not_found()
        if self.is_open(body["head"], body["base"]):
            words = f"pull request already exists for these targets [id: 1, head: {body['head']}]"
            return Reply(409, {"message": words, "url": "x"})
        title = body["title"]
        pull = self.add(
            title, body.get("body", ""), body["head"], body["base"], draft=title.startswith("WIP:")
        )
        return Reply(201, self._full(pull))

    def _edit(self, request: Request, number: str) -> Reply:
        pull = self.pull(int(number))
        pull.title = request.body.get("title", pull.title)
        pull.body = request.body.get("body", pull.body)
        pull.draft = pull.title.startswith("WIP:")
        return Reply(201, self._full(pull))

    def _ask(self, request: Request, number: str) -> Reply:
        pull = self.pull(int(number))
        for name in request.body.get("reviewers", []):
            if name not in self.people:
                return Reply(404, {"message": f"user does not exist [name: {name}]", "url": "x"})
            pull.reviewers.append(name)
        for name in request.body.get("team_reviewers", []):
            if name not in self.teams:
                return Reply(404, {"message": f"team does not exist [name: {name}]", "url": "x"})
            pull.teams.append(name)
        return Reply(201, [])

    def _merge(self, request: Request, number: str) -> Reply:
        pull = self.pull(int(number))
        if request.body.get("head_commit_id") not in (None, pull.commit):
            return Reply(409, {"message": "head out of date", "url": "x"})
        if pull.auto_merge:
            words = "pull request is already scheduled to auto merge when checks succeed"
            return Reply(409, {"message": words, "url": "x"})
        assert request.body["merge_when_checks_succeed"], "it would be merged at once"
        pull.auto_merge = request.body["Do"]
        return Reply(201)

    def _label(self, request: Request, number: str) -> Reply:
        pull = self.pull(int(number))
        pull.labels += [self.labels[id - 1] for id in request.body["labels"]]
        return Reply(200, [self._a_label(name) for name in pull.labels])

    def _labels(self, request: Request) -> Reply:
        shown = [self._a_label(name) for name in self.labels]
        return paged(request, shown, self.api_url, size="limit")

    def _create_label(self, request: Request) -> Reply:
        self.labels += (request.body["name"],)
        return Reply(201, self._a_label(request.body["name"]))

    def _labels_of_owner(self, request: Request, owner: str) -> Reply:
        words = "token does not have at least one of required scope(s): [read:organization]"
        return Reply(403, {"message": words, "url": "x"})

    def _of_commit(self, request: Request, sha: str) -> Reply:
        found = self.brought_by(sha)
        return Reply(200, self._full(found[-1])) if found else self.not_found()

    def _user(self, request: Request) -> Reply:
        words = "token does not have at least one of required scope(s): [read:user]"
        is_told = self.names_account
        return Reply(200, self._person(self.user)) if is_told else Reply(403, {"message": words})

    def _comments(self, request: Request, number: str) -> Reply:
        return Reply(200, [self.comment(each) for each in self.notes_of(number)])

    # -- shapes ------------------------------------------------------------------------------------

    def _full(self, pull: Pull) -> Any:
        is_merged = pull.state == "merged"
        return {
            "id": 100 + pull.number,
            "number": pull.number,
            "url": f"{self.url}/{self.repository}/pulls/{pull.number}",
            "html_url": f"{self.url}/{self.repository}/pulls/{pull.number}",
            "title": pull.title,
            "body": pull.body,
            "state": "open" if pull.state == "open" else "closed",
            "draft": pull.draft,
            "user": self._person(self.user),
            "labels": [self._a_label(name) for name in pull.labels],
            "requested_reviewers": [self._person(name) for name in pull.reviewers],
            "requested_reviewers_teams": [{"id": 1, "name": name} for name in pull.teams],
            "head": self._ref(pull.head, pull.commit),
            "base": self._ref(pull.base, self.head_of(pull.base)),
            "merged": is_merged,
            "merged_at": TIME if is_merged else None,
            "merge_commit_sha": pull.merge_commit,
            "created_at": TIME,
            "updated_at": TIME,
        }

    def comment(self, note: Note) -> Any:
        page = f"{self.url}/{self.repository}/pulls/{note.pull}#issuecomment-{note.id}"
        return {
            "id": note.id, "body": note.body, "html_url": page, "created_at": TIME,
            "updated_at": TIME, "user": self._person(note.author),
        }  # fmt: skip

    def _ref(self, name: str, commit: str) -> Any:
        owner, _, repo = self.repository.partition("/")
        facts = {"id": 7, "name": repo, "full_name": self.repository, "owner": self._person(owner)}
        return {"label": name, "ref": name, "sha": commit, "repo_id": 7, "repo": facts}

    def _person(self, name: str) -> Any:
        return {"id": 1, "login": name, "email": f"{name}@example.org", "html_url": "http://x"}

    def _a_label(self, name: str) -> Any:
        return {
            "id": self.labels.index(name) + 1,
            "name": name,
            "color": "ededed",
            "description": "",
            "url": "http://x",
        }
