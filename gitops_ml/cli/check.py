"""`gitops-ml check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import api_option, environment_option, output_choice
from gitops_ml.commands.check import CheckOptions, check
from gitops_ml.errors import InvalidDocument
from gitops_ml.review.reports.facts import review_facts

if TYPE_CHECKING:
    from gitops_ml.review.review import Review


@click.command("check")
@click.argument(
    "folder", required=False, type=click.Path(path_type=Path, file_okay=False, exists=True)
)
@click.option(
    "--base",
    required=True,
    metavar="REF",
    help="The branch or commit that the change is merged into.",
)
@click.option(
    "--head",
    metavar="REF",
    help="The commit with the change. By default, the checkout with its uncommitted files.",
)
@environment_option
@api_option
@output_choice("text", "json", help="Text for people, or the same facts as JSON.")
def command(
    folder: Path | None,
    base: str,
    head: str | None,
    environments: tuple[str, ...],
    apis: tuple[str, ...],
    output: str,
) -> None:
    """Say what a change does: what restarts, what it costs, what it breaks.

    Nothing of the change is executed.

    \b
    Examples:
      gitops-ml check --base origin/main
    """
    options = CheckOptions(base=base, head=head, environments=environments, apis=apis)
    review = check(folder or Path.cwd(), options)
    if output == "json":
        report.as_json(review_facts(review))
    else:
        _show(review)
    if review.errors:
        raise click.exceptions.Exit(InvalidDocument.exit_code)


def _show(review: Review) -> None:
    report.problems(review.problems, err=False)
    report.warnings(review.warnings)
    for release in review.releases:
        report.changed(
            release.action, f"{release.api} in {release.environment}: {release.rollout.pods}"
        )
