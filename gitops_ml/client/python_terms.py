"""Messages in the terms of Python: the verbs below name commands and options, a session has methods and arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from gitops_ml.capture.comparison.process_state import replaced_builtins
from gitops_ml.errors import GitopsMlError, InvalidDocument

Class = TypeVar("Class", bound=type)

METHODS = {
    each: each
    for each in (
        "check", "compare", "cost", "delete", "deploy", "describe", "diff", "doctor", "export", "get", "history",
        "logs", "patch", "predict", "promote", "refresh", "rollback", "run", "trace",
    )
} | {"delete": "delete_api", "describe": "status", "run": "run_locally"}  # fmt: skip
"""Methods of the client by verb."""
WITHOUT = {
    "base": "rewrites files of the project, for a commit",
    "bench": "the load of a notebook's machine would be measured too",
    "bootstrap": "for the administrator of the clusters, once",
    "build": "`create_api` and `deploy` build what is missing",
    "comment": "for jobs of a CI system",
    "completion": "for a shell",
    "init": "writes the files of a new project; `gml.client` needs none",
    "inspect": "about images; `trace` and `export` are about deployments",
    "lock": "`create_api` and `deploy` lock",
    "login": "stores a password of this machine",
    "model": "`models=` of `create_api` pushes models",
    "render": "`diff` shows files, `diff(manifests=True)` objects, and so does a plan (`dry_run=True`)",
    "schema": "for an editor",
    "validate": "`diff`, `deploy` and `create_api` report every problem",
    "version": "`gml.__version__`",
}
"""Verbs that the client does not have, and why; commands stay as they are in messages."""
_OPTIONS = {
    "--advisories": "advisories=",
    "--all": "every=True",
    "--allow-dirty": "allow_dirty=True",
    "--base": "base=",
    "--build": "build=True",
    "--by-tag": "by_tag=True",
    "--dry-run": "dry_run=True",
    "--environment": 'gml.client("<environment>")',
    "--from": 'gml.client("<environment>")',
    "--head": "head=",
    "--header": "headers=",
    "--label": "labels=",
    "--live": "live=True",
    "--log": "logs=",
    "--manifests": "manifests=True",
    "--message": "message=",
    "--no-build": "build=False",
    "--no-pull-request": "pull_request=False",
    "--offline": "offline=True",
    "--prometheus": "prometheus=",
    "--prune": "prune=True",
    "--pull-request": "pull_request=True",
    "--skip": "skip=True",
    "--team": "teams=",
    "--timeout": "timeout=",
    "--to": "to=",
    "--wait": "wait=True",
}
_COMMAND = re.compile(r"`gitops-ml (?P<verb>[a-z]+)(?P<rest>(?: [^`]*)?)`")
_RUN = re.compile(r"`gitops-ml run[^`]*`")
_HEADER = re.compile(r"--header '(?P<name>[\w-]+): (?P<value>[^']*)'")
_OPTION = re.compile(r"(?<![\w-])(?:" + "|".join(sorted(_OPTIONS, reverse=True)) + r")(?![\w-])")
_ENVIRONMENT = re.compile(r" (?:-e|--environment) \S+")
_API = re.compile(r" (?:-a|--api) (?=\S)")


def in_python(text: str) -> str:
    """``text`` with calls in place of commands of gitops-ml, and arguments in place of options.

    >>> in_python("`gitops-ml logs iris` shows why; or name it by its tag with --by-tag")
    '`client.logs("iris")` shows why; or name it by its tag with by_tag=True'
    """
    text = calls_in_python(text)
    text = _HEADER.sub(r'headers={"\g<name>": "\g<value>"}', text)
    return _OPTION.sub(lambda match: _OPTIONS[match[0]], text)


def calls_in_python(text: str) -> str:
    """``text`` with calls in place of commands; what looks like an option may be quoted from a document."""
    return _COMMAND.sub(_call, _RUN.sub("`api.run_locally()`", text))


def _call(match: re.Match[str]) -> str:
    method = METHODS.get(match["verb"])
    if method is None:
        return match[0]
    words = _API.sub(" ", _ENVIRONMENT.sub("", match["rest"])).split()
    names = [f'"{word}"' for word in words if not word.startswith("-")]
    options = [_OPTIONS[word] for word in words if word in _OPTIONS]
    given = [f"[{', '.join(names)}]"] if len(names) > 1 else names
    return f"`client.{method}({', '.join((*given, *options))})`"


def speaks_python(kind: Class) -> Class:
    """A class whose public methods fail with messages in the terms of Python."""
    for name, method in vars(kind).copy().items():
        if callable(method) and not isinstance(method, type) and not name.startswith("_"):
            setattr(kind, name, _speaking(method))
    return kind


def _speaking(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*positional: Any, **named: Any) -> Any:
        try:
            return method(*positional, **named)
        except GitopsMlError as error:
            if not replaced_builtins():  # by which nothing works
                _translate(error)
            raise

    return call


def _translate(error: GitopsMlError) -> None:
    translated = calls_in_python if isinstance(error, InvalidDocument) else in_python
    error.args = tuple(translated(each) if isinstance(each, str) else each for each in error.args)
    for name in ("message", "reason", "remedy"):
        if isinstance(value := getattr(error, name, None), str):
            setattr(error, name, translated(value))
