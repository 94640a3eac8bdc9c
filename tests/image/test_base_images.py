"""The base images that we publish, built by a real engine on top of the tests' own Python.

Everything after FROM is what it would be; the packages of Debian and Ubuntu are not installed, since
the base of the tests has no apt.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest
import requests

from gitops_ml.oci.reference import ImageRef
from tests.image.test_docker import ready, serving
from tests.support.base_image import VERSION
from tests.support.person import predictor_api
from tests.support.real import find, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.real import Engine, RealRegistry


pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "predictor_base" / "docker").glob("*.Dockerfile"))


def test_the_dockerfiles_have_nothing_to_complain_about() -> None:
    require("hadolint")
    done = subprocess.run(["hadolint", *map(str, FILES)], capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"", 0)
    assert [file.name for file in FILES] == ["cpu.Dockerfile", "cuda.Dockerfile"]


def make_base_image(
    engine: Engine, registry: RealRegistry, variant: str, **arguments: str
) -> ImageRef:
    """What `make base-image` built and pushed, as it tells."""
    require("make", "docker")
    arguments = {"PACKAGES": "", "PYTHON_MINOR": VERSION, **arguments}
    words = " ".join(f"--build-arg '{name}={value}'" for name, value in arguments.items())
    done = subprocess.run(
        ["make", "--no-print-directory", "base-image", f"VARIANT={variant}", "PUSH=1",
         f"IMAGE={registry.host}/published/base:{variant}", f"BUILD_ARGS={words}",
         f"DOCKER={find('docker')}"],
        cwd=ROOT, env={**os.environ, "DOCKER_HOST": engine.address, "DOCKER_BUILDKIT": "0"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lead, _, name = done.stdout.splitlines()[-1].partition(": ")
    assert lead == "image.base"
    return ImageRef.parse(name)


@pytest.fixture(scope="session")
def cpu(docker_engine: Engine, registry: RealRegistry, base_image: ImageRef) -> ImageRef:
    return make_base_image(docker_engine, registry, "cpu", PYTHON=str(base_image))


@pytest.fixture(scope="session")
def cuda(
    docker_engine: Engine,
    registry: RealRegistry,
    base_image: ImageRef,
    tmp_path_factory: pytest.TempPathFactory,
) -> ImageRef:
    """On an image that has no Python, as NVIDIA's has none."""
    folder = tmp_path_factory.mktemp("bare")
    text = f"FROM {base_image}\nRUN rm -r /usr/local/bin /usr/local/lib && mkdir /usr/local/bin\n"
    (folder / "Dockerfile").write_text(text)
    client = docker.DockerClient(base_url=docker_engine.address)
    try:
        client.images.build(path=str(folder), tag="bare:1", rm=True)
    finally:
        client.close()
    return make_base_image(docker_engine, registry, "cuda", CUDA="bare:1", PYTHON=str(base_image))


@pytest.fixture
def client(docker_engine: Engine) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=docker_engine.address)
    yield client
    client.close()


def settings_of(client: docker.DockerClient, image: ImageRef) -> dict[str, str]:
    client.images.pull(f"{image.repository}@{image.digest}")
    config = client.images.get(f"{image.repository}@{image.digest}").attrs["Config"]
    assert config["User"] == "10001:10001"
    return dict(entry.split("=", 1) for entry in config["Env"])


@pytest.mark.docker
@pytest.mark.xdist_group("docker")
def test_the_base_image_for_cuda_has_the_interpreter_and_what_the_node_asks_for(
    cuda: ImageRef, client: docker.DockerClient
) -> None:
    env = settings_of(client, cuda)
    assert env["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert env["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert env["LD_LIBRARY_PATH"].startswith("/usr/local/nvidia/lib:/usr/local/nvidia/lib64")
    assert env["PYTHON_VERSION"] == VERSION
    program = "import getpass, sys; print(getpass.getuser(), *sys.version_info[:2])"
    output = client.containers.run(
        f"{cuda.repository}@{cuda.digest}", ["python3", "-c", program], read_only=True, remove=True
    )
    assert output.decode().split() == ["predictor", *VERSION.split(".")]


@pytest.mark.docker
@pytest.mark.xdist_group("docker")
@pytest.mark.parametrize(
    ("variant", "builder"), [("cpu", "docker"), ("cpu", "oci"), ("cuda", "oci")]
)
def test_both_builders_make_images_on_it_that_predict_as_nobody_on_a_read_only_disk(
    ann, request, builder, variant, client, docker_engine, registry, monkeypatch
):
    base = request.getfixturevalue(variant)
    ann.has(predictor_api("answer"))
    repository = f"{registry.host}/{ann.home.name.replace('_', '-').lower()}"
    image = {"repository": repository, "base": str(base), "python_version": VERSION}
    ann.configures(image=image | {"builder": builder})
    monkeypatch.setenv("DOCKER_HOST", docker_engine.address)
    (built,) = ann.runs("build", "-o", "json").json["images"]
    settings = ann.home / "predictor.json"
    settings.write_text(json.dumps({"path": "predictor.py", "config": {"factor": 2}}))
    made = ImageRef(built["image"].rpartition(":")[0], digest=built["digest"])
    with serving(client, made, settings) as (address, container):
        ready(address, container)
        answer = requests.post(f"{address}/predict", json={"x": 21}, timeout=60)
        assert (answer.status_code, answer.json()) == (200, {"answer": 42})
        assert container.exec_run(["id", "-un"]).output.split() == [b"predictor"]
        config = client.api.inspect_container(container.id)["Config"]
        assert config["Labels"]["org.opencontainers.image.base.digest"] == base.digest
