"""A GitOps repository with a long history, and what its verbs and plain git take to look into it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import fleet
from bench.spent import GITOPS_ML, Row, spend

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMITS = 5000
_ENVIRONMENTS = ("staging", "production")


def deployment_id(number: int, environment: str, version: int) -> str:
    text = f"{number} {environment} {version}"
    return f"api-{number:05d}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def write_history(repository: Path, count: int, commits: int) -> tuple[str, str]:
    """Extend what a real deploy has written to ``commits`` commits, each a new deployment of one API.

    Returns an id from the middle of the history and the newest one of the same API.
    """
    texts = {
        (number, environment): _texts(repository, number, environment)
        for number in range(count)
        for environment in _ENVIRONMENTS
    }
    command = ["git", "fast-import", "--quiet"]
    with subprocess.Popen(command, cwd=repository, stdin=subprocess.PIPE) as process:
        assert process.stdin
        for part in _stream(texts, count, commits, _head(repository)):
            process.stdin.write(part)
    assert process.returncode == 0
    subprocess.run(["git", "gc", "-q"], cwd=repository, check=True)
    versions = [v for v in range(1, commits) if v % count == 7]
    middle, newest = versions[len(versions) // 2], versions[-1]
    return _id_at(middle, count), _id_at(newest, count)


def _id_at(version: int, count: int) -> str:
    return deployment_id(version % count, _ENVIRONMENTS[version // count % 2], version)


def _head(repository: Path) -> str:
    command = ["git", "rev-parse", "main"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _texts(repository: Path, number: int, environment: str) -> tuple[str, bytes, bytes]:
    directory = f"releases/{environment}/api-{number:05d}"
    found = []
    for name in ("release.yaml", "values.yaml"):
        command = ["git", "cat-file", "blob", f"main:{directory}/{name}"]
        found.append(
            subprocess.run(command, cwd=repository, capture_output=True, check=True).stdout
        )
    return directory, found[0], found[1]


def _stream(
    texts: dict[tuple[int, str], tuple[str, bytes, bytes]], count: int, commits: int, head: str
) -> Iterator[bytes]:
    for version in range(1, commits):
        number, environment = version % count, _ENVIRONMENTS[version // count % 2]
        directory, facts, values = texts[number, environment]
        old = next(x for x in facts.decode().splitlines() if x.startswith("deployment_id: "))[15:]
        new = deployment_id(number, environment, version)
        replicas = f"maxReplicas: {10 + version % 50}".encode()
        message = f"Deploy api-{number:05d} to {environment}\n\nDeployment-Id: {new}\n".encode()
        yield b"commit refs/heads/main\ncommitter A <a@example.org> %d +0000\n" % (
            2_000_000_000 + version * 60
        )
        yield b"data %d\n%s" % (len(message), message)
        if version == 1:
            yield b"from %s\n" % head.encode()
        files = {
            "release.yaml": facts.replace(old.encode(), new.encode()),
            "values.yaml": values.replace(old.encode(), new.encode()).replace(
                b"maxReplicas: 10", replicas
            ),
        }
        for name, content in files.items():
            yield b"M 100644 inline %s/%s\n" % (directory.encode(), name.encode())
            yield b"data %d\n%s\n" % (len(content), content)
    yield b"done\n"


def measure(count: int) -> list[Row]:
    """`trace` and `history` from a warm cache, beside what plain git takes to find the same."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    apis = max(8, count // 2)
    try:
        address = fleet.make_bare_repository(folder / "gitops.git")
        project = fleet.write_fleet(folder / "fleet", apis, repository=address)
        cache = folder / "cache"
        deploy = [*GITOPS_ML, "deploy", "-e", "staging", "-e", "production"]
        spend(deploy, cwd=project, cache=cache)
        old, new = write_history(folder / "gitops.git", apis, COMMITS)
        shutil.rmtree(cache)
        api = old.rpartition("-")[0]
        first = spend([*GITOPS_ML, "history", api], cwd=project, cache=cache)
        rows = [Row(f"first call, clone of {COMMITS} commits included", f"{first.wall:.3f} s", "-")]
        for what, arguments in (
            ("history of an API", ["history", api]),
            ("trace of an old id", ["trace", old]),
            ("trace of the newest id", ["trace", new]),
            ("trace of an unknown id", ["trace", f"{api}-ffffffffffff"]),
        ):
            command = [*GITOPS_ML, *arguments]
            runs = [spend(command, cwd=project, cache=cache, may_fail=True) for _ in range(5)]
            best = min(runs, key=lambda run: run.wall)
            measured = f"{best.wall:.3f} s"
            rows.append(Row(f"{what}, {2 * apis} releases", measured, "<= 1 s", best.wall <= 1))
            rows.append(Row("  its CPU, git's included", f"{best.cpu:.3f} s", "-"))
        directory = f"releases/staging/{api}"
        for what, command in (
            ("  git log -S ID", ["git", "log", "--oneline", "-S", old, "main"]),
            ("  git log --grep ID", ["git", "log", "--oneline", f"--grep={old}", "main"]),
            (f"  git log -- {directory}", ["git", "log", "--oneline", "main", "--", directory]),
        ):
            wall = min(spend(command, cwd=folder / "gitops.git").wall for _ in range(3))
            rows.append(Row(what, f"{wall:.3f} s", "-"))
        return rows
    finally:
        shutil.rmtree(folder)
