"""What each command may execute besides the toolkit itself; tests check it with a hostile project.

Nothing that a command reads is executed: no code of the project, and no program that a project,
repository, image, package or model contains or names. The programs below are those of the user,
from the absolute entries of their ``PATH``, each for one purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAMS: Mapping[str, str] = {
    "git": "the GitOps repository and the provenance of the source; with the ssh command, the "
    "credential helpers and the filters of the user's own configuration, never of a repository's",
    "helm": "rendering the charts of gitops-ml, if Helm's library is not installed",
    "uv": "resolving requirements to wheels of an index; nothing is built. It starts the current "
    "Python for its version",
    "python": "the current interpreter, isolated: it parses a predictor's source for its OpenAPI "
    "document and does not import it",
    "docker-credential-*": "credentials of a registry, as the user's docker configuration names them",
    "bash": "its version, for its completion script",
    "kubeconfig": "the user's exec plugin, as their kubeconfig names it",
}
"""Programs by name, with the purpose of each."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What one command may execute."""

    programs: frozenset[str] = frozenset()
    """Names in `PROGRAMS`."""
    project_code: str = ""
    """Where code of the project is executed, and for what purpose."""


_NOTHING = Execution()
_SOURCE = Execution(frozenset({"git"}))
_GITOPS = Execution(frozenset({"git", "helm"}))
_CLUSTER = Execution(frozenset({"git", "kubeconfig"}))
_REGISTRY = Execution(frozenset({"docker-credential-*"}))
_LOCKS = Execution(frozenset({"uv", "docker-credential-*"}))
_IMAGES = Execution(frozenset({"git", "helm", "uv", "docker-credential-*"}))
_BUILDS = Execution(
    frozenset({"git", "helm", "uv", "python", "docker-credential-*"}),
    project_code="image.builder docker: the containers of the build, for requirements that are built",
)

EXECUTES: Mapping[str, Execution] = {
    "init": _NOTHING,
    "validate": _NOTHING,
    "schema": _NOTHING,
    "run": Execution(
        frozenset({"python"}), project_code="this machine: the predictor that is served"
    ),
    "base update": _REGISTRY,
    "lock": _LOCKS,
    "build": _BUILDS,
    "inspect": Execution(frozenset({"uv", "python", "docker-credential-*"})),
    "export": _REGISTRY,
    "render": _IMAGES,
    "check": Execution(_GITOPS.programs | {"python"}),
    "diff": _IMAGES,
    "deploy": _BUILDS,
    "promote": _GITOPS,
    "rollback": _GITOPS,
    "patch": _GITOPS,
    "refresh": _GITOPS,
    "delete": _GITOPS,
    "get": _CLUSTER,
    "describe": _CLUSTER,
    "compare": _CLUSTER,
    "cost": _NOTHING,
    "bench": _CLUSTER,
    "logs": _CLUSTER,
    "predict": _CLUSTER,
    "history": _SOURCE,
    "trace": _CLUSTER,
    "doctor": Execution(frozenset({"git", "kubeconfig", "docker-credential-*"})),
    "bootstrap": _GITOPS,
    "model push": _REGISTRY,
    "model pull": _REGISTRY,
    "comment": _SOURCE,
    "login": _REGISTRY,
    "completion": Execution(frozenset({"bash"})),
    "version": _NOTHING,
}
"""By command, as on the command line."""

CLIENT: Mapping[str, Execution] = {
    "create_api": Execution(
        _BUILDS.programs,
        project_code="a clean interpreter on this machine, which imports the given class",
    ),
    "run_locally": EXECUTES["run"],
}
"""Verbs of the Python client that execute more than the command of the same name."""
