"""The project, environment and progress display of a client."""

from __future__ import annotations

import html
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gitops_ml.capture.live_session import ipython_shell, is_notebook
from gitops_ml.client.arguments import ChangeKeywords
from gitops_ml.client.python_terms import in_python
from gitops_ml.delivery.change import ChangeContext, ChangeOptions
from gitops_ml.project.project import Project
from gitops_ml.system.clean_text import printable
from gitops_ml.system.progress import Progress
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.from_dicts import DescribedApi, workspace_of
from gitops_ml.workspace.workspace import LoadedProject, Workspace, open_project, unserved_problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    loaded: LoadedProject
    environment: str
    offline: bool = False
    progress: Progress | bool | None = None
    """A function that gets each line; `False` shows nothing."""

    @contextmanager
    def open(self) -> Iterator[tuple[Workspace, Clients]]:
        """The project without APIs, and its clients; progress is shown while the block runs."""
        with progress_line(self.progress) as progress:
            workspace = self.workspace()
            yield workspace, self.clients(workspace.project, workspace.root, progress)

    @contextmanager
    def read(
        self, path: str | Path | None = None, *, apis: Iterable[str] = ()
    ) -> Iterator[tuple[Workspace, Clients]]:
        """The project with the manifests of a file, or of those below a folder."""
        with progress_line(self.progress) as progress:
            workspace = open_project(
                [self.loaded.root if path is None else Path(path)],
                project_file=self.loaded.file,
                environments=[self.environment],
                apis=apis,
                instead=self.loaded if self.loaded.file is None else None,
            )
            clients = self.clients(workspace.project, workspace.root, progress)
            for problem in unserved_problems(workspace) if workspace.releases else ():
                clients.warn(str(replace(problem, severity="error")))
            yield workspace, clients

    @contextmanager
    def change(
        self, keywords: ChangeKeywords, *, environment: str | None = None
    ) -> Iterator[ChangeContext]:
        """What a verb needs that changes the releases of ``environment``, by default the client's."""
        options = ChangeOptions(**keywords)
        pull_request = self.proposes(options.pull_request, environment=environment)
        with self.open() as (workspace, clients):
            yield ChangeContext(workspace, clients, replace(options, pull_request=pull_request))

    def workspace(
        self,
        api: DescribedApi | None = None,
        *,
        origin: Mapping[str, Any] | None = None,
    ) -> Workspace:
        return workspace_of(self.loaded, api, environment=self.environment, origin=origin)

    def clients(self, project: Project, root: Path, progress: Progress) -> Clients:
        return Clients(
            project=project,
            root=root,
            offline=self.offline,
            progress=lambda line: progress(in_python(line)),
            warn=lambda text: warnings.warn(in_python(text), stacklevel=2),
        )

    def proposes(self, pull_request: bool | None, *, environment: str | None = None) -> bool:
        """Whether to open a pull request; by default, unless the environment has ``delivery: push``."""
        if pull_request is not None:
            return pull_request
        return self.loaded.delivery_of(environment or self.environment) != "push"


@contextmanager
def progress_line(progress: Progress | bool | None = None) -> Iterator[Progress]:
    """Show progress while a block runs; a notebook's line is cleared at its end.

    ``progress`` is a function that gets each line; `False` shows nothing.
    """
    shell = ipython_shell()
    if callable(progress):
        yield progress
    elif progress is False:
        yield _nothing
    elif shell is None or not is_notebook(shell):
        yield _line if sys.stderr is not None and sys.stderr.isatty() else _nothing
    else:
        handle: Any = None

        def update(line: str) -> None:
            nonlocal handle
            from IPython.display import display

            show: Any = display
            if handle is None:
                handle = show(_html(line), display_id=True)
            else:
                handle.update(_html(line))

        yield update
        if handle is not None:
            handle.update(_html(""))


def _html(line: str) -> Any:
    from IPython.display import HTML

    made: Any = HTML
    return made(f"<small>{html.escape(printable(line))}</small>" if line else "")


def _line(line: str) -> None:
    print(printable(line), file=sys.stderr)


def _nothing(line: str) -> None:
    """Show nothing."""
