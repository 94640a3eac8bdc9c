"""`gitops-ml lock`: what requirements resolve to, and the message where nothing satisfies them."""

from __future__ import annotations

import contextlib
import gzip
import zlib

import pytest

from tests.support.wheels import make_wheel


def test_a_lock_is_written_once_and_checked(mill):
    assert mill.person.runs("lock", "--check").code == 7
    result = mill.person.runs("lock")
    assert result.out.splitlines()[0] == "pylock.toml: written, 8 packages"
    assert "  six 1.16.0 added" in result.out.splitlines()
    mill.index.asked.clear()
    assert mill.person.runs("lock").out == "pylock.toml: up to date, 8 packages\n"
    assert mill.person.runs("lock", "--check").code == 0
    mill.requires("six")
    result = mill.person.runs("lock", "--check", "-o", "json")
    assert (result.code, result.json["locks"][0]["state"]) == (7, "is older than the requirements")
    assert mill.index.asked == [], "a look asks no index"


def test_versions_stay_until_somebody_asks_for_newer_ones(mill):
    mill.person.runs("lock")
    mill.requires("six")
    (kept,) = mill.person.runs("lock", "-o", "json").json["locks"]
    assert kept["changes"] == []
    (moved,) = mill.person.runs("lock", "--upgrade", "-o", "json").json["locks"]
    assert moved["changes"] == ["six 1.16.0 → 1.17.0"]
    assert (moved["apis"], moved["python"]) == (["answer"], "3.11")
    six = next(package for package in moved["packages"] if package["name"] == "six")
    assert six == {
        "name": "six", "version": "1.17.0", "sha256": six["sha256"], "machine": None, "path": None,
    }  # fmt: skip
    assert len(six["sha256"]) == 64


def test_what_goes_to_docker_has_no_lock(mill):
    mill.configures(builder="docker")
    result = mill.person.runs("lock")
    nothing = "no API of this project has an image that is built without Docker\n"
    assert result.out == nothing + "  answer: image.builder says so\n"
    assert not mill.lock.exists()


def refused(mill, *requirements: str) -> str:
    """What `lock` and `build` say about requirements that cannot be locked; both say the same."""
    mill.requires(*requirements)
    result = mill.person.runs("lock")
    again = mill.person.runs("build")
    assert (result.code, again.code) == (1, 1), (result, again)
    assert result.err == again.err
    assert not mill.lock.exists()
    return result.err


def test_a_package_of_source_code_alone_is_named_with_the_ways_out(mill):
    (mill.index.folder / "sourceonly-1.0.tar.gz").write_bytes(b"source")
    words = refused(mill, "sourceonly==1.0")
    assert "sourceonly 1.0 has no wheel for Python 3.11 on linux/amd64" in words
    assert "pip wheel --no-deps sourceonly" in words
    assert "set image.builder to docker" in words


def test_a_package_without_a_wheel_for_one_of_the_platforms_is_named_with_it(mill):
    mill.configures(platforms=["linux/amd64", "linux/arm64"])
    make_wheel(mill.index.folder, "intel", "1.0", tag="cp311-cp311-manylinux_2_17_x86_64")
    words = refused(mill, "intel==1.0")
    assert "intel 1.0 has no wheel for Python 3.11 on linux/arm64" in words


def test_a_withdrawn_version_is_named_with_one_to_take_instead(mill):
    mill.index.yanked["six-1.16.0-py3-none-any.whl"] = "it bites"
    words = refused(mill, "six==1.16.0")
    assert "six 1.16.0 was withdrawn by its publisher: it bites" in words
    assert "such as 1.17.0" in words


def test_a_contradiction_names_both_sides(mill):
    make_wheel(mill.index.folder, "wants-new", "1.0", requires=["six>=1.17"])
    words = refused(mill, "wants-new", "six<1.17")
    assert "the requirements contradict each other for Python 3.11 on linux/amd64" in words
    assert {"wants-new", "six>=1.17", "six<1.17"} <= {w.strip(",.") for w in words.split()}


def test_a_package_or_version_that_is_not_there_is_no_contradiction(mill):
    for line, words in (
        ("nosuchpkg", "there is no package nosuchpkg (named in requirements.txt); no index"),
        ("six==0.0.1", "six has no version 0.0.1 for Python 3.11 on linux/amd64 (named in req"),
        (
            "six>=99",
            "six has no version >=99 for Python 3.11 on linux/amd64 (named in requirements",
        ),
    ):
        mill.requires(line)
        result = mill.person.runs("lock")
        assert (result.code, words in result.err) == (1, True), result
    assert "; only six<=1.17.0 is available. uv reports:" in result.err


def test_a_contradiction_with_the_runtime_says_that_it_is_the_runtimes(mill):
    words = refused(mill, "uvicorn<0.1")
    assert "predictor_base's own are the runtime's" in words


def test_an_index_that_is_not_there_is_told(mill, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    result = mill.person.runs("lock")
    assert (result.code, "a package index does not answer" in result.err) == (4, True), result


def test_the_settings_of_pip_are_used_and_none_of_them_is_in_any_layer(mill, monkeypatch, tmp_path):
    """Password of the index, CA bundle and proxy: looked for in every byte that is kept or pushed."""
    mill.index.password = "s3cret-of-the-index"
    home = tmp_path / "home"
    monkeypatch.delenv("PIP_INDEX_URL")
    (home / ".config/pip").mkdir(parents=True)
    address = mill.index.url.replace("//", "//user:s3cret-of-the-index@")
    (home / ".config/pip/pip.conf").write_text(f"[global]\nindex-url = {address}\n")
    bundle = tmp_path / "bundle-of-ours.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\ns3cret-of-the-ca\n-----END CERTIFICATE-----\n")
    monkeypatch.setenv("https_proxy", "http://user:s3cret-of-the-proxy@127.0.0.1:1")
    result = mill.person.runs("build", "-o", "json")
    assert result.code == 0, result
    found = list(everything_below(tmp_path / "cache"))
    assert len(found) > 20
    # Other tests have pushed there, too, and some of their layers only begin like gzip.
    store = mill.registry.log.parent / "data"
    pushed = everything_below(store, but=(zlib.error, OSError, EOFError))
    for content in (*found, *pushed, (result.out + result.err).encode()):
        for secret in (b"s3cret", b"bundle-of-ours", mill.index.url.encode()):
            assert secret not in content


def everything_below(folder, *, but=()):
    """The bytes of every file, and of what is packed in it; ``but`` are failures to unpack."""
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            yield content
            if content[:2] == b"\x1f\x8b":
                with contextlib.suppress(*but):
                    yield gzip.decompress(content)


@pytest.mark.parametrize("way", ["wheel", "uv"])
def test_a_project_may_bring_its_own_wheel(mill, way):
    wheel = make_wheel(mill.project / "wheels", "mine", "0.1", requires=["six"])
    prefix = "mine @ " if way == "uv" else ""
    mill.requires(f"{prefix}./wheels/{wheel.name}", "six")
    (locked,) = mill.person.runs("lock", "-o", "json").json["locks"]
    mine = next(package for package in locked["packages"] if package["name"] == "mine")
    assert mine["path"] == f"wheels/{wheel.name}"
