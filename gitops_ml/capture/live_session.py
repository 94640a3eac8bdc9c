"""The current Python session: a notebook, IPython, a script, or the Python prompt."""

from __future__ import annotations

import ast
import linecache
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from gitops_ml.capture.collected import attribute, unwrapped
from gitops_ml.capture.statements import Source, read_source

MAIN = "__main__"
OF_IPYTHON = {"get_ipython": None, "display": None, "In": "_ih", "Out": "_oh"}
"""Names that IPython defines in a session, with its private names of the same values."""
REPLACED = frozenset({"open", "exit", "quit", "input"})
"""Builtins for which IPython puts its own into the names of a session."""
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_RUN_BY_MAGIC = frozenset({"time", "capture", "prun", "memit", "mprun", "timeit"})
"""Cell magics that run their cell as Python in this session."""


_INPUT = re.compile(r"<(?:python-input|stdin>)-(\d+)>?")
"""File names of input at the Python prompt."""


@dataclass(frozen=True, slots=True)
class Session:
    """Live values, and the source that created them."""

    namespace: Mapping[str, Any]
    source: Source
    folder: Path
    """The folder of the user's own modules."""


def current_session() -> Session:
    """The session of this process."""
    main = sys.modules[MAIN]
    shell = ipython_shell()
    if shell is not None:
        # In execution order, with %magics and !commands as calls.
        cells = map(_without_magic, shell.history_manager.input_hist_parsed)
        source = read_source(
            (*_run_files(shell.user_ns), *cells), until=_running_line(shell.user_ns)
        )
        return Session(shell.user_ns, source, Path.cwd())
    file = getattr(main, "__file__", None)
    if file and not hasattr(sys, "ps1") and Path(file).is_file():
        text = Path(file).read_text("utf-8")
        source = read_source([text], until=_running_line(vars(main)))
        return Session(vars(main), source, Path(file).resolve().parent)
    chunks = (*_run_files(vars(main)), *_typed())
    return Session(vars(main), read_source(chunks), Path.cwd())


def _running_line(namespace: Mapping[str, Any]) -> int | None:
    """The line that the session runs at the moment."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals is namespace and frame.f_code.co_name == "<module>":
            return frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return None


def ipython_shell() -> Any:
    """The shell of IPython, or `None`."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def is_notebook(shell: Any) -> bool:
    """Whether the shell belongs to a kernel, which shows HTML."""
    return hasattr(shell, "kernel")


def is_of_ipython(name: str, namespace: Mapping[str, Any], source: Source) -> bool:
    """Whether a name of the session is one that IPython defines."""
    if name not in OF_IPYTHON:
        return False
    value, known_as = namespace.get(name), OF_IPYTHON[name]
    if known_as is not None:
        return value is not None and value is namespace.get(known_as)
    return not source.binding(name) or name == "get_ipython"


def _without_magic(cell: str) -> str:
    """The Python below ``%%time`` and similar magics; every other cell unchanged."""
    if "run_cell_magic" not in cell:
        return cell
    try:
        body = ast.parse(cell).body
    except (SyntaxError, ValueError):
        return cell
    match body:
        case [
            ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(attr="run_cell_magic"),
                    args=[ast.Constant(value=magic), _, ast.Constant(value=str(inner))],
                )
            )
        ] if magic in _RUN_BY_MAGIC:
            return inner
    return cell


def _typed() -> Iterator[str]:
    """Input at the Python prompt, which Python keeps since 3.13, in one of two places."""
    inputs: dict[int, str] = {}
    named = [(name, entry) for name, entry in linecache.cache.items() if isinstance(name, str)]
    later: Mapping[Any, Any] = getattr(linecache, "_interactive_cache", {})
    named += [(part, entry) for key, entry in later.items() for part in key if str(part) == part]
    for name, entry in named:
        if match := _INPUT.fullmatch(name):
            inputs[int(match[1])] = "".join(entry[2] if len(entry) > 2 else ())
    return (text for _, text in sorted(inputs.items()))


def _run_files(namespace: Mapping[str, Any]) -> tuple[str, ...]:
    """The files that ``%run`` or ``python -i`` executed in the session."""
    files: dict[str, None] = {}
    for value in list(namespace.values()):
        if attribute(value, "__module__") != MAIN:
            continue
        code = attribute(unwrapped(value), "__code__")
        if isinstance(value, type):
            methods = (attribute(each, "__code__") for each in vars(value).values())
            code = next((each for each in methods if isinstance(each, CodeType)), None)
        if isinstance(code, CodeType) and os.path.isfile(code.co_filename):  # noqa: PTH113 - any text
            files[code.co_filename] = None
    # A class can have methods of a library, such as those that attrs gives to each.
    files = {each: None for each in files if not _INSTALLED & {*Path(each).parts}}
    return tuple(Path(file).read_text("utf-8", errors="replace") for file in files)
