"""`gitops-ml check`."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import api_option, clients_of, environment_option, joined, output_choice
from gitops_ml.commands.check import CheckOptions, check, explain, project_of_base
from gitops_ml.errors import InvalidDocument, UsageError
from gitops_ml.facts.shapes import shaped
from gitops_ml.forge.own_comment import CHECK_LINE
from gitops_ml.project.project import Project, SourceSpec
from gitops_ml.review.reports.formats import FORMATS
from gitops_ml.review.reports.json_facts import review_facts
from gitops_ml.review.reports.markdown_comment import comment
from gitops_ml.review.reports.terminal_lines import terminal_lines
from gitops_ml.review.review import Review
from gitops_ml.system.files import write_report
from gitops_ml.workspace.clients import Clients


def _reports(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[tuple[str, Path], ...]:
    """Format and file of each."""
    found = [each.partition("=") for each in given]
    for name, _, file in found:
        if name not in FORMATS or not file:
            raise click.BadParameter(f"{name!r} is not FORMAT=FILE; formats: {', '.join(FORMATS)}")
    return tuple((name, Path(file)) for name, _, file in found)


def _explain(context: click.Context, parameter: click.Parameter, rule: str | None) -> None:
    if rule is not None:
        report.echo(explain(rule), nl=False)
        context.exit()


@click.command("check")
@click.argument(
    "folder", required=False, type=click.Path(path_type=Path, file_okay=False, exists=True)
)
@click.option(
    "--base",
    metavar="REF",
    help="The branch or commit that the change is merged into. By default, the GitOps repository: what runs.",
)
@click.option(
    "--head",
    metavar="REF",
    help="The commit with the change. By default, the checkout with its uncommitted files.",
)
@environment_option
@api_option
@click.option(
    "--offline",
    is_flag=True,
    envvar="GITOPS_ML_OFFLINE",
    help="Ask no server; edits of the GitOps repository by hand are not known then.",
)
@click.option(
    "--advisories",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder of advisories in the OSV format: known vulnerabilities of the packages that change.",
)
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a page with pictures: one file, without scripts.",
)
@click.option(
    "--traffic",
    metavar="FILE",
    help="With --html: the traffic for the replicas over a week, a CSV file or `prometheus`.",
)
@click.option(
    "--comment",
    "posts",
    is_flag=True,
    help="Post the report as the comment of the pull request; one from before is updated in place.",
)
@click.option(
    "--pull-request",
    "number",
    type=click.IntRange(1),
    help="With --comment: its number. By default, that of the pull request that the CI job runs for.",
)
@click.option(
    "--report",
    "reports",
    metavar="FORMAT=FILE",
    multiple=True,
    callback=_reports,
    help="Also write a file: sarif, junit, code-quality (GitLab), annotations, markdown or json. Repeatable.",
)
@click.option(
    "--explain",
    metavar="RULE",
    is_eager=True,
    expose_value=False,
    callback=_explain,
    help="Describe a rule, and check nothing.",
)
@output_choice(
    "text",
    "json",
    "markdown",
    "github",
    help="Text for a terminal, facts as JSON, the comment on a pull request, or annotations for GitHub with the "
    "comment as the summary of the step.",
)
@joined("options", make=CheckOptions)
def command(
    folder: Path | None,
    options: CheckOptions,
    offline: bool,
    html: Path | None,
    traffic: str | None,
    posts: bool,
    number: int | None,
    reports: tuple[tuple[str, Path], ...],
    output: str,
) -> None:
    """Say what a change does: what restarts, what it costs, what it breaks.

    Nothing of the change is executed.

    \b
    Examples:
      gitops-ml check --base origin/main
      gitops-ml check --base origin/main --comment --pull-request 12
      gitops-ml check --base origin/main --html check.html --traffic prometheus
    """
    if traffic and not html:
        raise click.UsageError("--traffic has an effect with --html only")
    trusted: list[Clients] = []

    def remembered(project: Project, root: Path) -> Clients:
        trusted.append(clients_of(project, root))
        return trusted[-1]

    review = check(folder or Path.cwd(), options, clients_of=None if offline else remembered)
    if html:
        _write(review, html, traffic, trusted[-1] if trusted else None)
    for name, file in reports:
        write_report(file, FORMATS[name](review))
    _print(review, output)
    if posts:
        _post(review, folder or Path.cwd(), options.base, number)
    if review.errors:
        raise click.exceptions.Exit(InvalidDocument.exit_code)
    report.exit_if_different(bool(review.broken))


def _print(review: Review, output: str) -> None:
    if output == "json":
        report.as_json(shaped("check", **review_facts(review)))
    elif output == "github":
        report.stream(FORMATS["annotations"](review), nl=False)
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            _append(Path(summary), comment(review))
    elif output == "markdown":
        report.stream(f"{CHECK_LINE}\n\n{comment(review)}", nl=False)
    else:
        _show(review)


def _post(review: Review, folder: Path, base: str | None, number: int | None) -> None:
    from gitops_ml.cli.comment import publish, sentence
    from gitops_ml.commands.comment import CommentPlace
    from gitops_ml.workspace.workspace import open_settings

    def source() -> tuple[SourceSpec | None, Path]:
        # Not of the change, which would choose where its own review is posted.
        if base is not None:
            project, root = project_of_base(folder, base)
            return project.source, root
        file = folder / "gitops-ml.yaml"
        opened = open_settings(file if file.exists() else None)
        return opened.project.source, opened.root

    done, found = publish(comment(review), CommentPlace(pull_request=number), source=source)
    report.say(sentence(done, found))


def _append(file: Path, text: str) -> None:
    """Append to a file of the CI system."""
    try:
        with file.open("a", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as failure:
        raise UsageError(f"{file} cannot be written: {failure.strerror}") from failure


def _write(review: Review, file: Path, traffic: str | None, clients: Clients | None) -> None:
    from gitops_ml.commands.check_page import write_page

    write_page(review, file, traffic=traffic, clients=clients, now=datetime.now(timezone.utc))
    report.progress(f"the page is {file}")


def _show(review: Review) -> None:
    for text, kind in terminal_lines(review):
        report.echo(report.styled(text, kind))
