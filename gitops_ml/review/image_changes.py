"""What a change does to the image of a release: built again or not, why, and how much is pushed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gitops_ml.packages.advisories import read_advisories
from gitops_ml.review.image_layers import bytes_of
from gitops_ml.review.review import FileChange, ImageReview, LayerFacts, PackageChange, Review, Side
from gitops_ml.runtime.runtime_package import APP

_OWN = f"{APP}/"
_MOST_NAMED, _MOST_UNREAD = 5, 3


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


def _push(before: Mapping[str, LayerFacts], after: Mapping[str, LayerFacts]) -> dict[str, Any]:
    known, unknown = bytes_of(before, after)
    return {"bytes_to_push": known, "not_known": unknown}


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
    """The review with the known vulnerabilities of the packages that come or change.

    Raises:
        UsageError: there is no such folder.
    """
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
