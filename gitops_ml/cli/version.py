"""`gitops-ml version`."""

from __future__ import annotations

import platform

import click

from gitops_ml._version import __version__
from gitops_ml.cli import report
from gitops_ml.cli.options import output_option
from gitops_ml.facts.shapes import shaped


@click.command("version")
@output_option
def command(output: str) -> None:
    """Print the version of gitops-ml and of the Python that runs it."""
    python = platform.python_version()
    if output == "json":
        report.as_json(shaped("version", gitops_ml=__version__, python=python))
    else:
        report.echo(f"gitops-ml {__version__} (Python {python})")
