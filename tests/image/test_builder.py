"""Images on top of a base image: the same digest from everywhere, and a tag only on what is whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import packaging
import pytest

from gitops_ml.errors import GitopsMlError, ServerFailed, UsageError
from gitops_ml.image.publish import push_image
from gitops_ml.oci.image_manifest import (
    INDEX,
    ImageManifest,
    Index,
    Platform,
    describe,
    parse_manifest,
)
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.store import BlobStore
from gitops_ml.packages.build_settings import source_date_epoch
from tests.support.faulty_registry import Asked, Fault, FaultyRegistry, faulty_registry
from tests.support.oci import (
    TinyBase,
    ensure_oci_image,
    plan_of,
    project_with_lock,
    push_tiny_base,
    registry_of,
    silent,
    tools_of,
    write_oci_layout,
)
from tests.support.real import RealRegistry, find, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gitops_ml.oci.registry import OciRegistry

BOTH = ("linux/amd64", "linux/arm64")
CODE = Path(__file__).parents[2]
BUILD = """\
import json, os, sys
from pathlib import Path
sys.path.insert(0, {code!r})
from gitops_ml.oci.store import BlobStore
from gitops_ml.oci.reference import ImageRef
from gitops_ml.packages.lock_file import parse_lock
from tests.support.oci import plan_of
from tests.support.oci import silent
from tests.support.oci import tools_of
os.umask({umask})
project, cache = Path(sys.argv[1]), Path(sys.argv[2])
lock = parse_lock((project / "pylock.toml").read_text())
base = json.loads(sys.argv[3])
store = BlobStore(cache / "oci")
for text in base["blobs"]:
    store.keep(text.encode())
