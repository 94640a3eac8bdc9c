"""Classes that live in modules, and what is packaged with them."""

from __future__ import annotations

import importlib
import os
import sys
import time

import pytest

from gitops_ml.capture.package import package
from gitops_ml.capture.packaged_class import keep_package
from gitops_ml.errors import Unpackageable, UsageError
from gitops_ml.packages.installed import tops_of

PREDICTOR = "class PythonPredictor:\n    def predict(self, payload):\n        return {body}\n"


@pytest.fixture
def folder(tmp_path, nobodys_settings, monkeypatch):
    """A folder of somebody's own modules, which are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and name.startswith(("own_", "predictor")):
            del sys.modules[name]


def written(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def files_of(found):
    return {
        path.relative_to(found.folder).as_posix(): path.read_text()
        for path in found.folder.rglob("*")
        if path.is_file()
    }


def test_a_module_comes_as_it_is_with_those_that_it_imports(folder):
    written(
        folder,
        {
            "own_serve.py": "import own_help\n" + PREDICTOR.format(body="own_help.f()"),
            "own_help.py": "from own_deep import g as f\n",
            "own_deep.py": "def g():\n    return 1\n",
            "own_other.py": "raise SystemExit\n",
        },
    )
    found = package("iris", importlib.import_module("own_serve").PythonPredictor)
    assert (found.path, found.class_name) == ("own_serve.py", "PythonPredictor")
    assert sorted(files_of(found)) == [
        "own_deep.py",
        "own_help.py",
        "own_serve.py",
        "requirements.txt",
    ]


def test_a_class_in_a_package_is_imported_from_it_and_the_package_comes_whole(folder):
    written(
        folder,
        {
            "own_pkg/__init__.py": "",
            "own_pkg/serve.py": "from .data import words\n" + PREDICTOR.format(body="words()"),
            "own_pkg/data.py": "import yaml\ndef words(): ...\n",
            "own_pkg/words.txt": "a b",
            "own_pkg/big.bin": "x" * ((1 << 20) + 1),
            "own_pkg/.hidden": "x",
        },
    )
    found = package("iris", importlib.import_module("own_pkg.serve").PythonPredictor)
    files = files_of(found)
    assert files["predictor.py"].startswith("from own_pkg.serve import PythonPredictor\n")
    assert {"own_pkg/data.py", "own_pkg/words.txt"} <= set(files)
    assert not {"own_pkg/big.bin", "own_pkg/.hidden"} & set(files)
    assert found.left_out[0].endswith("own_pkg/big.bin")
    assert "def predict" in found.source
    assert [line.partition("==")[0] for line in found.requirements.added] == ["pyyaml"]


def test_a_module_called_predictor_is_not_overwritten(folder):
    written(folder, {"predictor/__init__.py": PREDICTOR.format(body="1")})
    found = package("iris", importlib.import_module("predictor").PythonPredictor)
    assert found.path == "session_predictor.py"


def test_an_installed_class_is_a_requirement(folder):
    from requests import Session

    found = package("iris", Session)
    assert files_of(found)["predictor.py"].startswith("from requests.sessions import Session\n")
    assert any(line.startswith("requests==") for line in found.requirements.lines)


def test_a_module_of_no_package_is_refused_with_the_remedy(folder):
    site = folder / "site-packages"
    written(site, {"own_orphan.py": ""})
    sys.path.append(str(site))  # what the fixture adds is taken back with it
    written(folder, {"own_needs.py": "import own_orphan\n" + PREDICTOR.format(body="1")})
    kind = importlib.import_module("own_needs").PythonPredictor
    with pytest.raises(
        Unpackageable, match="own_orphan, which is installed here but belongs to no package"
    ):
        package("iris", kind)
    found = package("iris", kind, requirements=["orphanage==1"])
    assert found.requirements.lines == ("orphanage==1",)


def test_the_modules_of_a_distribution_are_told_from_its_files():
    files = ["pkg/__init__.py", "one.py", "fast.cpython-310-x86_64-linux-gnu.so", "../../bin/x",
             "pkg-1.0.dist-info/RECORD", "notes.txt"]  # fmt: skip
    assert tops_of(files) == {"pkg", "one", "fast"}


def test_equal_classes_have_equal_folders_and_old_ones_are_forgotten(folder):
    folders = []
    for number in (0, 0, *range(1, 13)):
        written(folder, {f"own_m{number}.py": PREDICTOR.format(body=str(number))})
        kind = importlib.import_module(f"own_m{number}").PythonPredictor
        folders.append(package("iris", kind).folder)
    assert folders[0] == folders[1]
    assert sum(each.is_dir() for each in set(folders)) == 10
    assert folders[-1].is_dir()


def test_a_package_in_the_cache_has_exactly_its_files_whatever_others_did_to_it(tmp_path):
    files = {"predictor.py": b"x = 1\n", "own/__init__.py": b"", "own/more.py": b"y = 1\n"}
    environ = {"GITOPS_ML_CACHE": str(tmp_path / "cache")}
    target, _ = keep_package("iris", files, environ=environ)
    (target / "pylock.toml").write_text("kept")
    (target / "predictor.py").write_bytes(b"x = 2\n")
    (target / "own/__init__.py").unlink()
    (target / "own/more.py").chmod(0o755)
    (target / "__pycache__").mkdir()
    (target / "__pycache__/predictor.cpython-311.pyc").write_bytes(b"poison")
    (target / "sitecustomize.py").write_bytes(b"poison")
    (target / "linked").symlink_to(tmp_path)
    (target / "link.py").symlink_to(tmp_path / "x.py")
    assert keep_package("iris", files, environ=environ)[0] == target
    left = {p.relative_to(target).as_posix(): p for p in target.rglob("*") if not p.is_dir()}
    assert left.keys() == {*files, "pylock.toml"}
    assert {path: left[path].read_bytes() for path in files} == files
    assert not any(path.stat().st_mode & 0o111 for path in left.values())
    target.rename(tmp_path / "moved")
    target.symlink_to(tmp_path / "moved")
    keep_package("iris", files, environ=environ)
    assert not target.is_symlink()


@pytest.mark.parametrize("name", ["", "..", "../x", "/x", "a/b", "a\\b", "a\0b"])
def test_a_package_is_never_kept_elsewhere(tmp_path, name):
    environ = {"GITOPS_ML_CACHE": str(tmp_path / "cache" / "deep")}
    with pytest.raises(UsageError, match="not a valid name for the folder of a package"):
        keep_package(name, {"predictor.py": b""}, environ=environ)
    assert not list(tmp_path.rglob("*.py"))


def test_what_others_are_writing_is_left_alone(folder):
    written(folder, {"own_l.py": PREDICTOR.format(body="1")})
    kind = importlib.import_module("own_l").PythonPredictor
    packages = package("iris", kind).folder.parent
    live, dead = packages / ".new-live", packages / ".new-dead"
    for number in range(12):
        (packages / f"p{number}").mkdir()
    live.mkdir()
    dead.mkdir()
    os.utime(live, (1, time.time() - 60))
    os.utime(dead, (1, 1))
    package("iris", kind)
    assert (live.is_dir(), dead.is_dir()) == (True, False)


def test_conda_packages_are_written(folder):
    written(folder, {"own_c.py": PREDICTOR.format(body="1")})
    found = package(
        "iris", importlib.import_module("own_c").PythonPredictor, conda_packages=["numpy=2.4"]
    )
    assert files_of(found)["conda-packages.txt"] == "numpy=2.4\n"


def test_a_class_inside_of_something_is_refused(folder):
    class Inside: ...

    with pytest.raises(Unpackageable, match="defined inside a class or function"):
        package("iris", Inside)


def test_requirements_are_a_list(folder):
    with pytest.raises(UsageError, match=r'requirements=\["numpy"\]'):
        package("iris", UsageError, requirements="numpy")


def test_a_password_among_the_requirements_is_refused_and_not_shown(folder):
    with pytest.raises(UsageError, match=r"pip\.conf") as refused:
        package("iris", UsageError, requirements=["x @ https://user:hunter2@example.org/x.whl"])
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("key.json", '{"private_key": "-----BEGIN PRIVATE KEY-----\\nbm90"}', "private_key"),
        ("settings.env", "DEBUG=1\nexport DB_PASSWORD=not-a-password-8h2k\n", "DB_PASSWORD"),
        ("more.yaml", "db:\n  password: correct-horse\n", "password"),
        ("client.py", "API_TOKEN = 'correct-horse-battery'\n", "API_TOKEN"),
        ("notes.md", "hf_" + "a1" * 17, ""),
    ],
)
def test_a_secret_beside_own_modules_is_refused(folder, file, content, named):
    written(folder, {"own_s/__init__.py": PREDICTOR.format(body="1"), f"own_s/{file}": content})
    with pytest.raises(Unpackageable, match=rf"own_s/{file} has a secret.*{named}"):
        package("iris", importlib.import_module("own_s").PythonPredictor)
    written(folder, {f"own_s/{file}": "DB_PASSWORD = os.environ['X']\n"})
    if file.endswith(".py"):
        package("iris", importlib.import_module("own_s").PythonPredictor)


def test_a_pointer_of_git_lfs_beside_own_modules_is_refused(folder):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 1\n"
    written(folder, {"own_l/__init__.py": PREDICTOR.format(body="1"), "own_l/data.bin": pointer})
    with pytest.raises(Unpackageable, match=r"own_l/data.bin is a pointer of Git LFS.*lfs pull"):
        package("iris", importlib.import_module("own_l").PythonPredictor)


def test_a_module_that_the_session_changed_is_refused(folder):
    written(folder, {"own_t.py": "LIMITS = {}\n" + PREDICTOR.format(body="LIMITS")})
    module = importlib.import_module("own_t")
    module.LIMITS["a"] = 1
    with pytest.raises(Unpackageable, match=r"LIMITS\['a'\] is missing in the package"):
        package("iris", module.PythonPredictor)
    written(folder, {"own_t.py": "LIMITS = {'a': 1}\n" + PREDICTOR.format(body="LIMITS['a']")})
    with pytest.raises(Unpackageable, match="predict is a function predict here"):
        package("iris", module.PythonPredictor)
