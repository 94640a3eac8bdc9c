"""A pull request is checked by the rules of the branch that it is merged into."""

from __future__ import annotations

import json

import pytest

from tests.support.git_servers import git
from tests.support.person import ENVIRONMENTS, container_api

pytest.importorskip("helm_python")
REQUIRED = {"required_labels": ["cost-center"]}


@pytest.fixture
def proposer(ann):
    """On a branch beside `main`, whose project file requires a label."""
    ann.has(container_api("iris", labels={"cost-center": "42"}))
    ann.configures(checks=REQUIRED)
    ann.keeps_source_in_git()
    git("branch", "-M", "main", cwd=ann.project)
    git("checkout", "-q", "-b", "change", cwd=ann.project)
    return ann


def checked(person, *arguments):
    return person.runs("check", "--base", "main", "--offline", "-o", "json", *arguments)


def broken(result, severity="error"):
    facts = result.json
    found = [*facts["findings"], *(f for each in facts["releases"] for f in each["findings"])]
    return {each["rule"] for each in found if each["severity"] == severity}


def test_a_change_that_breaks_a_rule_ends_with_seven(proposer):
    proposer.has(container_api("iris"))
    result = checked(proposer)
    assert result.code == 7
    assert broken(result) == {"required-labels"}
    assert result.json["releases"][0]["findings"][0]["file"] == "api.yaml"


RELAXED = {
    "a severity": {"checks": {**REQUIRED, "severities": {"required-labels": "ignore"}}},
    "no rule": {"checks": {}},
    "an exception": {
        "checks": {
            **REQUIRED,
            "exceptions": [
                {
                    "rule": "required-labels",
                    "apis": ["*"],
                    "reason": "It is late.",
                    "until": "2099-01-01",
                }
            ],
        }
    },
}


@pytest.mark.parametrize("words", RELAXED.values(), ids=list(RELAXED))
def test_a_change_cannot_relax_its_own_rules_and_is_reported_for_it(proposer, words):
    proposer.has(container_api("iris"))
    proposer.configures(**words)
    result = checked(proposer)
    assert result.code == 7
    assert "required-labels" in broken(result)
    assert "rules-changed" in broken(result, "warning")


def test_a_change_cannot_widen_its_own_policy(proposer):
    proposer.has(
        container_api("iris", labels={"cost-center": "42"}, compute={"priority_class": "high"})
    )
    proposer.configures(checks=REQUIRED, policy={"priority_classes": ["high"]})
    result = checked(proposer)
    assert result.code == 7
    assert broken(result) == {"policy"}
    assert "policy.priority_classes changes: + high" in result.out


def test_a_change_cannot_unprotect_an_environment(proposer):
    open_now = {**ENVIRONMENTS, "production": {**ENVIRONMENTS["production"], "protected": False}}
    proposer.has(container_api("iris", labels={"cost-center": "43"}))
    proposer.configures(checks=REQUIRED, environments=open_now)
    result = checked(proposer)
    assert "production is no longer protected" in result.out
    assert "single-replica" in broken(result, "note")


def test_a_branch_of_long_ago_is_checked_by_the_rules_of_today(proposer):
    git("checkout", "-q", "main", cwd=proposer.project)
    proposer.configures(checks={"required_labels": ["cost-center", "tier"]})
    proposer.commits_source()
    git("checkout", "-q", "change", cwd=proposer.project)
    proposer.has(container_api("iris", labels={"cost-center": "43"}))
    result = checked(proposer)
    assert result.code == 7
    assert "the label tier is missing" in result.out
    assert "rules-changed" not in result.out


def test_the_first_project_file_has_its_own_rules(ann):
    ann.has(container_api("iris"))
    (ann.project / "gitops-ml.yaml").unlink()
    ann.keeps_source_in_git()
    git("branch", "-M", "main", cwd=ann.project)
    git("checkout", "-q", "-b", "change", cwd=ann.project)
    ann.configures(checks=REQUIRED)
    result = checked(ann)
    assert "required-labels" in broken(result), result


# -- reports and descriptions ----------------------------------------------------------------------


