"""Images made without an engine, taken by a real one: pulled, run as the chart would, and asked."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest
import requests

from gitops_ml.commands.inspect import export_image
from gitops_ml.image.attestations import API_MANIFEST, CYCLONEDX
from gitops_ml.image.contents import open_image
from gitops_ml.image.context import read_context
from gitops_ml.image.docker import DockerBuilder
from gitops_ml.image.planner import lock_facts
from gitops_ml.image.recipe import OciPlan
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import read_attachment, referrers
from gitops_ml.oci.signatures import IN_TOTO
from gitops_ml.packages.locking import ensure_lock
from tests.image.test_docker import ready, serving
from tests.support.base_image import VERSION
from tests.support.oci import (
    ensure_oci_image,
    push_model,
    registry_of,
    silent,
    tools_of,
    write_oci_layout,
)
from tests.support.projects import predictor_spec, write_project
from tests.support.real import (
    Engine,
    RealRegistry,
    docker_config,
    engine_containerd,
    find,
    needs_docker,
    unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gitops_ml.image.builder import OciBuilder

pytestmark = needs_docker

PLATFORM = "linux/amd64"
PREDICTOR = """\
import json
from pathlib import Path

import six


class PythonPredictor:
    def __init__(self, config):
        self.names = json.loads(Path("names.json").read_text())

    def predict(self, payload):
        name = self.names[payload["petal_length"] > 2.5]
        return {"species": name, "six": six.__version__, "file": six.__file__}
