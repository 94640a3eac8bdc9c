"""Wheels in a layer: the tree that pip would install, without running anything of theirs."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import GitopsMlError
from gitops_ml.oci.layers import write_layer
from gitops_ml.packages.wheels import Scheme, describe_wheel, wheel_entries
from tests.support.cost import costs_little
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

SCHEME = Scheme("opt/venv", "3.11")
SITE = "opt/venv/lib/python3.11/site-packages"


def layer_of(*wheels: Path) -> dict[str, tarfile.TarInfo]:
    return {name: member for name, (member, _) in unpacked(*wheels).items()}


def unpacked(*wheels: Path) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """The layer of some wheels, read back by Python's own gzip and tarfile."""
    file = io.BytesIO()
    layer = write_layer(wheel_entries(wheels, scheme=SCHEME), file, root="opt")
    assert layer.descriptor.digest == f"sha256:{hashlib.sha256(file.getvalue()).hexdigest()}"
    plain = gzip.decompress(file.getvalue())
    assert layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    assert (layer.size, layer.descriptor.size) == (len(plain), len(file.getvalue()))
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        return {
            member.name: (member, archive.extractfile(member).read() if member.isfile() else b"")  # type: ignore[union-attr]
            for member in archive
        }


def test_the_tree_is_the_one_that_pip_installs(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path / "w", "some-package", "2.0",
        files={
            "some_package/__init__.py": "def main(): pass\n",
            "some_package/deep/native.so": os.urandom(3000),
            "some_package/tool.sh": "#!/bin/sh\n",
            "single.py": "x = 1\n",
            "empty.txt": "",
            "some_package-2.0.data/scripts/run-it": "#!python\nprint(1)\n",
            "some_package-2.0.data/purelib/pure.py": "y = 2\n",
            "some_package-2.0.data/data/share/some/doc.txt": "words\n",
        },
        executable=["some_package/tool.sh", "some_package-2.0.data/scripts/run-it"],
        entry_points="[console_scripts]\nsome = some_package:main\nother = some_package:main [x]\n",
    )  # fmt: skip
    prefix = tmp_path / "installed"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--no-compile", "--prefix", str(prefix), str(wheel)], check=True,
    )  # fmt: skip
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    theirs = {
        path.relative_to(prefix).as_posix().replace(version, "python3.11"): path
        for path in prefix.rglob("*")
        if path.is_file() and path.name not in ("direct_url.json", "REQUESTED")
    }
    ours = {
        name.removeprefix("opt/venv/"): (member, content)
        for name, (member, content) in unpacked(wheel).items()
        if member.isfile()
    }
    assert set(ours) == set(theirs)
    generated = ("bin/", "RECORD", "INSTALLER")
    for name, path in theirs.items():
        member, content = ours[name]
        assert bool(member.mode & 0o111) == os.access(path, os.X_OK), name
        if not any(part in name for part in generated):
            assert content == path.read_bytes(), name


def test_what_is_installed_is_a_distribution_whose_record_is_right(tmp_path: Path) -> None:
    from importlib.metadata import Distribution

    wheel = make_wheel(
        tmp_path / "w", "tiny", files={"tiny.py": "x = 1\n"},
        entry_points="[console_scripts]\ntiny = tiny:main\n",
    )  # fmt: skip
    for name, (member, content) in unpacked(wheel).items():
        if member.isfile():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    found = Distribution.at(tmp_path / SITE / "tiny-1.0.dist-info")
    assert (found.metadata["Name"], found.read_text("INSTALLER")) == ("tiny", "gitops-ml\n")
    assert found.files
    for file in found.files:
        located = (tmp_path / SITE / file).resolve()
        assert located.is_file(), file
        if file.hash:
            assert file.size == located.stat().st_size
    assert "../../../bin/tiny" in {str(file) for file in found.files}


def test_scripts_start_the_python_of_the_image(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path, "cli", files={"cli.py": "", "cli-1.0.data/scripts/old": b"#!pythonw\nold()\n"},
        entry_points="[console_scripts]\ncli = cli:Main.run\n[gui_scripts]\n[other]\nx = y:z\n",
    )  # fmt: skip
    found = unpacked(wheel)
    text = found["opt/venv/bin/cli"][1].decode()
    assert text.startswith("#!/usr/bin/env python3\n")
    assert "from cli import Main\n" in text
    assert "sys.exit(Main.run())" in text
    assert found["opt/venv/bin/old"][1] == b"#!/usr/bin/env python3\nold()\n"
    assert found["opt/venv/bin/cli"][0].mode == 0o755
    assert "opt/venv/bin/x" not in found


