"""Which files the dependency steps read."""

from __future__ import annotations

import pytest

from gitops_ml.packages.local_files import (
    index_options,
    link_folders,
    needs_pip,
    pip_files,
    requirement_problems,
    shell_files,
)
from gitops_ml.packages.requirement_files import read_requirement_lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scikit-learn==1.9\nnumpy # fast\n", ()),
        ("--index-url https://x.example/simple\ngit+https://x.example/a.git\n", ()),
        ("torch @ https://x.example/torch.whl\n", ()),
        ("-r more.txt\n-c constraints.txt\n", ("constraints.txt", "more.txt")),
        ("--requirement=more.txt\n-rother.txt\n", ("more.txt", "other.txt")),
        ("./wheels/a-1-py3-none-any.whl ; os_name > 'a'\n", ("wheels/a-1-py3-none-any.whl",)),
        ("ours @ file:./lib\n", ("lib",)),
        ("-e ./lib[extra]\n--find-links wheels\n", ("lib", "wheels")),
        ("six \\\n  --hash=sha256:ab\n", ()),
        ("lib\\\n/\n", ("lib",)),
    ],
)  # fmt: skip
def test_local_paths_of_requirements_are_found(text: str, expected: tuple[str, ...]) -> None:
    texts = {"requirements.txt": text}
    assert pip_files("requirements.txt", read=texts.get) == tuple(
        sorted((*expected, "requirements.txt"))
    )


def test_nested_requirements_are_relative_to_their_own_file() -> None:
    texts = {
        "requirements.txt": "-r req/a.txt\n",
        "req/a.txt": "-r b.txt\n-r ../requirements.txt\n",
    }
    assert pip_files("requirements.txt", read=texts.get) == (
        "req/a.txt", "req/b.txt", "requirements.txt",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "folders", "problem"),
    [
        ("--find-links wheels", ("req/wheels", "wheels"), None),
        ("-f ./wheels", ("req/wheels", "wheels"), None),
        ("-f ../wheels", ("wheels",), None),
        ("-f ../../wheels", ("../wheels",), "names ../wheels, which leaves the project"),
        (
            "--find-links=/opt/wheels",
            ("/opt/wheels",),
            "names /opt/wheels, which leaves the project",
        ),
    ],
)
def test_a_folder_of_wheels_is_beside_the_file_or_in_the_project(line, folders, problem) -> None:
    texts = {"req/a.txt": f"{line}\n"}
    found = set(pip_files("req/a.txt", read=texts.get)) - {"req/a.txt"}
    assert found == set(folders)
    problems = list(requirement_problems(["req/a.txt"], read=texts.get, place=str))
    assert [problem or "", *map(str, problems)][-1].find(problem or "") >= 0
    assert len(problems) == (problem is not None)
    assert link_folders(texts["req/a.txt"]) == (line.replace("=", " ").split()[1],)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("-f https://x.example/wheels.html", ()),
        ("./my wheels/a-1-py3-none-any.whl", ()),
        ("./my lib/a-1.tar.gz", ("./my lib/a-1.tar.gz",)),
    ],
)
def test_what_only_pip_can_install_is_named(line: str, named: tuple[str, ...]) -> None:
    assert needs_pip("r.txt", read={"r.txt": f"numpy\n{line}\n"}.get) == named


def test_a_path_may_have_spaces_as_pip_reads_it() -> None:
    texts = {"r.txt": "./my wheels/a-1-py3-none-any.whl  --hash=sha256:0a\nb ; os_name > 'a'\n"}
    assert pip_files("r.txt", read=texts.get) == ("my wheels/a-1-py3-none-any.whl", "r.txt")
    wheel, other = read_requirement_lines("r.txt", read=texts.get)
    assert (wheel.path, wheel.name, other.name) == ("my wheels/a-1-py3-none-any.whl", "a", "b")


@pytest.mark.parametrize("line", [".", "-e .", ".[extra]", "-f 'wheels (1)'"])
def test_a_project_that_installs_itself_is_needed_whole(line: str) -> None:
    assert pip_files("requirements.txt", read={"requirements.txt": line}.get) == (".",)


def test_what_leaves_the_project_is_told() -> None:
    assert pip_files("r.txt", read={"r.txt": "../shared/lib\n"}.get) == ("../shared/lib", "r.txt")


