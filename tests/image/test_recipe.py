"""How an image is made: the Dockerfile, by facts; without a container, who builds, what runs, what the hash knows."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest

from gitops_ml.errors import UsageError
from gitops_ml.image.content_hash import ContentHash, content_hash
from gitops_ml.image.recipe import (
    BuilderChoice,
    DockerPlan,
    PredictorSource,
    check_base,
    choose_builder,
    docker_recipe,
    oci_recipe,
    render_dockerfile,
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


TAGGED = ImageRef("docker.io/library/python", "3.11-slim", "sha256:" + "ab" * 32)
PLAIN = DockerPlan(
    base=TAGGED,
    platform="linux/amd64",
    python_version="3.11",
    dependencies=Dependencies(pip=None, conda=None, shell=None, system=()),
    pip_files=(),
    shell_files=(),
    runtime_requirements=("requirements.txt",),
    has_environment_file=False,
)
FULL = replace(
    PLAIN,
    dependencies=Dependencies(
        pip="req's.txt", conda="conda.txt", shell="dependencies.sh", system=("libgomp1", "git")
    ),
    pip_files=("lib", "req's.txt"),
    shell_files=("dependencies.sh", "pip.conf"),
    has_environment_file=True,
    content_hash=ContentHash("cd" * 32),
)


def instructions(facts: DockerPlan) -> list[str]:
    """The instructions without comments, continued lines joined as the engine joins them."""
    lines = render_dockerfile(facts).replace("\\\n", "").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def stages(facts: DockerPlan) -> list[list[str]]:
    found: list[list[str]] = []
    for line in instructions(facts):
        if line.startswith("FROM "):
            found.append([])
        found[-1].append(line)
    return found


def position(lines: list[str], word: str) -> int:
    return next(at for at, line in enumerate(lines) if word in line)


def test_things_come_in_the_order_of_how_often_they_change() -> None:
    lines = instructions(FULL)
    order = [
        "FROM docker.io/library/python@sha256:", "apt-get install", "dependencies.sh; ",
        "conda create", "pip install", "COPY runtime/ ",
        "COPY --from=builder /opt/venv", "COPY app/ /app/", "LABEL dev.gitops-ml.content-hash",
    ]  # fmt: skip
    places = [position(lines, word) for word in order]
    assert places == sorted(places)


def test_the_code_is_the_last_layer() -> None:
    last = stages(FULL)[-1]
    code = position(last, "COPY app/ /app/")
    assert [line.split()[0] for line in last[code + 1 :]] == ["LABEL", "LABEL"]


def test_the_base_is_named_by_digest_alone() -> None:
    assert instructions(PLAIN)[0] == f"FROM docker.io/library/python@{TAGGED.digest} AS system"
    retagged = replace(PLAIN, base=replace(TAGGED, tag="other"))
    assert render_dockerfile(retagged) == render_dockerfile(PLAIN)


def test_what_only_the_build_may_see_is_copied_into_the_builder_alone() -> None:
    system, builder, image = stages(FULL)
    assert "COPY settings/ /run/gitops-ml/" in builder
    assert not any("settings" in line for line in system + image)
    assert [line for line in image if "--from" in line] == [
        "COPY --from=builder /opt/venv /opt/venv",
        "COPY --from=builder /opt/runtime /opt/runtime",
    ]


def test_compilers_are_installed_in_the_builder_alone() -> None:
    system, builder, image = stages(FULL)
    assert any("build-essential" in line for line in builder)
    assert not any("build-essential" in line for line in system + image)


def test_the_image_runs_as_nobody_in_particular() -> None:
    last = stages(PLAIN)[-1]
    assert "USER 10001:10001" in last
    assert 'ENTRYPOINT ["python", "-m", "predictor_base"]' in last
    assert position(instructions(PLAIN), "WORKDIR /app")


def test_steps_without_a_file_are_not_there() -> None:
    text = render_dockerfile(PLAIN)
    assert not any(word in text for word in ("dependencies.sh;", "conda", "libgomp1", ".env"))


def test_only_what_a_step_reads_is_copied_before_it() -> None:
    system, builder, _ = stages(FULL)
    assert [line for line in system if line.startswith("COPY")] == [
        'COPY ["app/dependencies.sh", "/app/dependencies.sh"]',
        'COPY ["app/pip.conf", "/app/pip.conf"]',
        "COPY app/.env /app/.env",
    ]
    assert 'COPY ["app/lib", "/app/lib"]' in builder
    whole = replace(FULL, pip_files=(".",))
    assert stages(whole)[1].count("COPY app/ /app/") == 1


def test_every_word_of_a_name_reaches_the_shell_whole() -> None:
    line = next(line for line in instructions(FULL) if "pip install" in line)
    command = line.partition("set -- ")[2].partition(" && ")[0]
    assert shlex.split(command)[-2:] == ["-r", "req's.txt"]


def test_no_time_and_no_revision_is_in_the_text() -> None:
    labels = [line for line in instructions(FULL) if line.startswith("LABEL")]
    assert labels == [
        f'LABEL org.opencontainers.image.base.digest="{TAGGED.digest}"',
        f'LABEL dev.gitops-ml.content-hash="{"cd" * 32}"',
    ]


def test_the_classic_builder_understands_every_line() -> None:
    text = render_dockerfile(FULL)
    assert not any(word in text for word in ("# syntax", "--mount", "--chmod", "--link", "<<"))


@pytest.mark.parametrize(
    "change",
    [
        {"python_version": "3.12"},
        {"platform": "linux/arm64"},
        {"pip_files": ("requirements.txt",), "dependencies": FULL.dependencies},
        {"dependencies": replace(FULL.dependencies, system=("libgomp1",))},
        {"dependencies": replace(FULL.dependencies, shell=None)},
        {"has_environment_file": False},
        {"runtime_requirements": ()},
        {"base": replace(TAGGED, digest="sha256:" + "00" * 32)},
    ],
)
def test_every_fact_changes_the_recipe(change: dict[str, object]) -> None:
    changed = replace(FULL, **change)  # type: ignore[arg-type]
    before = docker_recipe(FULL)
    assert docker_recipe(changed) != before


def test_the_hash_that_labels_the_image_is_not_part_of_itself() -> None:
    one = docker_recipe(FULL)
    other = replace(FULL, content_hash=None)
    assert docker_recipe(other) == one
