"""Programs and folders of this machine."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from gitops_ml._version import __version__
from gitops_ml.doctor.outcome import Check, Probe, finding, ok, skipped
from gitops_ml.errors import EngineFailed, GitopsMlError, ProgramFailed, UsageError
from gitops_ml.git.environment import OUTSIDE, run_git
from gitops_ml.system.cache import cache_folder
from gitops_ml.workspace.clients import Clients


def machine_probes(clients: Clients) -> Iterator[Probe]:
    yield Probe(
        "Python", lambda: [ok("Python", f"{platform.python_version()}, gitops-ml {__version__}")]
    )
    yield Probe("git", _git)
    yield Probe("Helm", lambda: _helm(clients))
    yield Probe("Docker", lambda: _docker(clients))
    yield Probe("cache", lambda: _cache(clients))


def _git() -> Iterator[Check]:
    try:
        yield ok("git", run_git("version", repository=OUTSIDE).strip())
    except ProgramFailed as error:
        yield finding("git", str(error), "install git, or name it in GIT_PYTHON_GIT_EXECUTABLE")


def _helm(clients: Clients) -> Iterator[Check]:
    try:
        yield ok("Helm", f"renders with {type(clients.helm).__name__}")
    except UsageError as error:
        gitops = clients.project.gitops
        if gitops is not None and gitops.mode == "manifests":
            yield finding("Helm", f"gitops.mode is manifests, and {error}", "install either")
        else:
            yield skipped("Helm", f"only the rendering of Kubernetes objects needs it: {error}")


def _docker(clients: Clients) -> Iterator[Check]:
    builder = clients.project.image.builder
    if builder == "oci":
        yield skipped("Docker", "image.builder is oci, which needs no engine")
        return
    try:
        with clients.builder.engine() as engine:
            yield ok("Docker", f"the engine answers, version {engine.version()['Version']}")
    except EngineFailed as error:
        if builder == "docker":
            remedy = "start it, or set image.builder to auto or oci"
            yield finding("Docker", str(error), remedy)
        else:
            yield skipped("Docker", f"only packages without wheels need it: {error}")


def _cache(clients: Clients) -> Iterator[Check]:
    try:
        folder = cache_folder(clients.environ)
        probe = folder / ".doctor"
        probe.touch()
        probe.unlink()
    except (OSError, GitopsMlError) as error:
        yield finding("cache", str(error), "set XDG_CACHE_HOME to a folder that you may write to")
    else:
        yield ok("cache", f"{folder} is writable")
