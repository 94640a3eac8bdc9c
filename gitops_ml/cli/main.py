"""The command `gitops-ml`: find the subcommand; turn errors and signals into messages and exit codes."""

from __future__ import annotations

import gc
import importlib
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from types import FrameType, TracebackType
from typing import Any, TextIO

import click

from gitops_ml._version import __version__
from gitops_ml.cli import verbosity
from gitops_ml.cli.verbosity import with_verbosity
from gitops_ml.errors import GitopsMlError, InvalidDocument, RulesBroken, ServerFailed
from gitops_ml.system.process import absolute_path

# What `--help` lists. The module of a command is imported when it is called, so that `--help` is fast.
COMMANDS: Mapping[str, str] = {
    "init": "Create a project: a manifest, a predictor and the project file.",
    "validate": "Check manifests and the project file; report every error with its place.",
    "schema": "Print the JSON Schema of a document.",
    "run": "Serve a predictor on this machine, as its image does.",
    "base": "Update the base images of a project to the current digests of their tags.",
    "lock": "Write the lock: the wheels of the images, with their hashes.",
    "build": "Build and push the images that are not in the registry yet.",
    "inspect": "Show the contents of an image, or what a build would push.",
    "export": "Write the code, lock and manifest of an image to a folder.",
    "render": "Render releases as `deploy` would write them.",
    "check": "Say what a change of the source does: what restarts, costs and breaks.",
    "cost": "Show what releases have cost, how much was idle, and what would cost less.",
    "diff": "Show what `deploy` would change in the GitOps repository.",
    "deploy": "Build, render, commit and push in one transaction.",
    "promote": "Promote releases from one environment to the next: the same image.",
    "rollback": "Restore the files of an earlier deployment, byte for byte.",
    "patch": "Change the configuration of a current release; keep its image.",
    "refresh": "Restart releases: new pods with the same image and settings.",
    "delete": "Remove releases from the GitOps repository.",
    "get": "List releases with their status: what Git wants, and what runs.",
    "describe": "Show one release: status and reason, replicas, events, endpoint.",
    "logs": "Show the logs of the replicas of an API.",
    "predict": "Send a request to a running API.",
    "bench": "Measure an API under load: latency, throughput, errors.",
    "compare": "Compare what two deployments predict: classes or values, errors, latency, accuracy.",
    "history": "Show the deployments of an API: which, when, who, what changed.",
    "trace": "Show the origin of a deployment id: commit, pull request, image, source, manifest.",
    "doctor": "Check documents, machine, registry, Git, forge, Argo CD and clusters from here.",
    "bootstrap": "Prepare the GitOps repository: Argo CD's objects, base charts, a README for ops.",
    "model": "Push model weights to a registry and pull them.",
    "completion": "Print the completion script of a shell.",
    "comment": "Post a text as the comment of a pull request; update it in place.",
    "login": "Log in to a registry, as `docker login` does.",
    "version": "Print the version.",
}

EXAMPLES = """
\b
Examples:
  gitops-ml init my-project && cd my-project
  gitops-ml validate
  gitops-ml run
  gitops-ml diff -e staging
  gitops-ml deploy -e staging

\b
Environment variables set options: GITOPS_ML_PROJECT, GITOPS_ML_ENVIRONMENT, GITOPS_ML_API,
GITOPS_ML_OUTPUT, GITOPS_ML_DRY_RUN, GITOPS_ML_OFFLINE and GITOPS_ML_PULL_REQUEST for every command
that has them, and GITOPS_ML_<COMMAND>_<OPTION> for one command, such as GITOPS_ML_RUN_PORT.
GITOPS_ML_TOKEN_HOSTS lists the servers that may get a variable: GITOPS_TOKEN=github.com;OTHER=host:port

\b
Exit codes: 0 success, 1 another deliberate failure, 2 usage error, 3 invalid document, 4 a program or
server failed, 5 the forge or registry refused, 6 the GitOps repository moved, 7 differences found by
--check or --exit-code.
"""


