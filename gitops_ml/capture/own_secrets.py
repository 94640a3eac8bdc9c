"""Find the secrets in the user's own modules and the files beside them, which must not be packaged."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from gitops_ml.capture.statements import read_source
from gitops_ml.system.secret_scan import given_in, has_secret_shape, holds_secret, is_settings


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
    suffix = PurePosixPath(path).suffix
    named = _of_code(text) if suffix == ".py" else _of_settings(path, text)
    yield from (name for name, value in named if holds_secret(name, value))
    if has_secret_shape(text):
        yield ""


def _of_code(text: str) -> Iterator[tuple[str, str]]:
    for statement in read_source([text]).statements:
        match statement.node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(value))):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(value))):
                yield name, value


def _of_settings(path: str, text: str) -> Iterator[tuple[str, str]]:
    if is_settings(path):
        yield from ((name, value) for _, name, value in given_in(text))
