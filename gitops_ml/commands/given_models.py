"""Store models that are passed to a call as artifacts, by digest, outside of code and Git."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.spec_of_class import model_repository
from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.models.saved import model_folder
from gitops_ml.oci.reference import ImageRef
from gitops_ml.release.model_artifacts import SCHEME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_ELSEWHERE = re.compile(r"[a-z0-9]+://")


def name_models(
    workspace: Workspace, api: str, models: Mapping[str, Any], *, tools: Clients
) -> dict[str, str]:
    """The location of each model, by name: ``oci://…@sha256:…`` for files and objects; nothing is sent.

    What is somewhere already (``s3://…``, ``oci://…``) stays there.

    Raises:
        UsageError: a name is not valid, a file does not exist, or images have no repository.
        Unpackageable: an object cannot be stored.
    """
    store = tools.models
    locations: dict[str, str] = {}
    for name, model in models.items():
        if is_elsewhere(model):
            locations[name] = os.fspath(model)
            continue
        image = _image(workspace, api, name)
        with model_folder(name, model) as folder:
            locations[name] = f"{SCHEME}{store.named(folder, image)}"
    return locations


def store_models(
    workspace: Workspace,
    api: str,
    models: Mapping[str, Any],
    *,
    named: Mapping[str, str],
    tools: Clients,
) -> None:
    """Push what `name_models` ``named``; what the registry has already is not sent again.

    Raises:
        UsageError, Unpackageable: see `name_models`, and where no registry may be asked.
        GitopsMlError: a model is another one by now.
    """
    for name, model in models.items():
        if is_elsewhere(model):
            continue
        if tools.registry is None:
            raise UsageError("models are pushed to a registry, and this client is offline")
        tools.progress(f"storing the model {name}")
        with model_folder(name, model) as folder:
            pushed = tools.models.push(
                folder, _image(workspace, api, name), progress=tools.progress
            )
        if pushed.location != named[name]:
            raise GitopsMlError(f"the model {name} changed while it was stored: run it again")


def is_elsewhere(model: object) -> bool:
    """Whether a model is named by the URL of a store."""
    return isinstance(model, str) and _ELSEWHERE.match(model) is not None


def _image(workspace: Workspace, api: str, name: str) -> ImageRef:
    if not _NAME.fullmatch(name):
        raise UsageError(f"models: {name!r} is not valid: use letters, digits, '-' and '_'")
    repository = workspace.project.image.repository
    if repository is None:
        raise UsageError(
            "where should models go? Set image.repository in gitops-ml.yaml, or give image_repository="
        )
    return ImageRef(model_repository(repository, api, name), None)
