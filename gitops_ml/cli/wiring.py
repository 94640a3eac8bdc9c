"""What commands need, built from the project and the environment; and facts for machines."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from gitops_ml import actions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gitops_ml.core.project import Project
    from gitops_ml.core.render import Release
    from gitops_ml.ports import GitopsRepository, HelmEngine, ImageBuilder, Progress, Registry


def tools(
    project: Project,
    *,
    root: Path,
    offline: bool = False,
    progress: Progress = lambda _: None,
) -> actions.Tools:
    """The neighbours of this project; each is imported and made when a verb first asks for it."""

    @cache
    def registry() -> Registry:
        from gitops_ml.adapters.registry import DistributionRegistry

        return DistributionRegistry(os.environ, insecure=project.image.insecure)

    @cache
    def builder() -> ImageBuilder:
        from gitops_ml.adapters.docker import DockerBuilder

        return DockerBuilder(os.environ, network=os.environ.get("GITOPS_ML_BUILD_NETWORK"))

    @cache
    def repository() -> GitopsRepository:
        from gitops_ml.adapters.git import GitRepository

        assert project.gitops is not None, "verbs ask only where the project has a repository"
        return GitRepository.from_spec(
            project.gitops, folder=root, environ=os.environ, progress=progress
        )

    @cache
    def helm() -> HelmEngine:
        from gitops_ml.adapters.helm import find_helm

        return find_helm()

    return actions.Tools(
        registry=None if offline else registry,
        builder=builder,
        repository=repository,
        helm=helm,
        progress=progress,
    )


def release_facts(release: Release) -> Mapping[str, Any]:
    return {
        "api": release.name,
        "environment": release.environment,
        "team": release.team,
        "namespace": release.namespace,
        "deployment_id": release.deployment_id,
        "image": str(release.image),
        "content_hash": release.content_hash,
        "chart": f"{release.chart.name}-{release.chart.version}",
        "directory": release.directory,
    }


def image_facts(built: actions.Built) -> Mapping[str, Any]:
    return {
        "apis": list(built.apis),
        "image": built.image,
        "content_hash": built.content_hash,
        "digest": built.digest,
        "state": built.state,
    }


def rendering_facts(rendering: actions.Rendering) -> Mapping[str, Any]:
    return {
        "releases": [release_facts(item) for item in rendering.releases],
        "files": {file.path: file.content.decode() for file in rendering.files},
        "objects": {release.directory: list(objects) for release, objects in rendering.objects},
        "warnings": list(rendering.warnings),
    }


def differences_facts(differences: actions.Differences) -> Mapping[str, Any]:
    return {
        "releases": [release_facts(item) for item in differences.changed],
        "changes": [
            {
                "path": change.path,
                "action": change.action,
                "before": _text(change.before),
                "after": _text(change.after),
            }
            for change in differences.changes
        ],
        "objects": [
            {
                "release": directory,
                "kind": change.kind,
                "name": change.name,
                "action": change.action,
                "fields": [
                    {
                        "path": field.path,
                        "action": field.action,
                        "before": field.before,
                        "after": field.after,
                    }
                    for field in change.fields
                ],
            }
            for directory, changes in differences.objects
            for change in changes
        ],
        "left": list(differences.left),
        "warnings": list(differences.warnings),
    }


def deployment_facts(deployment: actions.Deployment) -> Mapping[str, Any]:
    return {
        "commit": deployment.commit,
        "dry_run": deployment.dry_run,
        "releases": [release_facts(item) for item in deployment.releases],
        "changes": [
            {"path": change.path, "action": change.action} for change in deployment.changes
        ],
        "removed": list(deployment.removed),
        "warnings": list(deployment.warnings),
    }


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="replace")
