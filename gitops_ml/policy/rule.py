"""A rule, and what it is checked on: a release before and after a change, or all releases of a change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gitops_ml.documents.findings import Path
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.project import ClusterSpec, EnvironmentSpec, Project
from gitops_ml.release.spec import ReleaseSpec

KubernetesObjects = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A release before or after a change."""

    spec: ReleaseSpec
    image: ImageRef
    values: Mapping[str, Any] = field(default_factory=dict)
    """Helm's."""
    is_routed: bool | None = None
    """Whether the gateway routes to it; `None` where only the manifest says."""
    objects: KubernetesObjects = ()
    """Rendered with the chart; empty where no Helm engine is at hand."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """The provenance of ``release.yaml``; empty where the release is not made yet."""
    openapi: Mapping[str, Any] | None = None
    """Read from the source of the predictor; `None` where that was not possible."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """The texts of the predictor's folder that enter the image, by path: its Python and other files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One release and what a change does to it."""

    api: str
    environment: EnvironmentSpec
    action: str
    """``add``, ``modify`` or ``delete``."""
    before: Side | None
    after: Side | None
    project: Project
    now: datetime
    """With a time zone."""
    verb: str = "check"
    """The command that makes the change."""

    @property
    def cluster(self) -> ClusterSpec:
        return self.project.clusters[self.environment.cluster]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one release uses at the most replicas."""

    environment: str
    team: str
    replicas: int
    gpus: int
    cost: float | None
    """Per month; `None` where prices are missing."""
    currency: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """All releases of a change, for rules about several of them."""

    subjects: tuple[Subject, ...]
    project: Project
    existing: Mapping[str, int] = field(default_factory=dict)
    """How many releases each environment had before the change."""
    standing: tuple[Usage, ...] = ()
    """Of the releases that do not change; needed where `checks.limits` has any."""


@dataclass(frozen=True, slots=True)
class Breach:
    """What breaks a rule, and where in the manifest."""

    path: Path
    message: str
    file: str = ""
    """Another file than the manifest, relative to the project."""
    line: int = 0


@dataclass(frozen=True, slots=True)
class FleetBreach:
    """What breaks a rule of several releases; the environment that it is about."""

    environment: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a person needs to know of a rule; the page is `docs/rules.md`."""

    id: str
    title: str
    severity: str
    """Where the project file sets none."""
    reason: str
    remedy: str

    @property
    def page(self) -> str:
        return f"https://gitops-ml.dev/docs/rules#{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(About):
    """A rule about one release."""

    check: Callable[[Subject], Iterable[Breach]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRule(About):
    """A rule about all releases of a change."""

    check: Callable[[Fleet], Iterable[FleetBreach]]


AnyRule = Rule | FleetRule


def of_after(
    check: Callable[[Subject, Side], Iterable[Breach]],
) -> Callable[[Subject], Iterable[Breach]]:
    """A check of what a change makes of a release: one that goes away breaks no such rule."""
    return lambda subject: check(subject, subject.after) if subject.after else ()


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """A rule that a release breaks, with the severity of the project."""

    environment: str
    api: str
    """Empty where it is about several releases."""
    rule: str
    severity: str
    message: str
    path: Path = ()
    remedy: str = ""
    file: str = ""
    line: int = 0
