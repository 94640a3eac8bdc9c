"""What runs, as values: the objects of Argo CD, Kubernetes and KEDA for one release, and its status.

The fields have their names. `kubernetes_objects` reads them from the API server's JSON; `status` and
`replicas` decide what they mean for predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gitops_ml.git.commits import Change
from gitops_ml.system.clean_text import one_line

LIVE, UPDATING, PENDING, UNKNOWN = "live", "updating", "pending", "unknown"
DELETING, GONE = "deleting", "gone"
ERROR, ERROR_SYNC, ERROR_PREFLIGHT = "error", "error (sync)", "error (preflight)"
ERROR_IMAGE_PULL, ERROR_OUT_OF_MEMORY = "error (image pull)", "error (out of memory)"
COMPUTE_UNAVAILABLE = "compute unavailable"

CODES = {
    LIVE: "status_live",
    UPDATING: "status_updating",
    PENDING: "status_pending",
    UNKNOWN: "status_unknown",
    DELETING: "status_deleting",
    GONE: "status_gone",
    ERROR: "status_error",
    ERROR_SYNC: "status_error_sync",
    ERROR_PREFLIGHT: "status_error_preflight",
    ERROR_IMAGE_PULL: "status_error_image_pull",
    ERROR_OUT_OF_MEMORY: "status_oom",
    COMPUTE_UNAVAILABLE: "status_stalled",
}
"""The codes in JSON; Cortex's codes where Cortex has the status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of an object, in the form that all kinds use."""

    type: str
    status: str
    """``True``, ``False`` or ``Unknown``; empty for Argo CD's, which hold as long as they exist."""
    reason: str = ""
    message: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Argo CD's newest sync."""

    phase: str
    """``Running``, ``Succeeded``, ``Failed``, ``Error`` or ``Terminating``."""
    message: str
    revision: str | None
    """The commit that it applied, or tried to."""
    finished_at: datetime | None
    """Also set between two attempts, while the phase is ``Running``."""
    retries: int = 0
    """The number of the next attempt, or of the running one."""
    refused: tuple[str, ...] = ()
    """Objects that could not be applied, each with the API server's message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An Application of Argo CD."""

    name: str
    api: str
    environment: str
    deployment_id: str | None
    """The id that the ApplicationSet last read in Git."""
    sync: str
    """``Synced``, ``OutOfSync`` or ``Unknown``."""
    health: str
    """``Healthy``, ``Progressing``, ``Degraded``, ``Suspended``, ``Missing`` or ``Unknown``."""
    health_message: str
    revision: str | None
    """The commit that it was last compared with."""
    operation: Operation | None
    conditions: tuple[Condition, ...]
    deployed_at: datetime | None
    path: str = ""
    """The folder of the GitOps repository that it renders."""
    out_of_sync: tuple[tuple[str, str], ...] = ()
    """Kind and name of the objects that are not as in Git, by its own comparison."""
    is_refreshing: bool = False
    """Whether a refresh was asked for and has not begun."""
    is_deleting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationSet:
    """What makes the Applications of an environment."""

    name: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a container's process ended."""

    reason: str
    """``OOMKilled``, ``Error``, ``Completed``, …"""
    exit_code: int
    message: str
    """The end of its log, where the pod asks the kubelet for it."""
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of a pod."""

    name: str
    is_ready: bool
    restarts: int
    waits_for: str
    """Why it does not run: ``ImagePullBackOff``, ``CrashLoopBackOff``, ``ContainerCreating``, …; else empty."""
    message: str
    """The kubelet's message about that."""
    ended: Ended | None
    """How its process ended, now or before the last restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    name: str
    deployment_id: str | None
    phase: str
    """``Pending``, ``Running``, ``Succeeded``, ``Failed`` or ``Unknown``."""
    reason: str
    """Why the pod as a whole failed (``Evicted``), else empty."""
    message: str
    is_ready: bool
    is_terminating: bool
    created_at: datetime | None
    node: str | None
    unschedulable: str | None
    """The scheduler's message where it finds no node."""
    containers: tuple[Container, ...]
    """Init containers and sidecars first, as they start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """KEDA's ScaledObject."""

    min_replicas: int
    max_replicas: int
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A Deployment of Kubernetes, its pods and its autoscaler."""

    name: str
    namespace: str
    deployment_id: str | None
    requested: int
    is_observed: bool
    """Whether Kubernetes has processed the newest specification; until then, counts are of an older one."""
    conditions: tuple[Condition, ...]
    pods: tuple[Pod, ...]
    scaler: Scaler | None
    updated_at: datetime | None

    @property
    def ready(self) -> int:
        return sum(pod.is_ready and not pod.is_terminating for pod in self.pods)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """A Job that tries a new image before the Deployment changes."""

    name: str
    api: str
    deployment_id: str | None
    state: str
    """``running``, ``succeeded`` or ``failed``."""
    message: str
    """Kubernetes' message about a failure; the reason itself is in the pods."""
    pods: tuple[Pod, ...]
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A warning about an object."""

    at: datetime | None
    object: str
    """``Pod/iris-7d9f-x2x``."""
    reason: str
    message: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What could be read of one release."""

    application: Application | None = None
    workload: Workload | None = None
    preflight: Preflight | None = None
    """That of the deployment that Git wants."""
    sees_applications: bool = True
    """Whether `None` above means that there is none, and not that access is denied."""
    sees_workloads: bool = True
    application_set: ApplicationSet | None = None
    """Read only where a wait finds no Application."""
    reached: frozenset[str] | None = None
    """Those of Argo CD's commits that contain the wanted one; ``None`` where no commit is waited for."""
    has_compared: bool = True
    """Whether Argo CD has compared the Application since the wanted commit was on the branch."""
    has_source: bool = True
    """Whether the Application renders the folder that the release wants (its chart's version)."""

    def counts(self, revision: str | None) -> bool:
        """Whether what Argo CD did with this commit is about the wanted one."""
        return self.reached is None or revision in self.reached


@dataclass(frozen=True, slots=True)
class ExpectedRelease:
    """The release that should run, as Git has it."""

    api: str
    environment: str
    deployment_id: str
    commit: str | None = None
    """The commit of the GitOps repository that brought it; ``None`` where that is to be found."""
    changes: tuple[Change, ...] = ()
    """What the call changes in its directory; it is in Git once the branch has them."""


@dataclass(frozen=True, slots=True)
class ExpectedRemoval:
    """A release that should be gone, with what runs of it."""

    api: str
    environment: str
    namespace: str
    changes: tuple[Change, ...]
    """The removal of its files."""


@dataclass(frozen=True, slots=True)
class Status:
    state: str
    reason: str = ""
    """One sentence, or empty."""
    remedy: str = ""
    """What to do; empty where nothing is wrong."""
    is_final: bool = False
    """Whether it stays so without a change from outside."""

    @property
    def code(self) -> str:
        return CODES[self.state]


def reason_line(reason: str, message: str) -> str:
    """Reason and message of Kubernetes as one line."""
    return ": ".join(part for part in (reason, one_line(message)) if part)


Remedies = tuple[tuple[tuple[str, ...], str], ...]
"""Signs in a message in lower case, and what to do; the last one has the sign ``""``."""


def remedy_of(message: str, remedies: Remedies) -> str:
    """The remedy of the first sign in the message."""
    lower = message.lower()
    return next(remedy for signs, remedy in remedies if any(sign in lower for sign in signs))
