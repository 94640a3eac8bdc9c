"""Build contexts: the same project gives the same hash anywhere, and any change another one."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gitops_ml.errors import InvalidDocument
from gitops_ml.image.content_hash import content_hash
from gitops_ml.image.context import build_inputs, read_context, read_runtime_files
from gitops_ml.system.project_files import HEAD, pointer_fault
from tests.image.test_content_hash import RECIPE
from tests.support.projects import predictor_spec, write_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gitops_ml.image.content_hash import ContentHash
    from gitops_ml.image.context import BuildContext

NAMES = st.text(st.sampled_from("abzÄß日 -_.'\""), min_size=1, max_size=6).filter(
    lambda name: name.strip(". ") and not name.startswith((".", "#")) and not name.endswith("~")
)
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "x/" + "+d/".join(parts) + "+f"),
    st.tuples(st.binary(max_size=20), st.booleans()),
    min_size=1,
    max_size=6,
)
Tree = dict[str, tuple[bytes, bool]]


def context_of(directory: Path, **changes: object) -> BuildContext:
    return read_context(directory, predictor=predictor_spec(**changes))


def hash_of(directory: Path) -> ContentHash:
    return content_hash(context_of(directory).inputs, recipe=RECIPE)


def names_in(context: BuildContext) -> list[str]:
    """The paths of a project's own files."""
    return [f.path.removeprefix("app/") for f in context.inputs if f.path.startswith("app/")]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "iris", {"lib/a.py": "A = 1\n", "run.sh": "echo\n"})


def plant(tree: Tree, *, seed: int, umask: int) -> Path:
    """``tree`` as a project in a new directory, in its own order, with its own times and owners."""
    chance = random.Random(seed)
    directory = Path(tempfile.mkdtemp(prefix=f"gm{seed}-"))
    previous = os.umask(umask)
    try:
        paths = list(tree)
        chance.shuffle(paths)
        write_project(directory)
        for path in paths:
            content, is_executable = tree[path]
            file = directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod((0o777 if is_executable else 0o666) & ~umask)
            os.utime(file, (chance.random() * 2e9, chance.random() * 2e9))
            if os.geteuid() == 0:
                os.chown(file, chance.randrange(60000), chance.randrange(60000))
        (directory / "latest").symlink_to("predictor.py")
    finally:
        os.umask(previous)
    return directory


@settings(max_examples=40, deadline=None)
@given(tree=TREES, seed=st.integers(0, 1000))
def test_place_order_times_owners_and_umask_do_not_matter(tree: Tree, seed: int) -> None:
    one, other = plant(tree, seed=seed, umask=0o022), plant(tree, seed=seed + 1, umask=0o077)
    try:
        assert hash_of(one) == hash_of(other)
    finally:
        shutil.rmtree(one)
        shutil.rmtree(other)


@settings(max_examples=40, deadline=None)
@given(tree=TREES, data=st.data())
def test_every_byte_path_and_exec_bit_matters(tree: Tree, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(tree)))
    content, is_executable = tree[path]
    at = data.draw(st.integers(0, len(content)))
    changes: dict[str, Tree] = {
        "a byte more": tree | {path: (content[:at] + b"\x7f" + content[at:], is_executable)},
        "the exec bit": tree | {path: (content, not is_executable)},
        "a file less": {name: value for name, value in tree.items() if name != path},
        "another name": {(n + "2" if n == path else n): value for n, value in tree.items()},
    }
    if content:
        last = bytes([content[-1] ^ 1])
        changes["one bit"] = tree | {path: (content[:-1] + last, is_executable)}
    trees = (tree, *changes.values())
    contents = [content for each in trees for content, _ in each.values()]
    assume(not any(pointer_fault(each[:HEAD]) for each in contents))  # is refused, as it should be
    directories = [plant(each, seed=1, umask=0o022) for each in trees]
    try:
        hashes = [hash_of(directory).hex for directory in directories]
        assert hashes[0] not in hashes[1:], dict(zip(changes, hashes[1:], strict=True))
    finally:
        for directory in directories:
            shutil.rmtree(directory)


def test_the_target_of_a_link_matters_and_its_content_counts_once(project: Path) -> None:
    (project / "latest").symlink_to("names.json")
    before = hash_of(project)
    (project / "latest").unlink()
    (project / "latest").symlink_to("./names.json")
    assert hash_of(project) != before


