"""What long work tells while it runs: one line in place in a notebook, lines on a terminal's stderr."""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.live_session import ipython_shell, is_notebook
from gitops_ml.system.clean_text import printable

if TYPE_CHECKING:
    from types import TracebackType

    from gitops_ml.system.progress import Progress


class Teller:
    """Progress while a block runs; gone from a notebook when it is over."""

    def __init__(self, told: Progress | bool | None = None) -> None:
        """``told``: a function that gets each line; `False`: nothing is shown."""
        self._told = told
        self._handle: Any = None

    def __enter__(self) -> Progress:
        if callable(self._told):
            return self._told
        if self._told is False:
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
    """Nobody watches."""
