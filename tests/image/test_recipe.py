"""The recipe of images without a container: who builds, what runs, what the hash knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gitops_ml.errors import UsageError
from gitops_ml.image.content_hash import ContentHash, content_hash
from gitops_ml.image.recipe import (
    BuilderChoice,
    PredictorSource,
    check_base,
    choose_builder,
    oci_recipe,
    runtime,
)
from gitops_ml.oci.image_manifest import BaseConfig, Platform
from gitops_ml.oci.reference import ImageRef
from gitops_ml.packages.lock_file import Lock, LockedPackage
from gitops_ml.release.spec import Dependencies

BASE = ImageRef("docker.io/library/python", digest=f"sha256:{'a' * 64}")
LOCK = Lock(
    python="3.11", platforms=("linux/amd64",), inputs="",
    packages=(LockedPackage("six", "1.17.0", "b" * 64),),
)  # fmt: skip


def base(*env: str) -> BaseConfig:
    return BaseConfig(
        platform=Platform("linux", "amd64"), settings={"Env": list(env)}, diff_ids=(), history=()
    )


def needing(**changes: Any) -> dict[str, Dependencies]:
    asked: dict[str, Any] = {"pip": None, "conda": None, "shell": None, "system": ()}
    return {"dependencies": Dependencies(**asked | changes)}


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (needing(shell="dependencies.sh"), "dependencies.sh is a script"),
        (needing(conda="conda-packages.txt"), "names conda packages"),
        (needing(system=("libgomp1", "git")), r"packages are to be installed \(libgomp1, git\)"),
        (
            {"needs_pip": ("./mypackage",)},
            "./mypackage among the requirements is source code, which pip has to build",
        ),
        (
            {"unknown_python": "x.test/base:1"},
            "predictor.python_version does not name the Python of x.test/base:1",
        ),
        ({"platforms": ("linux/riscv64",)}, "no wheels for linux/riscv64"),
    ],
)
def test_what_has_to_run_in_a_container_goes_to_docker_and_the_reason_is_told(
    needs: dict[str, Any], words: str
) -> None:
    choice = choose_builder("auto", **needs)
    assert choice.builder == "docker"
    with pytest.raises(
        UsageError, match=rf"image.builder is oci, which runs nothing, but .*{words}"
    ):
        choose_builder("oci", **needs)
    assert choose_builder("docker", **needs).builder == "docker"


def test_everything_else_is_built_without_a_container() -> None:
    assert choose_builder("auto") == BuilderChoice("oci", "nothing in it needs a container")
    assert choose_builder("oci").builder == "oci"
    assert choose_builder("docker") == BuilderChoice("docker", "image.builder says so")


def test_an_engine_makes_one_platform() -> None:
    both = ("linux/amd64", "linux/arm64")
    assert choose_builder("auto", platforms=both).builder == "oci"
    with pytest.raises(UsageError, match=r"platforms has 2; docker .* since image.builder says so"):
        choose_builder("docker", platforms=both)
    with pytest.raises(UsageError, match=r"since go\.sh is a script, which needs a container"):
        choose_builder("auto", **needing(shell="go.sh"), platforms=both)


def test_the_hash_knows_base_lock_platforms_and_python() -> None:
    facts: dict[str, Any] = {
        "base": BASE, "platforms": ["linux/amd64"], "lock": LOCK,
    }  # fmt: skip
    other_lock = replace(LOCK, packages=(LockedPackage("six", "1.17.0", "c" * 64),))
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"base": replace(BASE, digest=f"sha256:{'b' * 64}")},
        {"platforms": ["linux/arm64"]},
        {"platforms": ["linux/amd64", "linux/arm64"]},
        {"lock": replace(LOCK, python="3.12")},
        {"lock": other_lock},
        {"epoch": 7},
        {"predictor": PredictorSource(api="iris", path="predictor.py")},
        {"predictor": PredictorSource(api="iris", path="predictor.py", class_name="Iris")},
    )
    hashes = {content_hash((), recipe=oci_recipe(**{**facts, **change})) for change in changes}
    assert len(hashes) == len(changes)
    both = [oci_recipe(**{**facts, "platforms": order}) for order in (
        ["linux/amd64", "linux/arm64"], ["linux/arm64", "linux/amd64"],
    )]  # fmt: skip
    assert both[0] == both[1]
    assert oci_recipe(**{**facts, "lock": replace(LOCK, inputs="x")}) == oci_recipe(**facts)


def run(config: BaseConfig) -> dict[str, str]:
    found = runtime(
        config, base_digest="sha256:x", python="3.11", content_hash=ContentHash("f" * 64),
        lock_hash="1", labels={"mine": "1"},
    )  # fmt: skip
    assert found.labels["mine"] == "1"
    assert found.labels["dev.gitops-ml.content-hash"] == "f" * 64
    return dict(found.env)


def test_the_bases_python_finds_the_packages_as_the_users_site() -> None:
    env = run(base("PATH=/usr/local/bin:/usr/bin"))
    assert env["PYTHONUSERBASE"] == "/opt/venv"
    assert env["PATH"] == "/opt/venv/bin:/usr/local/bin:/usr/bin"


def test_a_virtual_environment_in_the_base_finds_them_by_search_path() -> None:
    env = run(base("PATH=/venv/bin", "VIRTUAL_ENV=/venv"))
    assert env["PYTHONPATH"] == "/opt/venv/lib/python3.11/site-packages:/opt/runtime"
    assert "PYTHONUSERBASE" not in env


def test_a_base_image_of_another_python_is_refused() -> None:
    check_base(base("PYTHON_VERSION=3.11.9"), python="3.11", name=BASE)
    check_base(base(), python="3.11", name=BASE)
    with pytest.raises(UsageError, match=r"has Python 3\.12, but the image needs 3\.11"):
        check_base(base("PYTHON_VERSION=3.12.1"), python="3.11", name=BASE)
