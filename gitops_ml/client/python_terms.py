"""Messages in the terms of Python: the verbs below name commands and options, a session has methods and arguments."""

from __future__ import annotations

import re
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from gitops_ml.errors import GitopsMlError, InvalidDocument

if TYPE_CHECKING:
    from collections.abc import Callable

Class = TypeVar("Class", bound=type)

_METHODS = {
    "compare": "compare",
    "delete": "delete_api",
    "deploy": "deploy",
    "describe": "status",
    "doctor": "doctor",
    "export": "export",
    "get": "list_apis",
    "history": "history",
    "logs": "logs",
    "patch": "patch",
    "predict": "predict",
    "promote": "promote",
    "refresh": "refresh",
    "rollback": "rollback",
    "trace": "trace",
}
"""Methods of the client by verb. Other commands have no method, and stay as they are."""
_OPTIONS = {
    "--all": "every=True",
    "--allow-dirty": "allow_dirty=True",
    "--build": "build=True",
    "--by-tag": "by_tag=True",
    "--dry-run": "dry_run=True",
    "--environment": 'gml.client("<environment>")',
    "--from": 'gml.client("<environment>")',
    "--header": "headers=",
    "--label": "labels=",
    "--log": "logs=",
    "--message": "message=",
    "--no-build": "build=False",
    "--no-pull-request": "pull_request=False",
    "--offline": "offline=True",
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
    method = _METHODS.get(match["verb"])
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
            _translate(error)
            raise

    return call


def _translate(error: GitopsMlError) -> None:
    translated = calls_in_python if isinstance(error, InvalidDocument) else in_python
    error.args = tuple(translated(each) if isinstance(each, str) else each for each in error.args)
    for name in ("message", "reason", "remedy"):
        if isinstance(value := getattr(error, name, None), str):
            setattr(error, name, translated(value))
