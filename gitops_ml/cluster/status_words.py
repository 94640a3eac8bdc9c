"""What a status says: its word, its reason and its remedy."""

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
"""The words in JSON; Cortex's where it had the status."""


@dataclass(frozen=True, slots=True)
class ExpectedRelease:
    """What Git wants to run."""

    api: str
    environment: str
    deployment_id: str
    commit: str | None = None
    """A commit of the GitOps repository that wants it."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a release is."""

    word: str
    reason: str = ""
    """One sentence, or nothing where there is nothing to say."""
    remedy: str = ""
    """What to do about it."""
    is_final: bool = False
    """Whether it stays so until somebody does something."""

    @property
    def code(self) -> str:
        return CODES[self.word]


def in_words(reason: str, message: str) -> str:
    """Kubernetes' reason and its message as one line."""
    return ": ".join(part for part in (reason, one_line(message)) if part)


def one_line(text: str, *, most: int = 400) -> str:
    """The text without line breaks, cut where it goes on and on."""
    joined = " ".join(text.split())
    return joined if len(joined) <= most else f"{joined[: most - 1]}…"
