"""The logins of the user's netrc by host. Its entry ``default`` is ignored."""

from __future__ import annotations

import netrc
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def netrc_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The file that ``NETRC`` names, or the usual ones."""
    home = Path(environ.get("HOME") or Path.home())
    named = environ.get("NETRC")
    return (Path(named),) if named else (home / ".netrc", home / "_netrc")


def netrc_hosts(place: Path) -> Mapping[str, tuple[str, str]]:
    """User and password of each host; none if the file is missing or cannot be read."""
    try:
        hosts = netrc.netrc(str(place)).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return {}
    return {
        host: (login or "", password)
        for host, (login, _, password) in hosts.items()
        if host != "default" and password
    }


def netrc_logins(environ: Mapping[str, str]) -> Mapping[str, tuple[str, str]]:
    """User and password of each host in all files; the first file has precedence."""
    found: dict[str, tuple[str, str]] = {}
    for place in reversed(netrc_files(environ)):
        found |= netrc_hosts(place)
    return found
