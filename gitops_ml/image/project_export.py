"""Write the project that an image was built from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitops_ml.documents.yaml_reader import read_yaml
from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.image.attestations import API_MANIFEST
from gitops_ml.image.contents import LayerFacts, OpenImage, Reader, layer_members, open_image
from gitops_ml.oci.new_folder import NewFolder, new_folder
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.referrers import read_attachment, referrers
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.oci.tar_entries import FILE, LINK

_PROJECT = "app/"
_MANIFEST = "api.yaml"


@dataclass(frozen=True, slots=True)
class Exported:
    """The files that an export wrote."""

    files: tuple[str, ...]
    """Paths below the folder, sorted."""
    manifest: str | None
    """The path of the API manifest of the image, if it is known."""


def export_image(
    reader: Reader,
    image: ImageRef,
    folder: Path,
    *,
    platform: str | None = None,
    manifest: bytes | None = None,
) -> Exported:
    """Write the project that is in ``image`` into ``folder``: code, lock and, if known, manifest.

    ``manifest`` is the API's, where the caller knows it; otherwise the one attached to the image is
    used. An ``api.yaml`` in the project is kept.

    Raises:
        UsageError: the folder is not empty, or the image is not for ``platform``.
        GitopsMlError: the image has no project, or a file that may not be written.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: name a new folder")
    found = open_image(reader, image, platform=platform)
    own = _project_layers(found)
    with new_folder(folder.absolute()) as new:
        for layer in own:
            _unpack(reader, found.image, layer, new)
        if manifest is None and isinstance(reader, OciRegistry):
            manifest = _attached_manifest(reader, found.image)
        if manifest is None or any(path.lower() == _MANIFEST for path in new.sizes):
            return Exported(tuple(sorted(new.sizes)), None)
        new.text(_MANIFEST, manifest)
    return Exported(tuple(sorted(new.sizes)), _MANIFEST)


def _project_layers(found: OpenImage) -> list[LayerFacts]:
    if found.contents.is_model:
        raise GitopsMlError(f"{found.image} is a model: `gitops-ml model pull` writes its files")
    own = [layer for layer in found.contents.layers if layer.role == "code"]
    if not own:
        raise GitopsMlError(f"{found.image} was not made by gitops-ml: no layer of it is a project")
    return own


def _attached_manifest(registry: OciRegistry, image: ImageRef) -> bytes | None:
    found = referrers(registry, image.repository, image.digest or "", artifact_type=API_MANIFEST)
    texts = [read_attachment(registry, image.repository, each) for each in found]
    # APIs with equal code have one image; the repository names the API
    api = image.repository.rpartition("/")[2]
    named = [text for text in texts if _describes(text, api)]
    return next(iter(named or (texts if len(texts) == 1 else ())), None)


def _describes(manifest: bytes, api: str) -> bool:
    apis = read_yaml(manifest, file=_MANIFEST).data
    return isinstance(apis, list) and any(
        isinstance(each, dict) and each.get("name") == api for each in apis
    )


def _unpack(reader: Reader, image: ImageRef, layer: LayerFacts, new: NewFolder) -> None:
    """Write the files of the project in one layer."""
    with layer_members(reader, image, layer) as members:
        for name, entry in members:
            path = name.removeprefix(_PROJECT)
            if path != name and entry.kind == LINK:
                new.link(entry, path)
            elif path != name and entry.kind == FILE:
                new.write(entry, path)
