"""Rules about the files of a predictor: secrets in them, and code that Python reads otherwise than people."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from functools import partial

from gitops_ml.policy.pod_rules import place, pods_of
from gitops_ml.policy.rule import Breach, Rule, Side, Subject, of_after
from gitops_ml.system.secret_scan import (
    given_in,
    has_secret_shape,
    is_named_secret,
    is_settings,
    looks_random,
    named_texts,
)

_LONGEST = 1 << 20
"""Characters of a source that is read."""


@of_after
def _in_environment(subject: Subject, side: Side) -> Iterator[Breach]:
    for pod in pods_of(side.objects):
        for container in pod.containers:
            for each in container.get("env") or ():
                name, value = str(each.get("name", "")), str(each.get("value", ""))
                if is_named_secret(name, value) or has_secret_shape(value) or looks_random(value):
                    at = place(side, str(container.get("name")), "env", name)
                    yield Breach(at, f"the variable {name} looks like a secret")


@of_after
def _in_configuration(subject: Subject, side: Side) -> Iterator[Breach]:
    """Texts that reach the constructor of a predictor."""
    config = side.spec.predictor.config if side.spec.predictor else {}
    for key, inner in config.items():
        for name, text in named_texts(key, inner):
            if is_named_secret(name, text):
                yield Breach(("predictor", "config", key), f"config.{name} looks like a secret")


@of_after
def _in_code(subject: Subject, side: Side) -> Iterator[Breach]:
    """Texts of the source by their shape, and names that are given a text."""
    for file, source in _changed(subject, side):
        read = secrets_in_source if file.endswith(".py") else partial(_in_text, file)
        for line, what in sorted(set(read(source))):
            yield Breach(("predictor",), what, file=file, line=line)


def secrets_in_source(source: str) -> Iterator[tuple[int, str]]:
    """Line and description of what looks like a secret; the source is parsed, never run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source[:_LONGEST])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Another Python may read it.
        yield from _by_lines(source)
        return
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text), lineno=line) if has_secret_shape(text):
                yield line, "a text has the shape of a token or key"
            case ast.Assign(targets=[target], value=value):
                yield from _named(target, value)
            case ast.AnnAssign(target=target, value=value):
                yield from _named(target, value)
            case ast.keyword(arg=str(name), value=value):
                yield from _named(ast.Name(name), value)
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant):
                        yield from _named(ast.Name(str(key.value)), value)


def _by_lines(source: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(source.splitlines(), start=1):
        if has_secret_shape(line):
            yield number, "a line has a text of the shape of a token or key"


def _in_text(file: str, text: str) -> Iterator[tuple[int, str]]:
    """Names in a file of settings that are given a secret; the shapes of tokens and keys in any other."""
    yield from _by_lines(text)
    for number, name, value in given_in(text) if is_settings(file) else ():
        if is_named_secret(name, value):
            yield number, f"{name[:60]} is given a text that may be a secret"


def _named(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[int, str]]:
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        return
    text, name = value.value, _last_name(target)
    if is_named_secret(name, text):
        yield value.lineno, f"{name[:60]} is given a text that may be a secret"
    elif looks_random(text) and not has_secret_shape(text):
        yield value.lineno, f"{name[:60]} is given a random text that may be a key"


def _last_name(target: ast.expr) -> str:
    """``password`` of ``self.password``, and of ``headers["password"]``."""
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
    return ""


_DECLARED = re.compile(r"[ \t\f\ufeff]*#.*?coding[:=][ \t]*([-\w.]+)")
"""PEP 263: a comment on one of the first two lines."""
_AS_SHOWN = re.compile(
    r"utf-?8(-.*)?|u8|(us-)?ascii|646|latin-?1(-.*)?|l1|iso-?8859(-\d+)?(-.*)?"
    r"|(cp|windows-)125\d|koi8-[rtu]"
)
"""Encodings in which ASCII is itself. In UTF-7 or `unicode_escape`, a comment may hold a line of code."""
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_LINE = re.compile(r"\r\n|\r|\n")


@of_after
def _hidden(subject: Subject, side: Side) -> Iterator[Breach]:
    for file, source in _changed(subject, side):
        for line, what in what_hides(source) if file.endswith(".py") else ():
            yield Breach(("predictor",), what, file=file, line=line)


def _changed(subject: Subject, side: Side) -> Iterator[tuple[str, str]]:
    """The sources that the change adds or modifies."""
    known = subject.before.sources if subject.before else {}
    yield from (each for each in sorted(side.sources.items()) if each[1] != known.get(each[0]))


def what_hides(source: str) -> Iterator[tuple[int, str]]:
    """Line and description of what makes a reviewer read another program; a line once."""
    for number, line in enumerate(_LINE.split(source), start=1):
        declared = _DECLARED.match(line) if number <= 2 else None
        if declared and not _AS_SHOWN.fullmatch(declared[1].lower().replace("_", "-")):
            yield number, f"Python reads the file as {declared[1][:40]}, a reviewer does not"
        elif _DIRECTIONS.search(line):
            yield number, "an invisible character changes the order in which the line is shown"


SOURCE_RULES = (
    Rule(
        id="secret-in-environment",
        title="No environment variable holds a secret",
        severity="note",
        reason="Values are in the GitOps repository and its history. What certainly is a token is refused anyway.",
        remedy="store it in a Secret, and refer to it in `secrets`",
        check=_in_environment,
    ),
    Rule(
        id="secret-in-config",
        title="No configuration of a predictor holds a secret",
        severity="note",
        reason="The configuration is in the GitOps repository and its history. What certainly is a token is "
        "refused anyway.",
        remedy="store it in a Secret, refer to it in `secrets`, and read the variable in `__init__`",
        check=_in_configuration,
    ),
    Rule(
        id="secret-in-code",
        title="No source file, and no file beside it, holds a secret",
        severity="warning",
        reason="A token in a commit or an image is known to everyone who can read them, and has to be revoked.",
        remedy="store it in a Secret, and read the variable that `secrets` sets; revoke what was pushed",
        check=_in_code,
    ),
    Rule(
        id="hidden-code",
        title="A source reads for people as it does for Python",
        severity="error",
        reason="In some encodings a comment holds a line of code, and characters that turn the direction of "
        "text show code in another order: reviewers approve what they cannot see.",
        remedy="save the file as UTF-8 without such a declaration, and write invisible characters as escapes",
        check=_hidden,
    ),
)