PATHS = ("dependencies.sh", "pip.conf", "lib/a.py", "lib/b.py", "run.sh", "predictor.py")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("apt-get update && apt-get install -y libgomp1\n", ()),
        ("cp pip.conf ~/.config/pip/\n. ./run.sh\n", ("pip.conf", "run.sh")),
        ("# uses predictor.py\npython /app/lib/a.py\n", ("lib/a.py",)),
        ("cp -r lib/ /opt; cat lib/a.py\n", ("lib",)),
        ("pip install .\n", (".",)),
        ("cp *.conf /etc\n", (".",)),
    ],
)
def test_files_that_a_script_names_are_found(script: str, expected: tuple[str, ...]) -> None:
    assert shell_files(script, paths=PATHS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("six==1.17\n--index-url https://x.example/simple\n-f wheels\n", ()),
        ("./wheels/a-1-py3-none-any.whl\nours @ ./wheels/b-1-py3-none-any.whl\n", ()),
        ("-e .\n", (".",)),
        ("-r more.txt\n", ("./lib",)),
        ("./lib-1.0.tar.gz\n", ("./lib-1.0.tar.gz",)),
        ("git+https://me:s3cret@x.example/a.git#egg=a\n", ("git+https://x.example/a.git",)),
        ("a @ https://x.example/a-1-py3-none-any.whl ; os_name == 'posix'\n", ()),
            ("https://x.example/a-1.tar.gz\n", ("https://x.example/a-1.tar.gz",)),
            ("-e https://x.example/a-1-py3-none-any.whl\n",
             ("https://x.example/a-1-py3-none-any.whl",)),
        ],
)  # fmt: skip
def test_what_is_no_wheel_needs_pip(text: str, expected: tuple[str, ...]) -> None:
    texts = {"requirements.txt": text, "more.txt": "./lib[extra]\n"}
    found = needs_pip("requirements.txt", read=texts.get)
    assert tuple(name.removesuffix("[extra]") for name in found) == expected


def test_indexes_are_named_by_requirement_files_too() -> None:
    text = "-i https://a/simple\n--extra-index-url=https://b/simple # ours\nsix\n--trusted-host b\n"
    assert index_options(text) == (
        ("--index-url", "https://a/simple"),
        ("--extra-index-url", "https://b/simple"),
        ("--trusted-host", "b"),
    )


MALFORMED = {
    "six=1.16.0": "'six=1.16.0' is not a requirement that pip can read; did you mean six==1.16.0?",
    "numpy=1.26=py311": "did you mean numpy==1.26?",
    'six = "^1.16"': "is not a requirement that pip can read; write a name and a version",
    "six^1.16": "'six^1.16' is not a requirement",
    "scikit learn": "'scikit learn' is not a requirement",
    "six; python_versionn > '3'": "is not a requirement",
    "six; python_version > \u201c3\u201d": "is not a requirement",
    "six\u2010x==1": "is not a requirement",
    "six==1.16.0#pinned": "is not a requirement",
    "${SIX}": "is not a requirement",
    "six\0": "is not a requirement",
    "--frobnicate yes": "--frobnicate is not an option of a requirements file",
    "-c limits.txt": "includes limits.txt, which does not exist",
    "--requirement=more.txt": "includes more.txt, which does not exist",
}


@pytest.mark.parametrize(("line", "message"), MALFORMED.items(), ids=ascii)
def test_a_line_that_pip_cannot_read_is_a_problem_with_its_place(line: str, message: str) -> None:
    texts = {"r.txt": f"numpy==2.1.0\n\n{line}\n"}
    [problem] = requirement_problems(["r.txt"], read=texts.get, place=str)
    assert (problem.file, problem.line) == ("r.txt", 3)
    assert message in problem.message


@pytest.mark.parametrize(
    "line",
    [
        "six (==1.16.0)", "six===1.16.0", "six==1.*", "SIX ~= 1.16 # new", "six\t==\t1.16.0", "six[a, b]>1,<2",
        "six==1.16.0;python_version>'3'", "six @ https://x.example/six.whl", "git+https://x.example/a.git@main",
        "./wheels/a-1-py3-none-any.whl", "'./a b/a-1-py3-none-any.whl'", "lib/", "-e .", "-e ./lib", "-ilocal",
        "--index-url=https://x.example/simple", "--no-binary :all:", "--pre",
        "six==1 --hash=sha256:ab \\\n  --hash=sha256:cd",
        "--extra-index-url https://${TOKEN}@x.example/simple", "six==1 --config-settings=a=b", "-rr.txt",
    ],
    ids=ascii,
)  # fmt: skip
def test_what_pip_can_read_is_no_problem(line: str) -> None:
    texts = {"r.txt": f"{line}\n"}
    assert not [*requirement_problems(["r.txt"], read=texts.get, place=str)]
