"""Push models as artifacts and pull them; store models that are passed to a call."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.models.artifact import RegistryModels
from gitops_ml.models.saved import model_folder
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.project import Project
from gitops_ml.release.model_artifacts import (
    EXAMPLE,
    EXAMPLE_TO_PUSH,
    SCHEME,
    BadLocation,
    PulledModel,
    PushedModel,
    parse_location,
)
from gitops_ml.system.progress import Progress
from gitops_ml.workspace.clients import Clients

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_ELSEWHERE = re.compile(r"[a-z0-9]+://")


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
    """
    return store.pull(_image(location), directory, progress=progress)


def _image(location: str, example: str = EXAMPLE) -> ImageRef:
    try:
        return parse_location(location, example=example)
    except BadLocation as error:
        raise UsageError(str(error)) from error


def name_models(api: str, models: Mapping[str, Any], *, clients: Clients) -> dict[str, str]:
    """The location of each model, by name: ``oci://…@sha256:…`` for files and objects; nothing is sent.

    What is somewhere already (``s3://…``, ``oci://…``) stays there.

    Raises:
        UsageError: a name is not valid, a file does not exist, or images have no repository.
        Unpackageable: an object cannot be stored.
    """
    store = clients.models
    locations: dict[str, str] = {}
    for name, model in models.items():
        if is_elsewhere(model):
            locations[name] = os.fspath(model)
            continue
        image = _image_of(clients.project, api, name)
        with model_folder(name, model) as folder:
            locations[name] = f"{SCHEME}{store.named(folder, image)}"
    return locations


def store_models(
    api: str, models: Mapping[str, Any], *, named: Mapping[str, str], clients: Clients
) -> None:
    """Push what `name_models` ``named``; what the registry has already is not sent again.

    Raises:
        UsageError, Unpackageable: see `name_models`, and where no registry may be asked.
        GitopsMlError: a model is another one by now.
    """
    given = {name: model for name, model in models.items() if not is_elsewhere(model)}
    if given and clients.registry is None:
        names = ", ".join(given)
        raise UsageError(
            f"{api}: the models {names} are pushed to a registry, and this client is offline"
        )
    for name, model in given.items():
        clients.progress(f"storing the model {name}")
        with model_folder(name, model) as folder:
            pushed = clients.models.push(
                folder, _image_of(clients.project, api, name), progress=clients.progress
            )
        if pushed.location != named[name]:
            raise GitopsMlError(f"the model {name} changed while it was stored: run it again")


def is_elsewhere(model: object) -> bool:
    """Whether a model is named by the URL of a store."""
    return isinstance(model, str) and _ELSEWHERE.match(model) is not None


def _image_of(project: Project, api: str, name: str) -> ImageRef:
    if not _NAME.fullmatch(name):
        raise UsageError(f"models: {name!r} is not valid: use letters, digits, '-' and '_'")
    repository = project.image.repository
    if repository is None:
        raise UsageError(
            "where should models go? Set image.repository in gitops-ml.yaml, or give image_repository="
        )
    artifact = re.sub(r"[^a-z0-9]+", "-", f"{api}-{name}".lower()).strip("-")
    return ImageRef(f"{repository}/models/{artifact}", None)