"""
FILES = {"requirements.txt": "six==1.16.0\n", "predictor.py": PREDICTOR}


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    settings = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    return {**settings, **docker_config(home, {}), "GITOPS_ML_CACHE": str(home / "cache")}


@pytest.fixture
def client(docker_engine: Engine) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=docker_engine.address)
    yield client
    client.close()


def tools_for(environ: Mapping[str, str]) -> OciBuilder:
    return tools_of(Path(environ["GITOPS_ML_CACHE"]), environ)


def plan_for(project: Path, base: ImageRef, environ: Mapping[str, str]) -> OciPlan:
    """The way of `gitops-ml build` up to the plan, lock included."""
    spec = predictor_spec()
    context = read_context(project, predictor=spec)
    facts = lock_facts(context, predictor_type="python", python=VERSION, platforms=[PLATFORM])
    lock = ensure_lock(facts, environ=environ, progress=silent).lock
    context = read_context(project, predictor=spec)
    return OciPlan(context=context, lock=lock, base=base, platforms=(PLATFORM,))


def answer_of(client: docker.DockerClient, image: ImageRef, tmp_path: Path) -> dict[str, Any]:
    settings = tmp_path / "predictor.json"
    settings.write_text(json.dumps({"path": "predictor.py", "name": "iris"}))
    with serving(client, image, settings) as (address, container):
        ready(address, container)
        answer = requests.post(f"{address}/predict", json={"petal_length": 5.1}, timeout=60)
        assert answer.status_code == 200, container.logs().decode()
        assert container.exec_run(["id", "-u"]).output.strip() == b"10001"
        found: dict[str, Any] = answer.json()
        return found


def test_an_engine_runs_what_was_built_without_one_and_it_answers(
    tmp_path: Path, base_image: ImageRef, registry: RealRegistry, environ: dict[str, str],
    client: docker.DockerClient,
) -> None:  # fmt: skip
    project = write_project(tmp_path / "iris", FILES)
    repository = f"{registry.host}/oci/iris"
    plan, tools = (
        plan_for(project, base_image, environ),
        tools_for(environ),
    )
    image = ensure_oci_image(
        plan, repository=repository, tools=tools, manifest=(project / "api.yaml").read_bytes(),
        source={"uri": "git+https://example.com/iris", "commit": "c" * 40}, progress=silent,
    )  # fmt: skip
    answer = answer_of(client, image, tmp_path)
    assert (answer["species"], answer["six"]) == ("virginica", "1.16.0")
    assert answer["file"] == f"/opt/venv/lib/python{VERSION}/site-packages/six.py"

    assert_that_it_tells_what_it_is(tools, image, repository)
    exported = export_image(tools.registry, image, tmp_path / "back", platform=PLATFORM)
    assert exported.manifest == "api.yaml"
    for name in ("predictor.py", "names.json", "requirements.txt", "pylock.toml", "api.yaml"):
        assert (tmp_path / "back" / name).read_bytes() == (project / name).read_bytes()


def assert_that_it_tells_what_it_is(tools: OciBuilder, image: ImageRef, repository: str) -> None:
    contents = open_image(tools.registry, image, platform=PLATFORM).contents
    assert [layer.role for layer in contents.layers][-3:] == ["packages", "runtime", "code"]
    assert contents.content_hash
    assert contents.content_hash.startswith(str(image.tag).removeprefix("h-"))
    assert image.digest
    found = {r.artifact_type: r for r in referrers(tools.registry, repository, image.digest)}
    assert set(found) == {CYCLONEDX, IN_TOTO, API_MANIFEST}
    bill = json.loads(read_attachment(tools.registry, repository, found[CYCLONEDX]))
    assert "pkg:pypi/six@1.16.0" in {component["purl"] for component in bill["components"]}
    statement = json.loads(read_attachment(tools.registry, repository, found[IN_TOTO]))
    assert statement["subject"][0]["digest"] == {"sha256": image.digest.removeprefix("sha256:")}
    assert "time" not in json.dumps(statement).lower()


def test_skopeo_takes_the_image_and_finds_the_same_digest(
    tmp_path: Path, base_image: ImageRef, registry: RealRegistry, environ: dict[str, str]
) -> None:
    skopeo = find("skopeo")
    if not skopeo:
        pytest.skip("skopeo is not installed")
    plan = plan_for(write_project(tmp_path / "iris", FILES), base_image, environ)
    image = ensure_oci_image(
        plan,
        repository=f"{registry.host}/oci/skopeo",
        tools=tools_for(environ),
        progress=silent,
    )
    reference = f"docker://{image.repository}@{image.digest}"
    done = subprocess.run(
        [skopeo, "inspect", "--tls-verify=false", reference], capture_output=True, check=True
    )
    assert json.loads(done.stdout)["Digest"] == image.digest
    # a docker archive is unpacked and packed anew: every layer is read by somebody else's gzip
    target = f"docker-archive:{tmp_path}/image.tar"
    subprocess.run(
        [skopeo, "copy", "--quiet", "--src-tls-verify=false", reference, target], check=True
    )


def test_an_image_that_is_loaded_into_an_engine_is_the_same_one_and_answers(
    tmp_path: Path, docker_engine: Engine, base_image: ImageRef, environ: dict[str, str],
    client: docker.DockerClient,
) -> None:  # fmt: skip
    plan = plan_for(write_project(tmp_path / "iris", FILES), base_image, environ)
    built = tools_for(environ).build(plan, progress=silent)
    image = ImageRef("local/iris", "h-1")
    engine = {**environ, "DOCKER_HOST": docker_engine.address}
    lines: list[str] = []
    found = DockerBuilder(engine).load(built, image, progress=lines.append)
    config = next(b for b in built.images[0].blobs() if b.role == "config")
    assert found == config.descriptor.digest
    assert any("local/iris:h-1" in line for line in lines)
    container = client.containers.run(
        "local/iris:h-1", entrypoint=["python3", "-c", "import six, predictor_base; print('ok')"],
        remove=True, read_only=True,
    )  # fmt: skip
    assert container == b"ok\n"


def test_a_layout_on_disk_is_an_image_that_others_read(
    tmp_path: Path, base_image: ImageRef, environ: dict[str, str]
) -> None:
    plan = plan_for(write_project(tmp_path / "iris", FILES), base_image, environ)
    built = tools_for(environ).build(plan, progress=silent)
    folder = tmp_path / "layout"
    for name in ("h-1", "h-2", "h-1"):
        write_oci_layout(built, folder, name)
    index = json.loads((folder / "index.json").read_text())
    assert len(index["manifests"]) == 2
    if skopeo := find("skopeo"):
        done = subprocess.run(
            [skopeo, "inspect", f"oci:{folder}:h-2"], capture_output=True, check=True
        )
        assert json.loads(done.stdout)["Digest"] == built.digest


def test_what_a_change_would_push_is_told_before_it_is_pushed(
    tmp_path: Path, base_image: ImageRef, registry: RealRegistry, environ: dict[str, str]
) -> None:
    project = write_project(tmp_path / "iris", FILES)
    tools, repository = (
        tools_for(environ),
        f"{registry.host}/oci/preview",
    )
    plan = plan_for(project, base_image, environ)
    ensure_oci_image(plan, repository=repository, tools=tools, progress=silent)
    (project / "names.json").write_text('["a", "b"]')
    built = tools.build(plan_for(project, base_image, environ), progress=silent)
    preview = tools.push_preview(built, repository)
    assert {entry.role for entry in preview if not entry.is_there} == {"code", "config"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "deep").mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "deep" / "tokens.txt").write_text("a b")
    (folder / "weights.bin").write_bytes(os.urandom(9 << 20))
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return folder


@pytest.fixture
def pushed(model: Path, registry: RealRegistry, environ: dict[str, str]) -> ImageRef:
    image = ImageRef(f"{registry.host}/models/iris", "1")
    return push_model(model, image, registry=registry_of(environ), progress=silent).image


def test_an_engine_takes_a_model_and_everybody_may_read_its_files(
    tmp_path: Path, model: Path, pushed: ImageRef, client: docker.DockerClient
) -> None:
    reference = f"{pushed.repository}@{pushed.digest}"
    client.images.pull(reference)
    container = client.containers.create(reference, command=["x"])
    try:
        pieces, _ = container.get_archive("/")
        (tmp_path / "back.tar").write_bytes(b"".join(pieces))
    finally:
        container.remove()
    with tarfile.open(tmp_path / "back.tar") as archive:
        members = {member.name.strip("./"): member for member in archive}
        found = archive.extractfile(members["weights.bin"])
        assert found
        assert found.read() == (model / "weights.bin").read_bytes()
        modes = {name: members[name].mode & 0o777 for name in ("weights.bin", "deep")}
        assert modes == {"weights.bin": 0o644, "deep": 0o755}
        assert members["deep/tokens.txt"].uid == 0


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_a_container_runtime_mounts_a_model_on_every_architecture(
    tmp_path: Path, model: Path, pushed: ImageRef, docker_engine: Engine, platform: str
) -> None:
    """What a kubelet has containerd do for an image volume, with the engine's own containerd."""
    ctr = find("ctr")
    if not ctr:
        unavailable("a real neighbour is missing on this machine: ctr")
    address = str(engine_containerd(docker_engine))
    reference, target = f"{pushed.repository}@{pushed.digest}", tmp_path / "mounted"
    target.mkdir()

    def runs(*arguments: str) -> None:
        command = [ctr, "--address", address, "--namespace", "models", "images", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    runs("pull", "--plain-http", "--platform", platform, reference)
    runs("mount", "--platform", platform, reference, str(target))
    try:
        found = {
            path.relative_to(target).as_posix(): path.stat().st_mode & 0o777
            for path in (target, *target.rglob("*"))
        }
        files = {"config.json": 0o644, "deep/tokens.txt": 0o644, "weights.bin": 0o644}
        assert found == {".": 0o755, "deep": 0o755, **files}
        assert (target / "weights.bin").read_bytes() == (model / "weights.bin").read_bytes()
    finally:
        runs("unmount", "--rm", str(target))


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_skopeo_copies_a_model_for_every_architecture(
    tmp_path: Path, pushed: ImageRef, architecture: str
) -> None:
    skopeo = find("skopeo")
    if not skopeo:
        unavailable("a real neighbour is missing on this machine: skopeo")
    subprocess.run(
        [skopeo, "copy", "--quiet", "--src-tls-verify=false", f"--override-arch={architecture}",
         f"docker://{pushed.repository}@{pushed.digest}", f"oci:{tmp_path}/layout:1"], check=True,
    )  # fmt: skip
    done = subprocess.run(
        [skopeo, "inspect", f"--override-arch={architecture}", f"oci:{tmp_path}/layout:1"],
        capture_output=True, check=True,
    )  # fmt: skip
    facts = json.loads(done.stdout)
    assert facts["Architecture"] == architecture
    assert facts["Labels"] == {"dev.gitops-ml.kind": "model"}


LOADS = """\
from pathlib import Path


class PythonPredictor:
    def __init__(self, config):
        self.words = (Path(config["model"]) / "deep" / "tokens.txt").read_text().split()

    def predict(self, payload):
        return {"species": self.words[1]}
"""


def test_the_image_of_a_predictor_copies_its_models_and_serves_them(
    tmp_path: Path, model: Path, base_image: ImageRef, registry: RealRegistry,
    private_registry: RealRegistry, environ: dict[str, str], client: docker.DockerClient,
) -> None:  # fmt: skip
    """As in a cluster without image volumes: an init container with the pull secrets, then the server."""
    image = ensure_oci_image(
        plan_for(write_project(tmp_path / "iris", {"predictor.py": LOADS}), base_image, environ),
        repository=f"{registry.host}/oci/loads", tools=tools_for(environ), progress=silent,
    )  # fmt: skip
    artifact = push_model(
        model, ImageRef(f"{private_registry.host}/models/iris", "1"),
        registry=registry_of(private_registry.environ), progress=silent,
    ).image  # fmt: skip
    copied, secrets = tmp_path / "models", tmp_path / "secrets"
    for folder in (copied, secrets):
        folder.mkdir()
    os.chown(copied, 10001, 10001)
    config = Path(private_registry.environ["DOCKER_CONFIG"]) / "config.json"
    (secrets / "regcred.json").write_text(config.read_text())
    command = ["python3", "-m", "predictor_base.models.fetch", "--into=/models"]
    output = client.containers.run(
        f"{image.repository}@{image.digest}", entrypoint=command,
        command=["--credentials=/etc/pull-secrets", f"iris={artifact}"],
        remove=True, stderr=True, read_only=True, tmpfs={"/tmp": "size=64m,mode=1777"},
        cap_drop=["ALL"], security_opt=["no-new-privileges"], network_mode="host",
        volumes={str(copied): {"bind": "/models", "mode": "rw"},
                 str(secrets): {"bind": "/etc/pull-secrets", "mode": "ro"}},
    )  # fmt: skip
    assert b"MB in" in output
    settings = tmp_path / "predictor.json"
    document = {"path": "predictor.py", "name": "iris", "config": {"model": "/models/iris"}}
    settings.write_text(json.dumps(document))
    with serving(client, image, settings, mounts={str(copied): "/models"}) as (address, container):
        ready(address, container)
        answer = requests.post(f"{address}/predict", json={}, timeout=60)
        assert answer.json() == {"species": "b"}, container.logs().decode()