plan = plan_of(project, lock, ImageRef("nowhere.test/base", digest=base["digest"]))
built = tools_of(cache).build(plan, progress=silent)
print(plan.content_hash.hex, built.digest, "openapi" in built.images[0].config.decode())
"""
DESCRIBED = '''\
"""A predictor whose source tells much."""
from __future__ import annotations
from dataclasses import dataclass, field
from typing import Literal, Optional, TypedDict

class Flower(TypedDict, total=False):
    """A flower.

        As it was measured.
    """
    petal: float
    kind: Literal["a", 'b'] | None
    tags: list[dict[str, Optional[int]]]

@dataclass
class Answer:
    label: str = f"{1}" 'x'
    scores: dict[str, float] = field(default_factory=dict)

class PythonPredictor:
    """Tells flowers
    apart."""
    def __init__(self, config): ...
    def predict(self, payload: list[Flower], *, top: int = -1_000, low: float = 1e-3) -> Answer:
        """The answer."""
'''


@pytest.fixture(scope="module")
def base(registry: RealRegistry) -> TinyBase:
    return push_tiny_base(registry_of(), f"{registry.host}/base/tiny")


@pytest.fixture
def proxy(registry: RealRegistry) -> Iterator[FaultyRegistry]:
    with faulty_registry(registry.host) as found:
        yield found


def test_what_was_built_is_pushed_once_and_then_only_looked_up(
    tmp_path: Path, base: TinyBase, registry: RealRegistry
) -> None:
    lock = project_with_lock(tmp_path / "iris")
    tools = tools_of(tmp_path / "cache")
    plan = plan_of(tmp_path / "iris", lock, base.image)
    repository = f"{registry.host}/builder/once"
    lines: list[str] = []
    image = ensure_oci_image(plan, repository=repository, tools=tools, progress=lines.append)
    assert image.tag == plan.content_hash.tag
    assert any("pushed" in line for line in lines)
    before = tools.registry.session.requests_sent
    assert ensure_oci_image(plan, repository=repository, tools=tools, progress=silent) == image
    assert tools.registry.session.requests_sent - before == 1


def test_the_image_stands_on_the_base_and_runs_the_predictor(
    tmp_path: Path, base: TinyBase, registry: RealRegistry
) -> None:
    lock = project_with_lock(tmp_path / "iris")
    plan = plan_of(tmp_path / "iris", lock, base.image)
    built = tools_of(tmp_path / "cache").build(plan, progress=silent)
    (one,) = built.images
    config = json.loads(one.config)
    assert [layer.role for layer in one.layers] == ["base", "packages", "runtime", "code"]
    assert len(config["rootfs"]["diff_ids"]) == len(config["history"]) == 4
    assert config["config"]["Entrypoint"] == ["python3", "-m", "predictor_base"]
    assert (config["config"]["User"], config["config"]["WorkingDir"]) == ("10001:10001", "/app")
    labels = config["config"]["Labels"]
    assert labels["dev.gitops-ml.content-hash"] == plan.content_hash.hex
    assert labels["org.opencontainers.image.base.digest"] == base.image.digest
    assert config["created"] == "1970-01-01T00:00:00Z"
    assert [(d.name, d.version) for d in one.components] == [("tiny-package", "1.0")]


def test_a_change_of_the_code_pushes_the_code_and_two_small_documents(
    tmp_path: Path, base: TinyBase, registry: RealRegistry
) -> None:
    tools, project = tools_of(tmp_path / "cache"), tmp_path / "iris"
    lock = project_with_lock(project)
    repository = f"{registry.host}/builder/code"
    first = tools.build(plan_of(project, lock, base.image), progress=silent)
    tools.push(first, ImageRef(repository, "1"), progress=silent)
    (project / "predictor.py").write_text("class PythonPredictor: ...\n")
    second = tools.build(plan_of(project, lock, base.image), progress=silent)
    uploads = tools.push(second, ImageRef(repository, "2"), progress=silent)
    roles = {blob.descriptor.digest: blob.role for blob in second.images[0].blobs()}
    sent = {roles[digest] for digest, upload in uploads.items() if upload.how == "sent"}
    assert sent == {"code", "config"}


def test_the_layers_of_a_base_in_the_same_registry_are_mounted(
    tmp_path: Path, base: TinyBase, registry: RealRegistry
) -> None:
    lock = project_with_lock(tmp_path / "iris")
    tools = tools_of(tmp_path / "cache")
    built = tools.build(plan_of(tmp_path / "iris", lock, base.image), progress=silent)
    image = ImageRef(f"{registry.host}/builder/mounts", "1")
    uploads = tools.push(built, image, progress=silent)
    assert uploads[built.images[0].layers[0].descriptor.digest].how == "mounted"


def nested(registry: OciRegistry, base: TinyBase, times: int) -> ImageRef:
    """An index of an index, and so on, and in the last one ``base``, itself an index."""
    content = base.index
    for _ in range(times):
        entry = describe(content, INDEX, platform=Platform.parse("linux/amd64"))
        content = Index(manifests=(entry,)).to_bytes()
        digest = describe(content, INDEX).digest
        registry.push_manifest(base.image.repository, content, media_type=INDEX, to=digest)
    return replace(base.image, tag=None, digest=describe(content, INDEX).digest)


def test_a_base_image_may_be_an_index_of_an_index_and_no_chain_of_them(
    tmp_path: Path, base: TinyBase
) -> None:
    lock = project_with_lock(tmp_path / "iris")
    tools = tools_of(tmp_path / "cache")
    for times in (3, 0):
        plan = plan_of(tmp_path / "iris", lock, nested(tools.registry, base, times))
        assert tools.build(plan, progress=silent).digest
    sent = tools.registry.session.requests_sent
    plan = plan_of(tmp_path / "iris", lock, nested(tools.registry, base, 30))
    with pytest.raises(ServerFailed, match="its indexes are nested more than 4 deep"):
        tools.build(plan, progress=silent)
    assert tools.registry.session.requests_sent - sent < 30 * 2 + 10


def test_the_layers_of_a_base_in_another_registry_are_copied_through(
    tmp_path: Path, registry: RealRegistry, private_registry: RealRegistry
) -> None:
    environ = private_registry.environ
    tools = tools_of(tmp_path / "cache", environ)
    far = push_tiny_base(tools.registry, f"{private_registry.host}/base/far")
    lock = project_with_lock(tmp_path / "iris")
    built = tools.build(plan_of(tmp_path / "iris", lock, far.image), progress=silent)
    image = ImageRef(f"{registry.host}/builder/copied", "1")
    uploads = tools.push(built, image, progress=silent)
    assert uploads[built.images[0].layers[0].descriptor.digest].how == "sent"
    assert_whole(tools.registry, image)


def test_an_index_holds_an_image_for_each_platform(
    tmp_path: Path, base: TinyBase, registry: RealRegistry
) -> None:
    lock = project_with_lock(tmp_path / "iris", platforms=BOTH)
    tools = tools_of(tmp_path / "cache")
    plan = plan_of(tmp_path / "iris", lock, base.image)
    repository = f"{registry.host}/builder/both"
    image = ensure_oci_image(plan, repository=repository, tools=tools, progress=silent)
    content, _ = tools.registry.manifest(image)
    index = parse_manifest(content)
    assert isinstance(index, Index)
    assert [str(entry.platform) for entry in index.manifests] == list(BOTH)
    assert_whole(tools.registry, image)
    if skopeo := find("skopeo"):
        for architecture in ("amd64", "arm64"):
            done = subprocess.run(
                [skopeo, "--override-arch", architecture, "inspect", "--tls-verify=false",
                 f"docker://{image.repository}@{image.digest}"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert json.loads(done.stdout)["Architecture"] == architecture


def pythons() -> list[str]:
    """This Python, the system's, and the oldest and newest of those we support."""
    found = [sys.executable, *filter(None, [shutil.which("python3", path="/usr/bin")])]
    for version in ("3.10", "3.13"):
        candidates = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
        installed = shutil.which(f"python{version}")
        found += [str(path) for path in candidates[-1:]] or ([installed] if installed else [])
    return found


