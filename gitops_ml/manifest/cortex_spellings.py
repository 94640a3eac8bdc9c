"""Translate Cortex's older spellings into current ones, each with a warning.

Only unambiguous spellings are translated. A field of Cortex that has no equivalent is refused, or
ignored with a warning; the message names what to write instead.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_ml.documents.findings import Finding, Path, dotted, error, warning
from gitops_ml.errors import Problem

_RULE = "spelling"

_SIGNS: Mapping[str, frozenset[str]] = {
    "": frozenset({"endpoint", "tracker", "handler", "pod", "node_groups"}),
    "predictor": frozenset(
        {"model", "model_path", "models", "signature_key", "protobuf_path", "image"}
        | {"tensorflow_serving_image", "multi_model_reloading"}
    ),
    "autoscaling": frozenset(
        {"target_replica_concurrency", "max_replica_concurrency"}
        | {"workers_per_replica", "threads_per_worker"}
    ),
    "networking": frozenset({"local_port", "api_gateway"}),
    "container": frozenset({"readiness_probe", "liveness_probe", "pre_stop", "sidecars"}),
    "definition": frozenset({"image"}),
}
"""Keys of each section that may need a translation; an API without them needs none."""

_PROBE_KEYS = {
    "http_get": "httpGet",
    "tcp_socket": "tcpSocket",
    "initial_delay_seconds": "initialDelaySeconds",
    "timeout_seconds": "timeoutSeconds",
    "period_seconds": "periodSeconds",
    "success_threshold": "successThreshold",
    "failure_threshold": "failureThreshold",
}
_CORTEX_IMAGES = ("cortexlabs/", "quay.io/cortexlabs/", "docker.io/cortexlabs/")
_OF_ANY_CONTAINER = {"cpu": "cpu", "mem": "mem", "inf": "inf", "shm": "shm_size"}
"""Fields of a container's compute, and their names in a sidecar."""
_LONGEST_QUEUE = 30_000


@dataclass(frozen=True, slots=True)
class Spelling:
    """An API in current spelling, the findings about it, and the paths of renamed fields."""

    body: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()
    renamed: Mapping[Path, Path] = field(default_factory=dict)
    """From a path in current spelling to the path in the file."""


def original(renamed: Mapping[Path, Path], path: Path) -> Path:
    """``path`` as in the file: the longest renamed prefix has its old name."""
    if not renamed:
        return path
    for length in range(len(path), 0, -1):
        if path[:length] in renamed:
            return (*renamed[path[:length]], *path[length:])
    return path


def is_older(problem: Problem) -> bool:
    """Whether a problem names an older spelling."""
    return problem.rule == _RULE


def current_spelling(submitted: Mapping[str, Any]) -> Spelling:
    """The API in current spelling; ``submitted`` itself if it needs no translation."""
    environments = submitted.get("environments")
    overrides = environments if isinstance(environments, dict) else {}
    parts = [body for body in (submitted, *overrides.values()) if isinstance(body, dict)]
    if "kind" in submitted and not any(map(_needs_a_look, parts)):
        return Spelling(submitted)
    translation = _Translation(copy.deepcopy(dict(submitted)))
    translation.kind()
    translation.section_by_section(())
    for name, override in overrides.items():
        if isinstance(override, dict):
            translation.section_by_section(("environments", name))
    return Spelling(translation.body, tuple(translation.findings), translation.renamed)


def _needs_a_look(body: Mapping[str, Any]) -> bool:
    if not _SIGNS[""].isdisjoint(body):
        return True
    return any(
        isinstance(body.get(section), dict) and not keys.isdisjoint(body[section])
        for section, keys in _SIGNS.items()
        if section
    )


