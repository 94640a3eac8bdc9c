"""The image of every release: hashed, looked for, and built only where nobody has it yet."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_ml.adapters.build_settings import build_settings
from gitops_ml.adapters.context import build_inputs, dockerfile_template, read_context
from gitops_ml.core.content_hash import content_hash
from gitops_ml.core.dockerfile import (
    DockerfileFacts,
    docker_recipe,
    dockerfile_facts,
    render_dockerfile,
)
from gitops_ml.core.image import BuildContext, ContentHash, ImageRef
from gitops_ml.errors import GitopsMlError, Refused, ServerFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gitops_ml.core.release import PredictorSpec
    from gitops_ml.ports import ImageBuilder, Progress, Registry
    from gitops_ml.workspace import Planned, Workspace


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """The image of one release: ready-made, or one that we build from ``context``."""

    ref: ImageRef
    """With its digest where the document says it, or somebody has looked."""
    content_hash: ContentHash | None = None
    context: BuildContext | None = None
    facts: DockerfileFacts | None = None
    platform: str = ""

    def with_digest(self, digest: str | None) -> PlannedImage:
        return replace(self, ref=replace(self.ref, digest=digest or self.ref.digest))


class ImagePlanner:
    """Plans the images of one workspace; a directory is read and hashed once."""

    def __init__(self, workspace: Workspace, *, registry: Registry | None) -> None:
        self._workspace = workspace
        self._registry = registry
        self._template = dockerfile_template()
        self._contexts: dict[tuple[object, ...], BuildContext] = {}
        self._bases: dict[str, ImageRef] = {}

    def plan(self, planned: Planned) -> PlannedImage:
        """The image of one release, named by the hash of its inputs.

        Raises:
            InvalidDocument: a file of the project cannot enter an image.
            UsageError: the base image has no digest and no registry that could tell it.
        """
        if planned.ready_image is not None:
            return PlannedImage(ImageRef.parse(planned.ready_image))
        predictor = planned.spec.predictor
        assert predictor is not None, "the rules demand a predictor or a container"
        return self._plan(planned, predictor)

    def _plan(self, planned: Planned, predictor: PredictorSpec) -> PlannedImage:
        image = self._workspace.project.image
        context = self._context(planned, predictor)
        facts = dockerfile_facts(
            context,
            base=self._base(predictor.image or image.base),
            predictor_type=predictor.type,
            # A base image of the predictor's own brings the Python that it has.
            python_version=predictor.python_version
            or (None if predictor.image else image.python_version),
        )
        recipe = docker_recipe(self._template, facts, platform=image.platform)
        hashed = content_hash(context.inputs, recipe=recipe)
        return PlannedImage(
            ref=ImageRef(self._repository(planned.name), hashed.tag),
            content_hash=hashed,
            context=context,
            facts=replace(facts, content_hash=hashed),
            platform=image.platform,
        )

    def _repository(self, api: str) -> str:
        repository = self._workspace.project.image.repository
        return f"{repository}/{api}" if repository else api

    def _context(self, planned: Planned, predictor: PredictorSpec) -> BuildContext:
        directory = self._workspace.directory_of(planned.manifest)
        key = (directory, predictor.path, predictor.dependencies)
        if key not in self._contexts:
            self._contexts[key] = read_context(
                directory,
                predictor=predictor,
                manifests=(posixpath.basename(planned.manifest.file),),
            )
        return self._contexts[key]

    def _base(self, text: str) -> ImageRef:
        if text not in self._bases:
            self._bases[text] = self._with_digest(ImageRef.parse(text))
        return self._bases[text]

    def _with_digest(self, base: ImageRef) -> ImageRef:
        if base.digest:
            return base
        digest = self._registry.digest(base) if self._registry else None
        if digest is None:
            raise UsageError(
                f"the base image {base} has no digest, and "
                + ("its registry does not have it" if self._registry else "no registry was asked")
                + ": pin it as <image>@sha256:… in gitops-ml.yaml (image.base) or predictor.image"
            )
        return replace(base, digest=digest)


def look_up(
    images: Iterable[PlannedImage],
    *,
    known: Mapping[str, str],
    registry: Registry | None,
    unanswered: Callable[[GitopsMlError], None] | None = None,
) -> dict[str, str]:
    """Digests by ``repository:tag``, of those images that exist.

    ``known`` are digests that the GitOps repository holds: a content-hash tag names one content, so
    what was deployed under it is what it is. Only other tags are asked of the registry.
    """
    found: dict[str, str] = {}
    for image in images:
        name = str(replace(image.ref, digest=None))
        if image.ref.digest or name in found:
            continue
        if image.content_hash and name in known:
            found[name] = known[name]
        elif registry is not None:
            try:
                digest = registry.digest(image.ref)
            except (Refused, ServerFailed) as error:
                if unanswered is None:
                    raise
                unanswered(error)
                # One answer is enough to know that this registry gives none.
                registry = None
            else:
                found |= {name: digest} if digest else {}
    return found


def build_image(
    image: PlannedImage, *, builder: ImageBuilder, push: bool, progress: Progress
) -> str:
    """Build one image and, unless it stays local, push it. Returns its digest, or its local id."""
    assert image.context and image.facts, "only an image with inputs is built"
    dockerfile = render_dockerfile(dockerfile_template(), image.facts)
    context = build_inputs(
        image.context, dockerfile=dockerfile, settings=build_settings(os.environ)
    )
    progress(f"building {image.ref}")
    local = builder.build(context, image.ref, platform=image.platform, progress=progress)
    if not push:
        return local
    progress(f"pushing {image.ref}")
    return builder.push(image.ref, progress=progress)
