"""Images from a real engine: built, pushed to a real registry, skipped, run and asked."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest
import requests

from gitops_ml.errors import EngineFailed, Refused
from gitops_ml.image.context import build_inputs, read_context
from gitops_ml.image.docker import DockerBuilder
from gitops_ml.image.recipe import docker_plan, render_dockerfile
from gitops_ml.oci.layers import LayerEntry
from gitops_ml.oci.reference import ImageRef
from gitops_ml.packages.build_settings import build_settings
from gitops_ml.runtime.runtime_package import runtime_directory
from tests.support.base_image import VERSION
from tests.support.oci import registry_of
from tests.support.projects import predictor_spec, write_project
from tests.support.real import Engine, RealRegistry, docker_config, needs_docker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

pytestmark = [*needs_docker, pytest.mark.long]

PLATFORM = "linux/amd64"
SIX = {"requirements.txt": "six==1.16.0\n"}
"""Most projects here have the same dependencies, so that the engine builds them once."""


def ensure_image(
    project: Path,
    repository: str,
    *,
    base: ImageRef,
    environ: Mapping[str, str],
    progress: Callable[[str], None] = lambda line: None,
    **changes: Any,
) -> ImageRef:
    """The way of `gitops-ml build`, from the project directory to an image by digest."""
    predictor = predictor_spec(**changes)
    context = read_context(project, predictor=predictor)
    plan = docker_plan(
        context, base=base, platform=PLATFORM, predictor_type=predictor.type, python_version=VERSION
    )
    assert plan.content_hash
    image = ImageRef(repository, plan.content_hash.tag)
    if digest := registry_of(environ).digest(image):
        return replace(image, digest=digest)
    text = render_dockerfile(plan)
    settings = build_settings({**os.environ, **environ})
    inputs = build_inputs(context, dockerfile=text, settings=settings)
    builder = DockerBuilder(environ)
    builder.build(inputs, image, platform=PLATFORM, progress=progress)
    return replace(image, digest=builder.push(image, progress=progress))


@pytest.fixture(scope="module")
def of_six(
    base_image: ImageRef,
    registry: RealRegistry,
    docker_engine: Engine,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, ImageRef, list[str]]:
    """A project, its image and what the first build reported: later builds find its layers in the engine."""
    place = tmp_path_factory.mktemp("six")
    environ = docker_config(place / "docker", {}) | {"DOCKER_HOST": docker_engine.address}
    project, lines = write_project(place / "iris", SIX), list[str]()
    built = ensure_image(
        project,
        f"{registry.host}/ml/iris",
        base=base_image,
        environ=environ,
        progress=lines.append,
    )
    return project, built, lines


@pytest.fixture
def environ(docker_engine: Engine, of_six: object, tmp_path: Path) -> dict[str, str]:
    """Where the engine is, for somebody without registry credentials."""
    return docker_config(tmp_path / "docker", {}) | {"DOCKER_HOST": docker_engine.address}


@pytest.fixture
def client(docker_engine: Engine) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=docker_engine.address)
    yield client
    client.close()


@contextmanager
def serving(
    client: docker.DockerClient,
    image: ImageRef,
    settings: Path,
    *,
    mounts: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, Any]]:
    """A container as the chart would run it: read-only, no capabilities, not root.

    ``mounts`` are further volumes, read-only, and where they are.
    """
    volumes = {str(settings): "/etc/predictor/predictor.json", **(mounts or {})}
    container = client.containers.run(
        f"{image.repository}@{image.digest}",
        detach=True,
        read_only=True,
        tmpfs={"/tmp": "size=64m,mode=1777"},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        volumes={source: {"bind": at, "mode": "ro"} for source, at in volumes.items()},
    )
    try:
        container.reload()
        address = container.attrs["NetworkSettings"]["IPAddress"]
        yield f"http://{address}:8080", container
    finally:
        container.remove(force=True)


def ready(address: str, container: Any, *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        container.reload()
        assert container.status == "running", container.logs().decode()
        try:
            if requests.get(f"{address}/readyz", timeout=1).ok:
                return
        except requests.RequestException:
            time.sleep(0.05)
    raise AssertionError(container.logs().decode())


def test_a_predictor_is_built_pushed_skipped_and_answers(
    tmp_path: Path,
    base_image: ImageRef,
    of_six: tuple[Path, ImageRef, list[str]],
    registry: RealRegistry,
    environ: dict[str, str],
    client: docker.DockerClient,
) -> None:
    project, built, lines = of_six
    repository = f"{registry.host}/ml/iris"
    assert any("Successfully installed" in line and "six-1.16.0" in line for line in lines)
    assert any(line.endswith(": Pushed") for line in lines)

    dead = environ | {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    assert ensure_image(project, repository, base=base_image, environ=dead) == built

    settings = tmp_path / "predictor.json"
    settings.write_text(json.dumps({"path": "predictor.py", "name": "iris"}))
    with serving(client, built, settings) as (address, container):
        ready(address, container)
        answer = requests.post(f"{address}/predict", json={"petal_length": 5.1}, timeout=60)
        assert (answer.status_code, answer.json()) == (200, {"species": "virginica"})
        assert container.exec_run(["id", "-u"]).output.strip() == b"10001"


def test_a_private_registry_gets_the_users_credentials_and_nobody_else_may_push(
    tmp_path: Path,
    base_image: ImageRef,
    private_registry: RealRegistry,
    environ: dict[str, str],
) -> None:
    project = write_project(tmp_path / "iris", SIX)
    known = {**environ, **private_registry.environ}
    repository = f"{private_registry.host}/ml/iris"
    built = ensure_image(project, repository, base=base_image, environ=known)
    assert registry_of(known).digest(built) == built.digest
    with pytest.raises(Refused, match=f"the push of {repository}:h-.* was refused: .*docker login"):
        DockerBuilder(environ).push(replace(built, digest=None), progress=lambda line: None)


def test_a_change_of_the_code_makes_one_new_layer(
    tmp_path: Path,
    base_image: ImageRef,
    registry: RealRegistry,
    environ: dict[str, str],
    client: docker.DockerClient,
) -> None:
    project = write_project(tmp_path / "iris", SIX)
    repository = f"{registry.host}/ml/layers"
    before = ensure_image(project, repository, base=base_image, environ=environ)
    (project / "predictor.py").write_text("# new code\n")
    (project / "requirements.txt").touch()
    lines: list[str] = []
    after = ensure_image(
        project, repository, base=base_image, environ=environ, progress=lines.append
    )
    old, new = (
        client.images.get(f"{image.repository}:{image.tag}").attrs["RootFS"]["Layers"]
        for image in (before, after)
    )
    assert old[:-1] == new[:-1]
    assert old[-1] != new[-1]
    assert len([line for line in lines if line.endswith(": Pushed")]) == 1


@dataclass(frozen=True)
class Scripted:
    """A project with a script, built where there are things that the image must not know."""

    image: ImageRef
    script: str


@pytest.fixture(scope="module")
def scripted(
    base_image: ImageRef,
    registry: RealRegistry,
    docker_engine: Engine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Scripted:
    place = tmp_path_factory.mktemp("scripted")
    (place / "pip.conf").write_text("[global]\ntrusted-host = word-of-pip-conf.example\n")
    bundle = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    (place / "ca.pem").write_bytes(bundle.read_bytes() + b"\n# word-of-ca-bundle\n")
    environ = docker_config(place / "docker", {}) | {
        "DOCKER_HOST": docker_engine.address,
        "PIP_CONFIG_FILE": str(place / "pip.conf"),
        "GITOPS_ML_CA_BUNDLE": str(place / "ca.pem"),
        "no_proxy": "word-of-proxy.example",
    }
    script = (
        '[ "$no_proxy" = word-of-proxy.example ]\n'
        "id -u > $WHERE\ncat etc/our.conf >> $WHERE\necho $COLOUR >> /opt/from-script\n"
    )
    files = {
        "requirements.txt": "click==8.1.7\nsix==1.16.0\n",
        "dependencies.sh": script,
        "etc/our.conf": "conf of ours\n",
        ".env": "COLOUR='deep blue'\nWHERE=/opt/from-script\n",
    }
    project = write_project(place / "iris", files)
    repository = f"{registry.host}/ml/scripted"
    return Scripted(ensure_image(project, repository, base=base_image, environ=environ), script)


def test_dependencies_sh_runs_once_in_the_build_with_what_it_names(
    scripted: Scripted, client: docker.DockerClient
) -> None:
    output = client.containers.run(
        f"{scripted.image.repository}@{scripted.image.digest}",
        entrypoint=["cat", "/opt/from-script"], remove=True, read_only=True,
    )  # fmt: skip
    assert bytes(output).decode() == "0\nconf of ours\ndeep blue\n"


def test_what_the_predictor_pins_is_kept_and_the_rest_is_what_the_runtime_is_tested_with(
    scripted: Scripted, client: docker.DockerClient
) -> None:
    tested = (runtime_directory() / "predictor_base/constraints.txt").read_text()
    script = "from importlib.metadata import version as v; print(v('click'), v('uvicorn'))"
    output = client.containers.run(
        f"{scripted.image.repository}@{scripted.image.digest}",
        entrypoint=["python", "-c", script], remove=True, read_only=True,
    )  # fmt: skip
    click, uvicorn = bytes(output).decode().split()
    assert (click, f"uvicorn=={uvicorn}" in tested.splitlines()) == ("8.1.7", True)


def test_nothing_that_only_the_build_may_see_is_in_the_image(
    scripted: Scripted, client: docker.DockerClient
) -> None:
    image = client.images.get(f"{scripted.image.repository}:{scripted.image.tag}")
    saved = b"".join(image.save())
    assert b"class PythonPredictor" in saved
    assert b"word-of-" not in saved.replace(scripted.script.encode(), b"")
    assert "word-of-" not in json.dumps([image.attrs, image.history()])
    assert image.labels["dev.gitops-ml.content-hash"].startswith(str(scripted.image.tag)[2:])


def test_the_ca_bundle_and_the_proxies_do_not_change_the_hash(
    tmp_path: Path, base_image: ImageRef, registry: RealRegistry, environ: dict[str, str]
) -> None:
    project = write_project(tmp_path / "iris", SIX)
    repository = f"{registry.host}/ml/same"
    one = ensure_image(project, repository, base=base_image, environ=environ)
    other = environ | {"no_proxy": "other.example", "DOCKER_HOST": "unix:///nobody.sock"}
    assert ensure_image(project, repository, base=base_image, environ=other) == one


def test_a_failed_build_tells_the_last_lines(
    tmp_path: Path, base_image: ImageRef, registry: RealRegistry, environ: dict[str, str]
) -> None:
    project = write_project(
        tmp_path / "iris", {"requirements.txt": "--no-index\nnot-a-package-of-anybody==1.0\n"}
    )
    with pytest.raises(EngineFailed, match=r"No matching distribution.*not-a-package") as caught:
        ensure_image(project, f"{registry.host}/ml/bad", base=base_image, environ=environ)
    assert str(caught.value).startswith(f"the build of {registry.host}/ml/bad:h-")


def test_what_the_predictor_pins_is_not_replaced_behind_its_back(
    tmp_path: Path, base_image: ImageRef, registry: RealRegistry, environ: dict[str, str]
) -> None:
    project = write_project(tmp_path / "iris", {"requirements.txt": "starlette==0.27.0\n"})
    with pytest.raises(EngineFailed, match=r"starlette==0\.27\.0"):
        ensure_image(project, f"{registry.host}/ml/pins", base=base_image, environ=environ)


def test_another_python_than_the_one_asked_for_stops_the_build(
    tmp_path: Path, base_image: ImageRef, environ: dict[str, str]
) -> None:
    project = write_project(tmp_path / "iris")
    context = read_context(project, predictor=predictor_spec())
    plan = docker_plan(
        context, base=base_image, platform=PLATFORM, predictor_type="python", python_version="3.9"
    )
    text = render_dockerfile(plan)
    inputs = build_inputs(context, dockerfile=text, settings=build_settings(os.environ))
    with pytest.raises(EngineFailed, match=rf"base image has Python {VERSION}, but .* is 3\.9"):
        DockerBuilder(environ).build(
            inputs, ImageRef("ml/old", "h-1"), platform=PLATFORM, progress=lambda line: None
        )


def test_a_large_context_is_streamed_in_constant_memory(
    tmp_path: Path, base_image: ImageRef, environ: dict[str, str]
) -> None:
    import tracemalloc

    with (tmp_path / "model.bin").open("wb") as file:
        file.truncate(200 << 20)
    dockerfile = f"FROM {base_image.repository}@{base_image.digest}\nLABEL a=b\n".encode()
    inputs = [
        LayerEntry(path="Dockerfile", source=dockerfile),
        LayerEntry(path="app/model.bin", source=tmp_path / "model.bin"),
    ]
    DockerBuilder(environ)  # imports are not what is measured
    tracemalloc.start()
    try:
        DockerBuilder(environ).build(
            inputs, ImageRef("ml/large", "h-1"), platform=PLATFORM, progress=lambda line: None
        )
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_without_an_engine_the_way_to_one_is_told(tmp_path: Path) -> None:
    environ = docker_config(tmp_path, {}) | {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    with pytest.raises(EngineFailed) as caught:
        DockerBuilder(environ).build([], ImageRef("ml/x", "h-1"), platform=PLATFORM, progress=print)
    assert str(caught.value) == (
        f"no Docker engine answers at unix://{tmp_path}/docker.sock (No such file or directory): "
        "start Docker, or point DOCKER_HOST or `docker context use` at an engine that runs"
    )


def test_the_engine_of_the_current_docker_context_is_used(
    tmp_path: Path, docker_engine: Engine, base_image: ImageRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    environ = docker_config(tmp_path, {"currentContext": "ours"})
    meta = tmp_path / "contexts/meta" / hashlib.sha256(b"ours").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": docker_engine.address, "SkipTLSVerify": False}
    meta.write_text(json.dumps({"Name": "ours", "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    dockerfile = f"FROM {base_image.repository}@{base_image.digest}\nLABEL a=b\n".encode()
    built = DockerBuilder(environ).build(
        [LayerEntry(path="Dockerfile", source=dockerfile)], ImageRef("ml/context", "h-1"),
        platform=PLATFORM, progress=lambda line: None,
    )  # fmt: skip
    assert built.startswith("sha256:")
