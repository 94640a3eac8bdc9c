"""The recipes of CONTRIBUTING: a verb, a rule and a forge are each one file and one line.

Each test follows a recipe in a copy of the package, and uses the copy as a user would.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERB = '''\
"""`gitops-ml greet`."""

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import output_option


@click.command("greet")
@click.argument("name")
@output_option
def command(name: str, output: str) -> None:
    """Greet a person."""
    if output == "json":
        report.as_json({"greeting": f"Hello {name}"})
    else:
        report.echo(f"Hello {name}")
'''
RULE = '''\
"""Rules about names."""

from collections.abc import Iterator

from gitops_ml.documents.findings import Finding, error
from gitops_ml.release.spec import ReleaseSpec


def name_findings(spec: ReleaseSpec) -> Iterator[Finding]:
    """A name that starts with ``test-``."""
    if spec.name.startswith("test-"):
        yield error(("name",), "remove 'test-' from the name", rule="name")
'''
FORGE = '''\
"""Pull requests at Acme."""

from gitops_ml.forge.api_session import ForgeSession, NotThere
from gitops_ml.forge.protocol import Forge
from gitops_ml.forge.pull_request import PullRequest, newest


class Acme(Forge):
    """The adapter for Acme."""

    def __init__(self, session: ForgeSession) -> None:
        super().__init__(session, pulls=f"/repos/{session.address.repository}/pulls")

    def find(self, *, head, base):
        found = map(self._parse, self.session.get(self._pulls))
        return newest(each for each in found if (each.head, each.base) == (head, base))

    def _new_fields(self, proposal):
        return {"title": proposal.title, "head": proposal.head, "base": proposal.base}

    def _text_fields(self, proposal, known):
        return {"title": proposal.title}

    def _with_commit(self, commit):
        return self.session.get(f"{self._pulls}/of/{commit}")

    def _extras(self, known, proposal):
        return ()

    def comments(self, number):
        raise NotThere("this forge has no comments")

    @staticmethod
    def _parse(data):
        number, state, title, head, base = data["number"].number(), "open", "t", "h", "b"
        return PullRequest(number=number, url="", title=title, state=state, head=head, base=base)
'''
USE_OF_THE_FORGE = """\
import os
from gitops_ml.forge.address import ForgeAddress
from gitops_ml.forge.api_session import ForgeSession
from gitops_ml.forge.open import forge_over

address = ForgeAddress(type="acme", api_url="https://acme.example", repository="a/b", host="acme.example")
print(forge_over(ForgeSession(address=address, token=None, environ=os.environ)).__doc__)
"""
MANIFEST = "- name: test-iris\n  kind: RealtimeAPI\n  predictor: {path: predictor.py}\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, which finds the schemas and charts beside it."""
    copy = tmp_path / "copy" / "gitops_ml"
    shutil.copytree(ROOT / "gitops_ml", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("schemas", "charts", "predictor_base"):
        (copy.parent / name).symlink_to(ROOT / name)
    return copy


def run(package: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Python with the copy in place of the installed package."""
    environ = os.environ | {"PYTHONPATH": str(package.parent), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def gitops_ml(package: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run(package, "-m", "gitops_ml", *arguments, cwd=cwd)


def insert(file: Path, line: str, *, before: str) -> None:
    """Insert one line before the last line of the file that starts with ``before``."""
    lines = file.read_text("utf-8").splitlines()
    at = max(n for n, each in enumerate(lines) if each.startswith(before))
    file.write_text("\n".join([*lines[:at], line, *lines[at:]]) + "\n", "utf-8")


def test_a_verb_is_one_file_and_one_line(package: Path, tmp_path: Path) -> None:
    (package / "cli" / "greet.py").write_text(VERB, "utf-8")
    insert(package / "cli" / "main.py", '    "greet": "Greet a person.",', before='    "version": ')
    assert "greet       Greet a person." in gitops_ml(package, "--help", cwd=tmp_path).stdout
    done = gitops_ml(package, "greet", "Ada", "-o", "json", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (
        0, '{\n  "greeting": "Hello Ada"\n}\n', "",
    )  # fmt: skip


def test_a_rule_is_one_file_and_one_line(package: Path, tmp_path: Path) -> None:
    (package / "release" / "rules" / "names.py").write_text(RULE, "utf-8")
    insert(
        package / "release" / "rules" / "check_release.py",
        "    from gitops_ml.release.rules.names import name_findings; yield from name_findings(spec)",
        before="    found = (",
    )
    gitops_ml(package, "init", "iris", cwd=tmp_path)
    project = tmp_path / "iris"
    (project / "api.yaml").write_text(MANIFEST, "utf-8")
    done = gitops_ml(package, "validate", cwd=project)
    assert done.returncode == 3, done.stderr
    assert "api.yaml:1:3: test-iris.name: remove 'test-' from the name" in done.stdout + done.stderr


def test_a_forge_is_one_file_and_one_line(package: Path, tmp_path: Path) -> None:
    """With its import; `tests/forge/test_smallest_forge.py` shows what such a class can do."""
    (package / "forge" / "acme.py").write_text(FORGE, "utf-8")
    file = package / "forge" / "open.py"
    insert(file, "from gitops_ml.forge.acme import Acme", before="from gitops_ml.forge.address ")
    insert(file, '    "acme": Acme,', before='    "bitbucket": Bitbucket,')
    done = run(package, "-c", USE_OF_THE_FORGE, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("The adapter for Acme.\n", "")
