"""Folders of a pull request: links, devices, pipes, bare repositories, and names that are odd."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.hostile.net import Hostile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.hostile.conftest import Holds
    from tests.hostile.net import Sandbox

READ = ("api.yaml", "gitops-ml.yaml", "predictor.py", "requirements.txt", "pylock.toml",
        ".gitopsmlignore", ".dockerignore", "conda-packages.txt", "dependencies.sh", "Dockerfile")  # fmt: skip
"""The files that gitops-ml looks for by name."""
ODD = (
    "a\nb", "a\rb", "\x1b[31mred", "\u202eevil", "-rf", "--help", "a b", "'; touch x; '", "$(touch x)",
    "\udcff\udcfe", "é", "e\u0301", "nul", "con.py", "a" * 255, "x:y", "*", "[a]", "{root}", "%s%n",
    "...", "~", "\t", '"', "\\", "\x7f", "api.yaml ", "API.YAML",
)  # fmt: skip


def a_link(name: str, target: str) -> Callable[[Sandbox], None]:
    def build(sandbox: Sandbox) -> None:
        path = sandbox.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(sandbox.filled(target.encode()).decode())

    return build


def at(name: str, make: Callable[[Path], object]) -> Callable[[Sandbox], None]:
    def build(sandbox: Sandbox) -> None:
        path = sandbox.project / name
        path.unlink(missing_ok=True)
        make(path)

    return build


def an_odd_name(name: str) -> Callable[[Sandbox], None]:
    return lambda sandbox: (sandbox.project / name).write_text("x") and None


def deep(sandbox: Sandbox) -> None:
    folder = sandbox.project
    for _ in range(300):
        folder /= "deep"
    folder.mkdir(parents=True)
    (folder / "x").write_text("x")


def wide(sandbox: Sandbox) -> None:
    for n in range(2000):
        (sandbox.project / f"{n}.txt").write_text("")


def a_loop(sandbox: Sandbox) -> None:
    (sandbox.project / "loop").symlink_to(".")
    (sandbox.project / "one").symlink_to("two")
    (sandbox.project / "two").symlink_to("one")


def a_chain(sandbox: Sandbox) -> None:
    for n in range(60):
        (sandbox.project / f"link{n}").symlink_to(f"link{n + 1}")
    (sandbox.project / "link60").symlink_to(sandbox.root / "outside.txt")


def a_parent_that_is_a_link(sandbox: Sandbox) -> None:
    (sandbox.root / "elsewhere").mkdir()
    (sandbox.root / "elsewhere" / "requirements.txt").symlink_to(sandbox.root / "outside.txt")
    (sandbox.project / "sub").symlink_to("../elsewhere")
    (sandbox.project / "requirements.txt").write_text("-r sub/requirements.txt\n")


def sparse(sandbox: Sandbox) -> None:
    for name in ("api.yaml", "requirements.txt", ".gitopsmlignore"):
        with (sandbox.project / name).open("ab") as file:
            file.truncate(8 << 30)


def unreadable(sandbox: Sandbox) -> None:
    (sandbox.project / "closed").mkdir(mode=0)


FOLDERS = [
    *(Hostile(name=f"{n}-links-outside", build=a_link(n, "{root}/outside.txt")) for n in READ),
    *(Hostile(name=f"{n}-links-to-a-key", build=a_link(n, "../home/.ssh/id_ed25519")) for n in READ[:4]),
    *(Hostile(name=f"{n}-is-endless", build=a_link(n, "/dev/zero")) for n in READ),
    *(Hostile(name=f"{n}-is-a-pipe", build=at(n, os.mkfifo)) for n in READ),
    *(Hostile(name=f"{n}-is-a-folder", build=at(n, os.mkdir)) for n in READ),
    *(Hostile(name=f"odd-name-{n}", build=an_odd_name(name)) for n, name in enumerate(ODD)),
    Hostile(name="environment-of-the-process", build=a_link("requirements.txt", "/proc/self/environ")),
    Hostile(name="memory-of-the-process", build=a_link("data.bin", "/proc/self/mem")),
    Hostile(name="root-as-a-folder", build=a_link("everything", "/")),
    Hostile(name="terminal", build=a_link("data.bin", "/dev/tty")),
    Hostile(name="pipe-beside", build=at("pipe", os.mkfifo)),
    Hostile(name="device-beside", build=a_link("random", "/dev/urandom")),
    Hostile(name="loop", build=a_loop),
    Hostile(name="chain", build=a_chain),
    Hostile(name="parent-is-a-link", build=a_parent_that_is_a_link),
    Hostile(name="deep", build=deep),
    Hostile(name="wide", build=wide),
    Hostile(name="sparse", build=sparse),
    Hostile(name="unreadable", build=unreadable),
]  # fmt: skip


@pytest.mark.parametrize("hostile", FOLDERS, ids=str)
def test_a_hostile_folder_is_rendered_without_leaving_it(holds: Holds, hostile: Hostile) -> None:
    holds(replace(hostile, arguments=("render", "--offline")))
