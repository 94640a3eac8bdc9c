"""`python -m bench.hash`: the content hash of a large context beside sha256sum over the same bytes.

Both read every byte from the page cache. The peer is one `sha256sum` over all files, and the target
is 0.8 of its speed with less than 100 MB of memory, Python's own included.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.spent import spend

_CHILD = """
import sys, time
from pathlib import Path
from gitops_ml.image.context import read_context
from gitops_ml.image.content_hash import Recipe, content_hash
from gitops_ml.oci.reference import ImageRef
from tests.support.projects import predictor_spec
begin = time.perf_counter()
context = read_context(Path(sys.argv[1]), predictor=predictor_spec())
recipe = Recipe(builder="docker/1", template="", base=ImageRef("b", None, "sha256:" + "0" * 64),
                platform="linux/amd64", python_version="3.11")
content_hash(context.inputs, recipe=recipe)
print(time.perf_counter() - begin)
"""


def plant(directory: Path, *, size: int) -> int:
    """A project of about ``size`` bytes: few large files, many small ones. Its number of files."""
    chance = random.Random(1)
    block = chance.randbytes(1 << 20)
    (directory / "predictor.py").write_text("class PythonPredictor: ...\n")
    count, left = 1, size
    for share in (0.5, 0.25, 0.1, 0.1):
        with (directory / f"model-{count}.bin").open("wb") as file:
            for _ in range(int(size * share) >> 20):
                file.write(block)
        left -= int(size * share)
        count += 1
    while left > 0:
        place = directory / f"part-{count % 40}"
        place.mkdir(exist_ok=True)
        length = min(left, chance.randrange(1 << 16))
        (place / f"{count}.dat").write_bytes(block[:length])
        left -= length
        count += 1
    return count


def ours(directory: Path) -> tuple[float, float]:
    """Seconds, and the largest resident set in MiB, of a process that hashes ``directory``."""
    root = Path(__file__).parents[1]
    spent = spend([sys.executable, "-c", _CHILD, str(directory)], cwd=root)
    return float(spent.output), spent.peak


def peer(directory: Path) -> float:
    """Seconds that sha256sum takes, reading the names from a list."""
    names = "\0".join(str(path) for path in directory.rglob("*") if path.is_file())
    begin = time.perf_counter()
    command = ["xargs", "-0", "sha256sum"]
    subprocess.run(command, input=names.encode(), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def measure(*, size: int = 2048, rounds: int = 3) -> list[tuple[str, str, str, bool]]:
    """What was measured, the figure, the target, whether it is reached; ``size`` in MiB."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        count = plant(directory, size=size << 20)
        peer(directory)  # both then read from memory
        runs = [(ours(directory), peer(directory)) for _ in range(rounds)]
    seconds = statistics.median(mine[0] for mine, _ in runs)
    theirs = statistics.median(other for _, other in runs)
    memory = max(mine[1] for mine, _ in runs)
    what = f"content hash of {size} MiB in {count} files"
    speeds = f"{size / seconds:.0f} MiB/s, sha256sum {size / theirs:.0f} MiB/s"
    ratio = theirs / seconds
    return [
        (f"{what}: speed", f"{ratio:.2f} ({speeds})", "0.8 of sha256sum", ratio >= 0.8),
        (f"{what}: memory", f"{memory:.0f} MiB", "100 MiB", memory < 100),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048, help="MiB")
    options = parser.parse_args()
    figures = measure(size=options.size)
    for what, measured, target, _ in figures:
        print(f"{what}: {measured} (target: {target})")
    sys.exit(not all(is_reached for *_, is_reached in figures))


if __name__ == "__main__":
    main()
