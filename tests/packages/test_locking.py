"""Locks made by the real uv from an index of our own: up to date, stale, and impossible."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from packaging.pylock import PackageWheel
from uv import find_uv_bin

from gitops_ml.errors import GitopsMlError, InvalidDocument, Refused, ServerFailed, UsageError
from gitops_ml.image.context import read_context
from gitops_ml.image.planner import lock_facts
from gitops_ml.oci.layers import write_layer
from gitops_ml.packages.index import IndexSettings, PackageFile, PackageIndex
from gitops_ml.packages.lock_file import LockedPackage
from gitops_ml.packages.locking import (
    LockFacts,
    LockOutcome,
    _public_address,
    ensure_lock,
    lock_dependencies,
    read_lock,
)
from gitops_ml.packages.resolver import Resolver
from gitops_ml.packages.wheel_store import WheelStore
from tests.support.oci import silent
from tests.support.projects import predictor_spec, write_project
from tests.support.wheels import PackageServer, make_wheel, package_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from gitops_ml.packages.wheel_store import Wheel
    from gitops_ml.system.progress import Progress


@dataclass
class Project:
    """A project and its index, without settings of the user."""

    folder: Path
    index: PackageServer
    environ: dict[str, str]
    platforms: tuple[str, ...] = ("linux/amd64",)

    def facts(self) -> LockFacts:
        context = read_context(self.folder, predictor=predictor_spec())
        facts = lock_facts(
            context, predictor_type="python", python="3.11", platforms=self.platforms
        )
        # the runtime's own requirements are in no index of a test
        return LockFacts(
            project=facts.project, requirements=facts.requirements, runtime=(), python="3.11",
            platforms=facts.platforms, inputs=facts.inputs, files=facts.files,
        )  # fmt: skip

    def ensure(self, **changes: bool) -> LockOutcome:
        return ensure_lock(self.facts(), environ=self.environ, progress=silent, **changes)

    def fetch(
        self,
        packages: Sequence[LockedPackage],
        store: Path,
        environ: Mapping[str, str] | None = None,
        *,
        files: Sequence[str] = (),
        progress: Progress = silent,
    ) -> tuple[Wheel, ...]:
        return WheelStore(store, environ=self.environ if environ is None else environ).fetch(
            packages, python="3.11", platform="linux/amd64", project=self.folder, files=files,
            progress=progress,
        )  # fmt: skip

    def requires(self, *lines: str) -> None:
        (self.folder / "requirements.txt").write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    # Not four times, as for an index on the web; but what is lost once on a busy machine is asked for again.
    monkeypatch.setenv("UV_HTTP_RETRIES", "1")
    with package_server(tmp_path / "index") as index:
        environ = {"HOME": str(tmp_path), "PIP_INDEX_URL": index.url}
        folder = write_project(tmp_path / "iris", {"requirements.txt": "alpha\n"})
        make_wheel(index.folder, "alpha", "1.0", requires=["beta"])
        make_wheel(index.folder, "beta", "2.0")
        yield Project(folder, index, environ)


def versions(outcome: LockOutcome) -> list[str]:
    return [f"{package.name} {package.version}" for package in outcome.lock.packages]


def test_a_lock_is_made_once_and_kept_until_the_requirements_change(project: Project) -> None:
    first = project.ensure()
    assert versions(first) == ["alpha 1.0", "beta 2.0"]
    assert first.is_written
    assert first.changes == ("alpha 1.0 added", "beta 2.0 added")
    assert read_lock(project.facts()) == first.lock
    project.index.asked.clear()
    again = project.ensure()
    assert (again.lock, again.is_written, project.index.asked) == (first.lock, False, [])

    make_wheel(project.index.folder, "gamma", "1.0")
    make_wheel(project.index.folder, "beta", "3.0")
    project.requires("alpha", "gamma")
    third = project.ensure()
    assert versions(third) == ["alpha 1.0", "beta 2.0", "gamma 1.0"], "what can stay stays"
    assert third.changes == ("gamma 1.0 added",)


def test_gitops_ml_lock_upgrades_when_asked_to(project: Project) -> None:
    project.ensure()
    make_wheel(project.index.folder, "beta", "3.0")
    outcome = lock_dependencies(
        project.facts(), environ=project.environ, upgrade=True, progress=silent
    )
    assert outcome.changes == ("beta 2.0 → 3.0",)


def edit(project: Project, old: str, new: str) -> None:
    path = project.folder / "pylock.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def as_other(project: Project, name: str, other: str) -> None:
    """Write in the lock a package as another one, in each place that names it."""
    name, version = name.split()
    other, new = other.split()
    edit(project, f'"{name}"\nversion = "{version}"', f'"{other}"\nversion = "{new}"')
    edit(project, f"{name}-{version}-py3", f"{other}-{new}-py3")


def with_another(project: Project) -> None:
    wheels = f'[{{ path = "bad-1.0-py3-none-any.whl", hashes = {{ sha256 = "{"e" * 64}" }} }}]'
    bad = f'[[packages]]\nname = "bad"\nversion = "1.0"\nwheels = {wheels}\n\n'
    edit(project, '[[packages]]\nname = "beta"', f'{bad}[[packages]]\nname = "beta"')


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda project: as_other(project, "alpha 1.0", "alpha 0.9"),
         r"alpha 0.9 \(line 13\) is not >=1, as requirements.txt:1"),
        (with_another, r"bad 1.0 \(line 19\) is required by nothing"),
        (lambda project: as_other(project, "beta 2.0", "gamma 2.0"),
         r"it lacks beta, which alpha 1.0 \(line 13\) requires"),
        (lambda project: as_other(project, "alpha 1.0", "aleph 1.0"),
         "it lacks alpha, which requirements.txt:1 requires"),
        (lambda project: edit(project, 'dependencies = [{ name = "beta" }]\n', ""),
         "does not name what its packages require"),
    ],
)  # fmt: skip
def test_a_lock_that_is_not_what_the_requirements_come_to_is_not_up_to_date(
    project: Project, harm: Callable[[Project], None], sentence: str
) -> None:
    project.requires("alpha>=1")
    before = project.ensure().lock
    harm(project)
    project.index.asked.clear()
    with pytest.raises(UsageError, match=rf"{sentence}.*: run `gitops-ml lock`"):
        project.ensure(frozen=True)
    assert project.index.asked == [], "no index is asked"
    assert project.ensure().lock == before, "without --frozen it is made again"


def test_a_lock_names_what_each_package_requires_on_which_machine(project: Project) -> None:
    make_wheel(project.index.folder, "only-arm", "1.0")
    marker = 'only-arm; platform_machine == "aarch64"'
    make_wheel(project.index.folder, "alpha", "1.1", requires=["beta", marker])
    project.platforms = ("linux/amd64", "linux/arm64")
    text = project.ensure().path.read_text()
    arm = "platform_machine == 'aarch64'"
    assert (
        f'dependencies = [{{ name = "beta" }}, {{ name = "only-arm", marker = "{arm}" }}]\n' in text
    )
    assert project.ensure(frozen=True).lock.packages[0].requires_on("linux/amd64") == ("beta",)


def hash_of(project: Project, name: str) -> str:
    (wheel,) = project.index.folder.glob(f"{name}-*.whl")
    return f"--hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


OTHER = f"--hash=sha256:{'0' * 64}"


def test_hashes_of_the_requirements_are_kept_to(project: Project) -> None:
    alpha, beta = hash_of(project, "alpha"), hash_of(project, "beta")
    make_wheel(project.index.folder, "beta", "2.0", tag="cp311-cp311-manylinux_2_17_x86_64")
    project.requires(f"alpha==1.0 {alpha} {OTHER}", f"beta==2.0 {beta}")
    chosen = {package.name: package.sha256 for package in project.ensure().lock.packages}
    assert f"--hash=sha256:{chosen['beta']}" == beta, "of two files the one whose hash is named"
    project.index.tells_hashes = False
    assert f"--hash=sha256:{lock_again(project)['beta']}" == beta
    edit(project, chosen["beta"], "0" * 64)
    with pytest.raises(UsageError, match=r"beta 2.0 \(line 19\) has none of the hashes"):
        project.ensure(frozen=True)


def lock_again(project: Project) -> dict[str, str]:
    lock = lock_dependencies(project.facts(), environ=project.environ, progress=silent).lock
    return {package.name: package.sha256 for package in lock.packages}


@pytest.mark.parametrize("tells_hashes", [True, False])
def test_a_file_with_another_hash_is_refused_as_by_pip(
    project: Project, tells_hashes: bool
) -> None:
    project.index.tells_hashes = tells_hashes
    wheel = make_wheel(project.folder / "wheels", "mine", "0.1")
    project.requires(f"alpha==1.0 {OTHER}", f"beta==2.0 {OTHER}", f"./wheels/{wheel.name} {OTHER}")
    words = refusal(project)
    for file in ("alpha-1.0-py3-none-any.whl", "beta-2.0-py3-none-any.whl", f"wheels/{wheel.name}"):
        assert f"{file} has the sha256 " in words
    assert words.count(f"the requirements name {'0' * 64}") == 3


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["alpha==1.0 {alpha}", "beta"], r"requirements.txt:2: beta has no --hash; another"),
        (["alpha>=1.0 {alpha}", "beta==2.0 {beta}"], "requirements.txt:1: alpha .*one version"),
        (["alpha==1.* {alpha}", "beta==2.0 {beta}"], "requirements.txt:1: alpha .*one version"),
        (["alpha==1.0 {alpha}"], "beta 2.0, which alpha requires, has no --hash; another"),
        (["alpha==1.0 --hash=sha512:ab", "beta==2.0 {beta}"], "alpha has no --hash=sha256"),
        (["alpha==1.0 {alpha}", "alpha==1.0 --hash=sha256:00", "beta==2.0 {beta}"],
         "no one hash in all of their lines"),
    ],
)  # fmt: skip
def test_some_hashes_want_all_of_them_as_for_pip(
    project: Project, lines: list[str], sentence: str
) -> None:
    hashes = {name: hash_of(project, name) for name in ("alpha", "beta")}
    project.requires(*(line.format(**hashes) for line in lines))
    with pytest.raises(GitopsMlError, match=sentence):
        project.ensure()


def test_ci_resolves_nothing(project: Project) -> None:
    with pytest.raises(UsageError, match=r"pylock.toml is not there: run `gitops-ml lock`"):
        project.ensure(frozen=True)
    project.ensure()
    assert project.ensure(frozen=True)
    project.requires("alpha", "beta<2")
    with pytest.raises(UsageError, match="is older than the requirements"):
        project.ensure(frozen=True)


def test_each_platform_gets_its_own_wheel_and_markers_are_the_targets(project: Project) -> None:
    for machine in ("x86_64", "aarch64"):
        make_wheel(
            project.index.folder, "native", "1.0", tag=f"cp311-cp311-manylinux_2_17_{machine}"
        )
    make_wheel(project.index.folder, "only-arm", "1.0")
    make_wheel(project.index.folder, "only-windows", "1.0")
    project.requires(
        "native", 'only-arm; platform_machine == "aarch64"', 'only-windows; os_name == "nt"',
        'beta; python_version == "3.11"',
    )  # fmt: skip
    project.platforms = ("linux/amd64", "linux/arm64")
    lock = project.ensure().lock

    def of(platform: str) -> list[str]:
        return [package.name for package in lock.packages_for(platform)]

    assert of("linux/amd64") == ["beta", "native"]
    assert of("linux/arm64") == ["beta", "native", "only-arm"]
    natives = [package for package in lock.packages if package.name == "native"]
    assert [package.machine for package in natives] == ["aarch64", "x86_64"]
    assert len({package.sha256 for package in natives}) == 2


def test_a_wheel_of_the_project_is_locked_by_its_bytes(project: Project) -> None:
    wheel = make_wheel(project.folder / "wheels", "mine", "0.1", requires=["beta"])
    project.requires(f"./wheels/{wheel.name}")
    outcome = project.ensure()
    mine = next(package for package in outcome.lock.packages if package.name == "mine")
    assert mine.path == f"wheels/{wheel.name}"
    assert f'path = "wheels/{wheel.name}"' in outcome.path.read_text()
    make_wheel(project.folder / "wheels", "mine", "0.1", files={"mine.py": "other = 1\n"})
    with pytest.raises(UsageError, match="is older than the requirements"):
        project.ensure(frozen=True)


@pytest.mark.parametrize(
    "line", ["./wheels/{}", "wheels/{}", "file:./wheels/{}", "file:wheels/{}",
             "mine @ file:./wheels/{}", "mine @ file:wheels/{}", "./wheels/../wheels/{}"],
)  # fmt: skip
def test_a_wheel_of_the_project_may_be_named_in_each_way_that_pip_takes(
    project: Project, line: str
) -> None:
    wheel = make_wheel(project.folder / "wheels", "mine", "0.1", requires=["beta"])
    project.requires(line.format(wheel.name))
    lock = project.ensure().lock
    assert [(p.name, p.path) for p in lock.packages] == [
        ("beta", ""), ("mine", f"wheels/{wheel.name}"),
    ]  # fmt: skip
    assert project.ensure(frozen=True).lock == lock


def test_a_file_of_a_server_that_is_included_is_refused_before_it_is_asked_for(
    project: Project,
) -> None:
    project.requires("beta", f"-r {project.index.url}/requirements.txt")
    with pytest.raises(UsageError, match=r"requirements.txt:2 includes http.*copy it into"):
        project.ensure()
    assert project.index.asked == []


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "html"])
def test_an_index_that_tells_no_hashes_is_asked_for_the_files(
    project: Project, as_json: bool
) -> None:
    lock = project.ensure().lock
    (project.folder / "pylock.toml").unlink()
    project.index.as_json, project.index.tells_hashes = as_json, False
    assert project.ensure().lock == lock


def refusal(project: Project, error: type[GitopsMlError] = GitopsMlError) -> str:
    with pytest.raises(error) as caught:
        project.ensure()
    assert not (project.folder / "pylock.toml").exists()
    return str(caught.value)


def test_a_package_without_a_wheel_is_named_with_the_ways_out(project: Project) -> None:
    (project.index.folder / "sourceonly-1.0.tar.gz").write_bytes(b"source")
    project.requires("sourceonly==1.0")
    words = refusal(project)
    assert words.startswith("sourceonly 1.0 has no wheel for Python 3.11 on linux/amd64")
    assert "pip wheel --no-deps sourceonly" in words
    assert "image.builder to docker" in words


def test_a_package_without_a_wheel_for_the_platform_is_named(project: Project) -> None:
    make_wheel(project.index.folder, "windows", "1.0", tag="cp311-cp311-win_amd64")
    project.requires("windows==1.0")
    assert refusal(project).startswith("windows 1.0 has no wheel for Python 3.11 on linux/amd64")


def test_a_yanked_version_is_named_with_the_reason_and_one_to_take_instead(
    project: Project,
) -> None:
    wheel = make_wheel(project.index.folder, "beta", "1.0")
    project.index.yanked[wheel.name] = "it deletes files"
    project.requires("beta==1.0")
    assert refusal(project) == (
        "beta 1.0 was withdrawn by its publisher: it deletes files. Ask for another version, such "
        "as 2.0; if it has to be this one, put beta-1.0-py3-none-any.whl into the project and "
        "name it in the requirements as ./wheels/beta-1.0-py3-none-any.whl"
    )


def test_a_contradiction_is_told_with_both_sides(project: Project) -> None:
    make_wheel(project.index.folder, "beta", "1.0")
    make_wheel(project.index.folder, "alpha", "1.0", requires=["beta>=2"])
    project.requires("alpha", "beta<2")
    words = refusal(project)
    assert words.startswith("the requirements contradict each other for Python 3.11")
    assert {"alpha", "beta>=2", "beta<2"} <= {word.strip(",.") for word in words.split()}


def test_a_package_that_nobody_has_is_named(project: Project) -> None:
    project.requires("no-such-thing")
    assert "no-such-thing" in refusal(project)


def test_a_folder_that_only_pip_reads_is_named_with_the_way_out(project: Project) -> None:
    project.requires("--find-links wheels", "a-package-of-no-index==1")
    assert (
        "--find-links (wheels) is for pip: put a wheel into the project and name it in the requirements as "
        "./wheels/<file>.whl" in refusal(project)
    )


def test_a_page_of_wheels_is_read_and_each_wheel_is_locked_by_its_hash(
    project: Project, tmp_path: Path
) -> None:
    with package_server(tmp_path / "page") as page:
        page.as_json = page.tells_hashes = False
        wheel = make_wheel(page.folder, "gamma", "1.0+cpu")
        project.requires(f"-f {page.url}/gamma", "gamma==1.0+cpu")
        (package,) = project.ensure().lock.packages
        (fetched,) = project.fetch([package], tmp_path / "store", files=["requirements.txt"])
    assert fetched.path.name == wheel.name
    assert package.file.startswith(page.url.removesuffix("/simple"))
    assert package.sha256 == hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "line",
    [
        "{url}",
        "gamma @ {url}",
        "gamma @ {url}#sha256={sha256}",
        "gamma @ {url} ; python_version>'3'",
    ],
)
def test_a_wheel_by_its_address_is_locked_and_fetched_by_its_hash(
    project: Project, tmp_path: Path, line: str
) -> None:
    with package_server(tmp_path / "page") as page:
        wheel = make_wheel(page.folder, "gamma", "1.0", requires=["beta"])
        url = f"{page.url.removesuffix('/simple')}/files/{wheel.name}"
        sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
        project.requires(line.format(url=url, sha256=sha256))
        lock = project.ensure().lock
        (package,) = (each for each in lock.packages if each.name == "gamma")
        assert "beta" in {each.name for each in lock.packages}
        assert project.ensure().is_written is False  # it is what the requirements come to
        (fetched,) = project.fetch([package], tmp_path / "store", files=["requirements.txt"])
        assert (fetched.path.name, package.sha256, package.file) == (wheel.name, sha256, url)
        make_wheel(page.folder, "gamma", "1.0", files={"gamma/__init__.py": "other"})
        with pytest.raises(GitopsMlError, match="sha256 of the lock"):
            project.fetch([package], tmp_path / "other", files=["requirements.txt"])


def test_code_from_a_repository_is_refused_with_a_way_out(project: Project) -> None:
    project.requires("thing @ git+https://127.0.0.1:9/nobody/thing")
    assert "only packages of an index and wheels of the project" in refusal(project)


def test_a_private_index_gets_the_credentials_of_its_address_and_no_file_holds_them(
    project: Project,
) -> None:
    project.index.password = "s3cret-of-the-index"
    address = project.index.url
    words = refusal(project)
    assert "s3cret" not in words
    project.environ["PIP_INDEX_URL"] = address.replace("//", "//user:s3cret-of-the-index@")
    outcome = project.ensure()
    assert versions(outcome) == ["alpha 1.0", "beta 2.0"]
    for path in project.folder.rglob("*"):
        if path.is_file():
            assert b"s3cret" not in path.read_bytes()


def test_a_wrong_password_is_told_without_telling_it(project: Project) -> None:
    project.index.password = "right"
    url = project.index.url.replace("//", "//user:s3cret-but-wrong@")
    project.environ["PIP_INDEX_URL"] = url
    assert "s3cret" not in refusal(project)


def test_a_lock_that_was_edited_is_refused_with_its_place(project: Project) -> None:
    path = project.ensure().path
    path.write_text(path.read_text().replace("beta-2.0", "beta-2.1"))
    with pytest.raises(
        InvalidDocument, match=r"pylock.toml:19:1: it is not .*Version in 'beta-2.1-py3"
    ):
        project.ensure()
    outcome = lock_dependencies(project.facts(), environ=project.environ, progress=silent)
    assert versions(outcome) == ["alpha 1.0", "beta 2.0"], "`gitops-ml lock` mends it"


def test_wheels_are_fetched_by_hash_once_and_other_bytes_are_refused(
    project: Project, tmp_path: Path
) -> None:
    lock = project.ensure().lock
    project.index.asked.clear()

    store = tmp_path / "store"
    assert len(project.fetch(lock.packages, store)) == 2
    asked = len(project.index.asked)
    assert len(project.fetch(lock.packages, store)) == 2
    assert len(project.index.asked) == asked, "the second time no index is read"
    make_wheel(project.index.folder, "beta", "2.0", files={"beta.py": "replaced = True\n"})
    changed = tuple(
        LockedPackage(p.name, p.version, "0" * 64) for p in lock.packages if p.name == "beta"
    )
    with pytest.raises(GitopsMlError, match=r"beta 2\.0: no index has a file with the sha256"):
        project.fetch(changed, store)


def flipped(path: Path) -> None:
    """Other bytes of the same length and date."""
    facts, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def another_wheel(path: Path) -> None:
    made = make_wheel(path.parent / "made", "beta", "2.0", files={"beta.py": "poison = True\n"})
    made.replace(path)


def a_link(path: Path) -> None:
    path.rename(path.with_name("else"))
    path.symlink_to("else")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder_elsewhere(path: Path) -> None:
    elsewhere = path.parent.parent.parent / "elsewhere"
    path.parent.rename(elsewhere)
    flipped(elsewhere / path.name)
    path.parent.symlink_to(elsewhere)


@pytest.mark.parametrize("harm", [flipped, another_wheel, a_link, a_pipe, a_folder_elsewhere])
def test_a_poisoned_wheel_in_the_cache_is_replaced_and_reported_or_refused(
    project: Project, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    (package,) = (p for p in project.ensure().lock.packages if p.name == "beta")
    output: list[str] = []

    def fetch(environ: Mapping[str, str]) -> Wheel:
        return project.fetch([package], tmp_path / "store", environ, progress=output.append)[0]

    path = fetch(project.environ).path
    output.clear()
    harm(path)
    no_index = {"HOME": str(tmp_path), "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    with pytest.raises(ServerFailed):
        fetch(no_index)
    if harm is not a_folder_elsewhere:
        assert f"warning: {path} in the cache is not beta 2.0" in output[0]
        assert package.sha256 in output[0]
    wheel = fetch(project.environ)
    assert wheel.path == path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == package.sha256
    assert not path.is_symlink()
    assert not path.parent.is_symlink()


def test_what_is_packed_is_what_was_hashed_although_another_file_takes_its_name(
    project: Project, tmp_path: Path
) -> None:
    from gitops_ml.packages.wheels import Scheme, wheel_entries

    wheels = project.fetch(project.ensure().lock.packages, tmp_path / "store")
    before, after = io.BytesIO(), io.BytesIO()
    scheme = Scheme("opt/venv", "3.11")
    write_layer(wheel_entries([wheel.file for wheel in wheels], scheme=scheme), before)
    for wheel in wheels:
        new = make_wheel(tmp_path / "made", "poison")
        new.replace(wheel.path)
    write_layer(wheel_entries([wheel.file for wheel in wheels], scheme=scheme), after)
    assert b"poison" not in after.getvalue()
    assert before.getvalue() == after.getvalue()


@pytest.mark.parametrize("link", ["file:///etc/passwd", "ftp://x.org/x.whl", "http:///x.whl"])
def test_an_index_cannot_lead_to_a_file_of_this_machine(project: Project, link: str) -> None:
    resolver = resolver_of(project)
    file = PackageWheel(name="x-1-py3-none-any.whl", url=link, hashes={"sha256": "a" * 64})
    with pytest.raises(ServerFailed, match="a file that cannot be used"):
        resolver._file(file)


def test_a_file_name_of_an_index_leads_nowhere(project: Project) -> None:
    url = "http://x.org/x-1-py3-none-any%2F..%2F..%2Fy.whl"
    with pytest.raises(ServerFailed, match="a file that cannot be used"):
        resolver_of(project)._file(PackageWheel(url=url, hashes={"sha256": "a" * 64}))


def resolver_of(project: Project) -> Resolver:
    return Resolver(
        project=project.folder, python="3.11", platform="linux/amd64",
        settings=IndexSettings.from_environ(project.environ),
    )  # fmt: skip


def test_platforms_that_no_wheel_is_for_are_refused(project: Project) -> None:
    project.platforms = ("linux/riscv64",)
    with pytest.raises(UsageError, match="linux/riscv64"):
        project.facts()


def test_an_index_that_says_no_is_refused(project: Project, tmp_path: Path) -> None:
    project.index.password = "x"
    index = PackageIndex(IndexSettings.from_environ(project.environ))
    url = project.index.url.replace("/simple", "/files/beta-2.0-py3-none-any.whl")
    with pytest.raises(Refused, match="refused the credentials"):
        index.download(PackageFile(filename="beta-2.0-py3-none-any.whl", url=url), tmp_path)


def test_an_image_is_made_from_another_index_than_the_lock(
    project: Project, tmp_path: Path
) -> None:
    outcome = project.ensure()
    text = outcome.path.read_text()
    with package_server(tmp_path / "mirror") as mirror:
        for wheel in project.index.folder.iterdir():
            shutil.copy(wheel, mirror.folder)
        project.index.asked.clear()
        packages, environ = project.ensure(frozen=True).lock.packages, {"PIP_INDEX_URL": mirror.url}
        wheels = project.fetch(packages, tmp_path / "store", environ)
        assert [wheel.sha256 for wheel in wheels] == [p.sha256 for p in outcome.lock.packages]
        assert mirror.asked
    assert project.index.asked == [], "only the configured index is asked, not that of the lock"
    assert outcome.path.read_text() == text


def test_a_server_that_only_a_lock_names_is_asked_for_nothing(
    project: Project, tmp_path: Path
) -> None:
    project.ensure()
    with package_server(tmp_path / "evil") as evil:
        edit(project, project.index.url.removesuffix("/simple"), evil.url.removesuffix("/simple"))
        lock = project.ensure(frozen=True).lock
        assert evil.url.removesuffix("simple") in lock.packages[0].file
        project.fetch(lock.packages, tmp_path / "store")
        assert evil.asked == []


def test_a_lock_holds_no_secret_and_no_path_of_this_machine(
    project: Project, tmp_path: Path
) -> None:
    token = "s3cret-in-a-path"
    project.environ["PIP_INDEX_URL"] = project.index.url.replace("//", f"//ann:{token}@")
    project.environ["PIP_FIND_LINKS"] = str(tmp_path / "own")
    make_wheel(tmp_path / "own", "delta", "1.0")
    project.requires("alpha", "delta")
    text = project.ensure().path.read_text()
    assert token not in text
    assert "ann" not in text
    assert str(tmp_path) not in text
    assert 'path = "delta-1.0-py3-none-any.whl"' in text
    assert project.ensure(frozen=True), "it is read again"
    wheels = project.fetch(project.ensure().lock.packages, tmp_path / "store")
    assert len(wheels) == 3


@pytest.mark.parametrize(
    "url",
    ["https://x.org/s3cret-in-a-path/a-1-py3-none-any.whl",
     "https://x.org/%733cret-in-a-path/a-1-py3-none-any.whl",
     "https://x.org/a-1-py3-none-any.whl?signature=0", "https://x.org/download?a",
     "file:///opt/a-1-py3-none-any.whl"],
)  # fmt: skip
def test_a_private_address_is_not_in_the_lock(url: str) -> None:
    settings = IndexSettings(variables={"TOKEN": "s3cret-in-a-path"})
    file = PackageFile(filename="a-1-py3-none-any.whl", url=url, sha256="a" * 64)
    assert _public_address(file, settings) == "a-1-py3-none-any.whl"
    bare = replace(file, url="https://ann:pw@x.org/a-1-py3-none-any.whl#sha256=0")
    assert _public_address(bare, settings) == "https://x.org/a-1-py3-none-any.whl"


OLD = """\
# gitops-ml lock 1
# python: 3.11
# platforms: linux/amd64
# inputs: 0