def test_reports_are_written_beside_the_output(proposer):
    proposer.has(container_api("iris"))
    files = {name: proposer.home / name for name in ("sarif", "junit", "code-quality")}
    reports = [word for name, file in files.items() for word in ("--report", f"{name}={file}")]
    assert checked(proposer, *reports).code == 7
    assert json.loads(files["sarif"].read_text())["version"] == "2.1.0"
    assert "required-labels" in files["junit"].read_text()
    assert json.loads(files["code-quality"].read_text())


def test_github_gets_annotations_and_a_summary(proposer, monkeypatch):
    summary = proposer.home / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    proposer.has(container_api("iris"))
    result = proposer.runs("check", "--base", "main", "--offline", "-o", "github")
    assert result.code == 7
    assert result.out.startswith(
        "::error file=api.yaml,line=1,col=1,title=gitops-ml required-labels::iris in production"
    )
    assert "required-labels" in summary.read_text()


def test_a_report_of_an_unknown_format_names_the_known_ones(proposer):
    result = proposer.runs("check", "--base", "main", "--report", "sarfi=x")
    assert result.code == 2
    assert "code-quality" in result.err


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("pod-security", "Pods meet the Pod Security Standard restricted"),
        ("gpu-deadlock", "no project file changes that"),
        ("acme", "Two replicas"),
    ],
)
def test_a_rule_is_explained_without_a_base(ann, rule, text):
    own = {"id": "acme", "title": "Two replicas", "expression": "true"}
    ann.configures(checks={"rules": [own]})
    result = ann.runs("check", "--explain", rule)
    assert (result.code, text in result.out) == (0, True), result


def test_an_unknown_rule_names_the_one_that_is_meant(ann):
    result = ann.runs("check", "--explain", "pod-securty")
    assert result.code == 2
    assert "did you mean 'pod-security'" in result.err


def test_rules_of_the_base_in_cel_hold(proposer):
    git("checkout", "-q", "main", cwd=proposer.project)
    rule = {
        "id": "acme",
        "title": "Two replicas",
        "expression": "release.autoscaling.min_replicas >= 2",
    }
    proposer.configures(checks={"rules": [rule]})
    proposer.commits_source()
    git("checkout", "-q", "-B", "change", cwd=proposer.project)
    proposer.configures(checks={})
    proposer.has(container_api("iris", labels={"tier": "gold"}))
    result = checked(proposer)
    assert result.code == 7
    assert broken(result) == {"acme"}


def test_limits_count_the_releases_that_do_not_change(ann):
    rose = {"autoscaling": {"max_replicas": 5}}
    ann.has(container_api("iris"), folder=ann.project / "iris")
    ann.has(container_api("rose", **rose), folder=ann.project / "rose")
    for name in ("iris", "rose"):
        (ann.project / name / "gitops-ml.yaml").unlink()
    ann.configures(checks={"limits": [{"environment": "staging", "replicas": 12}]})
    ann.keeps_source_in_git()
    git("branch", "-M", "main", cwd=ann.project)
    git("checkout", "-q", "-b", "change", cwd=ann.project)
    for most, rules in ((8, {"usage-limit"}), (7, set())):
        ann.has(
            container_api("iris", autoscaling={"max_replicas": most}), folder=ann.project / "iris"
        )
        (ann.project / "iris" / "gitops-ml.yaml").unlink()
        result = checked(ann)
        assert broken(result) == rules
        places = [(each["file"], each["line"]) for each in result.json["findings"]]
        assert places == [("iris/api.yaml", 1)] * len(rules)


def test_a_severity_of_an_unknown_rule_is_reported(proposer):
    git("checkout", "-q", "main", cwd=proposer.project)
    proposer.configures(checks={"severities": {"pod-securty": "error"}})
    proposer.commits_source()
    git("checkout", "-q", "-B", "change", cwd=proposer.project)
    proposer.has(container_api("iris"))
    result = checked(proposer)
    assert "unknown-rule" in broken(result, "warning")
    assert "did you mean 'pod-security'" in result.out
