"""`python -m tests.e2e.machine`: build the binaries and the base image that are missing.

With `--check`: only list what this machine lacks to run the tests, and exit with 1 if it is more than what
a single test needs.
"""

from __future__ import annotations

import itertools
import shutil
import sys

from tests.e2e.machine import binaries, local, registry
from tests.e2e.machine.processes import Failed


def main(arguments: list[str]) -> int | str:
    if arguments == ["--check"]:
        parts = local.missing_parts()
        add_on = parts.pop("add_on")
        lacking = [*local.missing(), *itertools.chain.from_iterable(parts.values())]
        optional = [f"for tests/e2e/test_http_scaling.py alone: {each}" for each in add_on]
        print("\n".join(dict.fromkeys([*lacking, *optional])))
        return 1 if lacking else 0
    if shutil.which("go") is None:
        return "go is missing: on Debian, apt-get install golang-go, or see https://go.dev/dl"
    try:
        binaries.build()
        registry.make_base_image()
    except Failed as problem:
        return str(problem)
    print(f"the binaries are in {binaries.folder()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
