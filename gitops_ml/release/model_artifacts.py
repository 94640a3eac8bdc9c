"""Model artifacts: weights in images of their own, and the folders where a replica finds them.

Where a manifest names a model by ``oci://``, the cluster mounts the artifact read-only, and the
runtime gets the folder in its place, as for a model on a local disk. A location that names no
artifact is a `BadLocation`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gitops_ml.documents.findings import Path
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.spec import Models, PredictorSpec

SCHEME = "oci://"
MOUNTED_AT = "/models"
"""The folder of all models in a replica."""
EXAMPLE = "oci://ghcr.io/acme/models/iris@sha256:…"

EXAMPLE_TO_PUSH = "oci://ghcr.io/acme/models/iris:3"

_TAG_OR_DIGEST = re.compile(r"(?::[^/]*)?(?:@.*)?$")
_HOST = re.compile(r"localhost|.*[.:].*")
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")


class BadLocation(ValueError):
    """A location that begins with ``oci://`` and names no artifact; the message states the reason."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact that a release needs."""

    name: str
    """The name of its folder, unique in the release."""
    image: ImageRef


@dataclass(frozen=True, slots=True)
class Mounted:
    """A predictor with local models, and the artifacts to mount for them."""

    predictor: PredictorSpec
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True)
class PushedModel:
    """An artifact in the registry."""

    image: ImageRef
    """With its digest, which is what a manifest names."""
    files: int
    size: int
    bytes_sent: int
    moved_from: str | None = None
    """The previous digest of the tag, if that was another one."""

    @property
    def location(self) -> str:
        return f"{SCHEME}{self.image}"


@dataclass(frozen=True, slots=True)
class PulledModel:
    """An artifact that is on this machine."""

    image: ImageRef
    files: int
    size: int


def parse_location(location: str, *, example: str = EXAMPLE) -> ImageRef:
    """The artifact that ``oci://registry/repository[:tag][@sha256:…]`` names."""
    if not location.startswith(SCHEME):
        raise BadLocation(f"{location!r} does not begin with {SCHEME}; write it as {example}")
    try:
        image = ImageRef.parse(location.removeprefix(SCHEME))
    except ValueError as error:
        name = _TAG_OR_DIGEST.sub("", location)
        has_capitals = name != name.lower()
        why = "has capitals, which no repository may have" if has_capitals else "names no artifact"
        raise BadLocation(f"{location!r} {why}; write it as {example}") from error
    host, slash, _ = image.repository.partition("/")
    # without a registry, a node asks Docker Hub, and other clients take the first part for the registry
    if not slash or not _HOST.fullmatch(host):
        raise BadLocation(f"{location!r} does not begin with a registry; write it as {example}")
    return image


def artifact_places(predictor: PredictorSpec) -> Iterator[tuple[Path, str]]:
    """Where a predictor names artifacts (its path below the API), and the locations, right or not."""
    for section, models in predictor.model_sections():
        for path, location in models.locations():
            if location.startswith(SCHEME):
                yield (*section, *path), location
    for key, value in predictor.config.items():
        if isinstance(value, str) and value.startswith(SCHEME):
            yield ("predictor", "config", key), value


def mounted(
    predictor: PredictorSpec,
    place: Callable[[Artifact], str] = lambda artifact: f"{MOUNTED_AT}/{artifact.name}",
) -> Mounted:
    """``predictor`` with folders in place of its artifacts; ``place`` returns the folder of one."""
    mounts = _Mounts(place)
    config = {
        key: mounts.local(value, f"config-{key}") if isinstance(value, str) else value
        for key, value in predictor.config.items()
    }
    local = replace(
        predictor,
        models=_local(predictor.models, mounts),
        multi_model_reloading=_local(predictor.multi_model_reloading, mounts),
        config=config,
    )
    return Mounted(local, tuple(mounts.artifacts.values()))


def artifacts_of(predictor: PredictorSpec) -> tuple[ImageRef, ...]:
    """The artifacts that a predictor names, each once."""
    return tuple(artifact.image for artifact in mounted(predictor).artifacts)


def _local(models: Models | None, mounts: _Mounts) -> Models | None:
    if models is None:
        return None
    return replace(
        models,
        path=mounts.local(models.path, "model") if models.path else None,
        dir=mounts.local(models.dir, "all") if models.dir else None,
        paths=tuple(
            replace(model, path=mounts.local(model.path, model.name)) for model in models.paths
        ),
    )


class _Mounts:
    """The artifacts found so far, each once."""

    def __init__(self, place: Callable[[Artifact], str]) -> None:
        self.artifacts: dict[ImageRef, Artifact] = {}
        self._place = place

    def local(self, location: str, name: str) -> str:
        if not location.startswith(SCHEME):
            return location
        image = parse_location(location)
        # a pull by digest ignores the tag, and some runtimes refuse both together
        image = replace(image, tag=None) if image.digest else image
        if image not in self.artifacts:
            self.artifacts[image] = Artifact(self._free(name), image)
        return self._place(self.artifacts[image])

    def _free(self, name: str) -> str:
        taken = {artifact.name for artifact in self.artifacts.values()}
        name = _NO_NAME.sub("-", name)[:50]
        number, found = 1, name
        while found in taken:
            number += 1
            found = f"{name}-{number}"
        return found


def artifact_values(artifacts: tuple[Artifact, ...], cluster: ClusterSpec) -> Mapping[str, Any]:
    """``models`` of the predictor chart; empty where there are none."""
    if not artifacts:
        return {}
    return {
        "imageVolumes": has_image_volumes(cluster),
        "artifacts": [{"name": a.name, "reference": str(a.image)} for a in artifacts],
    }


def has_image_volumes(cluster: ClusterSpec) -> bool:
    """Whether pods of the cluster can mount an image.

    Kubernetes does so by default from 1.35 on (KEP-4639), and 1.33 and 1.34 with a feature gate.
    """
    if cluster.image_volumes is not None:
        return cluster.image_volumes
    return cluster.is_kubernetes(minor=35)
