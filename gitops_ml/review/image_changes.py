"""What a change does to the image of a release: built again or not, why, its layers, and how much is pushed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gitops_ml.image.context import BuildContext
from gitops_ml.image.planner import PlannedImage
from gitops_ml.packages.advisories import read_advisories
from gitops_ml.packages.lock_file import Lock
from gitops_ml.review.review import FileChange, ImageReview, LayerFacts, PackageChange, Review, Side
from gitops_ml.runtime.runtime_package import APP, RUNTIME

_OWN = f"{APP}/"
_MOST_NAMED, _MOST_UNREAD = 5, 3

BASE, PACKAGES, OWN_RUNTIME, CODE = "the base image", "the packages", "the runtime", "the code"
"""From the lowest layer to the highest."""


def image_review(before: Side | None, after: Side | None) -> ImageReview | None:
    """The image of the release after the change; `None` for one that is not built."""
    if after is None or after.content_hash is None:
        return None
    if before is None or before.content_hash is None:
        new = ("the API has no image yet",)
        return ImageReview(rebuilt=True, why=new, **_push({}, after.layers))
    if before.content_hash == after.content_hash:
        return ImageReview(rebuilt=False, why=(), bytes_to_push=0)
    if not before.inputs:
        # The GitOps repository has the hash of the inputs, and not their names.
        return ImageReview(rebuilt=True, why=("its inputs changed",), bytes_to_push=None)
    changed = sorted(
        path
        for path in {*before.inputs, *after.inputs}
        if before.inputs.get(path) != after.inputs.get(path)
    )
    own = [path.removeprefix(_OWN) for path in changed if path.startswith(_OWN)]
    why = [*_named(own)]
    if before.packages != after.packages:
        count = len(package_changes(before, after))
        why.append(f"{count} locked package{'' if count == 1 else 's'}")
    if any(not path.startswith(_OWN) for path in changed):
        why.append("the runtime of gitops-ml")
    if not why:
        why.append("the base image, the Python or the platform")
    return ImageReview(rebuilt=True, why=tuple(why), **_push(before.layers, after.layers))


def _named(paths: list[str]) -> list[str]:
    more = len(paths) - _MOST_NAMED
    return [*paths[:_MOST_NAMED], *([f"{more} more files"] if more > 0 else [])]


def file_changes(before: Side | None, after: Side | None) -> tuple[FileChange, ...]:
    """The files of the project that enter the image and change, by path."""
    old, new = (side.inputs if side else {} for side in (before, after))
    if before is not None and before.content_hash and not old:
        return ()
    sizes = after.sizes if after else {}
    found = []
    for path in sorted({*old, *new}):
        if not path.startswith(_OWN) or old.get(path) == new.get(path):
            continue
        action = "add" if path not in old else "delete" if path not in new else "modify"
        found.append(FileChange(path.removeprefix(_OWN), action, sizes.get(path)))
    return tuple(found)


def package_changes(before: Side | None, after: Side | None) -> tuple[PackageChange, ...]:
    """The locked packages that change, by name."""
    old, new = (side.packages if side else {} for side in (before, after))
    if before is not None and before.content_hash and not before.inputs:
        return ()
    return tuple(
        PackageChange(name, old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    )


def with_advisories(review: Review, folder: Path) -> Review:
    """The review with the known vulnerabilities of the packages that come or change."""
    wanted = {
        (change.name, change.after)
        for release in review.releases
        for change in release.packages
        if change.after
    }
    known = read_advisories(folder, wanted)
    releases = tuple(
        replace(
            release,
            packages=tuple(
                replace(each, advisories=known.found.get((each.name, each.after or ""), ()))
                for each in release.packages
            ),
        )
        for release in review.releases
    )
    warnings = [
        f"known vulnerabilities may be missing: {each}" for each in known.unread[:_MOST_UNREAD]
    ]
    if rest := len(known.unread) - len(warnings):
        warnings.append(
            f"{rest} more files of {folder} are no advisories in the OSV format: fetch the folder again"
        )
    return replace(review, releases=releases, warnings=(*review.warnings, *warnings))


# -- layers ----------------------------------------------------------------------------------------


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


def _push(before: Mapping[str, LayerFacts], after: Mapping[str, LayerFacts]) -> dict[str, Any]:
    """The bytes of the layers that change, as far as they are known, and the names of the others."""
    changed = {
        name: layer
        for name, layer in after.items()
        if name not in before or before[name].decided_by != layer.decided_by
    }
    sizes = [layer.size for layer in changed.values() if layer.size is not None]
    unknown = (name for name in (BASE, PACKAGES) if name in changed and changed[name].size is None)
    return {"bytes_to_push": sum(sizes) if sizes else None, "not_known": tuple(unknown)}


def _wheels(lock: Lock) -> int | None:
    """Bytes of the wheels, which have about the size of their layer; `None` where one is not known."""
    sizes = [p.size for each in lock.platforms for p in lock.packages_for(each)]
    return sum(sizes) if all(sizes) else None


def _decided_by(context: BuildContext, *places: str) -> str:
    """The hash of the inputs at or below some paths."""
    lines = (
        f"{each.path} {each.is_link} {each.is_executable} {each.fingerprint}"
        for each in context.inputs
        if each.path in places or each.path.startswith(tuple(f"{place}/" for place in places))
    )
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
