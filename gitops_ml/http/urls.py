"""Detect loopback addresses: what is sent there stays on this machine."""

from __future__ import annotations

import ipaddress
import re


def is_loopback(server: str) -> bool:
    """Whether ``host`` or ``host:port`` is this machine; IPv6 addresses may have brackets."""
    name, colon, port = server.lower().rpartition(":")
    has_port = colon and port.isdecimal() and (":" not in name or name.endswith("]"))
    host = (name if has_port else server.lower()).removeprefix("[").removesuffix("]")
    if host == "localhost" or re.fullmatch(r"[a-z0-9.-]+\.localhost", host):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
