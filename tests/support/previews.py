"""A project with previews at each forge that has labels."""

from __future__ import annotations

from pathlib import Path

from gitops_ml.commands.bootstrap import preview_place
from gitops_ml.documents.yaml_reader import read_yaml
from gitops_ml.gitops.previews import PreviewPlace
from gitops_ml.project.reader import read_project

PROJECT = """\
project: shop
gitops: {{repository: "https://{host}/acme/gitops.git", forge: {{type: {forge}}}}}
clusters:
  main:
    server: https://kubernetes.default.svc
    gpu_classes: {{mig: {{resource: nvidia.com/mig-1g.5gb, node_selector: {{pool: mig}}}}, t4: {{preset: nvidia}}}}
environments:
  staging: {{cluster: main, namespace: ml-staging, previews: {previews}}}
  production: {{cluster: main, namespace: ml, protected: true}}
"""
HOURS = "{start: 0 8 * * 1-5, end: 0 18 * * 1-5, time_zone: Europe/Berlin}"
FORGES = {
    "github": ("github.com", {"owner": "acme", "repo": "gitops"}),
    "gitea": ("git.acme.example", {"owner": "acme", "repo": "gitops", "api": "https://git.acme.example/"}),
    "gitlab": (
        "git.acme.example",
        {"project": "acme/gitops", "api": "https://git.acme.example/", "pullRequestState": "opened"},
    ),
}  # fmt: skip


def place(previews: str = "{}", forge: str = "github", *, cluster: str = "") -> PreviewPlace:
    """The previews of staging; ``cluster`` are further fields of its cluster."""
    text = PROJECT.format(previews=previews, host=FORGES[forge][0], forge=forge)
    text = text.replace("    gpu_classes", f"    {cluster}\n    gpu_classes")
    project, problems = read_project(read_yaml(text.encode(), file="gitops-ml.yaml"))
    assert project, problems
    return preview_place(project, "staging", folder=Path("/"))
