"""Images without a container engine, from a project's directory to a digest in a registry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_ml.adapters.cache import cache_folder
from gitops_ml.adapters.oci_builder import OciBuilder, OciPlan
from gitops_ml.adapters.oci_registry import OciRegistry
from gitops_ml.adapters.oci_store import BlobStore
from gitops_ml.adapters.package_index import IndexSettings, PackageIndex
from gitops_ml.adapters.registry_session import Patience, RegistrySession
from gitops_ml.adapters.wheel_store import WheelStore
from gitops_ml.core.content_hash import content_hash
from gitops_ml.core.image_recipe import oci_recipe
from gitops_ml.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitops_ml.core.image import BuildContext, ImageRef
    from gitops_ml.core.lock import Lock
    from gitops_ml.ports import Progress


@dataclass(frozen=True, slots=True)
class OciTools:
    """A builder and the registry client that it pushes with: one session for both."""

    builder: OciBuilder
    registry: OciRegistry


def oci_tools(
    environ: Mapping[str, str], *, insecure: bool = False, patience: Patience | None = None
) -> OciTools:
    """What builds and pushes, with the user's credentials, cache and package indexes.

    Raises:
        UsageError: the cache folder cannot be made.
    """
    folder = cache_folder(environ)
    registry = OciRegistry(RegistrySession(environ, insecure=insecure, patience=patience))
    index = PackageIndex(IndexSettings.from_environ(environ))
    wheels = WheelStore(folder / "wheels", index=index)
    builder = OciBuilder(registry, blobs=BlobStore(folder / "oci"), wheels=wheels)
    return OciTools(builder, registry)


def oci_plan(
    context: BuildContext,
    *,
    lock: Lock,
    base: ImageRef,
    platforms: Sequence[str],
    labels: Mapping[str, str] | None = None,
    environ: Mapping[str, str],
) -> OciPlan:
    """What decides the image of ``context``; its content hash is in it, the labels are not in that.

    Raises:
        UsageError: ``SOURCE_DATE_EPOCH`` is no number of seconds.
    """
    recipe = oci_recipe(base=base, platforms=platforms, python=lock.python, lock=lock)
    epoch = _epoch(environ)
    if epoch:
        recipe = replace(recipe, build_args={**recipe.build_args, "epoch": str(epoch)})
    return OciPlan(
        context=context,
        lock=lock,
        base=base,
        platforms=tuple(platforms),
        content_hash=content_hash(context.inputs, recipe=recipe),
        labels=labels or {},
        epoch=epoch,
    )


def ensure_oci_image(
    plan: OciPlan, *, repository: str, tools: OciTools, progress: Progress
) -> ImageRef:
    """The image of ``plan`` in ``repository``, by tag and digest; built only where it is not there.

    Raises:
        Refused, ServerFailed, GitopsMlError: see `OciBuilder`.
    """
    from gitops_ml.core.image import ImageRef

    image = ImageRef(repository, plan.content_hash.tag)
    if found := tools.registry.head(image):
        return replace(image, digest=found.digest)
    built = tools.builder.build(plan, progress=progress)
    pushed = tools.builder.push(built, image, progress=progress)
    return replace(image, digest=pushed.digest)


def _epoch(environ: Mapping[str, str]) -> int:
    text = environ.get("SOURCE_DATE_EPOCH", "0")
    if not text.isdecimal() or int(text) >= 1 << 33:
        raise UsageError(f"SOURCE_DATE_EPOCH is {text!r}, which is no number of seconds")
    return int(text)
