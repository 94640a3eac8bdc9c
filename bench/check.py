"""`check` beside what people write without it: `helm template` of both states, and `diff -r` or dyff."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench import fleet
from bench.spent import GITOPS_ML, Row, Spent, spend

CHANGED = (1, 10, 20)
"""The APIs whose manifests change; the 10th and the 20th have a GPU."""
_MOST_MIB = 400
_AUTHOR = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")


def measure(count: int, *, helm_releases: int) -> list[Row]:
    """The rows of a fleet of ``count`` APIs in two environments, of which three change."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        project = _repository(folder, count)
        first = _check(project, folder / "cache")
        spent = min((_check(project, folder / "cache") for _ in range(3)), key=lambda s: s.wall)
        most = 2.0 if count <= 1000 else 6.0
        rows = [
            _row(f"check, {len(CHANGED)} of {count} APIs x 2 environments, no cache", first, most),
            _row("  again", spent, most),
            Row(
                "  its peak memory",
                f"{spent.peak:.0f} MiB",
                f"<= {_MOST_MIB} MiB",
                spent.peak <= _MOST_MIB,
            ),
        ]
        return [*rows, *_peer(project, folder, count, helm_releases, spent)]
    finally:
        shutil.rmtree(folder)


def _row(what: str, spent: Spent, most: float) -> Row:
    return Row(what, f"{spent.wall:.3f} s", f"<= {most:g} s", spent.wall <= most)


def _repository(folder: Path, count: int) -> Path:
    """``main`` has the fleet, and the branch that is checked out changes three of its manifests."""
    url = fleet.make_bare_repository(folder / "gitops.git")
    project = fleet.write_fleet(folder / "fleet", count, repository=url)
    _git(project, "init", "-q", "-b", "main")
    _commit(project)
    _git(project, "checkout", "-q", "-b", "change")
    for number in CHANGED:
        path = project / "apis" / f"api-{number:05d}" / "api.yaml"
        path.write_text(fleet.manifest(number, most=12))
    _commit(project)
    return project


def _check(project: Path, cache: Path) -> Spent:
    spent = spend(
        [*GITOPS_ML, "check", "--base", "main", "-o", "markdown"], cwd=project, cache=cache
    )
    assert "api-00010" in spent.output, spent.output
    return spent


def _peer(project: Path, folder: Path, count: int, helm_releases: int, ours: Spent) -> list[Row]:
    """The loop over some releases of both states, and its time for all of them."""
    helm = shutil.which("helm")
    if helm is None:
        return [Row("  beside `helm template` and `diff -r`", "no helm on PATH", ">= 40")]
    chosen = sorted({*CHANGED, *range(1, count, max(1, 2 * count // helm_releases))})
    begin = 0.0
    sides = []
    for ref in ("main", "change"):
        _git(project, "checkout", "-q", ref)
        names = [word for number in chosen for word in ("-a", f"api-{number:05d}")]
        values = folder / f"values-{ref}"
        spend([*GITOPS_ML, "render", "--offline", "--to", str(values), *names], cwd=project)
        start = time.perf_counter()
        sides.append(_templates(helm, values, folder / f"objects-{ref}"))
        begin += time.perf_counter() - start
    start = time.perf_counter()
    subprocess.run(["diff", "-r", *map(str, sides)], stdout=subprocess.DEVNULL, check=False)
    seconds = begin + time.perf_counter() - start
    peer = seconds / len(chosen) * count
    times = peer / ours.wall
    return [
        Row(f"  `helm template` twice and `diff -r`, {len(chosen)} APIs run", f"{peer:.2f} s", "-"),
        Row("  times faster", f"{times:.0f}", ">= 40", times >= 40),
        *_dyff(sides, begin, count / len(chosen), ours),
    ]


def _dyff(sides: list[Path], begin: float, share: float, ours: Spent) -> list[Row]:
    """dyff, which compares YAML by the identities of Kubernetes objects, after the same `helm template`."""
    program = shutil.which("dyff")
    if program is None:
        return [Row("  `helm template` twice and dyff", "no dyff: `make bench-peers`", "-")]
    files = [_joined(side) for side in sides]
    start = time.perf_counter()
    subprocess.run(
        [program, "between", "--omit-header", *map(str, files)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    peer = (begin + time.perf_counter() - start) * share
    return [
        Row("  `helm template` twice and dyff", f"{peer:.2f} s", "-"),
        Row("  times faster", f"{peer / ours.wall:.0f}", "-"),
    ]


def _joined(folder: Path) -> Path:
    """One file with all documents of a folder."""
    target = folder.with_suffix(".yaml")
    with target.open("wb") as out:
        for file in sorted(folder.iterdir()):
            out.write(b"---\n" + file.read_bytes())
    return target


def _templates(helm: str, values: Path, out: Path) -> Path:
    out.mkdir()
    chart = next((values / "charts" / "predictor").iterdir())
    for release in sorted((values / "releases").glob("*/*")):
        with (out / f"{release.parent.name}-{release.name}.yaml").open("wb") as file:
            subprocess.run(
                [helm, "template", release.name, str(chart), "-f", str(release / "values.yaml")],
                check=True, stdout=file,
            )  # fmt: skip
    return out


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *_AUTHOR, *arguments], cwd=folder, check=True)


def _commit(folder: Path) -> None:
    _git(folder, "add", "--all")
    _git(folder, "commit", "-q", "-m", "fleet")
