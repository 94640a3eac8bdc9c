"""The Dockerfile of a predictor: a template and the plan of one image, as text.

The order is by how often things change: base → system packages and ``dependencies.sh`` → conda and
pip → ``predictor_base`` → code. A change of the code builds and pushes one small layer.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gitops_ml.image.content_hash import ContentHash, Recipe, content_hash
from gitops_ml.image.context import BuildContext
from gitops_ml.oci.reference import ImageRef
from gitops_ml.packages.local_files import EVERYTHING
from gitops_ml.release.spec import Dependencies
from gitops_ml.system.resources import template

BUILDER = "docker/1"
"""Counts up when the same Dockerfile and inputs are sent to the engine in another way."""
CONTENT_HASH_LABEL = "dev.gitops-ml.content-hash"
USER_ID = 10001
PORT = 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerPlan:
    """How an engine makes an image: the values for the template of its Dockerfile."""

    base: ImageRef
    platform: str
    python_version: str | None
    """The Python that the base image must have, such as ``3.11``; ``None`` accepts any."""
    dependencies: Dependencies
    pip_files: tuple[str, ...]
    shell_files: tuple[str, ...]
    runtime_requirements: tuple[str, ...]
    """Requirement files of ``predictor_base``, by name."""
    has_environment_file: bool
    """Whether the project has a ``.env``, which ``dependencies.sh`` reads first, as in Cortex."""
    content_hash: ContentHash | None = None
    """Not in the Dockerfile that is hashed."""


def docker_plan(
    context: BuildContext,
    *,
    base: ImageRef,
    platform: str,
    predictor_type: str,
    python_version: str | None,
) -> DockerPlan:
    """The plan of the image that ``context`` becomes on top of ``base``, with its content hash."""
    paths = {file.path for file in context.inputs}
    names = ("requirements.txt", f"requirements-{predictor_type}.txt")
    plan = DockerPlan(
        base=base,
        platform=platform,
        python_version=python_version,
        dependencies=context.dependencies,
        pip_files=context.pip_files,
        shell_files=context.shell_files,
        runtime_requirements=tuple(n for n in names if f"runtime/predictor_base/{n}" in paths),
        has_environment_file="app/.env" in paths,
    )
    return replace(plan, content_hash=content_hash(context.inputs, recipe=docker_recipe(plan)))


def render_dockerfile(plan: DockerPlan) -> str:
    """The text of the Dockerfile; it has the content hash label if ``plan`` has the hash."""
    text = template("Dockerfile.j2", shell=shlex.quote, copy=_copy).render(
        facts=plan,
        dependencies=plan.dependencies,
        base=f"{plan.base.repository}@{plan.base.digest}",
        content_hash_label=CONTENT_HASH_LABEL,
        user_id=USER_ID,
        port=PORT,
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def docker_recipe(plan: DockerPlan) -> Recipe:
    """How the Docker engine makes the image: the part of the content hash beside the inputs."""
    text = render_dockerfile(replace(plan, content_hash=None))
    return Recipe(
        builder=BUILDER,
        template=hashlib.sha256(text.encode()).hexdigest(),
        base=plan.base,
        platform=plan.platform,
        python_version=plan.python_version or "",
    )


def _copy(paths: Iterable[str]) -> str:
    """One COPY instruction for each of ``paths`` of the project."""
    if EVERYTHING in (paths := tuple(paths)):
        return "COPY app/ /app/"
    return "\n".join(
        f"COPY {json.dumps([f'app/{path}', f'/app/{path}'], ensure_ascii=False)}" for path in paths
    )
