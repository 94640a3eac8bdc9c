"""`gml.client(…)`: the project at hand, and the environment that a client is for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml.client.verbs import Client
from gitops_ml.errors import UsageError
from gitops_ml.workspace.from_dicts import LoadedProject, find_project

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.system.progress import Progress

    Words = Mapping[str, Any]


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

    The project is that of the nearest ``gitops-ml.yaml`` from the current folder upwards, or of
    ``project_file``. The other arguments are laid over it, and are enough without any file:
    ``project`` is a dict of the project file's shape, the rest names its most important fields.
    ``offline`` asks no registry; ``progress`` is a function that gets each line, or `False` for none.

    >>> client("staging")                                           # doctest: +SKIP
    >>> client("dev", gitops_repository="https://git.acme.example/gitops.git",
    ...        image_repository="registry.acme.example/ml", namespace="ml-dev")  # doctest: +SKIP

    Raises:
        UsageError: there is no such environment, or several and none was named.
        InvalidDocument: the project file or a keyword is wrong.
    """
    words = _project_words(
        env,
        project or {},
        gitops={"repository": gitops_repository, "branch": gitops_branch},
        image={"repository": image_repository},
        namespace=namespace,
    )
    file = Path(project_file).absolute() if project_file is not None else None
    if file is not None and not file.is_file():
        raise UsageError(f"the project file {project_file} does not exist")
    at_hand = find_project(Path.cwd(), project_file=file, words=words)
    return Client(at_hand, _environment(env, at_hand), offline=offline, progress=progress)


def _project_words(
    env: str | None, project: Words, *, namespace: str | None, **sections: Words
) -> dict[str, Any]:
    words = dict(project)
    for name, said in sections.items():
        if chosen := {key: value for key, value in said.items() if value is not None}:
            words[name] = {**(words.get(name) or {}), **chosen}
    if namespace is not None:
        name = env or "default"
        environments = dict(words.get("environments") or {})
        environments[name] = {**(environments.get(name) or {}), "namespace": namespace}
        words["environments"] = environments
    return words


def _environment(env: str | None, at_hand: LoadedProject) -> str:
    known = tuple(at_hand.project.environments)
    if env is None and len(known) == 1:
        return known[0]
    if env not in known:
        what = f"unknown environment {env!r}" if env else "which environment?"
        raise UsageError(f"{what}; the project has: {', '.join(known)}")
    return env
