"""Libraries that threads import for the first time, side by side."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from contextlib import suppress
from gitops_ml.cluster.kubeconfig import ClusterRef, connect
from gitops_ml.errors import GitopsMlError
from gitops_ml.image.docker import DockerBuilder
from gitops_ml.system.process import FIRST_IMPORT

class Finder:
    def find_spec(name, *rest):
        if name in ("docker", "kubernetes"):
            print(name, "alone" if FIRST_IMPORT._is_owned() else "beside others")

sys.meta_path.insert(0, Finder)
cluster = ClusterRef(name="main", context=None, server=None, is_only=True, key="clusters.main")
with suppress(GitopsMlError), DockerBuilder({"DOCKER_HOST": "unix:///nowhere"}).engine():
    pass
with suppress(GitopsMlError):
    connect(cluster, environ={"HOME": "/nowhere"})
"""


def test_docker_and_kubernetes_are_not_imported_side_by_side() -> None:
    """`doctor` needs both at once: both import requests, and each thread could see half of it."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["docker alone", "kubernetes alone"]
