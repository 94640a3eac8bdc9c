"""Image references: repository, tag and digest."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_REFERENCE = re.compile(
    r"(?P<repository>[a-z0-9.\-]+(?::\d+(?=/))?(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True)
class ImageRef:
    """``repository[:tag][@digest]`` as the OCI distribution specification defines them.

    >>> ImageRef.parse("ghcr.io/acme/iris:h-0123").repository
    'ghcr.io/acme/iris'
    """

    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> ImageRef:
        """The reference in ``text``.

        Raises:
            ValueError: it is not an image reference.
        """
        if not (match := _REFERENCE.fullmatch(text)):
            raise ValueError(f"{text!r} is not an image reference (repository[:tag][@sha256:…])")
        return cls(match["repository"], match["tag"], match["digest"])

    @property
    def brief(self) -> str:
        """With the first characters of the digest, for people."""
        return f"{replace(self, digest=None)}@{self.digest[:19]}…" if self.digest else str(self)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


def split_repository(repository: str) -> tuple[str, str]:
    """Registry and name, by docker's rule for the names of Docker Hub.

    >>> split_repository("python"), split_repository("ghcr.io/acme/iris")
    (('docker.io', 'library/python'), ('ghcr.io', 'acme/iris'))
    """
    host, slash, name = repository.partition("/")
    if not slash or not (host == "localhost" or "." in host or ":" in host):
        host, name = "docker.io", repository
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = "docker.io"
    if host == "docker.io" and "/" not in name:
        name = f"library/{name}"
    return host, name