def test_a_relative_and_an_absolute_directory_are_the_same(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.parent)
    assert hash_of(Path("iris")) == hash_of(project)
    monkeypatch.chdir(project)
    assert hash_of(Path()) == hash_of(project)


def test_another_process_with_another_environment_finds_the_same_hash(project: Path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from tests.image.test_context import hash_of; print(hash_of(Path(sys.argv[2])).hex)"
    )
    environ = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo", "PATH": os.environ["PATH"]}
    root = Path(__file__).parents[2]
    output = subprocess.run(
        [sys.executable, "-c", script, str(root), str(project)],
        env=environ, cwd="/", capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert output.strip() == hash_of(project).hex


def test_the_runtime_is_among_the_inputs_and_a_project_cannot_hide_it(project: Path) -> None:
    before = {f for f in context_of(project).inputs if f.path.startswith("runtime/")}
    write_project(
        project, {"runtime/predictor_base/process/server.py": "", "predictor_base/app.py": ""}
    )
    after = context_of(project)
    assert "runtime/predictor_base/process/server.py" in {f.path for f in before}
    assert {f for f in after.inputs if f.path.startswith("runtime/")} == before
    assert "app/runtime/predictor_base/process/server.py" in {f.path for f in after.inputs}


def test_the_files_of_the_runtime_are_those_that_its_wheel_carries() -> None:
    """A checkout and an installation must make the same image."""
    import configparser

    parser = configparser.ConfigParser()
    parser.read(Path(__file__).parents[2] / "setup.cfg")
    carried = [w.strip() for w in parser["options.package_data"]["predictor_base"].split(",")]
    suffixes = (".py", ".txt", ".html", ".typed")
    # base images are made from the Dockerfiles; no predictor's image holds them
    others = {pattern for pattern in carried if not pattern.endswith(suffixes)}
    assert others == {"docker/*.Dockerfile"}


def test_an_image_gets_what_an_installation_of_the_runtime_gets() -> None:
    import configparser

    root = Path(__file__).parents[2]
    parser = configparser.ConfigParser()
    parser.read(root / "setup.cfg")
    installed = {
        line.split(";")[0].strip()
        for line in parser["options"]["install_requires"].splitlines()
        if not line.startswith("#")
    }
    lines = (root / "predictor_base/requirements.txt").read_text().splitlines()
    wanted = {line for line in lines if line and not line.startswith("#")}
    assert wanted
    assert wanted <= installed


def test_manifests_and_other_apis_stay_out(project: Path) -> None:
    write_project(project, {"gitops-ml.yaml": "name: p\n", "more.yaml": "- kind: TaskAPI\n"})
    write_project(project / "other")
    write_project(project, {"docs/api.yaml": "openapi: 3.1.0\n", "params.yaml": "- a: 1\n"})
    context = context_of(project)
    assert names_in(context) == [
        "docs/api.yaml", "lib/a.py", "names.json", "params.yaml", "predictor.py", "run.sh",
    ]  # fmt: skip
    assert [(entry.path, entry.reason) for entry in context.left_out] == [
        ("other", "it is another API's directory (api.yaml)")
    ]


def test_a_change_in_one_api_leaves_the_hash_of_its_neighbours(project: Path) -> None:
    other = write_project(project / "other")
    before = hash_of(project), hash_of(other)
    (other / "predictor.py").write_text("# changed\n")
    after = hash_of(project), hash_of(other)
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)


def test_another_apis_directory_can_be_brought_back(project: Path) -> None:
    write_project(project / "other")
    (project / ".gitopsmlignore").write_text("!other/\n")
    assert "other/predictor.py" in names_in(context_of(project))


def test_virtual_environments_stay_out_whatever_their_name(project: Path) -> None:
    write_project(project, {"env/pyvenv.cfg": "", "env/lib/x.py": "", "c/conda-meta/history": ""})
    assert {entry.path for entry in context_of(project).left_out} == {"c", "env"}


def test_an_env_file_goes_in_with_a_warning(project: Path) -> None:
    (project / ".env").write_text("A=1\n")
    context = context_of(project)
    assert ".env" in names_in(context)
    assert "where everyone who may pull the image can read it" in str(context.warnings[0])


def test_dependency_files_that_are_not_there_are_none(project: Path) -> None:
    (project / "requirements.txt").write_text("-r req/base.txt\n./lib\n")
    write_project(project, {"req/base.txt": "six\n"})
    context = context_of(project, system=("libgomp1",))
    found = context.dependencies
    assert (found.pip, found.conda, found.shell) == ("requirements.txt", None, None)
    assert found.system == ("libgomp1",)
    assert context.pip_files == ("lib", "req/base.txt", "requirements.txt")


