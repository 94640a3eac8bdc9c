"""`gitops-ml completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from gitops_ml.cli import report
from gitops_ml.errors import UsageError


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Example:
      gitops-ml completion bash >> ~/.bashrc
    """
    from gitops_ml.cli.main import gitops_ml

    complete = get_completion_class(shell)
    if complete is None:  # a later click may drop a shell of the choice above
        raise UsageError(f"no completion for {shell}")
    script = complete(gitops_ml, {}, "gitops-ml", "_GITOPS_ML_COMPLETE")
    report.stream(script.source())
