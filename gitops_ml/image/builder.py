"""Build images from a base image and new layers, and push them, without a container engine.

The layers of the base image are never unpacked, and are mounted when the image goes to the registry
that has them. The layers that change least come first: base, packages, predictor_base, code.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

from gitops_ml.errors import ServerFailed, UsageError
from gitops_ml.image import recipe
from gitops_ml.image.context import context_entries
from gitops_ml.image.openapi import read_openapi
from gitops_ml.oci.config import AddedLayer, BaseConfig, extended_config, parse_config
from gitops_ml.oci.layers import Layer, LayerEntry, write_layer
from gitops_ml.oci.model import (
    CONFIG,
    INDEX,
    MANIFEST,
    BadManifest,
    Descriptor,
    ImageManifest,
    Index,
    Platform,
    as_oci,
    describe,
    manifest_for,
    parse_manifest,
)
from gitops_ml.oci.store import BlobStore, StoredLayer, bytes_source, file_source
from gitops_ml.packages.component import Component
from gitops_ml.packages.lock_file import lock_path, render_lock
from gitops_ml.runtime.runtime_package import APP, RUNTIME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gitops_ml.image.recipe import OciPlan
    from gitops_ml.oci.blob_upload import Source
    from gitops_ml.oci.reference import ImageRef
    from gitops_ml.oci.registry import BlobUpload, OciRegistry
    from gitops_ml.packages.wheel_store import WheelStore
    from gitops_ml.system.progress import Progress

_WORKERS = 4
_MOST_MANIFESTS = 5
"""On the way to the manifest of a base image: an index may point at an index, and so on."""
_LONGEST_LABEL = 16_000
"""Characters of the OpenAPI label: it is sent with each change of the code."""
_LAYER_FORMAT = 1
"""Counts up with `recipe.BUILDER` when layers are written in another way: their keys change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltLayer:
    """A layer of a built image, and where its bytes are."""

    role: str
    """``base``, ``packages``, ``runtime`` or ``code``."""
    descriptor: Descriptor
    source: Source = field(repr=False)
    mount_from: str | None = None
    """The repository that already has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformImage:
    """An image for one platform."""

    platform: str
    manifest: bytes
    config: bytes
    layers: tuple[BuiltLayer, ...]
    components: tuple[Component, ...]

    @property
    def descriptor(self) -> Descriptor:
        return describe(self.manifest, MANIFEST, platform=Platform.parse(self.platform))

    def blobs(self) -> tuple[BuiltLayer, ...]:
        """The layers, from the base up, and the config."""
        config = BuiltLayer(
            role="config",
            descriptor=describe(self.config, CONFIG),
            source=bytes_source(self.config),
        )
        return (*self.layers, config)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """An image, or an index of images for several platforms."""

    images: tuple[PlatformImage, ...]

    @property
    def content(self) -> bytes:
        """The manifest or index that the tag points at."""
        if len(self.images) == 1:
            return self.images[0].manifest
        return Index(manifests=tuple(image.descriptor for image in self.images)).to_bytes()

    @property
    def media_type(self) -> str:
        return MANIFEST if len(self.images) == 1 else INDEX

    @property
    def descriptor(self) -> Descriptor:
        return describe(self.content, self.media_type)

    @property
    def digest(self) -> str:
        return self.descriptor.digest


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of a push."""

    digest: str
    uploads: Mapping[str, BlobUpload]
    """By the digest of each blob."""

    @property
    def bytes_sent(self) -> int:
        return sum(upload.sent for upload in self.uploads.values())