def test_the_deflated_bytes_of_a_wheel_are_copied_as_they_are(tmp_path: Path) -> None:
    """So they do not depend on a compressor of this machine."""
    wheel = make_wheel(tmp_path, "big", files={"big.py": "value = 12345\n" * 9000})
    with zipfile.ZipFile(wheel) as archive, wheel.open("rb") as file:
        member = archive.getinfo("big.py")
        file.seek(member.header_offset + 30 + len("big.py"))
        packed = file.read(member.compress_size)
    target = io.BytesIO()
    write_layer(wheel_entries([wheel], scheme=SCHEME), target)
    assert packed in target.getvalue()


def test_members_that_are_not_deflated_are_taken_too(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path, "plain", files={"plain.py": "x = 1\n"}, compression=zipfile.ZIP_STORED
    )
    assert unpacked(wheel)[f"{SITE}/plain.py"][1] == b"x = 1\n"


def test_of_two_wheels_with_one_file_the_later_name_wins_in_any_order(tmp_path: Path) -> None:
    first = make_wheel(tmp_path, "a-lib", files={"shared/__init__.py": "# a\n"})
    second = make_wheel(tmp_path, "b-lib", files={"shared/__init__.py": "# b\n"})
    found = {unpacked(*order)[f"{SITE}/shared/__init__.py"][1]
             for order in ((first, second), (second, first))}  # fmt: skip
    assert found == {b"# b\n"}


def test_entries_are_sorted_owned_by_root_and_dated_alike(tmp_path: Path) -> None:
    found = unpacked(make_wheel(tmp_path, "tiny"))
    members = [member for member, _ in found.values()]
    assert {(m.uid, m.gid, m.uname, m.mtime) for m in members} == {(0, 0, "", 0)}
    files = [m.name.split("/") for m in members if m.isfile()]
    assert files == sorted(files)
    assert "opt" not in found, "it is the base image's"
    assert found["opt/venv"][0].isdir()


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil", "a/../../evil"])
def test_a_wheel_that_leaves_its_place_is_refused(tmp_path: Path, name: str) -> None:
    wheel = make_wheel(tmp_path, "evil", files={name: "x"})
    with pytest.raises(GitopsMlError, match="leaves its place"):
        wheel_entries([wheel], scheme=SCHEME)


def test_what_is_no_wheel_is_told(tmp_path: Path) -> None:
    (tmp_path / "x-1-py3-none-any.whl").write_bytes(b"not a zip")
    with pytest.raises(GitopsMlError, match="cannot be read as a wheel"):
        wheel_entries([tmp_path / "x-1-py3-none-any.whl"], scheme=SCHEME)
    with zipfile.ZipFile(tmp_path / "y-1-py3-none-any.whl", "w") as archive:
        archive.writestr("y.py", "")
    with pytest.raises(GitopsMlError, match=r"has 0 \.dist-info directories"):
        wheel_entries([tmp_path / "y-1-py3-none-any.whl"], scheme=SCHEME)
    odd = make_wheel(tmp_path, "odd", files={"odd-1.0.data/weird/x": "x"})
    with pytest.raises(GitopsMlError, match="unknown kind 'weird'"):
        wheel_entries([odd], scheme=SCHEME)


def test_a_damaged_wheel_is_found_while_its_bytes_are_copied(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "hurt", files={"hurt.py": "value = 12345\n" * 900})
    content = bytearray(wheel.read_bytes())
    content[60] ^= 0xFF
    wheel.write_bytes(content)
    with pytest.raises(GitopsMlError, match="is damaged"):
        write_layer(wheel_entries([wheel], scheme=SCHEME), io.BytesIO())


def test_a_wheel_tells_what_it_is(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "My.Package", requires=["numpy>=1", "extra; extra == 'x'"])
    found = describe_wheel(wheel, fingerprint="f" * 64)
    assert (found.name, found.version, found.licence) == ("my-package", "1.0", "MIT")
    assert found.requires == ("numpy>=1", "extra; extra == 'x'")


