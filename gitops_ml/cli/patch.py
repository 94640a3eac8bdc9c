"""`gitops-ml patch`."""

from __future__ import annotations

import click

from gitops_ml.cli.changed import change_command
from gitops_ml.cli.options import (
    FileOrInput,
    NamedBytes,
    api_argument,
    force_option,
    one_environment_option,
)
from gitops_ml.commands.patch import patch
from gitops_ml.delivery.change import ChangeContext, ChangeResult
from gitops_ml.documents.yaml_reader import LARGEST_FILE
from gitops_ml.manifest.merge_patch import combined, setting, snippet


@click.command("patch")
@api_argument
@click.argument("file", required=False, type=FileOrInput(LARGEST_FILE))
@one_environment_option
@force_option
@click.option(
    "--set", "settings", multiple=True, metavar="PATH=VALUE", help="One field; `null` removes it."
)
@change_command
def command(
    context: ChangeContext, api: str, file: NamedBytes | None, settings: tuple[str, ...]
) -> ChangeResult:
    """Change the configuration of a current release; keep its image.

    FILE holds the fields of the manifest that change, as YAML or JSON; - is the standard input. The
    patched manifest is checked by every rule. Change api.yaml as well, or the next deploy reverts
    the patch.

    \b
    Examples:
      gitops-ml patch iris-classifier -e staging --set autoscaling.max_replicas=7
      gitops-ml patch iris-classifier -e staging changes.yaml
    """
    fields = [snippet(file.content, file=file.name, api=api)] if file else []
    return patch(context, api, combined(*fields, *map(setting, settings)))
