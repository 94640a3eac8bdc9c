"""Find the address of an API outside of its cluster, in the values of its release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gitops_ml.project.project import GatewaySpec


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of an API at its gateway."""

    url: str
    """Without a trailing slash."""
    host: str | None
    """The Host header that selects the API, where the URL has another host."""


def endpoint_of(
    api: str, values: Mapping[str, Any], gateway: GatewaySpec | None
) -> Endpoint | None:
    """The address; ``None`` for an API that is reachable only inside of its cluster."""
    route = values.get("route") or {}
    if gateway is None or route.get("type", "none") == "none":
        return None
    host = _host(api, route.get("hosts") or ())
    address = (gateway.address or (f"https://{host}" if host else "")).rstrip("/")
    if not address:
        return None
    path = str(route.get("path") or "/").rstrip("/")
    return Endpoint(f"{address}{path}", host if host != urlsplit(address).hostname else None)


def _host(api: str, hosts: tuple[str, ...] | list[str]) -> str | None:
    """The first host that is not a wildcard, else a host that matches the first wildcard."""
    plain = [host for host in hosts if not host.startswith("*.")]
    if plain:
        return plain[0]
    return f"{api}{hosts[0][1:]}" if hosts else None


def prediction_path(values: Mapping[str, Any]) -> str:
    """The path of predictions: ``/predict`` of the runtime, or the root of a ready-made container."""
    return "/predict" if "runtime" in values else "/"


def timeout_of(values: Mapping[str, Any]) -> float:
    """How many seconds a prediction may take."""
    return float((values.get("route") or {}).get("timeoutSeconds") or 60)
