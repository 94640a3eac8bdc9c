"""Push models as artifacts, and pull them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml.errors import UsageError
from gitops_ml.release.model_artifacts import EXAMPLE, EXAMPLE_TO_PUSH, BadLocation, parse_location

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.models.artifact import RegistryModels
    from gitops_ml.oci.reference import ImageRef
    from gitops_ml.release.model_artifacts import PulledModel, PushedModel
    from gitops_ml.system.progress import Progress


def push_model(
    directory: Path, location: str, *, store: RegistryModels, progress: Progress
) -> PushedModel:
    """Store the files of ``directory`` at ``oci://registry/repository[:tag]``; repeating sends nothing.

    A tag may move from one content to another. What manifests name is the digest, which does not.

    Raises:
        UsageError: the location names no artifact, or the directory has no files.
        Refused, ServerFailed: the registry refused or failed; the tag is as it was.
    """
    image = _image(location, EXAMPLE_TO_PUSH)
    if image.digest:
        raise UsageError(f"{location}: the digest comes from the files; name a tag, or nothing")
    return store.push(directory, image, progress=progress)


def pull_model(
    location: str, directory: Path, *, store: RegistryModels, progress: Progress
) -> PulledModel:
    """Write the files of an artifact to a new ``directory``.

    Raises:
        UsageError: the location names no artifact, or the directory has files already.
        Refused, ServerFailed: the registry refused or failed.
    """
    return store.pull(_image(location), directory, progress=progress)


def _image(location: str, example: str = EXAMPLE) -> ImageRef:
    try:
        return parse_location(location, example=example)
    except BadLocation as error:
        raise UsageError(str(error)) from error
