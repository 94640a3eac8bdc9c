"""The Dockerfile of a predictor, by facts."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from gitops_ml.image.content_hash import ContentHash
from gitops_ml.image.recipe import DockerPlan, docker_recipe, render_dockerfile
from gitops_ml.oci.reference import ImageRef
from gitops_ml.release.spec import Dependencies

BASE = ImageRef("docker.io/library/python", "3.11-slim", "sha256:" + "ab" * 32)
PLAIN = DockerPlan(
    base=BASE,
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
    assert instructions(PLAIN)[0] == f"FROM docker.io/library/python@{BASE.digest} AS system"
    retagged = replace(PLAIN, base=replace(BASE, tag="other"))
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
        f'LABEL org.opencontainers.image.base.digest="{BASE.digest}"',
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
        {"base": replace(BASE, digest="sha256:" + "00" * 32)},
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
