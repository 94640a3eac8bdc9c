"""A change that tries to be executed, to read what is not its own, or to reach a server."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.git_servers import git
from tests.support.source_changes import PREDICTOR
from tests.support.victim import OUTSIDE, SECRET

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("helm_python")


def writes(mark: Path) -> str:
    return f"open({str(mark)!r}, 'w').close()\n"


@pytest.mark.parametrize("is_committed", [True, False], ids=["committed", "in the checkout"])
def test_no_python_of_the_change_runs(victim, is_committed):
    code = writes(victim.mark)
    source = victim.source
    source.text("iris/predictor.py", code + PREDICTOR + code)
    for name in ("setup.py", "conftest.py", "sitecustomize.py", "usercustomize.py", "yaml.py"):
        source.text(name, code)
        source.text(f"iris/{name}", code)
    for package in ("yaml", "predictor_base", "gitops_ml", "jinja2", "helm_python"):
        source.text(f"iris/{package}/__init__.py", code)
        source.text(f"{package}/__init__.py", code)
    source.text("iris/evil.pth", f"import os; {code}")
    source.text("iris/dependencies.sh", f"touch {victim.mark}\n")
    source.text("iris/requirements.txt", "-e .\n")
    if is_committed:
        source.commits()
    head = ["--head", "change"] if is_committed else []
    done = victim.is_unharmed(victim.checks_in_a_process(*head))
    assert "iris" in done.stdout


def test_no_program_that_git_could_name_runs(victim):
    folder, mark = victim.source.folder, victim.mark
    script = victim.home / "program.sh"
    script.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    script.chmod(0o755)
    hooks = folder / ".git" / "hooks"
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change"):
        (hooks / hook).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / hook).chmod(0o755)
    victim.source.text(".gitattributes", "* filter=evil diff=evil merge=evil\n")
    victim.source.sets("iris", "autoscaling.max_replicas", 9)
    victim.source.commits()
    mark.unlink(missing_ok=True)
    for key in (
        "core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process",
        "diff.evil.textconv", "diff.external", "core.pager", "core.sshCommand", "core.editor",
        "core.alternateRefsCommand", "uploadpack.packObjectsHook", "alias.rev-parse",
        "credential.helper", "gpg.program",
    ):  # fmt: skip
        git("config", key, str(script), cwd=folder)
    git("config", "core.hooksPath", str(hooks), cwd=folder)
    victim.source.text("untracked.txt", "x")
    done = victim.stays_safe()
    assert "updates iris" in done.stdout


OUTSIDE_LINKS = {
    "predictor": ("iris/predictor.py", ""),
    "requirements": ("iris/requirements.txt", ""),
    "manifest": ("iris/api.yaml", ""),
    "project file": ("gitops-ml.yaml", ""),
    "ignore file": ("iris/.gitopsmlignore", ""),
    "lock": ("iris/pylock.toml", ""),
    "data": ("iris/data.txt", ""),
    "folder": ("iris/data", "folder"),
    "environment": ("iris/names.json", "/proc/self/environ"),
}


@pytest.mark.parametrize("name", OUTSIDE_LINKS)
def test_no_link_brings_a_file_from_outside(victim, name):
    path, target = OUTSIDE_LINKS[name]
    place = victim.source.folder / path
    place.unlink(missing_ok=True)
    if target == "folder":
        target = str(victim.home)
    place.symlink_to(target or str(victim.home / "outside.txt"))
    victim.source.commits()
    victim.stays_safe("--head", "change")
    victim.stays_safe()


FIELDS: dict[str, Any] = {
    "predictor.path": "../../outside.txt",
    "predictor.python_path": "../..",
    "predictor.dependencies": {"pip": "../../outside.txt"},
    "predictor.config": {"key": "env://SIGNING_KEY", "file": "file:///etc/passwd"},
    "predictor.env": {"A": "$(GITOPS_TOKEN)", "B": "${GITOPS_TOKEN}", "C": "env://GITOPS_TOKEN"},
    "predictor.models": {"path": "env://GITOPS_TOKEN"},
    "predictor.image": "127.0.0.1:1/base:1",
    "annotations": {"example.org/x": "{{ env.GITOPS_TOKEN }} ${GITOPS_TOKEN}"},
    "labels": {"a": "{{ .Env.GITOPS_TOKEN }}"},
}  # fmt: skip


@pytest.mark.parametrize("path", FIELDS)
def test_no_field_of_a_manifest_brings_a_secret_or_a_file(victim, path):
    victim.source.sets("iris", path, FIELDS[path])
    victim.stays_safe()
    shown = victim.checks(output="json")
    assert SECRET not in shown.stdout
    assert OUTSIDE not in shown.stdout


def test_templates_in_a_manifest_are_text(victim):
    code = "{{ cycler.__init__.__globals__.os.popen('touch MARK').read() }}"
    code = code.replace("MARK", str(victim.mark))
    victim.source.sets("iris", "predictor.config", {"a": code, "b": "{% raw %}", "c": "{{ tpl }}"})
    done = victim.stays_safe()
    assert "restarts iris" in done.stdout


def test_the_project_file_of_the_change_names_no_server_that_is_asked(victim, listener):
    address = f"127.0.0.1:{listener.port}"
    source = victim.source
    source.configures("image.repository", f"{address}/ml")
    source.configures("image.base", f"{address}/base:1")
    source.configures("image.signing", {"key": "env://SIGNING_KEY"})
    source.configures("gitops.repository", f"http://{address}/gitops.git")
    source.configures("gitops.token_env", "GITOPS_TOKEN")
    source.configures("gitops.forge", {"type": "gitea", "api_url": f"http://{address}/api/v1"})
    source.configures("source", {"repository": f"http://{address}/source.git"})
    source.configures("clusters.main.server", f"https://{address}")
    source.sets("iris", "predictor.image", f"{address}/base:2")
    source.sets("iris", "predictor.models", {"path": f"oci://{address}/model:1"})
    source.text("iris/requirements.txt", f"--index-url http://{address}/simple\nnumpy\n")
    source.text(".gitmodules", f'[submodule "x"]\n\tpath = x\n\turl = http://{address}/x.git\n')
    source.commits()
    done = victim.stays_safe()
    victim.stays_safe("--head", "change")
    assert listener.connections == 0
    assert done.stdout


def test_the_server_of_the_base_is_asked(victim, listener):
    """So that the test above can fail."""
    source = victim.source
    source.configures("gitops.repository", f"http://127.0.0.1:{listener.port}/gitops.git")
    source.commits()
    git("branch", "-f", "main", cwd=source.folder)
    source.sets("iris", "autoscaling.max_replicas", 9)
    done = victim.stays_safe()
    assert listener.connections > 0
    assert "edits by hand are not known" in done.stdout.replace("\\", "")


def test_a_tree_that_git_would_not_check_out_is_refused_or_harmless(victim):
    """A commit that is made by hand: names that leave the folder, and a file through a link."""
    folder = victim.source.folder

    def tree(*entries: str) -> str:
        return git("mktree", "-z", cwd=folder, input="".join(f"{each}\0" for each in entries))

    blob = git("hash-object", "-w", "--stdin", cwd=folder, input=OUTSIDE)
    target = git("hash-object", "-w", "--stdin", cwd=folder, input=str(victim.home))
    listing = git("ls-tree", "-z", "main", cwd=folder).split("\0")
    kept = [line for line in listing if line and not line.endswith("\tiris")]
    manifest = git("rev-parse", "main:iris/api.yaml", cwd=folder)
    inner = tree(f"100644 blob {blob}\tthrough.txt")
    evil = tree(
        f"100644 blob {manifest}\tapi.yaml",
        f"120000 blob {target}\tpredictor.py",
        f"120000 blob {target}\tlink",
        f"040000 tree {inner}\tlink",
    )
    top = tree(*kept, f"040000 tree {evil}\tiris")
    commit = git("commit-tree", top, "-p", "main", "-m", "x", cwd=folder)
    victim.stays_safe("--head", commit)
    assert not (victim.home / "through.txt").exists()


def test_a_partial_clone_is_refused_and_not_read_as_a_base_without_rules(victim, tmp_path):
    """Else the rules of the base would be missing, and those of the change count."""
    source = victim.source
    source.configures("policy.hosts", ["*"])
    source.sets("iris", "autoscaling.max_replicas", 9)
    source.commits()
    git("config", "uploadpack.allowFilter", "true", cwd=source.folder)
    address = f"file://{source.folder}"
    git("clone", "-q", "--filter=blob:none", "-b", "change", address, "partial", cwd=tmp_path)
    source.folder = tmp_path / "partial"
    done = victim.is_unharmed(victim.checks("--base=origin/main"))
    assert (done.code, done.stdout) == (2, "")
    assert "partial clone" in done.stderr


def test_huge_and_odd_files_neither_stop_the_check_nor_fill_the_memory(victim):
    source = victim.source
    source.text("iris/weights.bin", bytes(40 << 20))
    source.commits()
    source.text("iris/weights.bin", b"x" + bytes(40 << 20))
    os.mkfifo(source.folder / "iris" / "pipe")
    done = victim.stays_safe()
    assert "restarts iris" in done.stdout
    assert "weights.bin" in done.stdout.replace("\\", "")


@pytest.mark.parametrize("file", ["iris/api.yaml", "gitops-ml.yaml"])
def test_what_could_not_be_read_before_the_change_is_not_called_new(victim, file):
    place = victim.source.folder / file
    good = place.read_text()
    place.write_text(good.replace("name: iris", "name: [iris").replace("image:", "image: [", 1))
    victim.source.commits()
    git("branch", "-f", "main", cwd=victim.source.folder)
    place.write_text(good)
    done = victim.stays_safe(output="json")
    facts = json.loads(done.stdout)
    assert "which may run already: it could not be read before the change." in facts["headline"]
    assert all(each["may_run"] for each in facts["releases"])
    assert any(each["api"] == "iris" for each in facts["releases"])


def test_names_that_are_no_text_are_shown_and_stop_nothing(victim, tmp_path):
    folder = os.fsencode(victim.source.folder) + b"/\xff"
    os.mkdir(folder)
    manifest = b"- {name: odd, kind: RealtimeAPI, predictor: {path: predictor.py}}\n"
    for name, content in ((b"api.yaml", manifest), (b"predictor.py", PREDICTOR.encode())):
        with open(folder + b"/" + name, "wb") as file:
            file.write(content)
    victim.source.commits()
    for output in ("text", "json", "markdown"):
        done = victim.checks("--html", str(tmp_path / "page.html"), output=output)
        assert (done.code, "Traceback" in done.stderr) == (0, False), done
        assert "odd" in done.stdout
    assert "\\udcff" in (tmp_path / "page.html").read_text()


def test_a_name_that_would_be_an_option_is_no_option(victim):
    for ref in ("--output=x", "-x", "--upload-pack=touch x", "main..change", ""):
        assert victim.checks(f"--base={ref}").code == 2, ref
    assert not (victim.source.folder / "x").exists()


def test_text_of_the_change_has_no_effect_in_the_comment(victim):
    text = "@acme/admins </details><script>alert(1)</script> ![x](http://evil.example/x) ``` /merge"
    victim.source.sets("iris", "predictor.config", {"a": text, "b\n/merge": "c"})
    done = victim.stays_safe()
    assert "\n/merge" not in done.stdout
    fenced = False
    for line in done.stdout.splitlines():
        fenced = not fenced if line.startswith("```") else fenced
        assert fenced or not ("<script" in line or "![x]" in line or "@acme" in line), line
    assert json.loads(victim.checks(output="json").stdout)["releases"]