class OciBuilder:
    """Builds images, equal on every machine, and pushes them."""

    def __init__(self, registry: OciRegistry, *, blobs: BlobStore, wheels: WheelStore) -> None:
        self.registry = registry
        self._blobs = blobs
        self._wheels = wheels

    def build(self, plan: OciPlan, *, progress: Progress) -> BuiltImage:
        """The image that ``plan`` describes; nothing is pushed.

        Raises:
            UsageError: the base image has another platform or Python, or the lock does not fit the
                requirements.
            GitopsMlError: a wheel is not available, a file changed meanwhile, or the disk is full.
        """
        # another Python reads the predictor's source while the layers are made
        with ThreadPoolExecutor(1) as pool:
            openapi = pool.submit(_openapi, plan)
            images = (
                self._image(plan, platform, openapi.result, progress)
                for platform in sorted(plan.platforms)
            )
            return BuiltImage(images=tuple(images))

    def push(self, built: BuiltImage, image: ImageRef, *, progress: Progress) -> Pushed:
        """Push everything, then the manifest: under the tag, or by its digest without one.

        Raises:
            Refused, ServerFailed: the registry refused it, or failed; the tag did not change.
        """
        uploads = self._push_content(built, image.repository, progress=progress)
        to = image.tag or built.digest
        self.registry.push_manifest(
            image.repository, built.content, media_type=built.media_type, to=to
        )
        return Pushed(built.digest, uploads)

    def _push_content(
        self, built: BuiltImage, repository: str, *, progress: Progress
    ) -> Mapping[str, BlobUpload]:
        """Push everything that the manifest or index points at."""
        blobs = {blob.descriptor.digest: blob for image in built.images for blob in image.blobs()}
        with ThreadPoolExecutor(_WORKERS) as pool:
            futures = {
                digest: pool.submit(
                    self.registry.push_blob, repository, blob.descriptor, blob.source,
                    mount_from=blob.mount_from, progress=progress,
                )
                for digest, blob in blobs.items()
            }  # fmt: skip
            uploads = {digest: future.result() for digest, future in futures.items()}
        if len(built.images) > 1:
            for one in built.images:
                self.registry.push_manifest(
                    repository, one.manifest, media_type=MANIFEST, to=one.descriptor.digest
                )
        return uploads

    def _image(
        self,
        plan: OciPlan,
        platform: str,
        more_labels: Callable[[], Mapping[str, str]],
        progress: Progress,
    ) -> PlatformImage:
        manifest, config = self._base(plan.base, Platform.parse(platform), progress)
        recipe.check_base(config, python=plan.lock.python, name=plan.base)
        packages, components = self._packages(plan, platform, progress)
        own = (
            ("packages", packages, "the packages of the lock"),
            ("runtime", self._runtime(plan), "predictor_base"),
            ("code", self._code(plan), "the project"),
        )
        runtime = recipe.runtime(
            config,
            base_digest=plan.base.digest or "",
            python=plan.lock.python,
            content_hash=plan.content_hash,
            lock_hash=plan.lock.fingerprint(platform),
            labels={**plan.labels, **more_labels()},
        )
        added = [
            AddedLayer(diff_id=stored.layer.diff_id, created_by=f"gitops-ml: {text}")
            for _, stored, text in own
        ]
        content = extended_config(config, layers=added, runtime=runtime, epoch=plan.epoch)
        layers = (
            *(self._base_layer(plan.base, layer) for layer in manifest.layers),
            *(_stored_layer(role, stored) for role, stored, _ in own),
        )
        made = ImageManifest(
            config=describe(content, CONFIG), layers=tuple(layer.descriptor for layer in layers)
        )
        return PlatformImage(
            platform=platform,
            manifest=made.to_bytes(),
            config=content,
            layers=layers,
            components=components,
        )

    def _base(
        self, base: ImageRef, platform: Platform, progress: Progress
    ) -> tuple[ImageManifest, BaseConfig]:
        """Manifest and config of the base image, from the cache or the registry."""
        try:
            found = self._base_manifest(base, platform, progress)
            content = self._blobs.blob(found.config.digest, progress=progress)
            if content is None:
                content = self.registry.blob(base.repository, found.config)
                self._blobs.keep(content)
            config = parse_config(content)
            if not platform.runs(config.platform):
                raise BadManifest(f"it is made for {config.platform}, not for {platform}")
            if len(config.diff_ids) != len(found.layers):
                raise BadManifest("its config and its manifest disagree about its layers")
        except BadManifest as error:
            raise ServerFailed(f"the base image {base} cannot be used: {error}") from error
        return found, config

    def _base_manifest(
        self, base: ImageRef, platform: Platform, progress: Progress
    ) -> ImageManifest:
        image = base
        for _ in range(_MOST_MANIFESTS):
            content = self._blobs.blob(image.digest or "", progress=progress)
            if content is None:
                content, descriptor = self.registry.manifest(image)
                parse_manifest(content, media_type=descriptor.media_type)
                self._blobs.keep(content)
            found = parse_manifest(content)
            if not isinstance(found, Index):
                return found
            image = replace(image, tag=None, digest=manifest_for(found, platform).digest)
        raise BadManifest(f"its indexes are nested more than {_MOST_MANIFESTS - 1} deep")

    def _base_layer(self, base: ImageRef, descriptor: Descriptor) -> BuiltLayer:
        def pieces(offset: int) -> Iterator[bytes]:
            return self.registry.read_blob(base.repository, descriptor, offset=offset)

        return BuiltLayer(
            role="base",
            descriptor=as_oci(descriptor),
            source=pieces,
            mount_from=base.repository,
        )

    def _packages(
        self, plan: OciPlan, platform: str, progress: Progress
    ) -> tuple[StoredLayer, tuple[Component, ...]]:
        lock = plan.lock

        def make(target: IO[bytes]) -> tuple[Layer, Any]:
            from gitops_ml.packages.wheels import Scheme, describe_wheel, wheel_entries

            progress(f"{platform}: making the layer of {len(lock.packages_for(platform))} packages")
            wheels = self._wheels.fetch(
                lock.packages_for(platform),
                python=lock.python,
                platform=platform,
                project=plan.context.roots[recipe.APP],
                files=plan.context.pip_files,
                progress=progress,
            )
            entries = wheel_entries(
                [wheel.file for wheel in wheels], scheme=Scheme(recipe.PREFIX, lock.python)
            )
            layer = write_layer(entries, target, root="opt", epoch=plan.epoch)
            found = (describe_wheel(wheel.file, fingerprint=wheel.sha256) for wheel in wheels)
            return layer, [asdict(component) for component in found]

        key = _key("packages", lock.fingerprint(platform), plan.epoch)
        stored = self._blobs.layer(key, make)
        components = tuple(_component(entry) for entry in stored.notes)
        _check_wheels(plan, platform, components)
        return stored, components

    def _runtime(self, plan: OciPlan) -> StoredLayer:
        entries = [
            *context_entries(plan.context, {RUNTIME: recipe.RUNTIME}),
            LayerEntry(
                path=f"{recipe.site_packages(plan.lock.python)}/predictor_base.pth",
                source=f"/{recipe.RUNTIME}\n".encode(),
            ),
        ]
        return self._layer("runtime", entries, root="opt", epoch=plan.epoch)

    def _code(self, plan: OciPlan) -> StoredLayer:
        requirements = plan.context.dependencies.pip
        text = render_lock(plan.lock, made_from=requirements)
        path = f"{recipe.APP}/{lock_path(requirements)}"
        entries = [
            *context_entries(plan.context, {APP: recipe.APP}),
            LayerEntry(path=path, source=text.encode()),
        ]
        return self._layer("code", entries, root="", epoch=plan.epoch)

    def _layer(
        self, role: str, entries: Iterable[LayerEntry], *, root: str, epoch: int
    ) -> StoredLayer:
        chosen = sorted(entries, key=lambda entry: entry.path)
        facts = [[e.path, e.is_executable, _fingerprint(e)] for e in chosen]
        return self._blobs.layer(
            _key(role, facts, epoch),
            lambda target: (write_layer(chosen, target, root=root, epoch=epoch), None),
        )


