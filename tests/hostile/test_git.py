"""Git: repositories of a pull request, what the GitOps repository holds, and what its server answers."""

from __future__ import annotations

import gzip
import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.hostile.net import MANIFEST, PROJECT_FILE, SECRET, Hostile
from tests.hostile.test_documents import BROKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.hostile.conftest import Holds
    from tests.hostile.net import Sandbox

RUN = b'"touch {trip}/%s; true"'
SETTINGS = {
    "fsmonitor": b"[core]\n fsmonitor = %s\n",
    "hooks": b"[core]\n hooksPath = evil-hooks\n",
    "ssh": b"[core]\n sshCommand = %s\n[remote \"origin\"]\n url = ssh://h/x\n",
    "pager": b"[core]\n pager = %s\n[pager]\n status = true\n log = true\n show = true\n",
    "editor": b"[core]\n editor = %s\n",
    "askpass": b"[core]\n askPass = %s\n",
    "git-proxy": b"[core]\n gitProxy = %s\n",
    "alternate-refs": b"[core]\n alternateRefsCommand = %s\n",
    "credentials": b"[credential]\n helper = \"!touch {trip}/helper\"\n",
    "clean-filter": b"[filter \"x\"]\n clean = %s\n smudge = %s\n required = true\n",
    "process-filter": b"[filter \"x\"]\n process = %s\n",
    "external-diff": b"[diff]\n external = %s\n",
    "diff-command": b"[diff \"x\"]\n command = %s\n textconv = %s\n",
    "merge-driver": b"[merge \"x\"]\n driver = %s\n",
    "diff-filter": b"[interactive]\n diffFilter = %s\n",
    "signatures": b"[gpg]\n program = %s\n[log]\n showSignature = true\n[commit]\n gpgSign = true\n",
    "ssh-signatures": b"[gpg]\n format = ssh\n[gpg \"ssh\"]\n program = %s\n",
    "include": b"[include]\n path = ../evil.config\n",
    "include-if": b"[includeIf \"gitdir:/**\"]\n path = {root}/project/evil.config\n",
    "other-address": b"[url \"ext::touch {trip}/x #\"]\n insteadOf = \"/\"\n",
    "upload-pack": b"[remote \"origin\"]\n url = {root}/gitops.git\n uploadpack = %s\n",
    "remote-helper": b"[remote \"origin\"]\n url = x\n vcs = ext\n",
    "pack-hook": b"[uploadpack]\n packObjectsHook = %s\n",
    "submodules": b"[submodule]\n recurse = true\n[submodule \"s\"]\n update = \"!touch {trip}/s\"\n url = x\n",
    "alias": b"[alias]\n status = !touch {trip}/a\n rev-parse = !touch {trip}/a\n log = !touch {trip}/a\n",
    "work-tree": b"[core]\n worktree = {root}/home\n",
    "attributes-file": b"[core]\n attributesFile = {root}/outside.txt\n",
    "excludes-file": b"[core]\n excludesFile = /dev/zero\n",
    "worktree-settings": b"[extensions]\n worktreeConfig = true\n",
    "partial-clone": b"[extensions]\n partialClone = origin\n"
    b"[remote \"origin\"]\n url = ext::touch\\ {trip}/p\n promisor = true\n",
    "broken": b"[core\n\x00\xff",
    "long": b"[a]\n" + b"b = c\n" * 50_000,
}  # fmt: skip
HOOKS = ("post-index-change", "reference-transaction", "fsmonitor-watchman", "post-checkout", "pre-commit",
         "post-commit", "update", "pre-receive", "post-rewrite", "sendemail-validate")  # fmt: skip
BARE = {
    "HEAD": b"ref: refs/heads/main\n",
    "objects/keep": b"",
    "refs/keep": b"",
    "config": b"[core]\n repositoryformatversion = 0\n bare = false\n worktree = .\n",
}
BESIDE: Mapping[str, bytes] = {
    ".gitattributes": b"* filter=x diff=x merge=x\n",
    "evil.config": b'[core]\n fsmonitor = "touch {trip}/included"\n',
    **{f"evil-hooks/{name}": b"#!/bin/sh\ntouch {trip}/hook\n" for name in HOOKS},
}


