"""`gitops-ml trace`."""

from __future__ import annotations

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import ProjectChoice, environment_option, output_option, project_option
from gitops_ml.commands.history import trace_lines
from gitops_ml.commands.trace_request import DAYS, trace_any
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.facts.result_facts import trace_facts


@click.command("trace")
@click.argument("id")
@project_option
@environment_option
@click.option(
    "-a", "--api", "only", multiple=True, help="Search only the logs of this API; repeatable."
)
@click.option(
    "--days",
    type=click.FloatRange(min=0, max=365, min_open=True),
    default=DAYS,
    show_default=True,
    help="Search this many days in Loki, for an id that has no time.",
)
@output_option
def command(
    id: str, project: ProjectChoice, only: tuple[str, ...], days: float, output: str
) -> None:
    """Show the origin of a deployment or a request: commit, pull request, image, source and manifest.

    A deployment id is in the header `x-deployment-id` of each prediction, in metrics, logs and pod
    labels. A prefix is enough if it is unique. An id that is no deployment's is searched as the
    `x-request-id` of a prediction: in the cluster's Loki, if the project file names it
    (clusters.*.loki), and in the logs of the pods that run.

    \b
    Examples:
      gitops-ml trace iris-classifier-0123456789ab
      gitops-ml trace iris-classifier-0123456789ab --output json
      gitops-ml trace 0f3c9a51d2b74e66 --api iris-classifier -e production
    """
    workspace, clients = project.open()
    found, request = trace_any(workspace, id, clients=clients, apis=only, days=days)
    if output == "json":
        report.as_json(trace_facts(found, request))
        return
    if request is not None:
        report.hanging(f"{'request:':<16}", f"{request.request_id}, answered by {request.pod}")
        for seen in request.lines:
            report.echo(f"{'log:':<16}{seen.at} {seen.text}")
    for name, value in trace_lines(found):
        report.hanging(f"{name + ':':<16}", value)
    report.echo("manifest:")
    for line in write_yaml([found.release.manifest]).splitlines():
        report.echo(f"  {line}")
