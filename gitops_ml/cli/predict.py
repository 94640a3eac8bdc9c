"""`gitops-ml predict`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import first_environment_option, output_option, project_option
from gitops_ml.commands.predict import Call, Prediction, predict
from gitops_ml.errors import UsageError
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_settings

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

_JSON = "application/json"


@click.command("predict")
@click.argument("api")
@click.argument("file", metavar="JSON_FILE|-", type=click.File("rb"))
@project_option
@first_environment_option
@click.option("--path", help="Below the API's endpoint, for example /v2/models/iris/infer.")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="May be given several times.",
)
@click.option("--content-type", default=_JSON, show_default=True, help="What the file is.")
@click.option(
    "--address",
    metavar="URL",
    help="Where the API itself answers, for example by `kubectl port-forward service/iris 8080:80`.",
)
@click.option("--timeout", type=float, help="Seconds; otherwise what the API allows.")
@output_option
def command(
    api: str,
    file: BinaryIO,
    project_file: Path | None,
    environment: str | None,
    path: str | None,
    headers: tuple[str, ...],
    content_type: str,
    address: str | None,
    timeout: float | None,
    output: str,
) -> None:
    """Ask a running API for a prediction: at its gateway, or by way of the API server.

    The prediction goes to stdout; which deployment made it, and the request's id, to stderr.

    \b
    Examples:
      gitops-ml predict iris-classifier sample.json
      echo '{"x": 1}' | gitops-ml predict iris-classifier - -e production
    """
    workspace = open_settings(project_file, environments=(environment,) if environment else ())
    tools = wiring.tools(workspace.project, root=workspace.root, progress=report.progress)
    body = file.read()
    if content_type == _JSON:
        _refuse_what_is_no_json(body, file.name)
    head = {**dict(map(_header, headers)), "content-type": content_type}
    prediction = predict(
        workspace,
        api,
        body,
        tools=tools,
        environment=workspace.environments[0],
        call=Call(path=path, headers=head, timeout=timeout, address=address),
    )
    _show(prediction, output)


def _refuse_what_is_no_json(body: bytes, name: str) -> None:
    try:
        json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{name} is not JSON: {error}. For anything else say what it is with --content-type"
        ) from error


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError(f"--header {name!r}: write it as 'Name: value'")
    return name.strip().lower(), value.strip()


def _show(prediction: Prediction, output: str) -> None:
    if output == "json":
        value = prediction.value
        report.as_json(
            {
                "prediction": value.decode("latin-1") if isinstance(value, bytes) else value,
                "deployment_id": prediction.deployment_id,
                "request_id": prediction.request_id,
                "status": prediction.status,
                "seconds": round(prediction.seconds, 4),
                "url": prediction.url,
            }
        )
        return
    report.say(
        f"deployment {prediction.deployment_id or 'unknown'}, request "
        f"{prediction.request_id or 'unknown'}, {prediction.seconds * 1000:.0f} ms"
    )
    value = prediction.value
    if isinstance(value, (bytes, str)):
        report.stream(value, nl=isinstance(value, str))
    else:
        report.as_json(value)
