"""The status of a release: its word, reason and remedy."""

from __future__ import annotations

from dataclasses import dataclass

LIVE, UPDATING, PENDING, UNKNOWN = "live", "updating", "pending", "unknown"
ERROR, ERROR_SYNC = "error", "error (sync)"
ERROR_IMAGE_PULL, ERROR_OUT_OF_MEMORY = "error (image pull)", "error (out of memory)"
COMPUTE_UNAVAILABLE = "compute unavailable"

CODES = {
    LIVE: "status_live",
    UPDATING: "status_updating",
    PENDING: "status_pending",
    UNKNOWN: "status_unknown",
    ERROR: "status_error",
    ERROR_SYNC: "status_error_sync",
    ERROR_IMAGE_PULL: "status_error_image_pull",
    ERROR_OUT_OF_MEMORY: "status_oom",
    COMPUTE_UNAVAILABLE: "status_stalled",
}
"""The codes in JSON; Cortex's codes where Cortex has the status."""


@dataclass(frozen=True, slots=True)
class ExpectedRelease:
    """The release that should run, as Git has it."""

    api: str
    environment: str
    deployment_id: str
    commit: str | None = None
    """A commit of the GitOps repository that contains it."""


@dataclass(frozen=True, slots=True)
class Status:
    word: str
    reason: str = ""
    """One sentence, or empty."""
    remedy: str = ""
    """What to do; empty where nothing is wrong."""
    is_final: bool = False
    """Whether it stays so without a change from outside."""

    @property
    def code(self) -> str:
        return CODES[self.word]


def reason_line(reason: str, message: str) -> str:
    """Reason and message of Kubernetes as one line."""
    return ": ".join(part for part in (reason, one_line(message)) if part)


def one_line(text: str, *, most: int = 400) -> str:
    """The text without line breaks, cut at ``most`` characters."""
    joined = " ".join(text.split())
    return joined if len(joined) <= most else f"{joined[: most - 1]}…"
