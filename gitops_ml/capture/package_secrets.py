"""Find the secrets of a session, and those of the user's own files, which must not be packaged.

A secret is recognized by its name, by its shape, or by the call that returned it. A value made from
a secret (`f"Bearer {token}"`, `[token]`, `token.encode()`) is recognized by the text of the secret.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from gitops_ml.capture.statements import Source, Statement, read_source
from gitops_ml.system.secret_scan import (
    given_in,
    has_secret_shape,
    holds_secret,
    is_named_secret,
    is_settings,
    looks_random,
    named_texts,
    names_a_secret,
)

_ASKING = ("getpass", "keyring.", "userdata.get", "secrets.get", "SecretManager", "get_secret")
"""Calls that ask a person or a secret store."""
_SHORTEST = 6


def session_secrets(namespace: Mapping[str, Any], source: Source) -> frozenset[str]:
    """The secret texts among the values of a session."""
    found = set()
    for name, value in list(namespace.items()):
        made = source.binding(name)
        is_text = isinstance(value, str | bytes)
        was_asked = bool(made) and (
            _asks_for_secret(made[-1]) or (is_text and _names_a_secret(made[-1]))
        )
        if not was_asked and not is_text:
            continue
        source_text = made[-1].text if made else ""
        for called, text in named_texts(name, value):
            is_secret = (was_asked and text not in source_text) or holds_secret(called, text)
            if is_secret and len(text) >= _SHORTEST:
                found.add(text)
    return frozenset(found)


def is_secret(name: str, value: Any, *, known: frozenset[str]) -> bool:
    """Whether a plain value holds a secret: by its name or shape, or one of the ``known`` secrets."""
    return holds_secret(name, value) or any(
        secret in text for _, text in named_texts(name, value) for secret in known
    )


def is_doubtful(name: str, value: Any) -> bool:
    """Whether a person should check a computed value."""
    return any(looks_random(text) for _, text in named_texts(name, value))


def secrets_in(statement: Statement) -> Iterator[str]:
    """The secrets in the source of a statement, by their shapes."""
    for node in ast.walk(statement.node):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield from (text for _, text in named_texts("", node.value) if has_secret_shape(text))


def doubtful_names(statement: Statement) -> Iterator[str]:
    """Names of texts in the source that sound like a secret."""
    for name, value in _named_values(statement.node):
        text = value.value if isinstance(value, ast.Constant) else None
        if isinstance(text, str) and is_named_secret(name, text):
            yield name


def _named_values(statement: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    for node in ast.walk(statement):
        match node:
            case ast.Assign(targets=targets, value=value):
                yield from ((ast.unparse(target), value) for target in targets)
            case ast.AnnAssign(target=target, value=value):
                yield ast.unparse(target), value
            case ast.keyword(arg=str(name), value=value):
                yield name, value
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant):
                        yield str(key.value), value


def _asks_for_secret(statement: Statement) -> bool:
    """``getpass()``."""
    return not statement.is_definition and any(sign in statement.text for sign in _ASKING)


def _names_a_secret(statement: Statement) -> bool:
    """``os.environ["API_KEY"]``."""
    texts = (node.value for node in ast.walk(statement.node) if isinstance(node, ast.Constant))
    return any(isinstance(text, str) and names_a_secret(text) for text in texts)


def secret_reasons(files: Mapping[str, bytes]) -> list[str]:
    """Why files cannot be packaged, each with what to do."""
    return [
        f"{path} has a secret{f' ({name})' if name else ''}, and many people can read a package: list it under "
        f'"secrets" of the API and read it from os.environ, or move the file out of the folder of the module'
        for path, content in sorted(files.items())
        for name in list(_secrets(path, content.decode("utf-8", "replace")))[:1]
    ]


def _secrets(path: str, text: str) -> Iterator[str]:
    """The names of the secrets in a file; empty for one that has none."""
    given = [(name, value) for _, name, value in given_in(text)] if is_settings(path) else []
    named = _of_code(text) if path.endswith(".py") else given
    yield from (name for name, value in named if holds_secret(name, value))
    if has_secret_shape(text):
        yield ""


def _of_code(text: str) -> Iterator[tuple[str, str]]:
    for statement in read_source([text]).statements:
        match statement.node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(value)))
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(value)))
            ):
                yield name, value
