"""A project whose images are made without Docker: a real registry, an index of its own, no engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gitops_ml.oci.registry import OciRegistry
from tests.support.oci import TinyBase, push_tiny_base, registry_of
from tests.support.person import Person, predictor_api
from tests.support.real import RealRegistry
from tests.support.wheels import PackageServer, make_wheel, package_server

RUNTIME = ("httptools", "orjson", "prometheus-client", "python-multipart", "starlette", "uvicorn",
           "uvloop")  # fmt: skip
"""What predictor_base asks for; the index has it in a version that is high enough."""


@dataclass
class Mill:
    """Somebody with a project, a registry and a package index."""

    person: Person
    registry: RealRegistry
    index: PackageServer
    base: TinyBase
    repository: str
    """Where the images of the API ``answer`` go."""

    @property
    def project(self) -> Path:
        return self.person.project

    @property
    def lock(self) -> Path:
        return self.project / "pylock.toml"

    @property
    def client(self) -> OciRegistry:
        """For a look at the registry past the command."""
        return registry_of(self.registry.environ)

    def configures(self, *, checks: dict[str, Any] | None = None, **image: Any) -> None:
        self.person.configures(
            checks=checks or {},
            image={
                "repository": self.repository.rpartition("/")[0],
                "base": str(self.base.image),
                "python_version": "3.11",
                **image,
            },
        )

    def requires(self, *lines: str) -> None:
        text = "".join(f"{line}\n" for line in lines)
        (self.project / "requirements.txt").write_text(text)


@pytest.fixture
def mill(
    ann: Person, registry: RealRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mill]:
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    # Not four times, as for an index on the web; but what is lost once on a busy machine is asked for again.
    monkeypatch.setenv("UV_HTTP_RETRIES", "1")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    own = f"{registry.host}/{uuid4().hex}"
    with package_server(tmp_path / "index") as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        for name in RUNTIME:
            make_wheel(index.folder, name, "99.0")
        make_wheel(index.folder, "six", "1.16.0")
        make_wheel(index.folder, "six", "1.17.0")
        base = push_tiny_base(registry_of(), f"{own}/base")
        found = Mill(ann, registry, index, base, f"{own}/answer")
        ann.has(predictor_api("answer"))
        found.configures()
        found.requires("six<1.17")
        yield found
