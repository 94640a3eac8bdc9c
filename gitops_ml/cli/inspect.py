"""`gitops-ml inspect`."""

from __future__ import annotations

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import (
    ProjectChoice,
    api_option,
    output_option,
    platform_option,
    project_option,
)
from gitops_ml.cli.report import short_digest
from gitops_ml.commands.inspect import Inspection, Previews, inspect, preview
from gitops_ml.errors import UsageError
from gitops_ml.facts.result_facts import inspection_facts, previews_facts


@click.command("inspect")
@click.argument("image", required=False)
@click.option("--changes", is_flag=True, help="Show what a build of the project would push.")
@platform_option
@api_option
@project_option
@output_option
def command(
    image: str | None, changes: bool, platform: str | None, project: ProjectChoice, output: str
) -> None:
    """Show the contents of an image: layers with their sizes, labels, packages, attached documents.

    IMAGE is a deployment id, an image, a model (oci://…), or oci:DIR[:TAG], an image in an OCI
    layout. No layer is downloaded and no container engine is needed.

    \b
    Examples:
      gitops-ml inspect iris-classifier-0123456789ab
      gitops-ml inspect ghcr.io/acme/ml/iris-classifier:h-ed6b6f8bed41da573d4e --output json
      gitops-ml inspect --changes
    """
    if (image is None) != changes:
        raise UsageError("give an image or a deployment id, or --changes")
    if image is None:
        workspace, clients = project.open_with_manifests()
        previews = preview(workspace, clients=clients)
        report.warnings(previews.warnings)
        report.result(previews, output, facts=previews_facts, show=_show_changes)
    else:
        workspace, clients = project.open()
        found = inspect(workspace, image, clients=clients, platform=platform)
        report.result(found, output, facts=inspection_facts, show=_show)


def _show_facts(found: Inspection) -> None:
    contents = found.found.contents
    lines = {
        "image": str(found.found.image),
        "deployment id": found.deployment_id or "",
        "platform": contents.platform,
        "other platforms": ", ".join(p for p in found.found.platforms if p != contents.platform),
        "size": report.size(contents.size),
        **(
            {"kind": "a model; pods mount its files"}
            if contents.is_model
            else {"runs": f"{' '.join(contents.entrypoint)} as {contents.user or 'root'}"}
        ),
    }
    for name, value in lines.items():
        if value:
            report.echo(f"{name + ':':<18}{value}")


def _show(found: Inspection) -> None:
    contents = found.found.contents
    _show_facts(found)
    report.echo()
    report.table(
        ("files" if contents.is_model else "layer", "size", "digest"),
        (
            (x.role, report.size(x.descriptor.size), short_digest(x.descriptor.digest))
            for x in contents.layers
        ),
    )
    labels = sorted(contents.labels.items())
    report.section(
        ("label", "value"), ((name, _in_short(value)) for name, value in labels), cut="value"
    )
    report.section(
        ("package", "version", "licence"),
        ((each.name, each.version, each.licence or "-") for each in found.packages),
        cut="licence",
    )
    report.section(
        ("attached", "digest"),
        ((each.artifact_type, short_digest(each.digest)) for each in found.attached),
    )
    report.section(
        ("signed with the key", "verified"),
        ((x.key or "unnamed", "yes" if x.is_verified else "no") for x in found.signatures),
    )


def _in_short(label: str) -> str:
    return label if len(label) <= 100 else f"{len(label)} characters; --output json has them"


def _show_changes(previews: Previews) -> None:
    if not previews.images:
        report.echo("no API of this project has an image to build")
    for item in previews.images:
        report.echo(f"{item.image} ({item.choice.builder}: {item.choice.reason})")
        if item.blobs is None:
            report.echo("  unknown until Docker builds it")
            continue
        for blob in item.blobs:
            what = "in the registry" if blob.is_there else "to push"
            report.echo(f"  {blob.role:<9}{report.size(blob.descriptor.size):>12}  {what}")
        new = sum(blob.descriptor.size for blob in item.blobs if not blob.is_there)
        report.echo(f"  {'total':<9}{report.size(new):>12}  to push")
