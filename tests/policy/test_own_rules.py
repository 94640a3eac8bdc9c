"""Rules of a project in CEL, and those of installed packages."""

from __future__ import annotations

import sys
from datetime import date

import pytest

from gitops_ml.delivery import rules
from gitops_ml.delivery.rules import installed_rules, rules_of
from gitops_ml.documents import cel
from gitops_ml.documents.cel import compile_cel
from gitops_ml.documents.yaml_reader import document_of
from gitops_ml.errors import UsageError
from gitops_ml.policy.cel_rules import rule_of_cel
from gitops_ml.policy.evaluate import evaluate
from gitops_ml.policy.rule import Fleet, Rule
from gitops_ml.project.checks import CelRule
from gitops_ml.project.reader import read_project
from tests.policy.subjects import PROTECTED, plain, project, side, subject
from tests.support.pipeline import api

CASES = {
    "release.autoscaling.min_replicas >= 1": True,
    "release.autoscaling.min_replicas >= 3": False,
    "!environment.protected || release.autoscaling.max_replicas > 1000": False,
    "release.compute.mem_bytes <= 64 * 1024 * 1024 * 1024": True,
    "release.compute.cpu_cores < 0.1": False,
    "before == null": True,
    "objects.exists(o, o.kind == 'NetworkPolicy')": True,
    "objects.all(o, o.kind != 'NetworkPolicy')": False,
    "release.image.contains('@sha256:')": True,
    "has(release.labels.tier)": False,
    "release.labels.tier == 'gold'": False,
    "'a string'": False,
    "verb == 'deploy' && action == 'add'": True,
    "release.name.matches('^[a-z-]+$')": True,
}


def own(expression, **changes):
    words = {
        "id": "acme-rule",
        "title": "As Acme wants it",
        "severity": "error",
        "reason": "It is so.",
        "remedy": "do it",
        "field": "compute.mem",
    }
    return CelRule(**{**words, "expression": expression, **changes})


@pytest.mark.parametrize(("expression", "keeps"), CASES.items(), ids=list(CASES))
def test_a_release_keeps_a_rule_whose_expression_is_true(expression, keeps):
    found = list(rule_of_cel(own(expression)).check(subject(None, plain())))
    assert (found == []) is keeps
    assert all(each.path == ("compute", "mem") for each in found)


def test_loops_inside_of_loops_end(monkeypatch):
    monkeypatch.setattr(cel, "_MOST_STEPS", 20_000)
    expression = "true"
    for number in range(9):
        expression = f"[1, 2, 3, 4, 5, 6, 7, 8, 9].all(a{number}, {expression})"
    (breach,) = rule_of_cel(own(expression)).check(subject(None, plain()))
    assert "it takes more than 20,000 steps: use fewer loops" in breach.message
    assert sys.getprofile() is None


@pytest.mark.parametrize("first", ["'xxxxxxxxxx'", "[1]"])
def test_sums_of_sums_fill_no_memory(first):
    expression = f"[{first}]" + 9 * ".map(b, b + b + b + b + b + b + b + b + b + b)" + " == []"
    (breach,) = rule_of_cel(own(expression)).check(subject(None, plain()))
    assert "it takes more than 5,000,000 steps" in breach.message
    lists = f"[{first}]" + 60 * ".map(b, [b, b])"
    for text in (lists, f"string({lists}) == ''"):
        (breach,) = rule_of_cel(own(text)).check(subject(None, plain()))
        assert "it gives a list" in breach.message or "it cannot be evaluated" in breach.message


def test_a_release_that_goes_keeps_rules_about_fields_only():
    gone = subject(plain(), None)
    assert list(rule_of_cel(own("false")).check(gone)) == []
    assert list(rule_of_cel(own("action != 'delete'")).check(gone)) != []


def test_an_expression_without_a_value_says_why():
    (found,) = rule_of_cel(own("release.labels.tier == 'gold'")).check(subject(None, plain()))
    assert "it cannot be evaluated" in found.message
    assert "tier" in found.message


def test_the_project_file_has_rules_of_its_own():
    checks = {
        "rules": [
            {
                "id": "acme",
                "title": "Two replicas",
                "expression": "release.autoscaling.min_replicas >= 2",
            }
        ]
    }
    made = project(checks=checks)
    rules = rules_of(made.checks)
    for words, broken in ((api(), True), (api(autoscaling={"min_replicas": 2}), False)):
        fleet = Fleet((subject(None, side(words), project=made),), made)
        found = evaluate(fleet, rules, checks=made.checks, today=date(2026, 6, 1))
        assert ("acme" in {each.rule for each in found}) is broken


