"""The layers of an image: what decides each of them, and its bytes as far as they are known without a build."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from gitops_ml.image.context import BuildContext
from gitops_ml.image.planner import PlannedImage
from gitops_ml.packages.lock_file import Lock
from gitops_ml.review.review import LayerFacts
from gitops_ml.runtime.runtime_package import APP, RUNTIME

BASE, PACKAGES, OWN_RUNTIME, CODE = "the base image", "the packages", "the runtime", "the code"
"""From the lowest layer to the highest."""


def layers_of(
    image: PlannedImage, lock: Lock | None, *, base: str, code: int, runtime: int
) -> Mapping[str, LayerFacts]:
    """By name; ``lock`` is that of an image that is made of it, and ``code`` and ``runtime`` are bytes."""
    context = image.context
    if context is None:
        return {}
    found = {
        BASE: LayerFacts(base, None),
        OWN_RUNTIME: LayerFacts(_decided_by(context, RUNTIME), runtime),
        CODE: LayerFacts(_decided_by(context, APP), code),
    }
    if lock is None:
        # Known once a package index was asked.
        texts = (context.dependencies.conda, context.dependencies.shell, *context.shell_files)
        names = {f"{APP}/{path}" for path in (*context.pip_files, *filter(None, texts))}
        found[PACKAGES] = LayerFacts(_decided_by(context, *names), None)
    else:
        prints = [lock.fingerprint(each) for each in lock.platforms]
        found[PACKAGES] = LayerFacts(" ".join(prints), _wheels(lock))
    return found


def bytes_of(
    before: Mapping[str, LayerFacts], after: Mapping[str, LayerFacts]
) -> tuple[int | None, tuple[str, ...]]:
    """The bytes of the layers that change, as far as they are known, and the names of the others."""
    changed = {
        name: layer
        for name, layer in after.items()
        if name not in before or before[name].decided_by != layer.decided_by
    }
    sizes = [layer.size for layer in changed.values() if layer.size is not None]
    unknown = tuple(
        name for name in (BASE, PACKAGES) if name in changed and changed[name].size is None
    )
    return (sum(sizes) if sizes else None), unknown


def _wheels(lock: Lock) -> int | None:
    """Bytes of the wheels, which have about the size of their layer; `None` where one is not known."""
    sizes = [p.size for each in lock.platforms for p in lock.packages_for(each)]
    return sum(sizes) if all(sizes) else None


def _decided_by(context: BuildContext, *places: str) -> str:
    """The hash of the inputs at or below some paths."""
    return _hash(
        f"{each.path} {each.is_link} {each.is_executable} {each.fingerprint}"
        for each in context.inputs
        if each.path in places or each.path.startswith(tuple(f"{place}/" for place in places))
    )


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