def problems(directory: Path, **changes: object) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        context_of(directory, **changes)
    return [str(p).removeprefix(f"{directory}/") for p in caught.value.problems]


def test_what_the_manifest_names_must_be_there(project: Path) -> None:
    (project / ".gitopsmlignore").write_text("secret.py\nrequirements.txt\n")
    write_project(project, {"secret.py": "", "requirements.txt": ""})
    assert problems(project, path="secret.py", conda="env.txt") == [
        "env.txt: predictor.dependencies.conda names it, but there is no such file in the project",
        "requirements.txt: predictor.dependencies.pip names it, but it is left out by "
        ".gitopsmlignore:2: requirements.txt: add !requirements.txt there",
        "secret.py: predictor.path names it, but it is left out by "
        ".gitopsmlignore:1: secret.py: add !secret.py there",
    ]


def test_everything_that_cannot_enter_an_image_is_told_at_once(project: Path) -> None:
    (project / "absolute").symlink_to("/etc/passwd")
    (project / "outside").symlink_to("../secrets")
    (project / "up").symlink_to("lib/..")
    (project / "sly").symlink_to("hop/passwd")
    (project / "hop").symlink_to("../../../../../../../../etc")
    os.mkfifo(project / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(project / "socket"))
        (project / "cafe\u0301.txt").touch()
        Path(os.fsdecode(os.fsencode(project) + b"/caf\xe9.txt")).touch()
        (project / ".dockerignore").write_text("*.csv\na[\n")
        (project / ".cortexignore").write_bytes(b"\xff\n")
        found = problems(project)
    assert [re.sub(r"\(.*codec.*\)", "(…)", line) for line in found] == [
        ".cortexignore: cannot be read as UTF-8 text (…)",
        ".dockerignore:2:1: 'a[' is not a pattern that Docker accepts",
        "absolute: links to /etc/passwd, which is another place in the image: "
        "copy the file into the project, or ignore the link",
        "caf\\xe9.txt: its name is not UTF-8: rename it, or ignore it",
        "cafe\u0301.txt: its name is not in Unicode's composed form (NFC): rename it",
        "hop: links to ../../../../../../../../etc, which leaves the project: "
        "copy the file into the project, or ignore the link",
        "outside: links to ../secrets, which leaves the project: "
        "copy the file into the project, or ignore the link",
        "pipe: is a named pipe, which no image can hold: remove it, or ignore it",
        "sly: links to hop/passwd, which leaves the project: "
        "copy the file into the project, or ignore the link",
        "socket: is a socket, which no image can hold: remove it, or ignore it",
    ]


def test_what_cannot_enter_an_image_may_be_ignored(project: Path) -> None:
    os.mkfifo(project / "pipe")
    (project / "outside").symlink_to("/etc")
    (project / ".gitopsmlignore").write_text("pipe\noutside\n")
    assert "pipe" not in names_in(context_of(project))


POINTERS = {
    "v1": "version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 1\n",
    "old": "version https://hawser.github.com/spec/v1\noid sha256:0a\nsize 1\n",
    "annex": "/annex/objects/SHA256E-s4--0a.bin\n",
}


@pytest.mark.parametrize("text", POINTERS.values(), ids=POINTERS)
def test_a_pointer_to_a_large_file_is_not_taken_for_the_file(project: Path, text: str) -> None:
    (project / "model.bin").write_text(text)
    (fault,) = problems(project)
    assert re.fullmatch(
        r"model.bin: is a pointer of .*: run `git (lfs pull|annex get)`, or ignore it", fault
    )
    is_read = read_context(project, predictor=predictor_spec(), is_complete=False)
    assert "is a pointer of" in str(is_read.warnings[0])
    (project / ".gitopsmlignore").write_text("*.bin\n")
    assert context_of(project).inputs


def test_a_link_of_git_annex_is_a_pointer_and_a_text_about_pointers_is_none(project: Path) -> None:
    (project / "notes.md").write_text("# The format\n" + POINTERS["v1"])
    (project / "large.txt").write_text(POINTERS["v1"] + "x" * (1 << 15))
    assert context_of(project).inputs
    (project / "model.bin").symlink_to(".git/annex/objects/9f/K1/SHA256E-s4--0a.bin/x")
    assert problems(project) == [
        "model.bin: is a pointer of git-annex, not the file that it stands for: run `git annex get` and "
        "`git annex unlock`, or ignore it"
    ]


