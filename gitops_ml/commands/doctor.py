"""Check what the project relies on, from here: documents, machine, registry, Git, forge, Argo CD, clusters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitops_ml.doctor.examination import document_checks, probes_of, without
from gitops_ml.doctor.probes import FINDING, Check, examine
from gitops_ml.git.environment import TIMEOUT
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace

SECONDS = 20.0
"""For each check; all of them run at the same time."""
_LIMITS = ("GITOPS_ML_IDLE_TIMEOUT", "GITOPS_ML_ANSWER_TIMEOUT", TIMEOUT)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    checks: tuple[Check, ...]

    @property
    def findings(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.outcome == FINDING)


def doctor(
    workspace: Workspace, *, clients: Clients, seconds: float = SECONDS, skip: tuple[str, ...] = ()
) -> Diagnosis:
    """Every check; nothing is changed. Findings about the subjects in ``skip`` do not count."""
    environ = bounded(clients.environ, seconds)
    # New ones, whose requests end in time.
    clients = Clients(
        project=clients.project, root=clients.root, environ=environ, offline=clients.offline,
        warn=clients.warn,
    )  # fmt: skip
    checks = examine(probes_of(workspace, clients), seconds=seconds)
    return Diagnosis(tuple(without((*document_checks(workspace), *checks), skip)))


def bounded(environ: Mapping[str, str], seconds: float) -> dict[str, str]:
    """The environment with the limits of requests that fit into ``seconds``; smaller ones are kept."""
    limits = {"GITOPS_ML_CONNECT_TIMEOUT": seconds / 2, **dict.fromkeys(_LIMITS, seconds * 0.8)}
    return {
        **environ,
        **{name: f"{most:g}" for name, most in limits.items() if not environ.get(name)},
    }
