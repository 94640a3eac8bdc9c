"""`gitops-ml compare`."""

from __future__ import annotations

from pathlib import Path

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import ProjectChoice, output_option, project_option
from gitops_ml.cli.recorded import show_comparison
from gitops_ml.commands.compare import compare, compare_logs
from gitops_ml.facts.result_facts import comparison_facts
from gitops_ml.predictions.comparison import DIFFERENT
from gitops_ml.predictions.from_cluster import DAYS


@click.command("compare")
@click.argument("first")
@click.argument("second")
@project_option
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of the prediction log, in place of metrics; repeatable. It needs no cluster.",
)
@click.option(
    "--key", default="", help="With --log: where the prediction is, as in `monitoring.key`."
)
@click.option(
    "--model-type",
    type=click.Choice(["classification", "regression"]),
    help="With --log: by default, text and few whole numbers are classes.",
)
@click.option(
    "--days",
    type=click.FloatRange(min=0, min_open=True),
    default=DAYS,
    show_default=True,
    help="The last days in which Prometheus saw the pods.",
)
@click.option(
    "--exit-code", is_flag=True, help="Exit with 7 if the deployments predict differently."
)
@output_option
def command(
    first: str, second: str, project: ProjectChoice, logs: tuple[Path, ...], key: str,
    model_type: str | None, days: float, exit_code: bool, output: str,
) -> None:  # fmt: skip
    """Say whether two deployments predict alike: classes or values, errors, latency, accuracy.

    Each aspect has its test, an effect size and a verdict: different, alike, or not enough data. The
    counts come from the cluster's Prometheus, else from the pods that run, or from the prediction log.
    Where Prometheus and prices are known, it also shows what 1,000 predictions of both cost.

    \b
    Examples:
      gitops-ml compare iris-0123456789ab iris-ba9876543210
      gitops-ml compare iris-0123 iris-ba98 --log predictions.jsonl --key label --exit-code
    """
    if logs:
        found = compare_logs(logs, first, second, key=key, model_type=model_type)
    else:
        workspace, clients = project.open()
        found = compare(workspace, first, second, clients=clients, days=days)
    report.result(found, output, facts=comparison_facts, show=show_comparison)
    report.exit_if_different(exit_code and found.verdict == DIFFERENT)
