"""Sessions of every kind that a person may work in, each a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RUN = """\
import json, sys, asyncio, nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(text) for text in json.load(sys.stdin)]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True).execute()
print("\\n" + json.dumps([cell.outputs for cell in notebook.cells]))
"""


@dataclass(frozen=True)
class Output:
    """What one cell showed."""

    outputs: Sequence[Any]

    @property
    def text(self) -> str:
        """What it printed and what its last expression is as text."""
        parts = [
            each.get("text") or each.get("data", {}).get("text/plain", "") for each in self.outputs
        ]
        return "".join(parts)

    @property
    def html(self) -> str:
        return "".join(each.get("data", {}).get("text/html", "") for each in self.outputs)

    @property
    def error(self) -> str:
        return "".join(
            "\n".join(e["traceback"]) for e in self.outputs if e["output_type"] == "error"
        )


def notebook(*cells: str, cwd: Path) -> list[Output]:
    """Run cells in a real kernel."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN], input=json.dumps(cells), cwd=cwd,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [Output(outputs) for outputs in json.loads(done.stdout.splitlines()[-1])]


def script(text: str, *, cwd: Path) -> str:
    """Run a file; what it printed."""
    (cwd / "script.py").write_text(text)
    return _output_of([sys.executable, "script.py"], cwd=cwd)


def prompt(text: str, *, cwd: Path, python: str = sys.executable) -> str:
    """Type at Python's own prompt; what it printed."""
    return _output_of([python, "-i", "-q"], cwd=cwd, typed=text)


def ipython(text: str, *, cwd: Path) -> str:
    """Type at IPython's prompt; what it printed."""
    command = [
        sys.executable,
        "-m",
        "IPython",
        "--simple-prompt",
        "--no-banner",
        "--colors=NoColor",
    ]
    return _output_of(command, cwd=cwd, typed=text)


def _output_of(command: list[str], *, cwd: Path, typed: str | None = None) -> str:
    done = subprocess.run(
        command, input=typed, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
