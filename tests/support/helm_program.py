"""Helm's own program, for what it makes of the files in a GitOps repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.real import unavailable


def helm_program() -> str:
    found = shutil.which("helm", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return found or unavailable("helm is not installed: python tests/support/install_helm.py")


def helm_template(repository: Path, release: str, environment: str, *, namespace: str) -> list[Any]:
    """The objects, from the files of the repository and nothing else."""
    directory = repository / "releases" / environment / release
    chart = yaml.safe_load((directory / "release.yaml").read_text())["chart"]
    command = [
        helm_program(), "template", release, f"charts/{chart['name']}/{chart['version']}",
        "--namespace", namespace, "--values", str(directory / "values.yaml"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return by_identity(yaml.safe_load_all(done.stdout))


def by_identity(objects: Any) -> list[Any]:
    """In an order of their own: Helm's library and program sort alike, our readers need not."""
    return sorted(objects, key=lambda item: (item["kind"], item["metadata"]["name"]))
