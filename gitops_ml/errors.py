"""The deliberate failures of gitops-ml, with their exit codes.

    GitopsMlError               1   a deliberate failure that no class below describes
    ├── UsageError              2   the call is wrong: an unknown environment, two options that exclude each other
    │   └── Unpackageable       2   a class of a session cannot become files; holds every reason
    ├── InvalidDocument         3   a document that people write is invalid; holds every problem
    ├── ProgramFailed           4   a program that gitops-ml started failed (git, helm, the predictor)
    ├── EngineFailed            4   the Docker engine cannot be reached, or a build failed
    ├── ServerFailed            4   a server answered with a failure, or did not answer
    │   └── PredictionFailed    4   an API answered a prediction with a failure; holds its answer
    ├── Refused                 5   the registry or the forge refused a request (credentials, permissions)
    ├── RepositoryMoved         6   the GitOps repository moved, is dirty, or was not written by gitops-ml
    ├── NotLive                 1   a release cannot become live, or did not in time; holds its status
    └── DifferencesFound        7   differences, if the command must fail on them
        └── RulesBroken         7   a change breaks a rule of severity `error`; holds every finding

Exceptions hold facts as attributes and build their message. They never print, exit or log, and never hold a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One error or warning about a document, with its place.

    ``line`` and ``column`` count from 1; 0 means the whole file. ``file`` is empty for a dict.
    ``path`` starts with the name of the API:
    ``iris.autoscaling.max_replicas``.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    rule: str = "schema"
    severity: str = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        label = "" if self.severity == "error" else f"{self.severity}: "
        return (
            f"{place + ': ' if place else ''}{label}"
            f"{_shortened(self.path, 300) + ': ' if self.path else ''}"
            f"{_shortened(self.message, 2000)}"
        )


def _shortened(text: str, most: int) -> str:
    """``text``, which may quote a document, without its middle if it is very long."""
    return text if len(text) <= most else f"{text[: most - 100]} … {text[-90:]}"


class GitopsMlError(Exception):
    """The base class of all deliberate failures."""

    exit_code: ClassVar[int] = 1

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows: the message without a traceback, which would not help."""
        text = f"{type(self).__name__}: {self}"
        # The message may quote a server, and control characters would steer a terminal.
        return ["".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)]


class UsageError(GitopsMlError):
    """The call is wrong; the message names what is right."""

    exit_code = 2


class Unpackageable(UsageError):
    """A class of a notebook, script or session cannot become files; ``reasons`` holds every reason."""

    def __init__(self, what: str, reasons: Iterable[str]) -> None:
        self.what = what
        self.reasons = tuple(reasons)
        lines = "".join(f"\n* {reason}" for reason in self.reasons)
        super().__init__(f"{what} cannot be packaged:{lines}")


class InvalidDocument(GitopsMlError):
    """A manifest or project file is invalid; ``problems`` holds every problem of every file."""

    exit_code = 3

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


class ProgramFailed(GitopsMlError):
    """A program failed: its command, exit code and stderr."""

    exit_code = 4

    def __init__(self, command: Sequence[str], returncode: int, stderr: str) -> None:
        self.command = tuple(command)
        self.returncode = returncode
        self.stderr = stderr
        super().__init__(
            f"{' '.join(command)} ended with exit code {returncode}"
            + (f":\n{stderr.strip()}" if stderr.strip() else "")
        )


class EngineFailed(GitopsMlError):
    """The Docker engine cannot be reached, or a build in it failed."""

    exit_code = 4


class ServerFailed(GitopsMlError):
    """A server answered with a failure, or did not answer."""

    exit_code = 4


@dataclass(eq=False, repr=False)
class PredictionFailed(ServerFailed):
    """An API answered a prediction with a failure."""

    message: str
    _: KW_ONLY
    status: int
    body: bytes
    request_id: str | None = None


class Refused(GitopsMlError):
    """The registry or the forge refused a request."""

    exit_code = 5


class RepositoryMoved(GitopsMlError):
    """The GitOps repository moved meanwhile, is dirty, or holds files that gitops-ml did not write."""

    exit_code = 6


@dataclass(eq=False, repr=False)
class NotLive(GitopsMlError):
    """A release cannot become live, or did not in the time that the call waits."""

    message: str
    _: KW_ONLY
    api: str
    environment: str
    status: str
    reason: str
    remedy: str


class DifferencesFound(GitopsMlError):
    """There are differences, and the command must fail on them."""

    exit_code = 7


class RulesBroken(DifferencesFound):
    """A change breaks rules of severity ``error``; ``problems`` holds every finding, notes too."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems))
        broken = [each for each in self.problems if each.severity == "error"]
        super().__init__(
            "\n".join(f"{each} [{each.rule}]" for each in broken)
            + "\nnothing was changed; `gitops-ml check --explain RULE` describes a rule"
        )


@dataclass(frozen=True, slots=True)
class Problems:
    """The problems of a check, as errors and warnings."""

    errors: tuple[Problem, ...] = field(default=())
    warnings: tuple[Problem, ...] = field(default=())

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> Problems:
        found = sorted(problems)
        return cls(
            tuple(p for p in found if p.severity == "error"),
            tuple(p for p in found if p.severity != "error"),
        )