class Commands(click.Group):
    """A group that imports the module of a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"gitops_ml.cli.{cmd_name}")
        return with_verbosity(module.command)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _ignore_closed_pipe():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _ignore_closed_pipe():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        is_known = not args or args[0] in COMMANDS or args[0].startswith("-")
        if not (is_known or ctx.resilient_parsing):  # a shell that completes shows no errors
            ctx.fail(_unknown_command(args[0]))
        return super().resolve_command(ctx, args)


@contextmanager
def _ignore_closed_pipe() -> Iterator[None]:
    """A reader that closes the pipe (`gitops-ml diff | head`) is not a failure, as it is for click."""
    try:
        yield
    except BrokenPipeError:
        _discard(sys.stdout)
        raise click.exceptions.Exit(0) from None


def _discard(stream: TextIO) -> None:
    """Discard what the buffer still has, or Python reports the failure again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


_OF_OTHERS = {"status": "describe", "list": "get", "ls": "get", "apply": "deploy", "serve": "run"}
"""The command for a name that the Python client or another tool uses."""


def _unknown_command(name: str) -> str:
    import difflib

    close = (
        [_OF_OTHERS[name]] if name in _OF_OTHERS else difflib.get_close_matches(name, COMMANDS, n=1)
    )
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"no such command {name!r}.{hint} The commands are: {', '.join(COMMANDS)}."


@click.group(
    cls=Commands,
    epilog=EXAMPLES,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "GITOPS_ML",
        "max_content_width": 110,
    },
)
@click.version_option(__version__, "-V", "--version", message="gitops-ml %(version)s")
def gitops_ml() -> None:
    """Turn a predictor and a manifest into a reviewed, reproducible, autoscaled release in Git."""


def main(args: Sequence[str] | None = None) -> None:
    """The console script. A deliberate failure becomes a message and an exit code.

    An unexpected error keeps its traceback: it is a bug.
    """
    sys.excepthook = _show_bug
    try:
        with ended_in_order():
            _main(args)
    except OSError as error:
        _show_output_failure(error)
        sys.exit(ServerFailed.exit_code)


def _main(args: Sequence[str] | None) -> None:
    # A call is short and creates many small values: collecting cycles would take a tenth of its time.
    gc.set_threshold(100_000, 20, 20)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Show a character that the encoding of the terminal lacks as `\u…`.
            stream.reconfigure(errors="backslashreplace")
    # Libraries start programs as well; they must not find one in the current folder.
    os.environ["PATH"] = absolute_path(os.environ)
    options: dict[str, str] = {}
    verbosity.reset()
    try:
        code = gitops_ml.main(
            args=list(args) if args is not None else None,
            prog_name="gitops-ml",
            standalone_mode=False,
            obj=options,
        )
    except click.exceptions.Abort:
        from gitops_ml.cli import report

        report.say("interrupted")
        sys.exit(130)
    except click.ClickException as error:
        _show_usage(error, asks_json=_asks_json(sys.argv[1:] if args is None else args))
        sys.exit(2)
    except GitopsMlError as error:
        _show(error, output=options.get("output"))
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _show_output_failure(error: OSError) -> None:
    """Report that stdout or stderr cannot be written, such as to a full disk."""
    from gitops_ml.cli import report

    if _failing_module(error) != click.echo.__module__:
        raise error
    for stream in (sys.stdout, sys.stderr):
        if not _is_writable(stream):
            _discard(stream)
    with suppress(OSError):
        report.echo(f"error: the output cannot be written: {error.strerror}", err=True)


def _failing_module(error: OSError) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return str(trace.tb_frame.f_globals.get("__name__")) if trace is not None else ""


