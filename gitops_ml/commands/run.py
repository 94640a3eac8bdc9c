"""Serve a predictor on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from gitops_ml.errors import ProgramFailed, UsageError
from gitops_ml.release.model_artifacts import Artifact, mounted
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.runtime.serve import LocalServer, serve_predictor
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.predictor_files import SOURCE
from gitops_ml.workspace.workspace import PlannedRelease, Workspace, checked

_NONE: Mapping[str, Path] = MappingProxyType({})


def run(
    workspace: Workspace,
    *,
    host: str,
    port: int,
    reloads: bool,
    clients: Clients,
    show: Callable[[str], None] | None = None,
) -> None:
    """Serve the one predictor of the workspace until it is stopped.

    Model artifacts are fetched to the cache, where the predictor finds them as it does in a cluster.

    Raises:
        UsageError: there are several APIs, or this one has no predictor.
        ProgramFailed: the server ended with an error, which it has printed.
    """
    planned, spec = _local(workspace, clients)
    code = serve_predictor(
        spec,
        directory=workspace.directory_of(planned.manifest),
        host=host,
        port=port,
        reloads=reloads,
        progress=clients.progress,
        show=show,
    )
    if code:
        raise ProgramFailed((f"the predictor of {planned.name}",), code, "")


def start(
    workspace: Workspace, *, clients: Clients, port: int = 0, models: Mapping[str, Path] = _NONE
) -> LocalServer:
    """Serve the one predictor of the workspace in the background; returns once it is ready.

    ``models`` has the folders of artifacts by digest, which no registry needs to have.

    Raises:
        ProgramFailed: it does not become ready; holds the end of its log.
    """
    planned, spec = _local(workspace, clients, models)
    clients.progress(f"starting {planned.name} on this machine")
    server = LocalServer(spec, directory=workspace.directory_of(planned.manifest), port=port)
    return server.until_ready(seconds=spec.probes.startup)


def _local(
    workspace: Workspace, clients: Clients, models: Mapping[str, Path] = _NONE
) -> tuple[PlannedRelease, ReleaseSpec]:
    """The predictor with its models on this machine."""

    def place(artifact: Artifact) -> str:
        known = models.get(artifact.image.digest or "")
        return str(known or clients.models.fetched(artifact.image, progress=clients.progress))

    # A source that cannot be served is reported by the server, with its traceback.
    planned = _one_predictor(checked(workspace, besides=SOURCE).releases)
    assert planned.spec.predictor is not None, "`_one_predictor` refuses one without"
    local = mounted(planned.spec.predictor, place)
    return planned, replace(planned.spec, predictor=local.predictor)


def _one_predictor(releases: tuple[PlannedRelease, ...]) -> PlannedRelease:
    names = sorted({planned.name for planned in releases})
    if len(names) != 1:
        known = f": {', '.join(names)}" if names else ""
        raise UsageError(f"there are {len(names)} APIs here{known}; choose one with --api")
    if releases[0].spec.predictor is None:
        container = releases[0].spec.container
        raise UsageError(
            f"{names[0]} is a ready-made container: start it with "
            f"`docker run -p 8080:{container and container.port} {container and container.image}`"
        )
    return releases[0]
