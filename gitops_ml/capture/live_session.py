"""The current Python session (a notebook, IPython, a script, the Python prompt), and what it replaced in Python."""

from __future__ import annotations

import ast
import json
import linecache
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any
from urllib.parse import urlsplit

from gitops_ml.capture.collected import attribute, unwrapped
from gitops_ml.capture.comparison.process_state import replaced_builtins, replaced_in_python
from gitops_ml.capture.statements import Source, read_source
from gitops_ml.errors import GitopsMlError, Unpackageable
from gitops_ml.http.client import HttpClient
from gitops_ml.http.deadlines import Limits
from gitops_ml.http.response import RequestFailed
from gitops_ml.http.urls import is_loopback

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


_SECONDS = 0.5
_PATH_VARIABLES = (
    "__vsc_ipynb_file__",
    "__session__",
    "__notebook_path__",
    "__papermill_input_path__",
)
"""Variables of the path in VS Code, older Jupyter servers, and others."""


def notebook_origin(
    root: Path, environ: Mapping[str, str] = os.environ, *, shell: Any = None
) -> dict[str, Any] | None:
    """The path of the notebook (relative to ``root`` if below it), its running cell and its Python.

    `None` if this is not a notebook.
    """
    shell = shell or ipython_shell()
    if shell is None or not is_notebook(shell):
        return None
    found: dict[str, Any] = {}
    if path := _path(shell, environ):
        found["notebook"] = _relative(path, root)
    # The history includes the running cell; the execution count is one ahead in some versions.
    found["cell"] = len(shell.history_manager.input_hist_raw) - 1
    found["python"] = platform.python_version()
    return found


def _path(shell: Any, environ: Mapping[str, str]) -> str | None:
    paths = [shell.user_ns.get(name) for name in _PATH_VARIABLES]
    paths.append(environ.get("JPY_SESSION_NAME"))
    for path in paths:
        if isinstance(path, str) and path.endswith(".ipynb"):
            return path
    return _from_servers(shell)


def _relative(path: str, root: Path) -> str:
    """The path relative to ``root``; of a file elsewhere only the name, because folders are private."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - keeps the name of a link
    if absolute.is_relative_to(root):
        return absolute.relative_to(root).as_posix()
    return absolute.name


def _from_servers(shell: Any) -> str | None:
    """The path of this kernel at one of the user's Jupyter servers."""
    config = getattr(getattr(shell.kernel, "parent", None), "connection_file", None) or ""
    match = re.search(r"kernel-([0-9a-f-]{36})\.json", str(config))
    if match is None:
        return None
    for server in _servers():
        for session in _sessions(server):
            if (session.get("kernel") or {}).get("id") == match[1]:
                path = session.get("path") or (session.get("notebook") or {}).get("path")
                root = server.get("root_dir") or server.get("notebook_dir") or ""
                return str(Path(root, path)) if path else None
    return None


def _servers() -> Iterator[Mapping[str, Any]]:
    """The Jupyter servers of the user, from their runtime files."""
    try:
        from jupyter_core.paths import jupyter_runtime_dir
    except ImportError:
        return
    for pattern in ("jpserver-*.json", "nbserver-*.json"):
        for file in Path(jupyter_runtime_dir()).glob(pattern):
            try:
                yield json.loads(file.read_text("utf-8"))
            except (OSError, ValueError):
                continue


def _sessions(server: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    url, token = str(server.get("url") or ""), server.get("token")
    if not is_loopback(urlsplit(url).netloc):
        return  # do not send the token to another machine
    headers = {"Authorization": f"token {token}"} if token else {}
    watch = Limits(connect=_SECONDS, idle=_SECONDS).answer("Jupyter", "during GET")
    try:
        answer = HttpClient({}).send(
            "GET", f"{url}api/sessions", headers=headers, watch=watch, redirects="none"
        )
        found = answer.json()
    except (RequestFailed, ValueError):
        return
    yield from (each for each in found if isinstance(each, dict)) if answer.ok else ()


def refuse_replaced_builtins(target: Any) -> None:
    """Refuse a session in which code, also that of this package, works with other builtins.

    Raises:
        Unpackageable: the session replaced some, or added names.
    """
    reasons = [
        f"this session put {name} into builtins, and so changed it for all code: give it a name in a cell "
        f"({name} = …) instead, and restart the session"
        for name in replaced_builtins()
    ]
    if reasons:
        raise Unpackageable(getattr(target, "__name__", "the class"), reasons)


@contextmanager
def naming_replaced(target: Any) -> Iterator[None]:
    """Name what the session replaced in Python itself, where something fails that may come from it.

    Raises:
        Unpackageable: with all reasons.
    """
    try:
        yield
    except Exception as error:
        is_refusal = isinstance(error, Unpackageable)
        if isinstance(error, GitopsMlError) and not is_refusal:
            raise
        session = current_session()
        replaced = replaced_in_python(session.namespace, session.source)
        if not replaced:
            raise
        reasons = getattr(error, "reasons", (f"{type(error).__name__}: {error}",))
        why = (
            f"this session replaced {', '.join(replaced)}, which the packaging uses as well, so what follows may "
            "come from that: restore it, and call a function of your own in the class"
        )
        name = str(getattr(target, "__name__", "the class"))
        raise Unpackageable(name, [why, *reasons]) from error