def test_an_expression_that_is_not_cel_is_an_error_of_the_project_file():
    checks = {"rules": [{"id": "acme", "title": "Broken", "expression": "release.("}]}
    found, problems = read_project(document_of({**PROTECTED, "checks": checks}, file="p.yaml"))
    assert found is None
    (problem,) = problems
    assert problem.path == "checks.rules[0].expression"
    assert "this is not CEL" in problem.message


WINDOWS = {
    ("mon 08:00", "mon 08:00", "UTC"): "end: the window is empty",
    ("2026-12-18", "2026-12-18", "UTC"): "end: the window is empty",
    ("2026-12-19", "2026-12-18T18:00", "UTC"): "end: the window ends before it starts",
    ("2026-02-30", "2026-03-01", "UTC"): "start: 2026-02-30 is no time of the calendar",
    ("fri 24:00", "sat 01:00", "UTC"): "start: fri 24:00 is no time of the calendar",
    ("fri 16:00", "2026-12-12", "UTC"): "end: start and end are both days",
    ("fri 16:00", "sat 12:00", ""): "timezone: '' is not an IANA time zone",
    ("fri 16:00", "sat 12:00", "America"): "timezone: 'America' is not an IANA time zone",
    ("fri 16:00", "sat 12:00", "../../etc/passwd"): "timezone: '../../etc/passwd' is not",
    ("fri 16:00", "sat 12:00", "europe/oslo"): "did you mean 'Europe/Oslo'?",
}


@pytest.mark.parametrize(("window", "message"), WINDOWS.items())
def test_a_window_that_never_is_has_an_error_at_its_field(window, message):
    start, end, timezone = window
    freeze = {"start": start, "end": end, "timezone": timezone, "reason": "The team is away."}
    words = {**PROTECTED, "checks": {"freezes": [freeze]}}
    found, problems = read_project(document_of(words, file="p.yaml"))
    assert found is None
    assert any(message in f"{each.path}: {each.message}" for each in problems), problems


def test_a_rule_cannot_have_the_id_of_another_one():
    checks = {"rules": [{"id": "pod-security", "title": "Everything goes", "expression": "true"}]}
    with pytest.raises(UsageError, match="two rules have the id 'pod-security'"):
        rules_of(project(checks=checks).checks)


def test_without_the_library_rules_in_cel_are_never_skipped(monkeypatch):
    monkeypatch.setitem(sys.modules, "celpy", None)
    compile_cel.cache_clear()
    checks = {"rules": [{"id": "acme", "title": "Two replicas", "expression": "true"}]}
    with pytest.raises(UsageError, match=r"pip install 'gitops-ml\[cel\]'"):
        rules_of(project(checks=checks).checks)
    compile_cel.cache_clear()


# -- installed packages ------------------------------------------------------------------------------

RULES = """\
from gitops_ml.policy.rule import Breach, Rule

def check(subject):
    if subject.after and subject.after.spec.compute.gpu:
        yield Breach(("compute", "gpu"), "no GPUs here")

RULES = [Rule(id="acme-gpus", title="No GPUs", severity="error", reason="None.", remedy="use CPUs", check=check)]
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder of packages, and a package with rules in it."""
    folder = tmp_path / "site-packages"
    info = folder / "acme_rules_of_test-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-rules-of-test\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text("[gitops_ml.rules]\nacme = acme_rules_of_test:RULES\n")
    (folder / "acme_rules_of_test.py").write_text(RULES)
    monkeypatch.setattr(rules, "_package_folders", lambda: [str(folder)])
    monkeypatch.syspath_prepend(str(folder))
    installed_rules.cache_clear()
    yield folder
    installed_rules.cache_clear()
    sys.modules.pop("acme_rules_of_test", None)


def test_an_installed_package_adds_rules(installed):
    (rule,) = installed_rules()
    assert isinstance(rule, Rule)
    assert rule.id == "acme-gpus"


def test_code_of_a_checkout_in_front_of_the_package_is_refused_and_not_run(
    installed, tmp_path, monkeypatch
):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "acme_rules_of_test.py").write_text("raise SystemExit('it ran')\n")
    monkeypatch.syspath_prepend(str(checkout))
    with pytest.raises(UsageError, match="is in no installed package"):
        installed_rules()


def test_metadata_of_a_checkout_does_not_count(installed, tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    (installed / "acme_rules_of_test-1.0.dist-info").rename(installed / "gone")
    info = checkout / "evil-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gitops_ml.rules]\nevil = acme_rules_of_test:RULES\n")
    monkeypatch.syspath_prepend(str(checkout))
    assert installed_rules() == ()


def test_a_package_that_fails_is_named_and_stops_the_check(installed):
    (installed / "acme_rules_of_test.py").write_text("RULES = ['no rule']\n")
    with pytest.raises(UsageError, match="neither a rule nor a list of rules"):
        installed_rules()