@pytest.fixture
def as_nobody() -> Iterator[Callable[[Path], None]]:
    """Makes a directory nobody's and the test with it: root may read everything."""
    if os.geteuid() != 0:
        yield lambda path: None
        return

    def become(path: Path) -> None:
        for place in (path, *path.rglob("*")):
            os.chown(place, 65534, 65534)
        os.seteuid(65534)

    yield become
    os.seteuid(0)


def test_unreadable_files_and_directories_are_told(as_nobody: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        project = write_project(Path(name), {"closed.txt": "x", "shut/file": "x"})
        (project / "closed.txt").chmod(0)
        as_nobody(project)
        remedy = "cannot be read (Permission denied): make it readable, or ignore it"
        assert problems(project) == [f"closed.txt: {remedy}"]
        (project / "shut").chmod(0)
        try:
            assert problems(project) == [f"shut: {remedy}"]
        finally:
            (project / "shut").chmod(0o755)


def test_paths_that_no_system_call_takes_are_told(project: Path) -> None:
    home = Path.cwd()
    try:
        os.chdir(project)
        for _ in range(20):
            os.mkdir("d" * 210)
            os.chdir("d" * 210)
    finally:
        os.chdir(home)
    found = problems(project)
    assert len(found) == 1
    assert "File name too long" in found[0]
    subprocess.run(["rm", "-rf", "d" * 210], cwd=project, check=True)


def test_a_context_is_streamed_by_name_and_not_by_content(project: Path) -> None:
    (project / "latest").symlink_to("names.json")
    (project / "run.sh").chmod(0o700)
    context = context_of(project)
    inputs = build_inputs(context, dockerfile="FROM x\n", settings={"pip.conf": b"[global]\n"})
    found = {entry.path: (entry.is_executable, entry.source) for entry in inputs}
    assert next(iter(found)) == "Dockerfile"
    assert found["settings/pip.conf"] == (False, b"[global]\n")
    assert found["app/run.sh"] == (True, project / "run.sh")
    assert found["app/names.json"] == (False, project / "names.json")
    assert found["app/latest"] == (False, "names.json")


def test_a_password_in_whatever_pip_reads_is_refused_with_its_line_and_not_shown(
    project: Path,
) -> None:
    secret = "https://user:hunter2@packages.example/simple"
    write_project(
        project,
        {
            "requirements.txt": f"--index-url {secret}\n-r more/all.txt\n-c pins.txt\n",
            "more/all.txt": f"# ours\nnumpy @ {secret}/numpy.whl\n",
            "pins.txt": f"-i {secret}\n",
            "conda-packages.txt": f"{secret}/a.conda\n",
            "unread.txt": f"{secret}\n",
        },
    )
    found = problems(project)
    places = {line.partition(": ")[0].removeprefix(f"{project}/") for line in found}
    assert places == {
        "requirements.txt:1:1", "more/all.txt:2:1", "pins.txt:1:1", "conda-packages.txt:1:1",
    }  # fmt: skip
    assert "hunter2" not in str(found)
    assert all("pip.conf" in line for line in found)


def test_variables_in_the_place_of_a_password_are_none(project: Path) -> None:
    text = "--index-url https://${NAME}:${PASSWORD}@packages.example/simple\nnumpy\n"
    write_project(project, {"requirements.txt": text})
    assert "requirements.txt" in names_in(context_of(project))


@pytest.mark.parametrize("name", ["cache", "deep/er/c [1]*"])
def test_our_cache_in_the_project_never_enters_an_image(project: Path, name: str) -> None:
    before = names_in(context_of(project))
    files = {f"{name}/answers.sqlite": "x", "deep/a.py": "", ".gitopsmlignore": "!*\n"}
    write_project(project, files)
    context = read_context(project, predictor=predictor_spec(), cache=project / name)
    assert "deep/a.py" in names_in(context)
    assert not [path for path in names_in(context) if path.startswith(f"{name}/")]
    assert set(before) <= set(names_in(context))
    assert [(each.path, each.reason) for each in context.left_out] == [
        (name, "it is the cache of gitops-ml")
    ]


def test_files_of_the_runtime_that_were_read_before_are_the_same(project):
    shared = read_runtime_files()
    found = read_context(project, predictor=predictor_spec(), runtime=shared)
    assert found == read_context(project, predictor=predictor_spec())
    assert set(shared.inputs) <= set(found.inputs)