alpha==1.0 \\
    --hash=sha256:{zero} # requires beta
beta==2.0 ; platform_machine == "x86_64" \\
    --hash=sha256:{zero}
""".format(zero="0" * 64)


def test_a_lock_of_an_older_version_is_replaced_and_reported_until_it_is_removed(
    project: Project,
) -> None:
    make_wheel(project.index.folder, "beta", "3.0")
    old = project.folder / "requirements.lock"
    old.write_text(OLD)
    words = "is not there, and requirements.lock is the lock of an older gitops-ml"
    with pytest.raises(UsageError, match=rf"{words}.*run `gitops-ml lock`"):
        project.ensure(frozen=True)
    lines: list[str] = []
    outcome = ensure_lock(project.facts(), environ=project.environ, progress=lines.append)
    assert versions(outcome) == ["alpha 1.0", "beta 2.0"], "its versions stay"
    assert lines[-1] == "warning: pylock.toml replaces requirements.lock: remove requirements.lock"
    with pytest.raises(UsageError, match=r"is not alone: requirements\.lock is the lock of"):
        project.ensure(frozen=True)
    old.unlink()
    assert not project.ensure(frozen=True).is_written


def test_another_file_with_the_name_of_an_older_lock_is_nothing_to_report(project: Project) -> None:
    (project.folder / "requirements.lock").write_text("alpha==1.0\n")
    project.ensure()
    assert project.ensure(frozen=True)


def test_the_same_lock_twice_changes_nothing(project: Project, tmp_path: Path) -> None:
    first = project.ensure().path.read_bytes()
    again = lock_dependencies(project.facts(), environ=project.environ, progress=silent)
    assert not again.is_written
    assert again.path.read_bytes() == first


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_uv_installs_from_the_lock(project: Project, tmp_path: Path, line_end: str) -> None:
    wheel = make_wheel(project.folder / "wheels", "mine", "0.1", requires=["beta"])
    make_wheel(project.index.folder, "native", "1.0", tag="cp311-cp311-manylinux_2_17_x86_64")
    make_wheel(project.index.folder, "native", "1.0", tag="cp311-cp311-manylinux_2_17_aarch64")
    project.requires("alpha", "native", f"./wheels/{wheel.name}")
    project.platforms = ("linux/amd64", "linux/arm64")
    path = project.ensure().path
    path.write_bytes(path.read_bytes().replace(b"\n", line_end.encode()))
    command = [
        find_uv_bin(), "pip", "install", "--target", str(tmp_path / "target"), "-r", str(path),
        "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28", "--no-config",
        "--preview", "--no-index",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    found = {each.name for each in (tmp_path / "target").glob("*.dist-info")}
    assert found == {
        f"{name}.dist-info" for name in ("alpha-1.0", "beta-2.0", "mine-0.1", "native-1.0")
    }
