"""State what a manifest of Cortex means otherwise here, with the field that changes it.

`docs/cortex.md` has the same list, one row for each difference.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gitops_ml.documents.findings import Finding, Path, warning
from gitops_ml.documents.plain_data import value_at

RULE = "cortex"
_STORES = ("s3://", "gs://")

_Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One default of Cortex that is another one here."""

    path: Path
    """The field that changes it."""
    message: str
    applies: Callable[[_Body], bool] | None = None
    """Whether the API, as written, has the other meaning; in the normal case each that does not write the field."""

    def is_of(self, body: _Body) -> bool:
        if self.applies is not None:
            return self.applies(body)
        has_work = self.path[0] not in ("predictor", "container") or bool(body.get(self.path[0]))
        return has_work and value_at(body, self.path) is None


def has_cortex_name(file: str) -> bool:
    """Whether a manifest was written for Cortex, by the name of its file."""
    return posixpath.basename(file).startswith("cortex")


def differences(served: Iterable[_Body]) -> Iterator[tuple[int, Finding]]:
    """Each difference once, with the number of the first RealtimeAPI as written that has it."""
    bodies = tuple(served)
    for difference in DIFFERENCES:
        having = (at for at, body in enumerate(bodies) if difference.is_of(body))
        if (first := next(having, None)) is not None:
            yield first, warning(difference.path, difference.message, rule=RULE)


def _reads_a_bucket(body: _Body) -> bool:
    if body.get("secrets") or body.get("service_account"):
        return False
    return any(_names_a_bucket(body.get(section)) for section in ("predictor", "container"))


def _names_a_bucket(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(key == "bucket" or _names_a_bucket(each) for key, each in value.items())
    if isinstance(value, list):
        return any(_names_a_bucket(each) for each in value)
    return isinstance(value, str) and value.startswith(_STORES)


DIFFERENCES = (
    Difference(
        ("predictor", "max_queue_length"),
        "in Cortex 1024 requests could run or wait in a replica; here 100 may wait, and further "
        "ones are answered with 429 or 503. predictor.max_queue_length changes that",
    ),
    Difference(
        ("predictor", "max_body_bytes_in_flight"),
        "Cortex had no limit for the bodies of requests; here a replica holds 256 MiB of them at "
        "once. predictor.max_body_bytes_in_flight changes that",
    ),
    Difference(
        ("networking", "timeout"),
        "Cortex ended a request after an hour; here the limit is 60s. networking.timeout changes that",
    ),
    Difference(
        ("probes",),
        "Cortex had no limit for loading, and a stopping replica had 60s; here loading may take "
        "10m and stopping 30s. probes.startup and probes.grace change that",
    ),
    Difference(
        ("predictor", "cors"),
        "Cortex allowed the scripts of every web page to call the API; here none may. "
        "predictor.cors: ['*'] allows all",
    ),
    Difference(
        ("compute", "mem_limit"),
        "Cortex set no limit for memory; here a replica that needs more than compute.mem (1Gi "
        "where it is not written) is ended. compute.mem_limit changes that",
    ),
    Difference(
        ("predictor", "writable"),
        "in Cortex the project's folder was writable; here only /tmp is. predictor.writable: true "
        "changes that",
    ),
    Difference(
        ("predictor", "python_version"),
        "Cortex's images had Python 3.6 and many packages; here the image has the Python version "
        "of the project and what requirements name. predictor.python_version and "
        "predictor.dependencies change that",
    ),
    Difference(
        ("service_account",),
        "Cortex gave every pod the rights of the cluster on buckets; here a pod has none. "
        "service_account.annotations (workload identity) or secrets give them",
        _reads_a_bucket,
    ),
    Difference(
        ("container", "run_as_user"),
        "Cortex ran containers as root; here they run as user 10001. container.run_as_user changes "
        "that, but to no root",
    ),
    Difference(
        ("container", "read_only_root"),
        "in Cortex the files of a container were writable; here only /tmp is. "
        "container.read_only_root: false changes that",
    ),
    Difference(
        ("container", "sidecars"),
        "in Cortex the containers of a pod shared the folder /mnt; here they share only the "
        "network. Pass files over localhost, or put both programs into one image",
        lambda body: bool(value_at(body, ("container", "sidecars"))),
    ),
    Difference(
        ("container", "max_concurrency"),
        "Cortex passed one request at a time to a container and let 100 wait; here all reach it. "
        "container.max_concurrency: 1 restores that, by a proxy that also scales the API on its "
        "requests",
    ),
    Difference(
        ("autoscaling",),
        "before v0.18, Cortex scaled faster by default; the defaults here are those of later "
        "versions. autoscaling.upscale_stabilization_period: 0s, max_upscale_factor: 10, "
        "max_downscale_factor: 0.5 and both tolerances 0.1 restore them",
        lambda body: body.get("kind") is None and value_at(body, ("autoscaling",)) is None,
    ),
)

SHELL_SCRIPT = warning(
    ("predictor", "dependencies", "shell"),
    "Cortex ran this script at each start of a replica; here it runs once, while the image is "
    "built. What must run at each start belongs into `__init__`",
    rule=RULE,
)
"""The difference of a script for dependencies, where there is one."""
