"""Which servers are this machine itself, so that what is sent there leaves it not."""

from __future__ import annotations

import ipaddress


def is_loopback(server: str) -> bool:
    """Whether ``host`` or ``host:port`` is this machine; IPv6 addresses may have brackets."""
    name, colon, port = server.lower().rpartition(":")
    has_port = colon and port.isdecimal() and (":" not in name or name.endswith("]"))
    host = (name if has_port else server.lower()).removeprefix("[").removesuffix("]")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
