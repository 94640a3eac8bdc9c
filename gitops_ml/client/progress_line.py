"""Show progress: one line that is replaced in a notebook, lines on stderr of a terminal."""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.live_session import ipython_shell, is_notebook
from gitops_ml.system.clean_text import printable

if TYPE_CHECKING:
    from types import TracebackType

    from gitops_ml.system.progress import Progress


class ProgressLine:
    """Show progress while a block runs; a notebook's line is cleared at its end."""

    def __init__(self, progress: Progress | bool | None = None) -> None:
        """``progress`` is a function that gets each line; `False` shows nothing."""
        self._progress = progress
        self._handle: Any = None

    def __enter__(self) -> Progress:
        if callable(self._progress):
            return self._progress
        if self._progress is False:
            return _nothing
        shell = ipython_shell()
        if shell is not None and is_notebook(shell):
            return self._update
        return _line if sys.stderr is not None and sys.stderr.isatty() else _nothing

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handle is not None and error is None:
            self._handle.update(_html(""))

    def _update(self, line: str) -> None:
        from IPython.display import display

        show: Any = display
        if self._handle is None:
            self._handle = show(_html(line), display_id=True)
        else:
            self._handle.update(_html(line))


def _html(line: str) -> Any:
    from IPython.display import HTML

    made: Any = HTML
    return made(f"<small>{html.escape(printable(line))}</small>" if line else "")


def _line(line: str) -> None:
    print(printable(line), file=sys.stderr)


def _nothing(line: str) -> None:
    """Show nothing."""
