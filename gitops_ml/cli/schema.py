"""`gitops-ml schema`."""

from __future__ import annotations

import click

from gitops_ml.cli import report
from gitops_ml.system.resources import schema_text


@click.command("schema")
@click.argument("document", type=click.Choice(["api", "project", "user"]))
def command(document: str) -> None:
    """Print the JSON Schema of a document: `api` (the manifest), `project` (gitops-ml.yaml) or `user` (config.yaml).

    \b
    Example, for completion and checks in an editor:
      gitops-ml schema api > api.schema.json
      # then, as the first line of api.yaml:
      # yaml-language-server: $schema=api.schema.json
    """
    report.stream(schema_text(document), nl=False)
