"""The wheel, built and installed into an environment of its own, away from the checkout.

Its dependencies are lent from the environment that runs the tests, as fetching them takes half a
minute; `.ci/run` installs everything anew for `tests/smoke`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (
    "gitops_ml", "predictor_base", "schemas", "charts", "setup.cfg", "pyproject.toml", "README.md",
    "LICENSE",
)  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, as building leaves folders behind in the tree."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    build = (sys.executable, "-m", "build", "--installer", "uv", "--wheel")
    _run(*build, "--outdir", tree / "dist", tree)
    (built,) = (tree / "dist").glob("*.whl")
    return built


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "GITOPS_ML_", "GIT_"))
    }
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_carries_everything_that_the_code_reads(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in ("gitops_ml", "predictor_base")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for folder in ("schemas", "charts"):
        wanted |= {
            f"gitops_ml/{path.relative_to(ROOT).as_posix()}"
            for path in (ROOT / folder).rglob("*")
            if path.is_file()
        }
    assert sorted(wanted - held) == []
    assert sorted(name for name in held - wanted if "tests" in name) == []


def test_installed_into_an_empty_environment_it_makes_checks_and_renders_a_project(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    programs = tmp_path / "venv" / "bin"
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "install", "-q")
    _run(*pip, "--no-deps", "--no-index", "--disable-pip-version-check", wheel)
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    # As a path only: the `.pth` file there that makes our own installation editable is not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = programs / "gitops-ml"
    _run(command, "init", "iris", cwd=tmp_path)
    project = tmp_path / "iris"
    assert _run(command, "validate", "--strict", cwd=project).startswith("valid: ")
    _run(command, "render", "--offline", "--to", tmp_path / "rendered", cwd=project)

    script = "import gitops_ml, predictor_base; print(gitops_ml.__file__, predictor_base.__file__)"
    found = _run(programs / "python", "-c", script, cwd=tmp_path).split()
    assert all(Path(file).is_relative_to(tmp_path / "venv") for file in found)
    rendered = tmp_path / "rendered/charts/predictor"
    (version,) = rendered.iterdir()
    assert {path.name for path in version.iterdir()} == {
        path.name for path in (ROOT / "charts/predictor").iterdir()
    }
