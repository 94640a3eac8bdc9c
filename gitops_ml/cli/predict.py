"""`gitops-ml predict`."""

from __future__ import annotations

import json
from typing import Any

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import (
    FileOrInput,
    NamedBytes,
    ProjectChoice,
    api_argument,
    first_environment_option,
    joined,
    output_option,
    project_option,
)
from gitops_ml.commands.predict import Call, Prediction, predict, predict_on_this_machine
from gitops_ml.errors import UsageError
from gitops_ml.facts.result_facts import prediction_facts

_JSON = "application/json"


def _call(headers: tuple[str, ...], content_type: str, **settings: Any) -> Call:
    return Call(headers={**named_headers(headers), "content-type": content_type}, **settings)


def named_headers(headers: tuple[str, ...]) -> dict[str, str]:
    """The headers of `--header`, by lower-case names."""
    return dict(map(_header, headers))


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError(f"--header {name!r}: write it as 'Name: value'")
    return name.strip().lower(), value.strip()


@click.command("predict")
@api_argument
@click.argument("file", metavar="JSON_FILE|-", type=FileOrInput())
@project_option
@first_environment_option
@click.option("--path", help="Path below the API's endpoint, for example /v2/models/iris/infer.")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header of the request. Can be repeated.",
)
@click.option(
    "--content-type", default=_JSON, show_default=True, help="The media type of the file."
)
@click.option(
    "--address",
    metavar="URL",
    help="URL of the API itself, for example of `kubectl port-forward service/iris 8080:80`.",
)
@click.option("--local", is_flag=True, help="Ask the `gitops-ml run` on this machine.")
@click.option(
    "-p",
    "--port",
    type=click.IntRange(1, 65535),
    default=8080,
    show_default=True,
    help="With --local, the port of `gitops-ml run`.",
)
@click.option("--timeout", type=float, help="Seconds. By default, the timeout of the API.")
@output_option
@joined("call", "path", "headers", "content_type", "address", "timeout", make=_call)
def command(
    api: str,
    file: NamedBytes,
    project: ProjectChoice,
    call: Call,
    local: bool,
    port: int,
    output: str,
) -> None:
    """Send a request to a running API, through its gateway or through the Kubernetes API server.

    The prediction goes to stdout; the deployment id and the request id go to stderr.

    \b
    Examples:
      gitops-ml predict iris-classifier sample.json
      echo '{"x": 1}' | gitops-ml predict iris-classifier - -e production
      gitops-ml predict iris-classifier sample.json --local
    """
    body = file.content
    if call.headers and call.headers["content-type"] == _JSON:
        _require_json(body, file.name)
    if local:
        found = predict_on_this_machine(api, body, port=port, call=call)
    else:
        workspace, clients = project.open()
        environment = workspace.environments[0]
        found = predict(workspace, api, body, clients=clients, environment=environment, call=call)
    report.result(found, output, facts=prediction_facts, show=_show)


def _require_json(body: bytes, name: str) -> None:
    try:
        json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{name} is not JSON: {error}. For another format, give its --content-type"
        ) from error


def _show(prediction: Prediction) -> None:
    report.say(
        f"deployment {prediction.deployment_id or 'unknown'}, request "
        f"{prediction.request_id or 'unknown'}, {prediction.seconds * 1000:.0f} ms"
    )
    value = prediction.value
    if isinstance(value, (bytes, str)):
        report.stream(value, nl=isinstance(value, str))
    else:
        report.write_json(value)