class _Translation:
    """One API during its translation."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.findings: list[Finding] = []
        self.renamed: dict[Path, Path] = {}

    def kind(self) -> None:
        """Cortex before v0.19 had no kinds."""
        if "kind" in self.body or "name" not in self.body:
            return
        kind = {"apis": "TrafficSplitter", "definition": "TaskAPI"}
        self.body["kind"] = next((kind[key] for key in kind if key in self.body), "RealtimeAPI")
        self._warn((), f"'kind' is missing; read as kind: {self.body['kind']}")

    def section_by_section(self, at: Path) -> None:
        self._rename((*at, "endpoint"), (*at, "networking", "endpoint"))
        self._rename((*at, "tracker"), (*at, "monitoring"))
        self._rename((*at, "handler"), (*at, "predictor"))
        self._rename((*at, "node_groups"), (*at, "compute", "node_groups"))
        self._pod(at)
        self._predictor((*at, "predictor"))
        self._images((*at, "definition"))
        self._autoscaling(at)
        self._networking((*at, "networking"))
        self._container((*at, "container"))

    # -- sections ------------------------------------------------------------------------------

    def _predictor(self, at: Path) -> None:
        predictor = self._get(at)
        if not isinstance(predictor, dict):
            return
        self._images(at)
        if predictor.pop("protobuf_path", None) is not None:
            self._refuse(
                (*at, "protobuf_path"),
                "the runtime serves no gRPC service of its own protobuf; remove it and write "
                "`predict(self, payload)`, which HTTP and the Open Inference Protocol over gRPC "
                "call, or serve the protobuf from an image of your own: `container`, in place of "
                "`predictor`",
            )
        is_python = predictor.get("type", "python") == "python"
        target = "multi_model_reloading" if is_python else "models"
        if isinstance(predictor.get("models"), list):
            self._rename((*at, "models"), (*at, target, "paths"))
        elif is_python:
            self._rename((*at, "models"), (*at, target))
        for key in ("model", "model_path"):
            self._rename((*at, key), (*at, target, "path"))
        self._rename((*at, "signature_key"), (*at, target, "signature_key"))
        for section in ("models", "multi_model_reloading"):
            self._rename((*at, section, "model_path"), (*at, section, "path"))
            for model in self._items((*at, section, "paths")):
                self._rename((*model, "model_path"), (*model, "path"))

    def _images(self, at: Path) -> None:
        section = self._get(at)
        if not isinstance(section, dict):
            return
        for key in ("image", "tensorflow_serving_image"):
            image = section.get(key)
            if isinstance(image, str) and image.startswith(_CORTEX_IMAGES):
                del section[key]
                self._warn(
                    (*at, key),
                    f"{image} contains Cortex's own server and is ignored; remove it, or name your "
                    "own base image",
                )

    def _autoscaling(self, at: Path) -> None:
        autoscaling = (*at, "autoscaling")
        if not isinstance(self._get(autoscaling), dict):
            return
        predictor = (*at, "predictor")
        moves = {
            "target_replica_concurrency": (*autoscaling, "target_in_flight"),
            "workers_per_replica": (*predictor, "processes_per_replica"),
            "threads_per_worker": (*predictor, "threads_per_process"),
        }
        for key, new in moves.items():
            self._rename((*autoscaling, key), new)
        self._max_replica_concurrency((*autoscaling, "max_replica_concurrency"), predictor)

    def _max_replica_concurrency(self, old: Path, predictor: Path) -> None:
        """Cortex counted requests in progress and waiting requests together; here they are separate."""
        limit = self._get(old)
        if limit is None:
            return
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            self._refuse(old, f"{limit!r} must be a whole number of at least 1")
            return
        current = self._get(predictor)
        current = current if isinstance(current, dict) else {}
        counts = [current.get("processes_per_replica", 1), current.get("threads_per_process", 1)]
        working = counts[0] * counts[1] if all(isinstance(n, int) for n in counts) else 1
        waiting = min(max(limit - working, 0), _LONGEST_QUEUE)
        self._pop(old)
        self._set((*predictor, "max_queue_length"), waiting, old)
        self._warn(
            old,
            "it counted requests in progress and waiting together; "
            f"read as predictor.max_queue_length: {waiting}",
        )

    def _networking(self, at: Path) -> None:
        if not isinstance(self._get(at), dict):
            return
        if self._pop((*at, "local_port")) is not None:
            self._warn((*at, "local_port"), "it has no effect; use `gitops-ml run --port`")
        if self._pop((*at, "api_gateway")) is not None:
            self._warn(
                (*at, "api_gateway"),
                "there is no API Gateway; for an API that is called inside the cluster "
                "only, write networking.visibility: cluster",
            )

    def _container(self, at: Path) -> None:
        for place in (at, *self._items((*at, "sidecars"))):
            for key in ("readiness_probe", "liveness_probe", "pre_stop"):
                self._probe((*place, key))

    def _probe(self, at: Path) -> None:
        probe = self._get(at)
        if not isinstance(probe, dict):
            return
        for old in [key for key in probe if key in _PROBE_KEYS]:
            self._rename((*at, old), (*at, _PROBE_KEYS[old]))

    def _pod(self, at: Path) -> None:
        pod = self._get((*at, "pod"))
        if pod is None:
            return
        if self._get((*at, "container")) is not None:
            message = "`container`, its current name, is present too; keep that one"
            self._refuse((*at, "pod"), message)
            return
        containers = pod.get("containers", []) if isinstance(pod, dict) else None
        if not isinstance(containers, list) or not all(isinstance(c, dict) for c in containers):
            message = "it is a mapping with a list of containers; or write `container`"
            self._refuse((*at, "pod"), message)
            return
        self._warn(
            (*at, "pod"),
            "`pod` is Cortex's spelling: write `container` for the first container, its `sidecars` "
            "for the others, and `compute`",
        )
        for index in range(len(containers)):
            self._pod_container((*at, "pod", "containers", index), at, index)
        pod.pop("containers", None)
        for key in list(pod):
            self._move((*at, "pod", key), (*at, "container", key))
        self._pop((*at, "pod"))
        self.renamed.setdefault((*at, "container"), (*at, "pod"))

    def _pod_container(self, old: Path, at: Path, index: int) -> None:
        first = index == 0
        new = (*at, "container") if first else (*at, "container", "sidecars", index - 1)
        container = self._get(old)
        compute = container.pop("compute", None)
        if first:
            container.pop("name", None)
        if not first:
            sidecars = self._get((*at, "container")).setdefault("sidecars", [])
            sidecars.append({})
            self.renamed[new] = old
        for key in list(container):
            self._move((*old, key), (*new, key))
        for key, value in (compute if isinstance(compute, dict) else {}).items():
            self._compute((*old, "compute", key), new, at, value, first=first)

    def _compute(self, old: Path, new: Path, at: Path, value: Any, *, first: bool) -> None:
        key = str(old[-1])
        if value is None or (not first and key in ("gpu", "inf") and value == 0):
            return
        if first:
            place = (*new, "shm_size") if key == "shm" else (*at, "compute", key)
            self._set(place, value, old)
        elif key in _OF_ANY_CONTAINER:
            self._set((*new, _OF_ANY_CONTAINER[key]), value, old)
        else:
            self._refuse(
                old, f"`{key}` belongs to the container that serves; put that container first"
            )

    # -- moves ---------------------------------------------------------------------------------

    def _rename(self, old: Path, new: Path) -> None:
        """Move the field at ``old``, if it exists, with a warning."""
        if not self._has(old):
            return
        if self._get(new) is not None and self._get(old) is not None:
            self._refuse(old, f"{_named(new)}, its current name, is present too; keep that one")
            return
        self._move(old, new)
        self._warn(new, f"`{old[-1]}` is an older spelling; write `{_named(new)}`")

    def _move(self, old: Path, new: Path) -> None:
        value = self._pop(old)
        self._set(new, value, old)

    def _set(self, new: Path, value: Any, old: Path) -> None:
        parent: Any = self.body
        for depth, step in enumerate(new[:-1], 1):
            if isinstance(parent, dict) and parent.get(step) is None:
                parent[step] = {}
            parent = self._get(new[:depth])
        if not isinstance(parent, dict):
            message = f"{_named(new[:-1])!r} must be a mapping"
            self.findings.append(error(new[:-1], message, rule=_RULE))
            return
        parent[new[-1]] = value
        self.renamed[new] = original(self.renamed, old)

    def _get(self, path: Path) -> Any:
        found: Any = self.body
        for step in path:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    def _items(self, path: Path) -> list[Path]:
        """The paths of the items of a list; none if it is not one."""
        found = self._get(path)
        return [(*path, index) for index in range(len(found))] if isinstance(found, list) else []

    def _has(self, path: Path) -> bool:
        parent = self._get(path[:-1])
        return isinstance(parent, dict) and path[-1] in parent

    def _pop(self, path: Path) -> Any:
        return self._get(path[:-1]).pop(path[-1], None) if self._has(path) else None

    def _warn(self, path: Path, message: str) -> None:
        self.findings.append(warning(path, message, rule=_RULE))

    def _refuse(self, path: Path, message: str) -> None:
        """Remove a field that cannot be translated."""
        self.findings.append(error(path, message, rule=_RULE))
        self._pop(path)


def _named(path: Path) -> str:
    return dotted(path[2:] if path[:1] == ("environments",) else path)
