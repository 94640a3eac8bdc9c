"""A base image made from the CPython that runs the tests: no image need be downloaded.

It holds the interpreter, pip, a shell, a few commands and the libraries that these and manylinux
wheels load. It holds neither a CA bundle nor a pip configuration: those must reach a build on
their own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops_ml.oci.reference import ImageRef
from tests.support.real import Engine, RealRegistry, find, unavailable

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
_COMMANDS = (
    *("dash", "ls", "cat", "mkdir", "rm", "cp", "mv", "chmod", "ln", "env", "id", "sleep"),
    *("tail", "head", "grep", "sed", "touch", "test", "echo"),
)
_LIBRARIES = (
    *("libnss_dns.so.2", "libnss_files.so.2", "libgcc_s.so.1", "libstdc++.so.6", "librt.so.1"),
    *("libdl.so.2", "libpthread.so.0", "libutil.so.1", "libresolv.so.2", "libm.so.6"),
)
_DIRECTORIES = (
    *("usr/bin", "usr/lib64", "usr/local/bin", "usr/local/lib", "var/tmp"),
    *("etc", "tmp", "proc", "sys", "dev", "root", "run", "opt"),
)
_LEFT_OUT = ("site-packages", "test", "idlelib", "tkinter", "turtledemo", "__pycache__", "*.a")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
    "etc/ld.so.conf": "/usr/local/lib\n",
}


@pytest.fixture(scope="session")
def base_image(
    docker_engine: Engine, registry: RealRegistry, tmp_path_factory: pytest.TempPathFactory
) -> ImageRef:
    """This machine's Python as an image in ``registry``, by digest."""
    import docker

    archive = _archive(tmp_path_factory.mktemp("base"))
    repository = f"{registry.host}/base/python"
    client = docker.APIClient(base_url=docker_engine.address, version="auto")
    try:
        changes = ["ENV PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8", 'CMD ["python3"]']
        client.import_image_from_file(
            str(archive), repository=repository, tag=VERSION, changes=changes
        )
        lines = client.push(repository, tag=VERSION, stream=True, decode=True)
        digest = next(line["aux"]["Digest"] for line in lines if "Digest" in line.get("aux", {}))
    finally:
        client.close()
    return ImageRef(repository, VERSION, digest)


def _archive(directory: Path) -> Path:
    root = directory / "rootfs"
    for name in _DIRECTORIES:
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "tmp").chmod(0o1777)
    for name, text in _FILES.items():
        (root / name).write_text(text)
    _copy_python(root)
    for name in _COMMANDS:
        shutil.copy(str(find(name)), root / "usr/bin" / name)
    (root / "usr/bin/sh").symlink_to("dash")
    for library in _libraries(root):
        target = root / "usr" / library.relative_to("/").as_posix().removeprefix("usr/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    subprocess.run([str(find("ldconfig")), "-r", str(root)], check=True)
    archive = directory / "rootfs.tar"
    subprocess.run(
        ["tar", "--sort=name", "--mtime=@1700000000", "--owner=0", "--group=0", "--numeric-owner",
         "-C", str(root), "-cf", str(archive), "."], check=True,
    )  # fmt: skip
    shutil.rmtree(root)
    return archive


def _copy_python(root: Path) -> None:
    prefix, local, name = Path(sys.base_prefix), root / "usr/local", f"python{VERSION}"
    library = prefix / "lib" / name
    if not (library / "ensurepip").is_dir():
        unavailable(f"no base image can be made of {prefix}: its Python lacks ensurepip")
    shutil.copy((prefix / "bin" / name).resolve(), local / "bin" / name)
    for link in ("python3", "python"):
        (local / "bin" / link).symlink_to(name)
    left_out = shutil.ignore_patterns(*_LEFT_OUT, "_tkinter*", f"config-{VERSION}*")
    shutil.copytree(library, local / "lib" / name, ignore=left_out, symlinks=True)
    for shared in (prefix / "lib").glob(f"libpython{VERSION}*.so*"):
        shutil.copy(shared, local / "lib" / shared.name)
    packages = local / "lib" / name / "site-packages"
    packages.mkdir()
    subprocess.run(
        [sys.executable, "-I", "-c", "import ensurepip, sys; ensurepip._run_pip("
         "['install', '--quiet', '--no-index', '--target', sys.argv[1], '--find-links', "
         "str(__import__('pathlib').Path(ensurepip.__file__).parent / '_bundled'), 'pip'])",
         str(packages)], check=True, capture_output=True,
    )  # fmt: skip


def _libraries(root: Path) -> Iterator[Path]:
    """What the dynamic linker loads for every program and module in ``root``."""
    objects = [*(root / "usr/bin").iterdir(), *(root / "usr/local").rglob("*.so*"),
               root / "usr/local/bin" / f"python{VERSION}"]  # fmt: skip
    listed = subprocess.run(
        ["ldd", *map(str, objects)], capture_output=True, text=True, check=False
    )
    # `name => /path (0x…)`, and the loader itself, which stands alone
    found = set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", listed.stdout, flags=re.MULTILINE))
    system = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu")
    found |= {str(system / name) for name in _LIBRARIES if (system / name).exists()}
    return (
        Path(name) for name in sorted(found) if not name.startswith((str(root), sys.base_prefix))
    )