METADATA = b"Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"
HOSTILE = {
    "quotes": ({"RECORD": b'"' * 500_000}, "has a RECORD that is not valid"),
    "nul": ({"RECORD": b"a\0b,,\n"}, ""),
    "rows": ({"RECORD": b"a,b,c\n" * 5_000_000}, "has more lines in RECORD than files"),
    "empty-rows": ({"RECORD": b"\n" * (30 << 20)}, "has more lines in RECORD than files"),
    "kind": ({"RECORD": b"evil-1.0.data/x/y,,\n"}, "RECORD that is not valid: it has files of the unk"),
    "not-unicode": ({"RECORD": b"\xff\xfe"}, "RECORD that can be read"),
    "blanks": ({"entry_points.txt": b"[console_scripts]\n" + b"a" + b" " * 900_000}, "is not valid: 'a'"),
    "half": ({"entry_points.txt": b"[console_scripts]\na = " + b"a." * 400_000}, "is not valid: 'a'"),
    "above": ({"entry_points.txt": b"[console_scripts]\n.. = a:b\n"}, "is not valid: '..'"),
    "escape": ({"entry_points.txt": b"[gui_scripts]\n\x1b[31m = a:b\n"}, r"is not valid: '\x1b"),
    "no-name": ({"entry_points.txt": b"[console_scripts]\n= a:b\n"}, "is not valid: ''"),
    "large": ({"entry_points.txt": b"#" * (2 << 20)}, "of more than 1048576 bytes"),
    "nameless": ({"METADATA": b"Version: 1.0\n"}, "has no Name or no Version in METADATA"),
    "empty": ({"METADATA": b""}, "has no Name or no Version in METADATA"),
    "long-fields": ({"METADATA": METADATA + b"Licence: x\n" * 200_000}, "has fields of 2,200,"),
    "folded": ({"METADATA": METADATA + b"Licence: x" + b"\n x" * 340_000}, ""),
    "requirements": ({"METADATA": METADATA + b"Requires-Dist: abcd\n" * 50_000}, ""),
    "long-requirements": (
        {"METADATA": METADATA + b"Requires-Dist: six" + b">=1," * 80_000 + b"\n"},
        "has more than 262,144 characters of Requires-Dist",
    ),
    "long-text": ({"METADATA": METADATA + b"\n" + b"Name: x\n\n" * 2_000_000}, ""),
}  # fmt: skip


@pytest.mark.parametrize(("files", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_metadata_costs_little_and_is_read_or_refused(
    tmp_path: Path, files: dict[str, bytes], sentence: str
) -> None:
    wheel = tmp_path / "evil-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"METADATA": METADATA, "RECORD": b"", **files}.items():
            archive.writestr(f"evil-1.0.dist-info/{name}", content)
    with costs_little():
        text = ""
        try:
            wheel_entries([wheel], scheme=SCHEME)
            describe_wheel(wheel, fingerprint="0" * 64)
        except GitopsMlError as error:
            text = str(error)
    assert sentence in text and bool(sentence) == bool(text), text


@pytest.mark.parametrize(
    ("at", "value"),
    [(8, 99), (6, 1), (8, 14), (6, 0x20)],
    ids=["unknown-method", "encrypted", "lzma", "patched"],
)
def test_a_member_that_cannot_be_unpacked_is_a_sentence(
    tmp_path: Path, at: int, value: int
) -> None:
    wheel = make_wheel(tmp_path, "odd")
    content = wheel.read_bytes()
    for signature, offset in ((b"PK\x03\x04", at), (b"PK\x01\x02", at + 2)):
        parts = content.split(signature)
        field = offset - len(signature)
        content = signature.join(
            [parts[0], *(p[:field] + bytes([value, 0]) + p[field + 2 :] for p in parts[1:])]
        )
    wheel.write_bytes(content)
    with pytest.raises(GitopsMlError, match=r"can ?not? .*be read|that can be read"):
        describe_wheel(wheel, fingerprint="0" * 64)


def test_a_script_that_unpacks_to_more_than_memory_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "bomb", files={"bomb-1.0.data/scripts/x": "x"})
    content = wheel.read_bytes()
    at = content.index(b"bomb-1.0.data/scripts/x", content.index(b"PK\x01\x02")) - 46
    wheel.write_bytes(content[: at + 24] + (2 << 30).to_bytes(4, "little") + content[at + 28 :])
    with pytest.raises(GitopsMlError, match="scripts/x of more than 1073741824 bytes"):
        wheel_entries([wheel], scheme=SCHEME)
