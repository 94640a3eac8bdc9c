"""``-q``, ``-v`` and ``--debug`` of every command: how much it says besides its result."""

from __future__ import annotations

from enum import IntEnum

import click

from gitops_ml.system import progress


class Level(IntEnum):
    """How much is reported."""

    QUIET = 0
    """Warnings and errors."""
    NORMAL = 1
    """Notes, and progress on a terminal."""
    VERBOSE = 2
    """Progress everywhere, and each program and request."""
    DEBUG = 3
    """The traceback of a deliberate failure as well."""


_current = Level.NORMAL


def level() -> Level:
    """What the command line asks for."""
    return _current


def reset() -> None:
    """Forget what an earlier command line of this process asked for."""
    _set(Level.NORMAL)


def with_verbosity(command: click.Command) -> click.Command:
    """The command, or each command of a group, with the three options."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            with_verbosity(each)
    elif not any(each.name == "verbose" for each in command.params):
        command.params += [_option(*each) for each in _OPTIONS]
    return command


_OPTIONS = (
    (["-q", "--quiet"], Level.QUIET, "Say nothing besides results, warnings and errors."),
    (["-v", "--verbose"], Level.VERBOSE, "Show progress, programs and requests."),
    (["--debug"], Level.DEBUG, "As -v, and show the traceback of a failure."),
)


def _option(flags: list[str], wanted: Level, text: str) -> click.Option:
    def chosen(_: click.Context, __: click.Parameter, is_given: bool) -> None:
        if is_given:
            _set(wanted)

    return click.Option(
        flags, is_flag=True, expose_value=False, is_eager=True, callback=chosen, help=text
    )


def _set(wanted: Level) -> None:
    global _current
    _current = wanted
    progress.watchers.clear()
    if wanted >= Level.VERBOSE:
        from gitops_ml.http import client

        progress.watchers.append(_say)
        client.watchers[:] = [_say]


def _say(text: str) -> None:
    from gitops_ml.cli import report

    report.progress(text)