def git(*arguments: str, cwd: Path, text: bytes = b"") -> None:
    own = {"GIT_CONFIG_NOSYSTEM": "1", "HOME": str(cwd), "PATH": os.environ["PATH"]}
    who = {f"GIT_{w}_{k}": "a@b" for w in ("AUTHOR", "COMMITTER") for k in ("NAME", "EMAIL")}
    subprocess.run(
        ["git", *arguments], cwd=cwd, env=own | who, input=text, capture_output=True, check=True
    )


def setting(text: bytes, name: str) -> bytes:
    return text.replace(b"%s", RUN % name.encode())


def a_repository(config: bytes) -> Callable[[Sandbox], None]:
    """The project is a work tree, and its own configuration is hostile."""

    def build(sandbox: Sandbox) -> None:
        sandbox.write(BESIDE)
        git("init", "-q", "-b", "main", ".", cwd=sandbox.project)
        git("add", "-A", cwd=sandbox.project)
        git("commit", "-qm", "x", cwd=sandbox.project)
        for name in HOOKS:
            sandbox.write({f".git/hooks/{name}": b"#!/bin/sh\ntouch {trip}/own-hook\n"})
        sandbox.write({".git/config.worktree": setting(SETTINGS["fsmonitor"], "worktree")})
        with (sandbox.project / ".git/config").open("ab") as file:
            file.write(sandbox.filled(config))
        sandbox.write({"api.yaml": MANIFEST + b"# changed\n"})
        _executable(sandbox)

    return build


def a_bare_repository(config: bytes, below: str = "") -> Callable[[Sandbox], None]:
    """The project's folder looks like a Git repository: plain files that a pull request can bring."""

    def build(sandbox: Sandbox) -> None:
        sandbox.write(BESIDE)
        sandbox.write({f"hooks/{name}": BESIDE[f"evil-hooks/{name}"] for name in HOOKS})
        files = {**BARE, "config": BARE["config"] + config}
        sandbox.write({f"{below}{name}": text for name, text in files.items()})
        _executable(sandbox)

    return build


def _executable(sandbox: Sandbox) -> None:
    for pattern in ("hooks/*", "evil-hooks/*", ".git/hooks/*"):
        for path in sandbox.project.glob(pattern):
            path.chmod(0o755)


def leads_to(text: bytes) -> Callable[[Sandbox], None]:
    """``.git`` is a file that names another folder."""

    def build(sandbox: Sandbox) -> None:
        a_bare_repository(setting(SETTINGS["fsmonitor"], "led"), "sub.git/")(sandbox)
        sandbox.write({".git": text})

    return build


def with_origin(address: str) -> Callable[[Sandbox], None]:
    def build(sandbox: Sandbox) -> None:
        a_repository(b"")(sandbox)
        config = sandbox.project / ".git/config"
        config.write_text(config.read_text() + f'[remote "origin"]\n url = "{address}"\n')
        sandbox.hidden = (*sandbox.hidden, config)

    return build


SOURCES = [
    *(Hostile(name=f"own-{n}", build=a_repository(setting(text, n))) for n, text in SETTINGS.items()),
    *(Hostile(name=f"bare-{n}", build=a_bare_repository(setting(text, n))) for n, text in SETTINGS.items()),
    Hostile(name="git-file", build=leads_to(b"gitdir: sub.git\n")),
    Hostile(name="git-file-absolute", build=leads_to(b"gitdir: {root}/project/sub.git\n")),
    Hostile(name="git-file-of-nothing", build=leads_to(b"gitdir: /nothing\n")),
    Hostile(name="git-file-broken", build=leads_to(b"\x00" * 100)),
    *(
        Hostile(name=f"origin-{n}", build=with_origin(address))
        for n, address in enumerate((
            f"https://user:{SECRET}@git.example.org/x.git", f"https://{SECRET}@git.example.org/x.git",
            f"ssh://git:{SECRET}@git.example.org/x.git", f"git+https://u:{SECRET}@git.example.org/x",
            f"HTTPS://u:{SECRET}@git.example.org/x", f"https://u:{SECRET}@@git.example.org/x",
            f"ftp://u:{SECRET}@git.example.org/x", f"https://git.example.org/x?private_token={SECRET}",
            f"http://u:{SECRET}%40@git.example.org/x", f"foo::https://u:{SECRET}@git.example.org/x",
        ))
    ),
    Hostile(name="origin-escape", build=with_origin("https://git.example.org/\\u001b")),
]  # fmt: skip


