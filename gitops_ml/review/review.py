"""What a change does: the data that every report is made of. Nothing here reads or decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_ml.errors import Problem
from gitops_ml.gitops import layout
from gitops_ml.gitops.differences import FieldChange, ObjectChange
from gitops_ml.packages.advisories import Advisory
from gitops_ml.policy.rule import KubernetesObjects, RuleFinding
from gitops_ml.release.monthly_cost import CostRange
from gitops_ml.release.spec import ReleaseSpec

RISKS = ("high", "medium", "low")
"""From the first to look at to the last."""


@dataclass(frozen=True, slots=True)
class State:
    """One of the two states that are compared."""

    label: str
    """For people: ``main``, ``the checkout``, ``the GitOps repository``."""
    commit: str | None
    """Of the source repository, or of the GitOps repository; `None` where no commit holds it."""
    is_dirty: bool = False
    """Whether files of the checkout differ from the commit."""


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """A layer of an image before it is built."""

    decided_by: str
    """The same for the same layer."""
    size: int | None
    """Bytes; `None` where only a build or a registry knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One release in one of the two states."""

    spec: ReleaseSpec | None
    """`None` where only the values are known."""
    manifest: Mapping[str, Any]
    """The fields that people wrote for this release: the environment's, the API's, its override."""
    values: Mapping[str, Any]
    """Of the chart. The digest of an image that no registry was asked for is its content hash."""
    objects: KubernetesObjects = ()
    """As the chart renders them; of a release that stays as it is, none."""
    image: str = ""
    """Repository and tag."""
    content_hash: str | None = None
    """Of the inputs of the image; `None` for a ready-made image."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """The files that enter the image: their fingerprints by path, those of the project below ``app/``."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of the inputs of the project, by the same paths."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """The locked packages: version by name."""
    layers: Mapping[str, LayerFacts] = field(default_factory=dict)
    """Of the image, by name; none of a ready-made one."""
    file: str = ""
    """The manifest's file, relative to the source repository."""
    line: int = 0
    """Where the API begins in it, from 1; 0 where that is unknown."""
    openapi: Mapping[str, Any] | None = field(default=None, repr=False)
    """Of the predictor, where the image changes and the source defines it."""
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The Python files that enter the image, where it changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What Argo CD does to the pods of one release once it has the change."""

    pods: str
    """``no restart``, ``starts``, ``stops``, ``rolling, 1 at a time``, ``stops before it starts``, …"""
    restarts: bool
    """Whether pods that run now are replaced or end."""
    downtime: bool
    """Whether there is a time without a ready replica."""
    gpus_at_peak: int = 0
    """While old and new pods run, at the most replicas; 0 without GPUs."""
    gpu_class: str | None = None
    quota: int | None = None
    """GPUs of the class that the project file declares; `None` where it declares none."""
    why: tuple[str, ...] = ()
    """Sentences: which values decide it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReview:
    rebuilt: bool
    why: tuple[str, ...]
    """What changed: files, the lock, the base image, settings."""
    bytes_to_push: int | None
    """Of the layers that change, as far as they are known: files as they are, packages as their wheels. `None` where
    none is known."""
    not_known: tuple[str, ...] = ()
    """The layers that change and whose bytes are not known without a build."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file of the source that enters the image, or the manifest."""

    path: str
    action: str
    size: int | None = None
    """Bytes after the change."""


@dataclass(frozen=True, slots=True)
class PackageChange:
    """One locked package from a version to another; `None` where it was not or will not be there."""

    name: str
    before: str | None
    after: str | None
    advisories: tuple[Advisory, ...] = ()
    """Of the version after the change; empty also where no database was given."""


@dataclass(frozen=True, slots=True)
class RatedChange:
    """A change of a Kubernetes object, with its risk."""

    change: ObjectChange
    risk: str
    """One of `RISKS`."""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseReview:
    """One release that the change touches."""

    api: str
    environment: str
    action: str
    """``add``, ``modify`` or ``delete``."""
    may_run: bool = False
    """Whether it is added, and errors in the documents before the change hide if it was there."""
    before: Side | None
    after: Side | None
    rollout: Rollout
    fields: tuple[FieldChange, ...] = ()
    """Of the manifest."""
    objects: tuple[RatedChange, ...] = ()
    """By risk, the highest first; without defaults and hashes."""
    image: ImageReview | None = None
    """`None` for a ready-made image, and for a release that goes."""
    files: tuple[FileChange, ...] = ()
    packages: tuple[PackageChange, ...] = ()
    cost: tuple[CostRange | None, CostRange | None] | None = None
    """Of a month before and after; `None` where the project file lacks a price."""
    findings: tuple[RuleFinding, ...] = ()
    """Rules that it breaks, with their severities, and with their places in the source repository."""

    @property
    def directory(self) -> str:
        return layout.release_directory(self.environment, self.api)


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What a change does to all releases."""

    project: str
    base: State
    head: State
    releases: tuple[ReleaseReview, ...]
    """Those that change, sorted by environment and API."""
    recorded: tuple[str, ...] = ()
    """Directories of releases of which only the recorded manifest changes, and nothing in the cluster."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """By environment, how many releases there were before the change."""
    problems: tuple[Problem, ...] = ()
    """Of the documents after the change; with an error among them, no release is compared."""
    findings: tuple[RuleFinding, ...] = ()
    """Broken rules about several releases, or about the project file."""
    hand_edits: tuple[str, ...] = ()
    """Edits in the GitOps repository that the merge would undo."""
    warnings: tuple[str, ...] = ()
    cost: tuple[CostRange | None, CostRange | None] | None = None
    """Of a month before and after, of the releases that change."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def broken(self) -> tuple[RuleFinding, ...]:
        """The rules of severity ``error`` that are broken."""
        return tuple(each for each in self.all_findings if each.severity == "error")

    @property
    def all_findings(self) -> tuple[RuleFinding, ...]:
        """Those about all releases, then those of each."""
        own = (each for release in self.releases for each in release.findings)
        return (*self.findings, *own)