def _is_writable(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return False
    return True


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an unexpected error; it may quote servers and hold tokens."""
    import traceback

    from gitops_ml.cli import report
    from gitops_ml.system.process import redacted, secrets_in

    text = "".join(traceback.format_exception(kind, error, trace))
    report.echo(redacted(text, secrets_in(os.environ)).rstrip(), err=True)


def _asks_json(args: Sequence[str]) -> bool:
    """Whether the command would print JSON; a wrong option can come before ``--output``."""
    words = " ".join(args).replace("=", " ")
    return any(f"{name} json" in words for name in ("-o", "--output"))


def _show_usage(error: click.ClickException, *, asks_json: bool) -> None:
    """Print the usage error of click, which may quote the name of a file."""
    from gitops_ml.cli import report

    if asks_json:
        _show_facts({"type": "UsageError", "message": error.format_message()})
    text = io.StringIO()
    error.show(file=text)
    report.echo(text.getvalue(), err=True, nl=False)


def _show(error: GitopsMlError, *, output: str | None) -> None:
    """Errors go to stderr; with ``--output json`` the same facts go to stdout for machines."""
    from gitops_ml.cli import report

    if output == "json":
        facts: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
        if isinstance(error, InvalidDocument | RulesBroken):
            facts["problems"] = list(map(asdict, error.problems))
        _show_facts(facts)
    elif output == "github" and isinstance(error, InvalidDocument | RulesBroken):
        for problem in error.problems:
            report.annotate(problem)
    report.error(error)
    if verbosity.level() is verbosity.Level.DEBUG:
        _show_bug(type(error), error, error.__traceback__)


def _show_facts(error: Mapping[str, Any]) -> None:
    from gitops_ml.cli import report
    from gitops_ml.facts.shapes import shaped

    report.as_json(shaped("error", error=error))


_LOSING = frozenset(
    {"_frozen_importlib", "importlib._bootstrap", "gitops_ml.documents.json_schema"}
)
"""Modules that call, or are called by, what loses exceptions."""
_WHOLE = {
    ("subprocess", "__init__"),
    ("tempfile", "__init__"),
    ("tempfile", "mkdtemp"),
    ("tempfile", "cleanup"),
    ("shutil", "rmtree"),
}
"""Functions that start, make or remove something: an exception in the middle would leave it."""
_AGAIN_SECONDS = 0.01
_LATEST_SECONDS = 5
"""An import that takes longer after a signal is interrupted."""

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def ended_in_order() -> Iterator[None]:
    """End on SIGTERM, as a cancelled job of CI gets it, as on Ctrl-C: by an exception, but not where it would be lost.

    Callbacks of the import system's locks and of the JSON Schema library lose an exception of a handler, and an import
    may make another one of it: the command went on or showed a traceback. A program that is just being started would go
    on, and a temporary folder that is just being made or removed would stay.
    """
    replaced = []
    if threading.current_thread() is threading.main_thread():
        for number, usual, handler in (
            (signal.SIGTERM, signal.SIG_DFL, _end),
            (signal.SIGINT, signal.default_int_handler, signal.default_int_handler),
        ):
            if signal.getsignal(number) == usual:
                replaced.append((number, usual))
                signal.signal(number, _where_it_is_heard(handler))
    try:
        yield
    finally:
        for number, usual in replaced:
            signal.signal(number, usual)


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    sys.exit(128 + number)


def _where_it_is_heard(handler: Handler) -> Handler:
    """``handler``, but later where its exception would be lost."""
    first: list[float] = []

    def handle(number: int, frame: FrameType | None) -> None:
        first.append(time.monotonic())
        is_late = first[-1] - first[0] > _LATEST_SECONDS
        if is_late or not _loses(frame):
            first.clear()
            handler(number, frame)
            return
        # To the handler of then: by that time, a program may run to which signals are passed on.
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    return handle


def _loses(frame: FrameType | None) -> bool:
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module in _LOSING or (module, frame.f_code.co_name) in _WHOLE:
            return True
        frame = frame.f_back
    return False