def is_open_to_all(path: str) -> bool:
    """Whether another user may start the program at ``path``."""
    real = Path(path).resolve()
    return all(parent.stat().st_mode & 0o001 for parent in (real, *real.parents))


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that other users may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="gitops-ml-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_folder_user_umask_python_and_file_order_do_not_matter(
    open_path: Path, base: TinyBase
) -> None:
    """The issue's list, each with a cache of its own, in an interpreter that has two packages only."""
    import tomli

    assert len(pythons()) >= 2 or os.environ.get("GITOPS_ML_REQUIRE_REAL") != "1"
    # nobody edits the copy meanwhile, and another user may read it
    code, skipped = open_path / "code", shutil.ignore_patterns("__pycache__", "node_modules")
    for package in ("gitops_ml", "predictor_base", "tests", "schemas"):
        shutil.copytree(CODE / package, code / package, ignore=skipped)
    for module in (packaging, tomli):
        folder = Path(module.__file__).parent
        shutil.copytree(folder, code / folder.name, ignore=skipped)
    found = {}
    half = len(pythons())
    for number, python in enumerate(pythons() * 2):
        is_second = number >= half
        place = open_path / f"{number}-{'x' * 20 * number}"
        place.mkdir()
        files = {f"data/{n}.txt": "words\n" * n for n in range(30)}
        files["predictor.py"] = DESCRIBED
        chosen = dict(sorted(files.items(), reverse=is_second))
        umask = 0o022 if is_second else 0o077
        before = os.umask(umask)
        try:
            project_with_lock(place / "iris", files=chosen)
            (place / "cache").mkdir()
        finally:
            os.umask(before)
        owner = 12345 if is_second and os.geteuid() == 0 else None
        if owner:
            for path in (place, *place.rglob("*")):
                os.chown(path, owner, owner)
        runs_as = owner if owner and is_open_to_all(python) else None
        script = BUILD.format(code=str(code), umask=umask)
        facts = {
            "digest": base.image.digest,
            "blobs": [t.decode() for t in
                      (base.index, *base.manifests.values(), *base.config.values())],
        }  # fmt: skip
        done = subprocess.run(
            [python, "-I", "-c", script, str(place / "iris"), str(place / "cache"),
             json.dumps(facts)],
            cwd=place, user=runs_as, capture_output=True, text=True, check=False,
            env={"PYTHONHASHSEED": str(number), "PATH": os.environ["PATH"], "TZ": f"UTC{number}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found[number] = done.stdout
    assert all(output.endswith(" True\n") for output in found.values())
    assert len(set(found.values())) == 1, "\n" + "".join(f"{n} {v}" for n, v in found.items())


def assert_whole(registry: OciRegistry, image: ImageRef) -> None:
    """Everything that the tag points at is there, byte for byte."""
    content, _ = registry.manifest(image)
    found = parse_manifest(content)
    if isinstance(found, Index):
        for entry in found.manifests:
            assert_whole(registry, ImageRef(image.repository, digest=entry.digest))
        return
    assert isinstance(found, ImageManifest)
    for blob in (found.config, *found.layers):
        registry.blob(image.repository, blob)


@pytest.mark.parametrize("platforms", [("linux/amd64",), BOTH], ids=["one", "index"])
def test_a_push_that_ends_at_any_request_leaves_no_tag_or_a_whole_image(
    tmp_path: Path, base: TinyBase, registry: RealRegistry, proxy: FaultyRegistry,
    platforms: tuple[str, ...],
) -> None:  # fmt: skip
    lock = project_with_lock(tmp_path / "iris", platforms=platforms)
    tools = tools_of(tmp_path / "cache")
    near = replace(base.image, repository=f"{proxy.host}/base/tiny")
    plan = plan_of(tmp_path / "iris", lock, near)
    built = tools.build(plan, progress=silent)
    direct = registry_of()
    tagged = []
    for last in range(1, 200):
        name = f"builder/killed-{len(platforms)}-{last}"
        start = len(proxy.asked)
        proxy.choose = lambda asked, end=start + last: (  # type: ignore[misc]
            Fault(reset=True) if asked.number > end else None
        )
        image = ImageRef(f"{proxy.host}/{name}", "h-1")
        is_done = True
        try:
            push_image(built, image, builder=tools, progress=silent)
        except ServerFailed:
            is_done = False
        real = ImageRef(f"{registry.host}/{name}", "h-1")
        if direct.head(real) is not None:
            assert_whole(direct, real)
            tagged.append(last)
        else:
            assert not is_done
        proxy.choose = lambda asked: None
        if is_done:
            break
        if last % 4 == 0:  # the second run finishes the job
            push_image(built, image, builder=tools, progress=silent)
            assert_whole(direct, real)
    assert tagged == [last], "only the last request makes the tag"
    assert last > 15


def test_a_builder_that_is_killed_leaves_no_tag_and_the_next_one_finishes(
    tmp_path: Path, base: TinyBase, registry: RealRegistry, proxy: FaultyRegistry
) -> None:
    lock = project_with_lock(tmp_path / "iris")
    repository = f"{proxy.host}/builder/sigkill"
    script = (
        f"import sys; sys.path.insert(0, {str(CODE)!r})\n"
        "from pathlib import Path\n"
        "from gitops_ml.oci.reference import ImageRef\n"
        "from gitops_ml.packages.lock_file import parse_lock\n"
        "from tests.support.oci import ensure_oci_image, plan_of, tools_of\n"
        "project, cache = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "lock = parse_lock((project / 'pylock.toml').read_text())\n"
        "plan = plan_of(project, lock, ImageRef.parse(sys.argv[3]))\n"
        "ensure_oci_image(plan, repository=sys.argv[4], tools=tools_of(cache), progress=print)\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "iris"), str(tmp_path / "cache"),
                 str(base.image), repository]  # fmt: skip
    for number in (3, 9, 17):
        reached, released = threading.Event(), threading.Event()
        start = len(proxy.asked)

        def choose(
            asked: Asked,
            end: int = start + number,
            reached: threading.Event = reached,
            released: threading.Event = released,
        ) -> Fault | None:
            if asked.number != end:
                return None
            reached.set()
            released.wait(30)
            return Fault(reset=True)

        proxy.choose = choose
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
            assert reached.wait(60)
            p.send_signal(signal.SIGKILL)
            p.wait()
        released.set()
        proxy.choose = lambda asked: None
        tools = tools_of(tmp_path / "other-cache")
        plan = plan_of(tmp_path / "iris", lock, base.image)
        image = ImageRef(f"{registry.host}/builder/sigkill", plan.content_hash.tag)
        assert tools.registry.head(image) is None
    assert subprocess.run(arguments, check=True, capture_output=True)
    assert_whole(tools.registry, image)


def test_a_disk_that_is_full_is_told_and_nothing_half_is_kept(
    tmp_path: Path, base: TinyBase
) -> None:
    with small_disk(tmp_path / "small", size="64k") as small:
        noise = {"noise.bin": os.urandom(200_000)}
        lock = project_with_lock(tmp_path / "iris", files=noise)
        plan = plan_of(tmp_path / "iris", lock, base.image)
        with pytest.raises(
            GitopsMlError, match=r"cannot be written: No space left.*GITOPS_ML_CACHE"
        ):
            tools_of(small).build(plan, progress=silent)
        assert not [path for path in small.rglob("*") if path.name.startswith(".new")]


def test_a_damaged_cache_is_told_and_mended_by_the_next_run(
    tmp_path: Path, base: TinyBase, registry: RealRegistry
) -> None:
    tools, project = tools_of(tmp_path / "cache"), tmp_path / "iris"
    plan = plan_of(project, project_with_lock(project), base.image)
    image = ImageRef(f"{registry.host}/builder/damaged", "1")
    built = tools.build(plan, progress=silent)
    digest = built.images[0].layers[1].descriptor.digest
    path = tmp_path / "cache/oci/blobs/sha256" / digest.removeprefix("sha256:")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(GitopsMlError, match="was damaged and is deleted: run it again"):
        tools.push(built, image, progress=silent)
    assert tools.registry.head(image) is None
    again = tools.build(plan, progress=silent)
    tools.push(again, image, progress=silent)
    assert again.digest == built.digest
    assert_whole(tools.registry, image)


def test_a_blob_of_a_layout_is_taken_by_its_hash_and_not_by_its_size(
    tmp_path: Path, base: TinyBase
) -> None:
    tools, project = tools_of(tmp_path / "cache"), tmp_path / "iris"
    plan = plan_of(project, project_with_lock(project), base.image)
    built = tools.build(plan, progress=silent)
    image, folder = ImageRef("x/iris", "1"), tmp_path / "layout"
    write_oci_layout(built, folder, str(image.tag))
    blobs = {path: path.read_bytes() for path in (folder / "blobs/sha256").iterdir()}
    for path, content in blobs.items():
        path.write_bytes(bytes(len(content)))
    write_oci_layout(built, folder, str(image.tag))
    assert {path: path.read_bytes() for path in blobs} == blobs
    (folder / "blobs").rename(tmp_path / "elsewhere")
    (folder / "blobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="blobs is a link"):
        write_oci_layout(built, folder, str(image.tag))


def test_a_damaged_answer_about_the_base_is_not_kept(
    tmp_path: Path, base: TinyBase, proxy: FaultyRegistry
) -> None:
    lock = project_with_lock(tmp_path / "iris")
    near = replace(base.image, repository=f"{proxy.host}/base/tiny")
    plan, tools = plan_of(tmp_path / "iris", lock, near), tools_of(tmp_path / "cache")
    for what in ("/manifests/", "/blobs/"):
        proxy.choose = lambda asked, what=what: (  # type: ignore[misc]
            Fault(damage=True) if what in asked.path else None
        )
        with pytest.raises(ServerFailed, match="sent other content for"):
            tools.build(plan, progress=silent)
    proxy.choose = lambda asked: None
    assert tools.build(plan, progress=silent)


def test_a_base_that_is_not_for_the_platform_is_told(
    tmp_path: Path, registry: RealRegistry
) -> None:
    found = push_tiny_base(registry_of(), f"{registry.host}/base/other", "PYTHON_VERSION=3.9.1")
    lock = project_with_lock(tmp_path / "iris")
    tools = tools_of(tmp_path / "cache")
    with pytest.raises(UsageError, match=r"has Python 3\.9, but the image needs 3\.11"):
        tools.build(plan_of(tmp_path / "iris", lock, found.image), progress=silent)
    plan = plan_of(tmp_path / "iris", lock, found.image)
    with pytest.raises(ServerFailed, match="not made for linux/riscv64; it is for linux/amd64"):
        tools.build(replace(plan, platforms=("linux/riscv64",)), progress=silent)


def test_two_builders_may_share_a_cache(tmp_path: Path, base: TinyBase) -> None:
    from concurrent.futures import ThreadPoolExecutor

    lock = project_with_lock(tmp_path / "iris")
    plan = plan_of(tmp_path / "iris", lock, base.image)

    def build(_: int) -> str:
        return tools_of(tmp_path / "cache").build(plan, progress=silent).digest

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(build, range(8)))) == 1


def test_a_small_blob_that_was_damaged_is_no_blob(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    digest = store.keep(b"content")
    assert store.blob(digest) == b"content"
    (tmp_path / "blobs/sha256" / digest[7:]).write_bytes(b"other")
    assert store.blob(digest) is None


def test_source_date_epoch_dates_the_image_and_names_another_one(
    tmp_path: Path, base: TinyBase
) -> None:
    lock = project_with_lock(tmp_path / "iris")

    def build(environ: Mapping[str, str]) -> tuple[str, str]:
        epoch = source_date_epoch(environ)
        plan = plan_of(tmp_path / "iris", lock, base.image, epoch=epoch)
        built = tools_of(tmp_path / "cache").build(plan, progress=silent)
        return plan.content_hash.tag, json.loads(built.images[0].config)["created"]

    assert build({"SOURCE_DATE_EPOCH": "86400"})[1] == "1970-01-02T00:00:00Z"
    assert build({"SOURCE_DATE_EPOCH": "86400"})[0] != build({})[0]
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH is 'now'"):
        build({"SOURCE_DATE_EPOCH": "now"})