@pytest.mark.parametrize("hostile", SOURCES, ids=str)
def test_a_hostile_repository_is_rendered_and_runs_nothing(holds: Holds, hostile: Hostile) -> None:
    holds(replace(hostile, arguments=("render", "--offline")))


@pytest.mark.parametrize(
    "hostile", [each for each in SOURCES if each.name.startswith("bare-")][:12], ids=str
)
def test_a_hostile_repository_is_compared_and_runs_nothing(holds: Holds, hostile: Hostile) -> None:
    def build(sandbox: Sandbox) -> None:
        assert hostile.build
        hostile.build(sandbox)
        gitops({"README.md": b""})(sandbox)

    holds(replace(hostile, build=build, arguments=("diff", "--offline")))


# -- what the GitOps repository holds ------------------------------------------------------------

RELEASE = "releases/staging/answer/release.yaml"
VALUES = "releases/staging/answer/values.yaml"


def gitops(
    files: Mapping[str, bytes], *, mode: str = "100644", message: bytes = b"x", author: bytes = b"A <a@b>"
) -> Callable[[Sandbox], None]:  # fmt: skip
    """A GitOps repository with one commit."""

    def build(sandbox: Sandbox) -> None:
        git("init", "-q", "--bare", "-b", "main", "gitops.git", cwd=sandbox.root)
        stream = [b"commit refs/heads/main\ncommitter %s 0 +0000\n" % author]
        stream.append(b"data %d\n%s\n" % (len(message), message))
        for path, content in files.items():
            text = sandbox.filled(content)
            stream.append(
                b"M %s inline %s\ndata %d\n%s\n" % (mode.encode(), path.encode(), len(text), text)
            )
        git(
            "fast-import",
            "--quiet",
            "--force",
            cwd=sandbox.root / "gitops.git",
            text=b"".join(stream),
        )

    return build


SIMPLE = {RELEASE: b"x: 1\n"}
TRAILERS = b"x\n\nDeployment-Id: answer-0123456789ab\n"
HELD = [
    *(
        Hostile(name=f"{file.rpartition('/')[2]}-{n}", build=gitops({file: BROKEN[n]}))
        for file in (RELEASE, VALUES)
        for n in ("only-zeros", "laughs", "deep-flow", "python-tag", "escape-in-a-name",
                  "latin-1", "contains-itself", "over-a-megabyte", "text-at-the-top", "mapping-at-the-top")
    ),
    Hostile(name="release-links-outside", build=gitops({RELEASE: b"../../../../outside.txt"}, mode="120000")),
    Hostile(name="values-link-outside", build=gitops({VALUES: b"{root}/outside.txt"}, mode="120000")),
    Hostile(name="release-below-a-file", build=gitops({"releases/staging": b"x"})),
    Hostile(name="chart-links-outside", build=gitops({"charts/predictor": b"{root}/outside.txt"}, mode="120000")),
    Hostile(name="odd-names", build=gitops(
        {'"a\\nb\\033[31m"': b"", '"releases/staging/\\302\\205/release.yaml"': b"x: 1\n"})),
    Hostile(name="attributes", build=gitops({".gitattributes": b"* filter=x\n", RELEASE: b"x: 1\n"})),
    Hostile(name="submodules", build=gitops(
        {".gitmodules": b"[submodule \"x\"]\n path = x\n url = ext::touch {trip}/m\n"})),
    Hostile(name="many-releases", build=gitops(
        {f"releases/staging/a{n}/release.yaml": b"x: 1\n" for n in range(2000)})),
    Hostile(name="path-of-others", build=gitops({RELEASE: b"name: ../../x\nnamespace: kube-system\n"})),
]  # fmt: skip
HISTORIES = [
    Hostile(name="message-escape", build=gitops(SIMPLE, message=b"\x1b[31mred\x1b]0;x\x07" + TRAILERS)),
    Hostile(name="message-bidi", build=gitops(SIMPLE, message="\u202eevil".encode() + TRAILERS)),
    Hostile(name="message-latin-1", build=gitops(SIMPLE, message=b"\xff\xfe" + TRAILERS)),
    Hostile(name="message-long", build=gitops(SIMPLE, message=b"x" * 1_000_000 + TRAILERS)),
    Hostile(name="message-of-trailers", build=gitops(SIMPLE, message=b"x\n\n" + b"Deployment-Id: a-b\n" * 20_000)),
    Hostile(name="author-escape", build=gitops(SIMPLE, author=b"\x1b[31mA <a@b>", message=TRAILERS)),
    Hostile(name="author-html", build=gitops(SIMPLE, author=b"![x](http://h) <a@b>", message=TRAILERS)),
    Hostile(name="release-deep", build=gitops({RELEASE: BROKEN["deep-flow"]}, message=TRAILERS)),
]  # fmt: skip