def _stored_layer(role: str, stored: StoredLayer) -> BuiltLayer:
    descriptor = stored.layer.descriptor
    source = file_source(stored.path, digest=descriptor.digest)
    return BuiltLayer(role=role, descriptor=descriptor, source=source)


def _check_wheels(plan: OciPlan, platform: str, components: Iterable[Component]) -> None:
    """Check that the wheels fit the requirements, by their own metadata.

    The lock alone proves nothing: every user who can edit it can change its facts about them.
    """
    if plan.asked is None:
        return
    from gitops_ml.packages.lock_check import lock_problems

    lock = replace(plan.lock, platforms=(platform,))
    wheels = {component.sha256: component for component in components}
    if problems := lock_problems(lock, plan.asked(), wheels=wheels):
        path = lock_path(plan.context.dependencies.pip)
        raise UsageError(
            f"{path} does not fit the requirements: {'; '.join(problems)}: run `gitops-ml lock` "
            "and read what changed"
        )


def _openapi(plan: OciPlan) -> Mapping[str, str]:
    """The label with the OpenAPI document of the predictor, as far as its source has one."""
    text = read_openapi(plan.context, plan.predictor) if plan.predictor else ""
    return {recipe.OPENAPI_LABEL: text} if text and len(text) <= _LONGEST_LABEL else {}


def _fingerprint(entry: LayerEntry) -> str:
    if isinstance(entry.source, bytes):
        return hashlib.sha256(entry.source).hexdigest()
    return f"link {entry.source}" if isinstance(entry.source, str) else entry.fingerprint or ""


def _key(role: str, facts: object, epoch: int) -> str:
    text = json.dumps([_LAYER_FORMAT, recipe.BUILDER, role, facts, epoch], sort_keys=True)
    return f"{role}-{hashlib.sha256(text.encode()).hexdigest()}"


def _component(found: Mapping[str, Any]) -> Component:
    return Component(**{**found, "requires": tuple(found["requires"])})
