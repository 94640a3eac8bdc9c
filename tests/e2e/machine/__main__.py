"""`python -m tests.e2e.machine`: build the binaries and the base image that are missing."""

from __future__ import annotations

import shutil
import sys

from tests.e2e.machine import binaries, registry
from tests.e2e.machine.processes import Failed

if __name__ == "__main__":
    if shutil.which("go") is None:
        sys.exit("go is missing: on Debian, apt-get install golang-go, or see https://go.dev/dl")
    try:
        binaries.build()
        registry.make_base_image()
    except Failed as problem:
        sys.exit(str(problem))
    print(f"the binaries are in {binaries.folder()}")
