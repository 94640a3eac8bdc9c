"""`gml.client(…)`: find the project, lay the arguments over it, choose the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitops_ml.client.api_client import Client
from gitops_ml.client.connection import Connection
from gitops_ml.errors import UsageError
from gitops_ml.system.progress import Progress
from gitops_ml.workspace.from_dicts import find_project
from gitops_ml.workspace.manifest_files import find_project_file
from gitops_ml.workspace.workspace import LoadedProject


def client(
    env: str | None = None,
    *,
    project_file: str | Path | None = None,
    project: Mapping[str, Any] | None = None,
    gitops_repository: str | None = None,
    gitops_branch: str | None = None,
    image_repository: str | None = None,
    namespace: str | None = None,
    offline: bool = False,
    progress: Progress | bool | None = None,
) -> Client:
    """A client for one environment.

    The project file is the nearest ``gitops-ml.yaml`` in the current folder or above, or
    ``project_file``. The other arguments override it, and are sufficient without a file: ``project``
    is a dict in the shape of the project file, and the others are its most important fields.
    ``offline`` does not contact the registry. ``progress`` is a function that gets each line of
    progress; `False` shows none.

    >>> client("staging")                                           # doctest: +SKIP
    >>> client("dev", gitops_repository="https://git.acme.example/gitops.git",
    ...        image_repository="registry.acme.example/ml", namespace="ml-dev")  # doctest: +SKIP

    Raises:
        UsageError: the environment is unknown, or there are several and ``env`` is missing.
        InvalidDocument: the project file or an argument is invalid.
    """
    overrides = _overrides(
        env,
        project or {},
        gitops={"repository": gitops_repository, "branch": gitops_branch},
        image={"repository": image_repository},
        namespace=namespace,
    )
    file = Path(project_file).absolute() if project_file is not None else None
    if file is not None and not file.is_file():
        raise UsageError(f"the project file {project_file} does not exist")
    is_alone = file is None and find_project_file(Path.cwd()) is None
    if is_alone and not overrides.get("environments"):
        raise UsageError(
            f"there is no gitops-ml.yaml in {Path.cwd()} or above it: `gitops-ml init` in a terminal "
            "writes one; or pass all of gitops_repository=, image_repository= and namespace="
        )
    loaded = find_project(Path.cwd(), project_file=file, overrides=overrides)
    return Client(
        Connection(
            loaded=loaded,
            environment=_environment(env, loaded),
            offline=offline,
            progress=progress,
        )
    )


def _overrides(
    env: str | None,
    project: Mapping[str, Any],
    *,
    namespace: str | None,
    **sections: Mapping[str, Any],
) -> dict[str, Any]:
    overrides = dict(project)
    for name, section in sections.items():
        if given := {key: value for key, value in section.items() if value is not None}:
            overrides[name] = {**(overrides.get(name) or {}), **given}
    if namespace is not None:
        name = env or "default"
        environments = dict(overrides.get("environments") or {})
        environments[name] = {**(environments.get(name) or {}), "namespace": namespace}
        overrides["environments"] = environments
    return overrides


def _environment(env: str | None, loaded: LoadedProject) -> str:
    known = tuple(loaded.project.environments)
    if env is None and len(known) == 1:
        return known[0]
    if env not in known:
        problem = f"unknown environment {env!r}" if env else "no environment is given"
        raise UsageError(f"{problem}; the project has: {', '.join(known)}")
    return env
