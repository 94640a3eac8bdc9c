"""Images without Docker, measured beside the Docker builder and skopeo in the same run.

python -m bench.oci                    builds, and a model of 5 GB
python -m bench.oci --model-gb 1       another size; 0 leaves it out

Each measurement is a program of its own, as a person or CI would start it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLATFORM = "linux/amd64"
PROJECT = {
    "api.yaml": "- name: iris\n  kind: RealtimeAPI\n  predictor: {path: predictor.py}\n",
    "requirements.txt": "numpy==2.2.6\n",
    "predictor.py": "import numpy\n\n\nclass PythonPredictor:\n    def __init__(self, config):\n"
    "        self.weights = numpy.ones(4)\n\n    def predict(self, payload):\n"
    "        return float(self.weights @ numpy.asarray(payload))\n",
}
TIMES = 5


@dataclass(frozen=True)
class Row:
    what: str
    measured: str
    target: str
    ok: bool | None = None


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model-gb", type=float, default=5.0)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(_child(*options.child)))
        return 0
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="gitops-ml-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        world = stack.enter_context(_world(folder))
        rows += _builds(world)
        if options.model_gb:
            rows += _models(world, size=int(options.model_gb * 1e9))
    for row in rows:
        mark = {True: "ok  ", False: "MISS", None: "    "}[row.ok]
        print(f"{mark} {row.what:58} {row.measured:>28}   {row.target}")
    return 1 if any(row.ok is False for row in rows) else 0


@dataclass(frozen=True)
class World:
    folder: Path
    registry: str
    engine: str
    base: str
    python: str


@contextmanager
def _world(folder: Path) -> Iterator[World]:
    """A registry, an engine and a base image, started for the run."""
    import docker

    from tests import base_image, real

    home = folder / "engine"
    home.mkdir()
    (folder / "registry").mkdir()
    with (
        real.registry_running(folder / "registry") as registry,
        real._bridge() as bridge,
        real._short_directory() as short,
    ):
        address = short / "docker.sock"
        command = [
            str(real.find("dockerd")), "-H", f"unix://{address}", "-b", bridge,
            "--data-root", str(home / "data"), "--exec-root", str(short / "exec"),
            "--pidfile", str(short / "pid"),
        ]  # fmt: skip
        with real.running(
            command, log=home / "log", is_ready=lambda: real._engine_answers(address)
        ):
            archive = base_image._archive(folder)
            client = docker.APIClient(base_url=f"unix://{address}", version="auto")
            repository = f"{registry.host}/base/python"
            client.import_image_from_file(
                str(archive), repository=repository, tag="1",
                changes=["ENV PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8"],
            )  # fmt: skip
            lines = client.push(repository, tag="1", stream=True, decode=True)
            digest = next(x["aux"]["Digest"] for x in lines if "Digest" in x.get("aux", {}))
            client.close()
            base = f"{repository}:1@{digest}"
            yield World(folder, registry.host, f"unix://{address}", base, base_image.VERSION)


def _builds(world: World) -> list[Row]:
    project = world.folder / "iris"
    project.mkdir()
    for name, text in PROJECT.items():
        (project / name).write_text(text)
    first = {builder: _build(world, builder) for builder in ("docker", "oci")}
    idle = [_build(world, "oci") for _ in range(TIMES)]
    changes: dict[str, list[dict[str, float]]] = {"docker": [], "oci": []}
    for number in range(TIMES):
        (project / "predictor.py").write_text(PROJECT["predictor.py"] + f"# change {number}\n")
        for builder, found in changes.items():
            found.append(_build(world, builder))
    warm = _spend(world, ["warm", str(project), world.base, world.registry, world.python])
    code = sum(path.stat().st_size for path in project.iterdir() if path.suffix != ".yaml")
    docker_s, oci_s = (_median(changes[name], "wall") for name in ("docker", "oci"))
    idle_s, requests = _median(idle, "wall"), _median(idle, "requests")
    sent = max(found["sent"] for found in changes["oci"])
    return [
        Row("first build, nothing cached: docker", f"{first['docker']['wall']:.2f} s", ""),
        Row("first build, nothing cached: oci", f"{first['oci']['wall']:.2f} s", ""),
        Row("no change", f"{idle_s:.2f} s, {requests:.0f} requests", "<= 0.6 s, <= 2 requests",
            idle_s <= 0.6 and requests <= 2),
        Row("code-only change: docker build + push, warm", f"{docker_s:.2f} s", "the peer"),
        Row("code-only change: oci build + push", f"{oci_s:.2f} s", "<= 2 s", oci_s <= 2),
        Row("... times faster than docker, each a program of its own",
            f"{docker_s / oci_s:.1f}", ">= 5", docker_s / oci_s >= 5),
        Row("... in a Python that runs already (a notebook): docker", f"{warm['docker']:.2f} s", ""),
        Row("... in a Python that runs already (a notebook): oci", f"{warm['oci']:.2f} s", ""),
        Row("... times faster than docker there", f"{warm['docker'] / warm['oci']:.1f}", ">= 5",
            warm["docker"] / warm["oci"] >= 5),
        Row("... bytes pushed beyond the code", f"{sent - code:.0f} ({sent:.0f} - {code})",
            "<= 20 000", sent - code <= 20_000),
    ]  # fmt: skip


def _build(world: World, builder: str) -> dict[str, float]:
    return _spend(
        world, [builder, str(world.folder / "iris"), world.base, world.registry, world.python]
    )


def _models(world: World, *, size: int) -> list[Row]:
    model = world.folder / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    for number in range(2):
        _write_noise(model / f"weights-{number}.bin", size // 2)
    ours = _spend(world, ["model", str(model), f"{world.registry}/models/ours"])
    again = _spend(world, ["model", str(model), f"{world.registry}/models/ours"])
    _empty(world)
    curl = _curl(world, model)
    _empty(world)
    skopeo = _skopeo(world, model)
    best = min(curl, skopeo)
    speed = size / ours["wall"] / 1e6
    return [
        Row(f"model of {size / 1e9:g} GB: curl", f"{curl:.1f} s", "the peer"),
        Row(f"model of {size / 1e9:g} GB: skopeo copy", f"{skopeo:.1f} s", "the peer"),
        Row(f"model of {size / 1e9:g} GB: gitops-ml model push",
            f"{ours['wall']:.1f} s, {speed:.0f} MB/s", ""),
        Row("... of the faster peer's speed", f"{best / ours['wall']:.0%}", ">= 60 %",
            best / ours["wall"] >= 0.6),
        Row("... memory at most", f"{ours['peak']:.0f} MB", "< 150 MB", ours["peak"] < 150),
        Row("... the same model again", f"{again['wall']:.1f} s, {again['sent']:.0f} bytes", "",
            again["sent"] == 0),
    ]  # fmt: skip


def _write_noise(path: Path, size: int) -> None:
    block = os.urandom(1 << 24)
    with path.open("wb") as file:
        for number in range(0, size, len(block)):
            file.write(number.to_bytes(8, "little") + block[8 : size - number])


def _empty(world: World) -> None:
    """What was pushed so far does not help the next one, nor fill the disk."""
    data = world.folder / "registry/data/docker/registry/v2"
    shutil.rmtree(data / "repositories/models", ignore_errors=True)
    for blob in [*(data / "blobs").rglob("data")]:
        if blob.stat().st_size > 256 << 20:
            shutil.rmtree(blob.parent)


def _curl(world: World, model: Path) -> float:
    """The same files, one PUT each; their digests are known beforehand, which flatters curl."""
    begin = time.perf_counter()
    hashed = 0.0
    for path in sorted(model.glob("*.bin")):
        before = time.perf_counter()
        digest = subprocess.run(
            ["sha256sum", str(path)], capture_output=True, text=True, check=True
        ).stdout.split()[0]
        hashed += time.perf_counter() - before
        url = f"http://{world.registry}/v2/models/curl/blobs/uploads/"
        head = subprocess.run(
            ["curl", "-sSfi", "-X", "POST", url], capture_output=True, text=True, check=True
        ).stdout
        place = next(x.split(": ")[1] for x in head.splitlines() if x.startswith("Location"))
        subprocess.run(
            ["curl", "-sSf", "-T", str(path), "-H", "Content-Type: application/octet-stream",
             f"{place}&digest=sha256:{digest}"], check=True,
        )  # fmt: skip
    return time.perf_counter() - begin - hashed


def _skopeo(world: World, model: Path) -> float:
    """The same files as layers of an OCI layout that lies on the disk already."""
    layout = world.folder / "layout"
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    layers = []
    for path in sorted(model.glob("*.bin")):
        found = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True)
        digest = found.stdout.split()[0]
        path.rename(blobs / digest)
        layers.append((digest, (blobs / digest).stat().st_size))
    from gitops_ml.core import oci

    config = oci.canonical_json(
        {"os": "linux", "architecture": "amd64", "config": {},
         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{d}" for d, _ in layers]}}
    )  # fmt: skip
    manifest = oci.Manifest(
        config=oci.describe(config, oci.CONFIG),
        layers=tuple(
            oci.Descriptor("application/vnd.oci.image.layer.v1.tar", f"sha256:{d}", size)
            for d, size in layers
        ),
    ).to_bytes()
    for content in (config, manifest):
        (blobs / oci.digest_of(content)[7:]).write_bytes(content)
    index = oci.Index(manifests=(oci.describe(manifest, oci.MANIFEST),)).to_bytes()
    (layout / "index.json").write_bytes(index)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    begin = time.perf_counter()
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--dest-compress=false",
         f"oci:{layout}", f"docker://{world.registry}/models/skopeo:1"], check=True,
    )  # fmt: skip
    return time.perf_counter() - begin


def _median(found: Sequence[dict[str, float]], what: str) -> float:
    return statistics.median(entry[what] for entry in found)


def _spend(world: World, arguments: Sequence[str]) -> dict[str, float]:
    """What a program of our own took and told: wall seconds, peak MB, requests, bytes."""
    environ = {
        **os.environ,
        "GITOPS_ML_CACHE": str(world.folder / "cache"),
        "DOCKER_HOST": world.engine,
        "DOCKER_CONFIG": str(world.folder / "docker"),
        "HOME": str(world.folder),
        # installed programs have bytecode
        "PYTHONPYCACHEPREFIX": str(world.folder / "bytecode"),
    }
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "bench.oci", "--child", *arguments]
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, env=environ, stdout=out, cwd=Path(__file__).parents[1])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - begin
        out.seek(0)
        told: dict[str, float] = json.loads(out.read().splitlines()[-1])
    return {**told, "wall": wall, "peak": usage.ru_maxrss * 1024 / 1e6}


def _child(what: str, *arguments: str) -> dict[str, float]:
    if what == "model":
        return _push_model(*arguments)
    if what == "warm":
        return _build_warm(*arguments)
    return (_build_oci if what == "oci" else _build_docker)(*arguments)


def _build_warm(directory: str, *arguments: str) -> dict[str, float]:
    """Median seconds of each builder after a change of the code, in one process."""
    path = Path(directory) / "predictor.py"
    found: dict[str, list[float]] = {"docker": [], "oci": []}
    for number in range(TIMES + 1):
        path.write_text(PROJECT["predictor.py"] + f"# warm change {number}\n")
        for builder, times in found.items():
            begin = time.perf_counter()
            (_build_oci if builder == "oci" else _build_docker)(directory, *arguments)
            times.append(time.perf_counter() - begin)
    return {builder: statistics.median(times[1:]) for builder, times in found.items()}


def _push_model(directory: str, repository: str) -> dict[str, float]:
    from gitops_ml.adapters.oci_models import push_model
    from gitops_ml.adapters.oci_registry import OciRegistry
    from gitops_ml.adapters.registry_session import RegistrySession
    from gitops_ml.core.image import ImageRef

    registry = OciRegistry(RegistrySession(os.environ))
    pushed = push_model(
        Path(directory), ImageRef(repository, "1"), registry=registry, progress=_silent
    )
    return {"sent": pushed.bytes_sent}


def _build_oci(directory: str, base: str, host: str, python: str) -> dict[str, float]:
    from gitops_ml.adapters.context import read_context
    from gitops_ml.core.image import ImageRef
    from gitops_ml.locking import ensure_lock, lock_facts
    from gitops_ml.oci_images import oci_plan, oci_tools, push_image
    from tests.projects import predictor_spec

    spec = predictor_spec()
    context = read_context(Path(directory), predictor=spec)
    facts = lock_facts(context, predictor_type="python", python=python, platforms=[PLATFORM])
    outcome = ensure_lock(facts, environ=os.environ, progress=_silent)
    if outcome.is_written:
        context = read_context(Path(directory), predictor=spec)
    plan = oci_plan(
        context, lock=outcome.lock, base=ImageRef.parse(base), platforms=[PLATFORM],
        environ=os.environ,
    )  # fmt: skip
    tools = oci_tools(os.environ)
    image = ImageRef(f"{host}/bench/oci", plan.content_hash.tag)
    if tools.registry.head(image) is None:
        built = tools.builder.build(plan, progress=_silent)
        push_image(built, image, plan=plan, tools=tools, progress=_silent)
    session = tools.registry.session
    return {"sent": session.bytes_sent, "requests": session.requests_sent}


def _build_docker(directory: str, base: str, host: str, python: str) -> dict[str, float]:
    from gitops_ml.core.image import ImageRef
    from tests.adapters.test_docker import ensure_image

    del python
    ensure_image(
        Path(directory), f"{host}/bench/docker", base=ImageRef.parse(base), environ=os.environ
    )
    return {"sent": 0, "requests": 0}


def _silent(line: str) -> None:
    """Progress takes no time here."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
