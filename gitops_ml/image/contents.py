"""The contents of an image by its manifest and config; no layer is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.image.dockerfile import CONTENT_HASH_LABEL
from gitops_ml.image.recipe import LOCK_LABEL
from gitops_ml.oci.config import parse_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.oci.model import Descriptor, ImageManifest

KIND_LABEL, MODEL = "dev.gitops-ml.kind", "model"
"""The label of a model artifact, and its value."""
_TITLE = "org.opencontainers.image.title"
"""The annotation of a model's layer that names its file."""

_ROLES = {
    "gitops-ml: the packages of the lock": "packages",
    "gitops-ml: predictor_base": "runtime",
    "gitops-ml: the project": "code",
}
_COPIES = (("/opt/venv", "packages"), ("/opt/runtime", "runtime"), (" in /app/", "code"),
           ("app/ /app/", "code"))  # fmt: skip
"""Texts in the history of an image from a Dockerfile, in order, and the roles that they mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """One layer, from the base image up."""

    role: str
    """``base``, ``packages``, ``runtime`` or ``code``; of a model, the file that it holds."""
    descriptor: Descriptor
    diff_id: str
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContents:
    """The image for one platform, as `gitops-ml inspect` shows it."""

    platform: str
    layers: tuple[LayerFacts, ...]
    labels: Mapping[str, str]
    entrypoint: tuple[str, ...]
    user: str

    @property
    def size(self) -> int:
        """Bytes as they are stored and pulled."""
        return sum(layer.descriptor.size for layer in self.layers)

    @property
    def content_hash(self) -> str | None:
        return self.labels.get(CONTENT_HASH_LABEL)

    @property
    def is_model(self) -> bool:
        """Whether it is a model, which is mounted and never run."""
        return self.labels.get(KIND_LABEL) == MODEL

    @property
    def lock(self) -> str | None:
        return self.labels.get(LOCK_LABEL)


def image_contents(manifest: ImageManifest, config: bytes) -> ImageContents:
    """The contents of an image.

    Raises:
        BadManifest: ``config`` is not a config, or is of another image.
    """
    from gitops_ml.oci.model import BadManifest

    found = parse_config(config)
    if len(found.diff_ids) != len(manifest.layers):
        raise BadManifest("its config and its manifest disagree about its layers")
    history = [str(e.get("created_by", "")) for e in found.history if not e.get("empty_layer")]
    if len(history) != len(manifest.layers):
        history = [""] * len(manifest.layers)
    settings = found.settings
    labels = dict(settings.get("Labels") or {})
    is_model = labels.get(KIND_LABEL) == MODEL
    return ImageContents(
        platform=str(found.platform),
        layers=tuple(
            LayerFacts(
                role=descriptor.annotations.get(_TITLE, "files") if is_model else _role(created_by),
                descriptor=descriptor,
                diff_id=diff_id,
                created_by=created_by,
            )
            for descriptor, diff_id, created_by in zip(
                manifest.layers, found.diff_ids, history, strict=True
            )
        ),
        labels=labels,
        entrypoint=tuple(settings.get("Entrypoint") or ()),
        user=str(settings.get("User") or ""),
    )


def _role(created_by: str) -> str:
    if created_by in _ROLES:
        return _ROLES[created_by]
    if "COPY" in created_by:
        for text, role in _COPIES:
            if text in created_by:
                return role
    return "base"
