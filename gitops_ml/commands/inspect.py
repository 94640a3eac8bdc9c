"""Read images back: their contents, the project in them, and what a build would push."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gitops_ml.commands.history import find_deployment, refuse_near_id
from gitops_ml.delivery.images import built_images, image_warnings, plan_images
from gitops_ml.documents.yaml_reader import read_yaml
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.image.attestations import API_MANIFEST, CYCLONEDX, listed_packages
from gitops_ml.image.builder import BlobPreview
from gitops_ml.image.contents import LayerFacts, OpenImage, Reader, layer_members, open_image
from gitops_ml.image.recipe import BuilderChoice, OciPlan
from gitops_ml.oci.image_manifest import Descriptor
from gitops_ml.oci.new_folder import NewFolder, new_folder
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry, read_attachment, referrers
from gitops_ml.oci.signatures import Signature
from gitops_ml.oci.store import OciLayout
from gitops_ml.oci.tar_entries import FILE, LINK
from gitops_ml.packages.locking import Locks
from gitops_ml.packages.wheels import Component
from gitops_ml.release.model_artifacts import SCHEME, BadLocation, parse_location
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace, checked

_DEPLOYMENT = re.compile(r"[a-z][-a-z0-9]*-[0-9a-f]{1,12}")
_LAYOUT = "oci:"


@dataclass(frozen=True, slots=True)
class Named:
    """An image by its name, where it is, and what else is known about it."""

    image: ImageRef
    reader: Reader
    deployment_id: str | None = None
    manifest: bytes | None = None
    """The API as it was deployed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What is in an image, and what is attached to it."""

    found: OpenImage
    deployment_id: str | None
    packages: tuple[Component, ...]
    """Of the bill of materials; none where none is attached."""
    attached: tuple[Descriptor, ...]
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a build of one image would push."""

    apis: tuple[str, ...]
    image: str
    choice: BuilderChoice
    blobs: tuple[BlobPreview, ...] | None
    """`None` where only a build in an engine could show it."""


@dataclass(frozen=True, slots=True)
class Previews:
    images: tuple[Preview, ...]
    warnings: tuple[str, ...]


def inspect(
    workspace: Workspace, name: str, *, clients: Clients, platform: str | None = None
) -> Inspection:
    """The contents of the image that ``name`` names; no layer is read.

    ``name`` is a deployment id, an image, a model (``oci://…``), or ``oci:DIR[:TAG]``, an image in
    an OCI layout.

    Raises:
        UsageError: there is no such deployment, or the image is not for ``platform``.
        Refused: the registry has no such image.
    """
    named = _named(workspace, name, clients)
    found = open_image(named.reader, named.image, platform=platform)
    attached = _attached(named, found, clients)
    return Inspection(
        found=found,
        deployment_id=named.deployment_id,
        packages=_packages(attached, found, clients),
        attached=attached,
        signatures=_signatures(named, found, clients),
    )


def export(
    workspace: Workspace, name: str, folder: Path, *, clients: Clients, platform: str | None = None
) -> Exported:
    """Export code, lock and manifest of an image to ``folder``; ``name`` as in `inspect`.

    Raises:
        UsageError: the folder is not empty, there is no such deployment, or the image is not for
            ``platform``.
        GitopsMlError: the image holds no project, or something that may not be written.
        Refused: the registry has no such image.
    """
    named = _named(workspace, name, clients)
    return export_image(
        named.reader, named.image, folder, platform=platform, manifest=named.manifest
    )


def preview(workspace: Workspace, *, clients: Clients) -> Previews:
    """What a build of the workspace would push; nothing is pushed."""
    if checked(workspace).project.image.repository is None:
        raise UsageError("where should images go? Set image.repository in gitops-ml.yaml")
    images = plan_images(workspace, clients, Locks.FROZEN)
    found = []
    for apis, image in built_images(images):
        assert image.choice, "an image of our own has one"
        blobs, plan = None, image.with_plan().plan
        if isinstance(plan, OciPlan):
            built = clients.oci.build(plan, progress=clients.progress)
            blobs = clients.oci.push_preview(built, image.ref.repository)
        found.append(Preview(apis, str(image.ref), image.choice, blobs))
    return Previews(tuple(found), image_warnings(images.values()))


def _named(workspace: Workspace, name: str, clients: Clients) -> Named:
    if name.startswith(SCHEME):
        try:
            return Named(parse_location(name), clients.oci.registry)
        except BadLocation as error:
            raise UsageError(str(error)) from error
    if name.startswith(_LAYOUT):
        return _in_layout(name.removeprefix(_LAYOUT))
    if _DEPLOYMENT.fullmatch(name):
        found = find_deployment(workspace, clients, name)
        manifest = write_yaml([found.release.manifest]).encode()
        return Named(found.release.image, clients.oci.registry, found.deployment_id, manifest)
    try:
        image = ImageRef.parse(name)
    except ValueError as error:
        raise UsageError(f"{error}, nor a deployment id (<api>-<12 hex digits>)") from error
    if name == image.repository and "/" not in name:
        refuse_near_id(workspace, clients, name)
    return Named(image, clients.oci.registry)


def _in_layout(name: str) -> Named:
    folder, _, tag = name.partition(":")
    if Path(name).is_dir() or not tag:
        folder, tag = name, ""
    image = ImageRef(folder, tag or None)
    with suppress(ValueError):
        image = replace(image, digest=ImageRef.parse(f"x@{tag}").digest, tag=None)
    return Named(image, OciLayout(Path(folder)))


def _signatures(named: Named, found: OpenImage, clients: Clients) -> tuple[Signature, ...]:
    """The signatures of the image, verified where the key is available."""
    if isinstance(named.reader, OciLayout):
        return ()
    from gitops_ml.oci.signatures import signatures_of

    key = None
    with suppress(UsageError):  # who looks at an image need not be who signs
        key = clients.key
    keys = [key.public] if key else []
    image, registry = found.image, clients.oci.registry
    return signatures_of(registry, image.repository, image.digest or "", keys=keys)


def _packages(
    attached: tuple[Descriptor, ...], found: OpenImage, clients: Clients
) -> tuple[Component, ...]:
    bills = [each for each in attached if each.artifact_type == CYCLONEDX]
    if not bills:
        return ()
    content = read_attachment(clients.oci.registry, found.image.repository, bills[0])
    return listed_packages(content)


def _attached(named: Named, found: OpenImage, clients: Clients) -> tuple[Descriptor, ...]:
    """What is attached to the image, and to its manifest for one platform."""
    if isinstance(named.reader, OciLayout):
        return ()
    digests = dict.fromkeys((found.image.digest or "", found.descriptor.digest))
    registry, repository = clients.oci.registry, found.image.repository
    return tuple(each for digest in digests for each in referrers(registry, repository, digest))


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
