"""The config of an image on top of a base image: entrypoint, environment, user and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from gitops_ml.http.json_reader import BadJson, as_items, as_mapping, as_text, as_texts, read_json
from gitops_ml.oci.image_manifest import (
    BadManifest,
    Platform,
    canonical_json,
    is_digest,
    platform_in,
)

_KEPT = ("User", "ExposedPorts", "Env", "Volumes", "WorkingDir", "Labels", "StopSignal",
         "Healthcheck")  # fmt: skip
"""Fields of the base image's config. Entrypoint and Cmd are replaced, engines only read the others."""

_MOST_LAYERS = 1000
_MOST_HISTORY = 4000
_MOST_ITEMS = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseConfig:
    """The config of a base image."""

    platform: Platform
    settings: Mapping[str, Any]
    diff_ids: tuple[str, ...]
    history: tuple[Mapping[str, Any], ...]
    os_version: str = ""

    @property
    def environ(self) -> dict[str, str]:
        pairs = (str(entry).partition("=") for entry in self.settings.get("Env") or ())
        return {name: value for name, _, value in pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedLayer:
    """A layer on top of the base image."""

    diff_id: str
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """How the image runs."""

    entrypoint: tuple[str, ...]
    env: Mapping[str, str]
    user: str
    working_dir: str
    port: int
    labels: Mapping[str, str] = field(default_factory=dict)


def parse_config(content: bytes) -> BaseConfig:
    """The config in a blob.

    Raises:
        BadManifest: it is not the config of an image.
    """
    try:
        found = as_mapping(read_json(content), "it")
        base = _base_config(found)
    except BadJson as error:
        raise BadManifest(f"its config cannot be read ({error})") from error
    if not {"rootfs", "os", "architecture"} <= found.keys():
        raise BadManifest("its config cannot be read (it has no platform or no layers)")
    if not all(map(is_digest, base.diff_ids)):
        raise BadManifest("a layer in its config is not named by its sha256")
    return base


def _base_config(found: Mapping[str, Any]) -> BaseConfig:
    rootfs = as_mapping(found.get("rootfs"), "rootfs")
    diff_ids = as_items(rootfs.get("diff_ids"), "diff_ids", most=_MOST_LAYERS)
    history = as_items(found.get("history"), "history", most=_MOST_HISTORY)
    return BaseConfig(
        platform=platform_in(found),
        settings=_checked(as_mapping(found.get("config"), "config")),
        diff_ids=tuple(as_text(each, "a diff_id") for each in diff_ids),
        history=tuple(as_mapping(each, "an entry of history") for each in history),
        os_version=as_text(found.get("os.version"), "os.version"),
    )


def _checked(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """``settings``, whose known fields have the right types.

    Raises:
        BadJson: a field has another type.
    """
    for name in ("Env", "Entrypoint", "Cmd"):
        for each in as_items(settings.get(name), name, most=_MOST_ITEMS):
            as_text(each, f"an entry of {name}")
    for name in ("User", "WorkingDir", "StopSignal"):
        as_text(settings.get(name), name)
    for name in ("ExposedPorts", "Volumes", "Healthcheck"):
        as_mapping(settings.get(name), name)
    as_texts(settings.get("Labels"), "Labels")
    return settings


def extended_config(
    base: BaseConfig, *, layers: Sequence[AddedLayer], runtime: Runtime, epoch: int = 0
) -> bytes:
    """The config blob of ``base`` with ``layers`` on top, which runs as in ``runtime``.

    ``epoch`` takes the place of the time of the build.
    """
    created = datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    added = [{"created": created, "created_by": layer.created_by} for layer in layers]
    platform = base.platform.as_json()
    if base.os_version:
        platform["os.version"] = base.os_version
    return canonical_json(
        platform
        | {
            "created": created,
            "config": _settings(base, runtime),
            "rootfs": {
                "type": "layers",
                "diff_ids": [*base.diff_ids, *(layer.diff_id for layer in layers)],
            },
            "history": [*_complete_history(base), *added],
        }
    )


def _settings(base: BaseConfig, runtime: Runtime) -> dict[str, Any]:
    kept = {name: base.settings[name] for name in _KEPT if base.settings.get(name)}
    env = base.environ | dict(runtime.env)
    return kept | {
        "Entrypoint": list(runtime.entrypoint),
        "Env": [f"{name}={value}" for name, value in env.items()],
        "ExposedPorts": {**(kept.get("ExposedPorts") or {}), f"{runtime.port}/tcp": {}},
        "Labels": {**(kept.get("Labels") or {}), **runtime.labels},
        "User": runtime.user,
        "WorkingDir": runtime.working_dir,
    }


def _complete_history(base: BaseConfig) -> tuple[Mapping[str, Any], ...]:
    """The base's history, with one entry for each layer: some tools require it."""
    if sum(not entry.get("empty_layer") for entry in base.history) == len(base.diff_ids):
        return base.history
    return tuple({"created_by": "a layer of the base image"} for _ in base.diff_ids)
