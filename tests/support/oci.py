"""Small base images and what builds on them, for the tests of images without a container."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gitops_ml.http.response import RetryPolicy
from gitops_ml.image.builder import BuiltImage, OciBuilder
from gitops_ml.image.context import read_context
from gitops_ml.image.publish import Publication, push_image
from gitops_ml.image.recipe import OciPlan, PredictorSource
from gitops_ml.models.artifact import RegistryModels
from gitops_ml.oci.blob_upload import Source
from gitops_ml.oci.image_manifest import (
    CONFIG,
    INDEX,
    MANIFEST,
    ImageManifest,
    Index,
    Platform,
    canonical_json,
    describe,
)
from gitops_ml.oci.layers import LayerEntry, write_layer
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.oci.registry_session import RegistrySession
from gitops_ml.oci.store import write_layout
from gitops_ml.packages.lock_file import Lock, LockedPackage, lock_path, render_lock
from gitops_ml.release.model_artifacts import PulledModel, PushedModel
from gitops_ml.system.progress import Progress
from tests.support.projects import predictor_spec, write_project
from tests.support.wheels import make_wheel

IMPATIENT = RetryPolicy(first_wait=0, sleep=lambda seconds: None)


def silent(line: str) -> None:
    """For work whose progress does not matter."""


def registry_of(environ: Mapping[str, str] | None = None) -> OciRegistry:
    return OciRegistry(RegistrySession(environ or {}, patience=IMPATIENT))


def source(content: bytes) -> Source:
    """The pieces of some bytes."""
    return lambda at: (content[n : n + 1000_000] for n in range(at, len(content), 1000_000))


@dataclass(frozen=True)
class TinyBase:
    """A base image of one small layer, pushed for both platforms."""

    image: ImageRef
    manifests: Mapping[str, bytes]
    config: Mapping[str, bytes]
    index: bytes


def push_tiny_base(registry: OciRegistry, repository: str, *env: str) -> TinyBase:
    """A base image in ``repository``, by the digest of its index."""
    file = io.BytesIO()
    entry = LayerEntry(path="etc/os-release", source=b"NAME=tiny\n" * 2000)
    layer = write_layer([entry], file)
    registry.push_blob(repository, layer.descriptor, source(file.getvalue()), progress=silent)
    manifests, configs, entries = {}, {}, []
    for name in ("linux/amd64", "linux/arm64"):
        platform = Platform.parse(name)
        configs[name] = config = canonical_json(
            {
                "os": "linux", "architecture": platform.architecture,
                "config": {"Env": ["PATH=/usr/bin", *env]},
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            }
        )  # fmt: skip
        registry.push_blob(repository, describe(config, CONFIG), source(config), progress=silent)
        made = ImageManifest(config=describe(config, CONFIG), layers=(layer.descriptor,)).to_bytes()
        digest = describe(made, MANIFEST).digest
        registry.push_manifest(repository, made, media_type=MANIFEST, to=digest)
        manifests[name] = made
        entries.append(describe(made, MANIFEST, platform=platform))
    index = Index(manifests=tuple(entries)).to_bytes()
    digest = registry.push_manifest(repository, index, media_type=INDEX, to="1")
    return TinyBase(ImageRef(repository, "1", digest), manifests, configs, index)


def project_with_lock(
    directory: Path,
    *,
    python: str = "3.11",
    platforms: tuple[str, ...] = ("linux/amd64",),
    files: Mapping[str, str | bytes] | None = None,
) -> Lock:
    """A project whose lock names one wheel of its own: nothing is asked of any index."""
    from gitops_ml.system.project_files import file_fingerprint

    write_project(directory, {"requirements.txt": "./wheels/tiny.whl\n", **(files or {})})
    wheel = make_wheel(
        directory / "wheels", "tiny-package",
        files={"tiny_package/__init__.py": "answer = 42\n" * 50, "tiny_package/data.bin": b"\0" * 9},
        entry_points="[console_scripts]\ntiny = tiny_package:main\n",
    )  # fmt: skip
    path = f"wheels/{wheel.name}"
    package = LockedPackage("tiny-package", "1.0", file_fingerprint(wheel), path=path)
    lock = Lock(python=python, platforms=platforms, inputs="0" * 64, packages=(package,))
    text = render_lock(lock, requirements="requirements.txt")
    (directory / lock_path("requirements.txt")).write_text(text)
    return lock


def plan_of(directory: Path, lock: Lock, base: ImageRef, *, epoch: int = 0) -> OciPlan:
    context = read_context(directory, predictor=predictor_spec())
    return OciPlan(
        context=context, lock=lock, base=base, platforms=lock.platforms, epoch=epoch,
        predictor=PredictorSource(api="iris", path="predictor.py"),
    )  # fmt: skip


def tools_of(
    cache: Path, environ: Mapping[str, str] | None = None, *, patience: RetryPolicy = IMPATIENT
) -> OciBuilder:
    settings = {"HOME": str(cache), **(environ or {}), "GITOPS_ML_CACHE": str(cache)}
    registry = OciRegistry(RegistrySession(settings, patience=patience))
    return OciBuilder(registry, settings)


def push_model(
    directory: Path, image: ImageRef, *, registry: OciRegistry, progress: Progress = silent
) -> PushedModel:
    return RegistryModels(registry, environ={}).push(directory, image, progress=progress)


def pull_model(
    image: ImageRef,
    directory: Path,
    *,
    registry: OciRegistry,
    progress: Progress = silent,
    may_be_there: bool = False,
) -> PulledModel:
    store = RegistryModels(registry, environ={})
    return store.pull(image, directory, progress=progress, may_be_there=may_be_there)


def write_oci_layout(built: BuiltImage, folder: Path, name: str) -> None:
    write_layout(folder, built.contents(), top=built.descriptor, name=name, progress=silent)


def ensure_oci_image(
    plan: OciPlan,
    *,
    repository: str,
    tools: OciBuilder,
    manifest: bytes | None = None,
    source: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> ImageRef:
    """The image of ``plan`` in ``repository``, by tag and digest; built where it is not there."""
    image = ImageRef(repository, plan.content_hash.tag)
    if digest := tools.registry.digest(image):
        return replace(image, digest=digest)
    built = tools.build(plan, progress=progress)
    publication = Publication(manifest=manifest, source=source)
    push_image(built, image, builder=tools, publication=publication, progress=progress)
    return replace(image, digest=built.digest)
