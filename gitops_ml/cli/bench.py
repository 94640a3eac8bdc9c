"""`gitops-ml bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gitops_ml.benchmark.figures import Load, Step, chart
from gitops_ml.cli import report
from gitops_ml.cli.options import (
    FileOrInput,
    NamedBytes,
    ProjectChoice,
    complete_apis,
    first_environment_option,
    joined,
    output_option,
    project_option,
)
from gitops_ml.cli.predict import named_headers
from gitops_ml.commands.bench import Benchmark, BenchOptions, bench_api, bench_url
from gitops_ml.errors import UsageError
from gitops_ml.facts.result_facts import benchmark_facts
from gitops_ml.system.files import write_report

CLIENTS = "1,2,4,8,16,32"


def _options(
    file: NamedBytes | None,
    clients: str,
    rate: str | None,
    duration: float,
    headers: tuple[str, ...],
    **others: Any,
) -> BenchOptions:
    loads = (
        _loads("closed", "--clients", clients) if rate is None else _loads("open", "--rate", rate)
    )
    return BenchOptions(
        loads=loads,
        seconds=duration,
        headers=named_headers(headers),
        body=None if file is None else file.content,
        **others,
    )


def _loads(loop: Any, option: str, text: str) -> tuple[Load, ...]:
    try:
        amounts = [float(each) for each in text.split(",")]
    except ValueError:
        amounts = []
    is_whole = loop == "open" or all(each == int(each) for each in amounts)
    if not amounts or not is_whole or not all(0 < each <= 10_000 for each in amounts):
        raise UsageError(
            f"{option} {text!r}: write numbers up to 10000 with commas, such as {CLIENTS}"
        )
    return tuple(Load(loop, each) for each in amounts)


@click.command("bench")
@click.argument("target", metavar="API|URL", shell_complete=complete_apis)
@click.argument("file", metavar="[FILE|-]", type=FileOrInput(), required=False)
@project_option
@first_environment_option
@click.option(
    "--clients",
    default=CLIENTS,
    show_default=True,
    help="A closed loop: so many clients, each of which sends its next request after an answer.",
)
@click.option(
    "--rate",
    metavar="PER_SECOND",
    help="An open loop instead: requests are sent at these rates, whether or not there are answers.",
)
@click.option("--duration", type=click.FloatRange(0.1, 3600), default=5.0, show_default=True,
              help="Seconds of each step.")  # fmt: skip
@click.option("--warm-up", "warm_up_seconds", type=click.FloatRange(0, 600), default=1.0,
              show_default=True, help="Seconds with one client before.")  # fmt: skip
@click.option("--replicas", type=click.IntRange(1), default=1, show_default=True,
              help="Replicas that share the load, for the advice.")  # fmt: skip
@click.option("--path", help="Path below the API's endpoint. By default, that of predictions.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'",
              help="A header of the requests. Can be repeated.")  # fmt: skip
@click.option("--content-type", default="application/json", show_default=True,
              help="The media type of the file.")  # fmt: skip
@click.option("--address", metavar="URL",
              help="URL of the API itself, for example of `kubectl port-forward service/iris 8080:80`.")  # fmt: skip
@click.option("--timeout", type=float, help="Seconds. By default, the timeout of the API.")
@click.option(
    "--yes", "may_be_protected", is_flag=True, help="Also measure a protected environment."
)
@click.option("--svg", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="Also write a picture of throughput and latency.")  # fmt: skip
@output_option
@joined(
    "options", "file", "clients", "rate", "duration", "warm_up_seconds", "replicas", "path", "headers",
    "content_type", "address", "timeout", "may_be_protected", make=_options,
)  # fmt: skip
def command(
    target: str, project: ProjectChoice, options: BenchOptions, svg: Path | None, output: str
) -> None:
    """Measure an API under load: latency, throughput, errors, and a value for target_in_flight.

    The body is FILE, or predictor.example of the manifest. Latencies are those of successful requests; in an
    open loop they count from when a request was due.

    \b
    Examples:
      gitops-ml bench iris-classifier sample.json
      gitops-ml bench http://127.0.0.1:8080 --clients 1,8,64 --svg load.svg
      gitops-ml bench iris-classifier --rate 50,100,200 --duration 30
    """
    if svg is not None and not svg.absolute().parent.is_dir():
        raise UsageError(f"--svg {svg}: its folder does not exist")
    if "://" in target:
        found = bench_url(target, options, progress=report.progress)
    else:
        workspace, clients = project.open()
        environment = workspace.environments[0]
        found = bench_api(workspace, target, options, environment=environment, clients=clients)
    if svg is not None:
        write_report(svg, chart(found.steps, title=found.url))
    report.result(found, output, facts=benchmark_facts, show=_show)


def _show(found: Benchmark) -> None:
    loop = found.steps[0].load.loop
    report.say(f"{found.url}, {report.size(found.body_bytes)} a request, {loop} loop")
    head = ("clients" if loop == "closed" else "rate", "requests/s", "p50 ms", "p90 ms", "p99 ms",
            "max ms", "errors")  # fmt: skip
    report.table(head, map(_row, found.steps))
    if any(each.is_client_busy for each in found.steps):
        report.warnings(["this machine may be the limit: its client used a whole CPU"])
    if (advice := found.advice) is not None:
        value = advice.target_in_flight
        begin = f"target_in_flight: {value}" if value else "no value for target_in_flight"
        report.say(f"{begin}, because {advice.reason}")


def _row(step: Step) -> tuple[str, ...]:
    latency = step.latency
    times = (latency.p50, latency.p90, latency.p99, latency.max) if latency else ()
    shown = [f"{each:.2f}" for each in times] or ["-"] * 4
    errors = ", ".join(f"{count} × {name}" for name, count in step.errors.items())
    share = f"{step.error_rate:.1%} ({errors})" if errors else "0"
    return f"{step.load.amount:g}", f"{step.throughput:.1f}", *shown, share
