"""Images without Docker, measured beside the Docker builder, docker and skopeo in the same run.

python -m bench oci                    builds, and a model of 5 GB
python -m bench --model-gb 1 oci       another size; 0 leaves it out

Each measurement is a program of its own, as a person or CI would start it: `gitops-ml build`, and
`docker build` and `docker push` beside it.
"""

from __future__ import annotations

import compileall
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

from bench.spent import GITOPS_ML, Row, Spent, spend

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROJECT = {
    "api.yaml": "- name: iris\n  kind: RealtimeAPI\n  predictor: {path: predictor.py}\n",
    "requirements.txt": "numpy==2.2.6\n",
    "predictor.py": "import numpy\n\n\nclass PythonPredictor:\n    def __init__(self, config):\n"
    "        self.weights = numpy.ones(4)\n\n    def predict(self, payload):\n"
    "        return float(self.weights @ numpy.asarray(payload))\n",
}
TIMES = 5
ROOT = Path(__file__).resolve().parents[1]
BUILD = (*GITOPS_ML, "build")


def measure(*, model_gb: float) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="gitops-ml-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        world = stack.enter_context(_world(folder))
        # installed programs have bytecode, a checkout need not
        for package in ("gitops_ml", "predictor_base"):
            compileall.compile_dir(str(ROOT / package), quiet=2)
        rows = _builds(world)
        if model_gb:
            rows += _models(world, size=int(model_gb * 1e9))
        return rows


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

    from tests.support import base_image, real

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
    """The same change, built and pushed by each builder in turn, so that all meet the same machine."""
    projects = {name: _project(world, name) for name in ("oci", "docker")}
    first = {name: _spend(world, BUILD, project) for name, project in projects.items()}
    context = _docker_context(world, projects["docker"])
    tag = f"{world.registry}/bench/cli:1"
    docker = ["sh", "-ec", f"docker build -q -t {tag} . && docker push -q {tag}"]
    _spend(world, docker, context)
    idle = [_spend(world, BUILD, projects["oci"]) for _ in range(TIMES)]
    changes: dict[str, list[Spent]] = {"oci": [], "docker": [], "cli": []}
    for number in range(TIMES):
        text = PROJECT["predictor.py"] + f"# change {number}\n"
        for project in projects.values():
            (project / "predictor.py").write_text(text)
        (context / "app/predictor.py").write_text(text)
        changes["oci"].append(_spend(world, BUILD, projects["oci"]))
        changes["docker"].append(_spend(world, BUILD, projects["docker"]))
        changes["cli"].append(_spend(world, docker, context))
    seconds = {name: _median(found) for name, found in changes.items()}
    warm = _warm(world, projects)
    requests, sent, code = _counted(world, projects["oci"])
    idle_s, oci = _median(idle), seconds["oci"]
    return [
        Row("first build, nothing cached: docker builder", f"{first['docker'].wall:.2f} s", "-"),
        Row("first build, nothing cached: oci builder", f"{first['oci'].wall:.2f} s", "-"),
        Row("no change", f"{idle_s:.2f} s", "<= 0.6 s", idle_s <= 0.6),
        Row("  HTTP requests", str(requests), "<= 2", requests <= 2),
        Row("code-only change: `docker build` + `docker push`", f"{seconds['cli']:.2f} s", "-"),
        Row("code-only change: docker builder", f"{seconds['docker']:.2f} s", "-"),
        Row("code-only change: oci builder", f"{oci:.2f} s", "<= 2 s", oci <= 2),
        # Half of a build that nothing but its code changes is the start of Python, which is no part of
        # a builder: that has its target below, where Python runs already.
        *(
            Row(f"  times faster than {peer}", f"{seconds[name] / oci:.1f}", "-")
            for name, peer in (("cli", "`docker build` + push"), ("docker", "the docker builder"))
        ),
        Row("... from a Python that runs already: docker builder", f"{warm['docker']:.2f} s", "-"),
        Row("... from a Python that runs already: oci builder", f"{warm['oci']:.2f} s", "-"),
        Row("  times faster than the docker builder", f"{warm['docker'] / warm['oci']:.1f}", ">= 5",
            warm["docker"] / warm["oci"] >= 5),
        Row("  bytes pushed beyond the code", f"{sent - code} ({sent} - {code})", "<= 20000",
            sent - code <= 20_000),
    ]  # fmt: skip


def _project(world: World, builder: str) -> Path:
    folder = world.folder / builder / "iris"
    folder.mkdir(parents=True)
    for name, text in PROJECT.items():
        (folder / name).write_text(text)
    image = {
        "repository": f"{world.registry}/bench/{builder}",
        "base": world.base,
        "python_version": world.python,
        "builder": builder,
    }
    fields = {"project": "bench", "image": image, "environments": {"e": {"namespace": "ml"}}}
    (folder / "gitops-ml.yaml").write_text(json.dumps(fields))
    return folder


