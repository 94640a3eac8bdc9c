"""Rules about what is mounted into a replica, and about the names of hosts in it."""

from __future__ import annotations

import ipaddress
import posixpath
from collections.abc import Iterator

from gitops_ml.documents.findings import Finding, Path, error
from gitops_ml.release.spec import ReleaseSpec

_TAKEN = (
    *("/app", "/etc/predictor", "/mnt", "/models", "/opt/runtime", "/opt/venv"),
    *("/dev/shm", "/tmp"),  # noqa: S108 - folders of the container
)
"""Folders of the chart and of our images; a volume there, or on a folder above, would hide them."""
_SYSTEM = ("/dev", "/etc", "/proc", "/sys", "/usr", "/bin", "/lib", "/var/run/secrets")


def volume_findings(spec: ReleaseSpec) -> Iterator[Finding]:
    """Errors in ``volumes`` and ``host_aliases``."""
    names: set[str] = set()
    paths: set[str] = set()
    for index, volume in enumerate(spec.volumes):
        at: Path = ("volumes", index)
        if volume.name in names:
            yield error((*at, "name"), f"{volume.name} is in the list twice", rule="volumes")
        path = posixpath.normpath(volume.path)
        if path in paths:
            yield error((*at, "path"), f"another volume is at {path}", rule="volumes")
        elif place := _hidden_by(path):
            message = f"a volume at {path} would hide {place} of the container; choose another path"
            yield error((*at, "path"), message, rule="volumes")
        names.add(volume.name)
        paths.add(path)
    for index, alias in enumerate(spec.host_aliases):
        try:
            ipaddress.ip_address(alias.ip)
        except ValueError:
            message = f"{alias.ip!r} is not an IP address"
            yield error(("host_aliases", index, "ip"), message, rule="host_aliases")


def _hidden_by(path: str) -> str | None:
    """A folder that the container needs and would not have with a volume at ``path``."""
    for place in _TAKEN:
        if place == path or place.startswith(f"{path.rstrip('/')}/"):
            return place
    return next((each for each in _SYSTEM if f"{path}/".startswith(f"{each}/")), None)
