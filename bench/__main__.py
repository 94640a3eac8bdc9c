"""`make bench`: every figure that the project promises, measured here and now.

python -m bench                    all of it
python -m bench startup fleet      only these
python -m bench --apis 10000 fleet another size
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import fleet
from bench.spent import GITOPS_ML, Row, Spent, spend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def best(command: Sequence[str], times: int = 5, **more: Any) -> Spent:
    """The quickest of several runs: what the machine can do, without its other duties."""
    return min((spend(command, **more) for _ in range(times)), key=lambda spent: spent.cpu)


def row(what: str, seconds: float, most: float, unit: str = "s") -> Row:
    return Row(what, f"{seconds:.3f} {unit}", f"<= {most:g} {unit}", seconds <= most)


def share_of(seconds: float, count: int) -> float:
    """The target for ``count`` APIs, where ``seconds`` is that for 1000: the program starts for any number."""
    start = 0.3
    return round(start + (seconds - start) * count / 1000, 3)


def startup(_: argparse.Namespace) -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        spend([*GITOPS_ML, "init", str(folder / "one")])
        validate = best([*GITOPS_ML, "validate"], cwd=folder / "one", cache=folder / "cache")
        return [
            row("gitops-ml --help, CPU", best([*GITOPS_ML, "--help"]).cpu, 0.15),
            row("gitops-ml version, CPU", best([*GITOPS_ML, "version"]).cpu, 0.15),
            row("validate one file, wall", validate.wall, 0.35),
        ]
    finally:
        shutil.rmtree(folder)


def fleets(options: argparse.Namespace) -> list[Row]:
    count = options.apis
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        repository = fleet.make_bare_repository(folder / "gitops.git")
        project = fleet.write_fleet(folder / "fleet", count, repository=repository)
        run = _runner(project, folder / "cache")
        rows = []
        validate = run("validate")
        rows.append(
            row(f"validate {count} APIs x 2 environments", validate.wall, share_of(3, count))
        )
        first = run("render", "--offline", "--to", str(folder / "out"))
        rows.append(row(f"render {2 * count} releases, mode chart", first.wall, share_of(6, count)))
        rows.append(row("  its peak memory", first.peak, 1024, "MiB"))
        deployed = run("deploy", "-e", "staging", "-e", "production")
        rows.append(Row(f"deploy all {2 * count} releases", f"{deployed.wall:.3f} s", "-"))
        changed = project / "apis" / "api-00007" / "api.yaml"
        changed.write_text(fleet.manifest(7, most=11))
        diff = run("diff")
        assert "max" in diff.output, diff.output
        rows.append(row(f"diff, one manifest of {count} changed", diff.wall, share_of(1.5, count)))
        deploy = run("deploy", "-e", "staging", "-e", "production")
        rows.append(
            row(f"deploy, one manifest of {count} changed", deploy.wall, share_of(3, count))
        )
        again = run("deploy", "-e", "staging", "-e", "production")
        rows.append(Row("deploy again, nothing changed", f"{again.wall:.3f} s", "-"))
        rows.append(
            Row("  its peak memory", f"{again.peak:.0f} MiB", "<= 1024 MiB", again.peak <= 1024)
        )
        return rows
    finally:
        shutil.rmtree(folder)


def predictors(options: argparse.Namespace) -> list[Row]:
    """A deploy of one of many APIs that each have a build context."""
    count = options.apis
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        repository = fleet.make_bare_repository(folder / "gitops.git")
        project = fleet.write_fleet(folder / "fleet", count, repository=repository)
        for number in range(count):
            fleet.write_predictor(project, number)
        run = _runner(project, folder / "cache")
        deploy = ("deploy", "-e", "staging", "--offline", "--by-tag")
        run(*deploy)
        fleet.write_predictor(project, 7, most=11)
        changed = run(*deploy)
        assert "api-00007" in changed.output, changed.output
        return [
            row(f"deploy, one of {count} predictors changed", changed.wall, share_of(2.5, count))
        ]
    finally:
        shutil.rmtree(folder)


def manifests(options: argparse.Namespace) -> list[Row]:
    """Mode ``manifests`` beside a loop of `helm template` over the same releases."""
    count = options.apis
    helm = shutil.which("helm")
    if helm is None:
        return [Row("mode manifests beside `helm template`", "no helm on PATH", "10 x")]
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        project = fleet.write_fleet(folder / "fleet", count, repository="x.git", mode="manifests")
        ours = _runner(project, folder / "cache")(
            "render", "--offline", "--to", str(folder / "out")
        )
        releases = sorted((folder / "out" / "releases").glob("*/*"))
        assert len(releases) == 2 * count, len(releases)
        begin = time.perf_counter()
        chosen = releases[:: max(1, len(releases) // options.helm_releases)]
        for release in chosen:
            chart = next((folder / "out" / "charts" / "predictor").iterdir())
            subprocess.run(
                [helm, "template", release.name, str(chart), "-f", str(release / "values.yaml")],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        peer = (time.perf_counter() - begin) / len(chosen) * len(releases)
        return [
            Row(f"render {2 * count} releases, mode manifests", f"{ours.wall:.2f} s", "-"),
            Row(f"  `helm template`, {len(chosen)} run, for {len(releases)}", f"{peer:.2f} s", "-"),
            Row("  times faster", f"{peer / ours.wall:.1f}", ">= 12", peer / ours.wall >= 12),
        ]
    finally:
        shutil.rmtree(folder)


def dashboards(options: argparse.Namespace) -> list[Row]:
    """What the dashboards add to the rendered releases of one environment, in mode `manifests`."""
    count = options.apis
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        project = fleet.write_fleet(folder / "fleet", count, repository="x.git", mode="manifests")
        for number in range(count):
            fleet.write_predictor(project, number)
        run = _runner(project, folder / "cache")
        command = ("render", "-e", "staging", "--offline", "--to")
        run(*command, str(folder / "first"))
        without = run(*command, str(folder / "without"))
        fleet.add_dashboards(project)
        both = run(*command, str(folder / "with"))
        text = (
            folder / "with" / "releases" / "staging" / "api-00007" / "manifest.yaml"
        ).read_text()
        assert "Cost of 1,000 predictions" in text
        spent = both.cpu - without.cpu
        return [
            row(f"dashboards of {count} APIs, CPU", spent, share_of(3, count)),
            Row("  whole releases with them, CPU", f"{both.cpu:.3f} s", "-"),
        ]
    finally:
        shutil.rmtree(folder)


def checks(options: argparse.Namespace) -> list[Row]:
    """`check` of a pull request beside `helm template` of both states."""
    from bench import check

    return check.measure(options.apis, helm_releases=options.helm_releases)


def hashing(_: argparse.Namespace) -> list[Row]:
    from bench import hash as hash_

    return [Row(*figure) for figure in hash_.measure()]


def histories(options: argparse.Namespace) -> list[Row]:
    """`history` and `trace` beside plain git over the same commits."""
    from bench import history

    return history.measure(options.apis)


def live_clusters(options: argparse.Namespace) -> list[Row]:
    """`get` and `logs` against an API server on the loopback."""
    from bench import live

    return live.measure(options.apis)


def images(options: argparse.Namespace) -> list[Row]:
    import pytest

    from bench import oci

    try:
        return oci.measure(model_gb=options.model_gb)
    except pytest.skip.Exception as reason:  # what the tests say where an engine cannot be started
        return [Row("images without Docker", f"not measured: {reason}", "-")]


def notebook(_: argparse.Namespace) -> list[Row]:
    from bench import notebook as notebook_

    return [Row(*figure) for figure in notebook_.measure()]


def _runner(project: Path, cache: Path) -> Callable[..., Spent]:
    def run(*arguments: str) -> Spent:
        return spend([*GITOPS_ML, *arguments], cwd=project, cache=cache)

    return run


GROUPS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "startup": startup,
    "fleet": fleets,
    "predictors": predictors,
    "manifests": manifests,
    "dashboards": dashboards,
    "check": checks,
    "hash": hashing,
    "notebook": notebook,
    "history": histories,
    "live": live_clusters,
    "oci": images,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--apis", type=int, default=1000)
    parser.add_argument("--helm-releases", type=int, default=200, help="how many the peer renders")
    parser.add_argument("--model-gb", type=float, default=5.0, help="of the model in group oci")
    options = parser.parse_args()
    chosen = options.groups or list(GROUPS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rows, loads = [], [os.getloadavg()[0]]
    for name in chosen:
        print(f"measuring {name} ...", file=sys.stderr)
        rows += GROUPS[name](options)
    width = max(len(row.what) for row in rows)
    for item in rows:
        verdict = {True: "ok", False: "MISSED", None: ""}[item.ok]
        print(f"{item.what:<{width}}  {item.measured:>12}  {item.target:>12}  {verdict}")
    loads.append(os.getloadavg()[0])
    _report_load(loads)
    sys.exit(any(item.ok is False for item in rows))


def _report_load(loads: Sequence[float]) -> None:
    """The load before and behind the run: targets of seconds are those of a machine without other work."""
    before, behind = loads
    print(
        f"load {before:.1f} before and {behind:.1f} behind the run, on {os.cpu_count()} processors"
    )
    if before > 0.5:
        print("other programs ran when it began: targets of seconds are for a machine without them")


if __name__ == "__main__":
    main()
