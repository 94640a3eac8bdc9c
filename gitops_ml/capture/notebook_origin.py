"""Find the notebook of a kernel, which every editor and server reports in another way.

Best effort: nothing here fails, and unknown facts are omitted.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gitops_ml.capture.live_session import ipython_shell, is_notebook
from gitops_ml.http.client import HttpClient
from gitops_ml.http.deadlines import Limits
from gitops_ml.http.response import RequestFailed
from gitops_ml.http.urls import is_loopback

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
