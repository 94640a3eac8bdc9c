"""Services of the cluster that lead to programs of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Port:
    """``number`` of the Service leads to ``target`` of this machine."""

    number: int
    target: int
    name: str
    protocol: str = "TCP"


def service_to(
    address: str, name: str, *ports: Port, namespace: str, **spec: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A Service without a selector and its EndpointSlice, which has the ``address`` of this machine."""
    metadata = {"name": name, "namespace": namespace}
    service_ports = [
        {"name": p.name, "protocol": p.protocol, "port": p.number, "targetPort": p.target}
        for p in ports
    ]
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"ports": service_ports, **spec},
    }  # fmt: skip
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {**metadata, "name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": p.name, "protocol": p.protocol, "port": p.target} for p in ports],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True, "serving": True}}],
    }  # fmt: skip
    return service, endpoints