@pytest.mark.parametrize("hostile", HELD, ids=str)
def test_what_a_gitops_repository_holds_is_compared_and_nothing_else(
    holds: Holds, hostile: Hostile
) -> None:
    holds(replace(hostile, arguments=("diff", "--offline")))


@pytest.mark.parametrize("hostile", HISTORIES, ids=str)
def test_a_hostile_history_is_shown_without_being_obeyed(holds: Holds, hostile: Hostile) -> None:
    holds(replace(hostile, arguments=("history", "answer", "-e", "staging")))


# -- what a server answers -----------------------------------------------------------------------


def http(status: bytes, body: bytes = b"", *headers: bytes) -> bytes:
    lines = b"".join(each + b"\r\n" for each in headers)
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), lines, body)


def packet(text: bytes) -> bytes:
    return b"%04x%s" % (len(text) + 4, text)


SERVICE = b"Content-Type: application/x-git-upload-pack-advertisement"
HELLO = packet(b"# service=git-upload-pack\n") + b"0000"
ID = b"1" * 40
REMOTE = b"gitops: {repository: 'http://attacker.example.org/x.git', token_env: GITHUB_TOKEN}"
ANSWERS = {
    "asks-for-credentials": http(b"401 No", b"", b'WWW-Authenticate: Basic realm="x"'),
    "asks-with-an-escape": http(b"401 No", b"", b'WWW-Authenticate: Basic realm="\x1b[31m"'),
    "asks-for-a-helper": http(b"401 No", b"", b"WWW-Authenticate: Negotiate"),
    "redirects-elsewhere": http(b"302 Away", b"", b"Location: http://127.0.0.1:9/x"),
    "redirects-to-a-file": http(b"302 Away", b"", b"Location: file:///etc/passwd"),
    "redirects-to-ext": http(b"302 Away", b"", b"Location: ext::touch {trip}/r"),
    "redirects-to-itself": http(b"302 Away", b"", b"Location: http://{host}/x.git/info/refs?service=git-upload-pack"),
    "no-http": b"\x00\xff" * 100,
    "nothing": b"",
    "html": http(b"200 OK", b"<html>", b"Content-Type: text/html"),
    "error-with-an-escape": http(b"200 OK", HELLO + packet(b"ERR \x1b[31mred\x07"), SERVICE),
    "refusal-with-an-escape": http(b"403 No", b"\x1b[31mred\x1b]0;title\x07", b"Content-Type: text/plain"),
    "short-packet": http(b"200 OK", HELLO + b"ffff", SERVICE),
    "negative-packet": http(b"200 OK", HELLO + b"-001", SERVICE),
    "refs-with-escapes": http(b"200 OK", HELLO + packet(ID + b" refs/heads/\x1b[31m\0\n") + b"0000", SERVICE),
    "refs-above": http(b"200 OK", HELLO + packet(ID + b" refs/heads/../../x\0\n") + b"0000", SERVICE),
    "refs-as-options": http(b"200 OK", HELLO + packet(ID + b" --upload-pack=x\0\n") + b"0000", SERVICE),
    "many-refs": http(b"200 OK", HELLO + packet(ID + b" refs/heads/main\0\n") + b"".join(
        packet(ID + b" refs/heads/b%d\n" % n) for n in range(20_000)) + b"0000", SERVICE),
    "bomb": http(b"200 OK", gzip.compress(bytes(50 << 20)), SERVICE, b"Content-Encoding: gzip"),
    "length-that-lies": b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n",
    "endless-headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
}  # fmt: skip
SERVERS = [
    Hostile(
        name=name,
        files={"gitops-ml.yaml": PROJECT_FILE.replace(b"gitops: {repository: '{root}/gitops.git'}", REMOTE)},
        answers=(answer,),
    )
    for name, answer in ANSWERS.items()
]  # fmt: skip


@pytest.mark.parametrize("hostile", SERVERS, ids=str)
def test_what_a_git_server_answers_gets_no_secret_and_steers_nothing(
    holds: Holds, hostile: Hostile
) -> None:
    holds(replace(hostile, arguments=("diff", "--offline")))
