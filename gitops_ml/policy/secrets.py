"""Rules about secrets where everyone who reads the repository sees them."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from functools import partial

from gitops_ml.policy.pod_rules import place, pods_of
from gitops_ml.policy.rule import Breach, Rule, Subject
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


def _in_environment(subject: Subject) -> Iterator[Breach]:
    side = subject.after
    for pod in pods_of(side.objects) if side else ():
        for container in pod.containers:
            for each in container.get("env") or ():
                name, value = str(each.get("name", "")), str(each.get("value", ""))
                if is_named_secret(name, value) or has_secret_shape(value) or looks_random(value):
                    assert side is not None
                    at = place(side, str(container.get("name")), "env", name)
                    yield Breach(at, f"the variable {name} looks like a secret")


def _in_configuration(subject: Subject) -> Iterator[Breach]:
    """Texts that reach the constructor of a predictor."""
    side = subject.after
    config = side.spec.predictor.config if side and side.spec.predictor else {}
    for key, inner in config.items():
        for name, text in named_texts(key, inner):
            if is_named_secret(name, text):
                yield Breach(("predictor", "config", key), f"config.{name} looks like a secret")


def _in_code(subject: Subject) -> Iterator[Breach]:
    """Texts of the source by their shape, and names that are given a text."""
    if subject.after is None:
        return
    for file, source in sorted(subject.after.sources.items()):
        known = subject.before.sources.get(file) if subject.before else None
        if source != known:
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


SECRET_RULES = (
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
)
