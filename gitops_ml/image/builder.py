"""Build images from a base image and new layers, and push them, without a container engine.

The layers of the base image are never unpacked, and are mounted when the image goes to the registry
that has them. The layers that change least come first: base, packages, predictor_base, code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import IO, Any

from gitops_ml.errors import ServerFailed, UsageError
from gitops_ml.image import recipe
from gitops_ml.image.attestations import read_openapi
from gitops_ml.image.context import context_entries
from gitops_ml.image.recipe import OciPlan
from gitops_ml.oci.blob_upload import Source
from gitops_ml.oci.image_manifest import (
    CONFIG,
    INDEX,
    MANIFEST,
    AddedLayer,
    BadManifest,
    BaseConfig,
    Descriptor,
    ImageManifest,
    Index,
    Platform,
    as_oci,
    describe,
    extended_config,
    manifest_for,
    parse_config,
    parse_manifest,
)
from gitops_ml.oci.layers import Layer, LayerEntry, write_layer
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import BlobUpload, OciRegistry
from gitops_ml.oci.store import BlobStore, StoredLayer, bytes_source, file_source
from gitops_ml.packages.lock_file import lock_path
from gitops_ml.packages.wheel_store import WheelStore
from gitops_ml.packages.wheels import Component
from gitops_ml.runtime.runtime_package import APP, RUNTIME
from gitops_ml.system.cache import Seal, cache_folder, folder_in
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

    plan: OciPlan
    images: tuple[PlatformImage, ...]

    def blobs(self) -> tuple[BuiltLayer, ...]:
        """The layers and configs of all platforms, once each."""
        found = {blob.descriptor.digest: blob for image in self.images for blob in image.blobs()}
        return tuple(found.values())

    def manifests(self) -> tuple[tuple[Descriptor, bytes], ...]:
        """The manifests of the platforms and, for several, their index; the tag names the last."""
        found = [(image.descriptor, image.manifest) for image in self.images]
        if len(found) > 1:
            index = Index(manifests=tuple(descriptor for descriptor, _ in found)).to_bytes()
            found.append((describe(index, INDEX), index))
        return tuple(found)

    def contents(self) -> Iterator[tuple[Descriptor, Source]]:
        """Everything that a registry or an OCI layout holds of it."""
        for blob in self.blobs():
            yield blob.descriptor, blob.source
        for descriptor, content in self.manifests():
            yield descriptor, bytes_source(content)

    @property
    def descriptor(self) -> Descriptor:
        """Of the manifest or index that the tag points at."""
        return self.manifests()[-1][0]

    @property
    def digest(self) -> str:
        return self.descriptor.digest


@dataclass(frozen=True, slots=True)
class BlobPreview:
    """A blob of a built image, and whether the registry has it."""

    role: str
    descriptor: Descriptor
    is_there: bool


class OciBuilder:
    """Builds images, equal on every machine, and pushes them."""

    def __init__(self, registry: OciRegistry, environ: Mapping[str, str]) -> None:
        """A builder for ``registry``, with the user's cache and package indexes."""
        self.registry = registry
        folder = cache_folder(environ)
        self._blobs = BlobStore(folder_in(folder, "oci"), seal=Seal.of_user(environ))
        self._wheels = WheelStore(folder_in(folder, "wheels"), environ=environ)

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
            return BuiltImage(plan=plan, images=tuple(images))

    def push(
        self, built: BuiltImage, image: ImageRef, *, progress: Progress
    ) -> Mapping[str, BlobUpload]:
        """Push everything, then the manifest: under the tag, or by its digest without one.

        Returns how each blob got there, by its digest.

        Raises:
            Refused, ServerFailed: the registry refused it, or failed; the tag did not change.
        """
        with ThreadPoolExecutor(_WORKERS) as pool:
            futures = {
                blob.descriptor.digest: pool.submit(
                    self.registry.push_blob, image.repository, blob.descriptor, blob.source,
                    mount_from=blob.mount_from, progress=progress,
                )
                for blob in built.blobs()
            }  # fmt: skip
            uploads = {digest: future.result() for digest, future in futures.items()}
        *parts, (top, content) = built.manifests()
        for part, text in parts:
            self.registry.push_manifest(
                image.repository, text, media_type=part.media_type, to=part.digest
            )
        self.registry.push_manifest(
            image.repository, content, media_type=top.media_type, to=image.tag or top.digest
        )
        return uploads

    def push_preview(self, built: BuiltImage, repository: str) -> tuple[BlobPreview, ...]:
        """The blobs that a push needs; nothing is sent."""
        return tuple(
            BlobPreview(
                blob.role, blob.descriptor, self.registry.has_blob(repository, blob.descriptor)
            )
            for blob in built.blobs()
        )

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
        own = {
            "packages": packages, "runtime": self._runtime(plan), "code": self._code(plan)
        }  # fmt: skip
        content = _config(plan, platform, config, own, more_labels())
        layers = (
            *(self._base_layer(plan.base, layer) for layer in manifest.layers),
            *(_stored_layer(role, stored) for role, stored in own.items()),
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
            role="base", descriptor=as_oci(descriptor), source=pieces, mount_from=base.repository
        )

    def _packages(
        self, plan: OciPlan, platform: str, progress: Progress
    ) -> tuple[StoredLayer, tuple[Component, ...]]:
        def make(target: IO[bytes]) -> tuple[Layer, Any]:
            return self._write_packages(plan, platform, target, progress)

        key = _key("packages", plan.lock.fingerprint(platform), plan.epoch)
        stored = self._blobs.layer(key, make)
        components = tuple(
            Component(**{**found, "requires": tuple(found["requires"])}) for found in stored.notes
        )
        _check_wheels(plan, platform, components)
        return stored, components

    def _write_packages(
        self, plan: OciPlan, platform: str, target: IO[bytes], progress: Progress
    ) -> tuple[Layer, list[dict[str, Any]]]:
        """Write the layer of the packages; returns it with the components in it."""
        from gitops_ml.packages.wheels import Scheme, describe_wheel, wheel_entries

        lock = plan.lock
        packages = lock.packages_for(platform)
        progress(f"{platform}: making the layer of {len(packages)} packages")
        wheels = self._wheels.fetch(
            packages,
            python=lock.python,
            platform=platform,
            project=plan.context.roots[APP],
            files=plan.context.pip_files,
            progress=progress,
        )
        scheme = Scheme(recipe.PREFIX, lock.python)
        entries = wheel_entries([wheel.file for wheel in wheels], scheme=scheme)
        layer = write_layer(entries, target, root="opt", epoch=plan.epoch)
        found = (describe_wheel(wheel.file, fingerprint=wheel.sha256) for wheel in wheels)
        return layer, [asdict(component) for component in found]

    def _runtime(self, plan: OciPlan) -> StoredLayer:
        entries = [
            *context_entries(plan.unlocked_context, {RUNTIME: recipe.RUNTIME}),
            LayerEntry(
                path=f"{recipe.site_packages(plan.lock.python)}/predictor_base.pth",
                source=f"/{recipe.RUNTIME}\n".encode(),
            ),
        ]
        return self._layer("runtime", entries, root="opt", epoch=plan.epoch)

    def _code(self, plan: OciPlan) -> StoredLayer:
        path = f"{recipe.APP}/{lock_path(plan.context.dependencies.pip)}"
        entries = [
            *context_entries(plan.unlocked_context, {APP: recipe.APP}),
            LayerEntry(path=path, source=plan.lock_text),
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


def _config(
    plan: OciPlan,
    platform: str,
    base: BaseConfig,
    layers: Mapping[str, StoredLayer],
    labels: Mapping[str, str],
) -> bytes:
    runtime = recipe.runtime(
        base,
        base_digest=plan.base.digest or "",
        python=plan.lock.python,
        content_hash=plan.content_hash,
        lock_hash=plan.lock.fingerprint(platform),
        labels=labels,
    )
    added = [
        AddedLayer(diff_id=stored.layer.diff_id, created_by=recipe.MADE_LAYERS[role])
        for role, stored in layers.items()
    ]
    return extended_config(base, layers=added, runtime=runtime, epoch=plan.epoch)


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
