"""What each command may execute besides the toolkit itself; a hostile project holds each to it.

Nothing that a command reads is executed: no code of the project, no program that a project, a
repository, an image, a package or a model brings or names. What is started are programs of the
person who calls, found in the absolute entries of their ``PATH``, each for one purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAMS: Mapping[str, str] = {
    "git": "the GitOps repository and the provenance of the source; with the ssh command, the "
    "credential helpers and the filters of the user's own configuration, never of a repository's",
    "helm": "rendering charts of ours, where Helm's library is not installed",
    "uv": "resolving requirements to wheels of an index; nothing is built. It asks our own Python "
    "for its version",
    "python": "our own interpreter, isolated: it parses a predictor's source for its OpenAPI "
    "document and imports none of it",
    "docker-credential-*": "credentials of a registry, as the user's docker configuration names them",
    "bash": "its version, for the completion script that it gets",
    "kubeconfig": "the user's exec plugin, as their kubeconfig names it",
}
"""Programs by name, and what they are started for."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What one command may start."""

    programs: frozenset[str] = frozenset()
    """Names in `PROGRAMS`."""
    project_code: str = ""
    """Where code of the project is executed: in what, and for what."""


_NOTHING = Execution()
_SOURCE = Execution(frozenset({"git"}))
_GITOPS = Execution(frozenset({"git", "helm"}))
_CLUSTER = Execution(frozenset({"git", "kubeconfig"}))
_REGISTRY = Execution(frozenset({"docker-credential-*"}))
_LOCKS = Execution(frozenset({"uv", "docker-credential-*"}))
_IMAGES = Execution(frozenset({"git", "helm", "uv", "docker-credential-*"}))
_BUILDS = Execution(
    frozenset({"git", "helm", "uv", "python", "docker-credential-*"}),
    project_code="image.builder docker: the containers of the build, for what requirements build",
)

EXECUTES: Mapping[str, Execution] = {
    "init": _NOTHING,
    "validate": _NOTHING,
    "schema": _NOTHING,
    "run": Execution(
        frozenset({"python"}), project_code="this machine: the predictor, which is to be served"
    ),
    "base update": _REGISTRY,
    "lock": _LOCKS,
    "build": _BUILDS,
    "inspect": Execution(frozenset({"uv", "python", "docker-credential-*"})),
    "export": _REGISTRY,
    "render": _IMAGES,
    "diff": _IMAGES,
    "deploy": _BUILDS,
    "promote": _GITOPS,
    "rollback": _GITOPS,
    "patch": _GITOPS,
    "refresh": _GITOPS,
    "delete": _GITOPS,
    "get": _CLUSTER,
    "describe": _CLUSTER,
    "logs": _CLUSTER,
    "predict": _CLUSTER,
    "history": _SOURCE,
    "trace": _SOURCE,
    "bootstrap": _GITOPS,
    "model push": _REGISTRY,
    "model pull": _REGISTRY,
    "completion": Execution(frozenset({"bash"})),
    "version": _NOTHING,
}
"""By command, as it is called."""

CLIENT: Mapping[str, Execution] = {
    "create_api": Execution(
        _BUILDS.programs,
        project_code="a clean interpreter on this machine, which imports the class that was given",
    ),
    "run_locally": EXECUTES["run"],
}
"""Verbs of the Python client that execute more than the command of the same name."""
