"""A pull request is checked by the rules of the branch that it is merged into."""

from __future__ import annotations

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