def _docker_context(world: World, project: Path) -> Path:
    """What the docker builder sends to the engine, as files, for docker itself."""
    from gitops_ml.delivery.images import plan_images
    from gitops_ml.image import planner as images
    from gitops_ml.image.context import build_inputs
    from gitops_ml.image.recipe import render_dockerfile
    from gitops_ml.packages.build_settings import build_settings
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import open_project

    workspace = open_project([project])
    (image,) = plan_images(workspace, Clients(project=workspace.project, root=project)).values()
    assert isinstance(image.plan, images.DockerPlan)
    assert image.context
    text = render_dockerfile(image.plan)
    folder = world.folder / "context"
    for file in build_inputs(image.context, dockerfile=text, settings=build_settings(os.environ)):
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        content = file.source if isinstance(file.source, bytes) else Path(file.source).read_bytes()
        target.write_bytes(content)
    return folder


def _warm(world: World, projects: Mapping[str, Path]) -> dict[str, float]:
    """Median seconds of each builder after a change of the code, in one process: a notebook's way."""
    command = [sys.executable, "-m", "bench.oci", *map(str, projects.values())]
    output = _spend(world, command, world.folder).output
    return dict(zip(projects, map(float, output.split()[-len(projects) :]), strict=True))


def _build_here(folders: Sequence[str]) -> list[float]:
    from gitops_ml.commands.build import build
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import open_project

    found: list[list[float]] = [[] for _ in folders]
    for number in range(TIMES + 1):
        for folder, times in zip(map(Path, folders), found, strict=True):
            (folder / "predictor.py").write_text(PROJECT["predictor.py"] + f"# warm {number}\n")
            begin = time.perf_counter()
            workspace = open_project([folder])
            build(workspace, clients=Clients(project=workspace.project, root=folder))
            times.append(time.perf_counter() - begin)
    return [statistics.median(times[1:]) for times in found]


def _counted(world: World, project: Path) -> tuple[int, int, int]:
    """Requests of a build with no change, bytes of one with a change, and bytes of the code."""
    from tests.support.faulty_registry import faulty_registry

    with faulty_registry(world.registry) as proxy:
        file = project / "gitops-ml.yaml"
        file.write_text(file.read_text().replace(world.registry, proxy.host))
        _spend(world, BUILD, project)
        start = len(proxy.asked)
        _spend(world, BUILD, project)
        requests = len(proxy.asked) - start
        (project / "predictor.py").write_text(PROJECT["predictor.py"] + "# counted\n")
        before = proxy.received
        _spend(world, BUILD, project)
        sent = proxy.received - before
    code = sum((project / name).stat().st_size for name in PROJECT if name != "api.yaml")
    return requests, sent, code


def _models(world: World, *, size: int) -> list[Row]:
    model = world.folder / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    for number in range(2):
        _write_noise(model / f"weights-{number}.bin", size // 2)
    push = [*GITOPS_ML, "model", "push", str(model), f"oci://{world.registry}/models/ours:1"]
    ours = _spend(world, push, world.folder)
    again = _spend(world, push, world.folder)
    _empty(world)
    curl = _curl(world, model)
    _empty(world)
    skopeo = _skopeo(world, model)
    best = min(curl, skopeo)
    what, speed = f"model of {size / 1e9:g} GB", size / ours.wall / 1e6
    return [
        Row(f"{what}: curl", f"{curl:.1f} s", "-"),
        Row(f"{what}: skopeo copy", f"{skopeo:.1f} s", "-"),
        Row(f"{what}: gitops-ml model push", f"{ours.wall:.1f} s, {speed:.0f} MB/s", "-"),
        Row("  of the faster peer's speed", f"{best / ours.wall:.0%}", ">= 60 %",
            best / ours.wall >= 0.6),
        Row("  memory at most", f"{ours.peak:.0f} MiB", "< 143 MiB", ours.peak < 143),
        Row("  the same model again", f"{again.wall:.1f} s", "-"),
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
    from gitops_ml.oci import image_manifest as oci

    config = oci.canonical_json(
        {"os": "linux", "architecture": "amd64", "config": {},
         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{d}" for d, _ in layers]}}
    )  # fmt: skip
    manifest = oci.ImageManifest(
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


def _median(found: Sequence[Spent]) -> float:
    return statistics.median(each.wall for each in found)


def _spend(world: World, command: Sequence[str], folder: Path) -> Spent:
    """What a program took."""
    environ = {
        "DOCKER_HOST": world.engine,
        "DOCKER_CONFIG": str(world.folder / "docker"),
        "HOME": str(world.folder),
        "GIT_CEILING_DIRECTORIES": str(world.folder),
        "PYTHONPATH": str(ROOT),
    }
    return spend(command, cwd=folder, cache=world.folder / "cache", environ=environ)


if __name__ == "__main__":
    print(*_build_here(sys.argv[1:]))
