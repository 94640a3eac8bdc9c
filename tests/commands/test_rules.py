"""The rules of the project hold in every verb that changes releases."""

from __future__ import annotations

from tests.support.person import container_api

EXCEPTION = {
    "rule": "required-labels",
    "apis": ["ir*"],
    "reason": "The owner is on leave.",
    "until": "2099-12-31",
}


def test_a_broken_rule_stops_a_deploy_and_nothing_is_committed(ann):
    ann.has(container_api("iris"), container_api("rose", labels={"cost-center": "42"}))
    ann.configures(checks={"required_labels": ["cost-center"]})
    result = ann.runs("deploy", "-e", "staging")
    assert result.code == 7
    assert "api.yaml:1:3: iris.labels: the label cost-center is missing" in result.err
    assert "[required-labels]" in result.err
    assert "rose" not in result.err
    assert ann.commits() == 0


def test_a_warning_is_shown_and_stops_nothing(ann):
    ann.has(container_api("iris"))
    ann.configures(
        checks={
            "required_labels": ["cost-center"],
            "severities": {"required-labels": "warning"},
        }
    )
    result = ann.deploys("-e", "staging")
    assert "the label cost-center is missing" in result.err


def test_an_exception_lets_a_release_pass_until_it_expires(ann):
    ann.has(container_api("iris"))
    checks = {"required_labels": ["cost-center"], "exceptions": [EXCEPTION]}
    ann.configures(checks=checks)
    assert "cost-center" not in ann.deploys("-e", "staging", "--dry-run").err
    ann.configures(checks={**checks, "exceptions": [{**EXCEPTION, "until": "2020-01-31"}]})
    result = ann.runs("deploy", "-e", "staging")
    assert result.code == 7
    assert "the label cost-center is missing" in result.err


def test_an_expired_exception_is_reported_where_nothing_is_broken(ann):
    ann.has(container_api("iris"))
    ann.configures(checks={"exceptions": [{**EXCEPTION, "until": "2020-01-31"}]})
    result = ann.deploys("-e", "staging")
    assert "expired on 2020-01-31" in result.err


def test_a_changed_endpoint_is_reported(ann):
    ann.has(container_api("iris", networking={"endpoint": "/iris"}))
    ann.deploys("-e", "staging")
    ann.has(container_api("iris", networking={"endpoint": "/flowers"}))
    result = ann.deploys("-e", "staging")
    assert "the endpoint changes from /iris to /flowers" in result.err


def test_a_date_that_does_not_exist_is_an_error_of_the_project_file(ann):
    ann.has(container_api("iris"))
    ann.configures(checks={"exceptions": [{**EXCEPTION, "until": "2027-02-30"}]})
    result = ann.runs("validate")
    assert result.code == 3
    assert "2027-02-30 is no day of the calendar" in result.err + result.out
