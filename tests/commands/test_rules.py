"""The rules of the project hold in every verb that changes releases."""

from __future__ import annotations

import pytest

from tests.support.person import NO_REGISTRY, container_api, predictor_api
from tests.support.releases import deployed, did, id_of, values

GATEWAY = {"name": "public", "namespace": "gateways", "hosts": ["ml.example.org"]}
ROUTED = {"main": {"server": "https://kubernetes.default.svc", "gateway": GATEWAY}}
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


# -- verbs -----------------------------------------------------------------------------------------

FREEZE = {"start": "2020-01-01", "end": "2098-01-01", "reason": "The end of the year."}
FROZEN = {"freezes": [{**FREEZE, "environments": ["staging"]}]}


def test_in_a_frozen_environment_every_verb_stops_but_a_rollback(ann):
    first = deployed(ann, container_api("iris"), container_api("rose"))
    deployed(ann, container_api("iris", autoscaling={"max_replicas": 7}), container_api("rose"))
    ann.configures(checks=FROZEN)
    ann.has(container_api("iris", autoscaling={"max_replicas": 9}), container_api("rose"))
    for arguments in (
        ("deploy", "-e", "staging"),
        ("delete", "iris", "-e", "staging", "--yes"),
        ("refresh", "iris", "-e", "staging"),
        ("patch", "iris", "-e", "staging", "--set", "autoscaling.max_replicas=4"),
    ):
        result = ann.runs(*arguments)
        assert result.code == 7, (arguments, result)
        assert "staging is frozen" in result.err
    result = did(ann, "rollback", "iris", "-e", "staging")
    assert "staging is frozen" in result.err
    assert id_of(ann, "iris") == first
    assert values(ann, "iris")["autoscaling"]["maxReplicas"] == 5


def test_an_environment_that_gets_promotions_only_takes_no_deploy(ann):
    ann.has(container_api("iris"))
    ann.configures(checks={"promotion_only": ["production"]})
    ann.deploys("-e", "staging")
    assert ann.runs("deploy", "-e", "production").code == 7
    did(ann, "promote", "iris", "--from", "staging", "--to", "production")
    assert ann.release("iris", "production")["environment"] == "production"


def test_a_limit_counts_the_releases_that_do_not_change(ann):
    ann.has(container_api("iris"), container_api("rose"))
    ann.configures(checks={"limits": [{"environment": "staging", "replicas": 12}]})
    ann.deploys("-e", "staging")
    ann.has(container_api("iris"), container_api("rose", autoscaling={"max_replicas": 8}))
    result = ann.runs("deploy", "-e", "staging")
    assert result.code == 7
    assert "all teams in staging would use up to 13 replicas of 12" in result.err
    ann.has(container_api("iris"), container_api("rose", autoscaling={"max_replicas": 7}))
    ann.deploys("-e", "staging")


def test_pruning_most_releases_of_an_environment_is_refused(ann):
    apis = [container_api(name) for name in ("iris", "rose", "tulip", "lily")]
    ann.has(*apis)
    ann.configures(policy={"prune_at_most": 10})
    ann.deploys("-e", "staging")
    ann.has(apis[0])
    result = ann.runs("deploy", "-e", "staging", "--prune")
    assert result.code == 7
    assert "3 of the 4 releases of staging are removed" in result.err
    did(ann, "delete", "rose", "tulip", "lily", "-e", "staging", "--yes")


def test_a_secret_in_the_source_of_a_new_image_is_reported_at_its_line(ann):
    ann.has(predictor_api("iris"))
    (ann.project / "helpers.py").write_text('import os\n\nAPI_KEY = "correct horse"\n')
    ann.configures(checks={"severities": {"secret-in-code": "error"}})
    result = ann.runs("deploy", "-e", "staging", *NO_REGISTRY)
    assert result.code == 7
    assert "helpers.py:3:1: iris: API_KEY is given a text that may be a secret" in result.err
    assert "correct horse" not in result.err + result.out


def test_rules_see_the_objects_that_the_chart_renders(ann):
    probe = {"httpGet": {"path": "/health", "port": 8080}}
    iris = container_api("iris")
    ann.has(
        {
            **iris,
            "container": {**iris["container"], "readiness_probe": probe, "liveness_probe": probe},
        }
    )
    result = ann.deploys("-e", "staging")
    assert "liveness and readiness ask the same" in result.err
    assert "[probe-arithmetic]" in result.err


def test_findings_of_json_errors_are_as_those_of_people(ann):
    ann.has(container_api("iris"))
    ann.configures(checks={"required_labels": ["cost-center"]})
    result = ann.runs("deploy", "-e", "staging", "--output", "json")
    assert result.code == 7
    found = [(p["rule"], p["file"], p["line"]) for p in result.json["error"]["problems"]]
    assert ("required-labels", "api.yaml", 1) in found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"networking": {"visibility": "cluster"}}, "the gateway no longer routes to the API"),
        ({"networking": {"endpoint": "/flowers"}}, "the endpoint changes from /iris to /flowers"),
    ],
)
def test_a_deploy_reports_what_breaks_callers(ann, changes, expected):
    ann.configures(clusters=ROUTED)
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")
    ann.has(container_api("iris", **changes))
    assert expected in ann.runs("deploy", "-e", "staging", "--dry-run").err


@pytest.mark.parametrize(
    ("gateway", "expected"),
    [
        ({**GATEWAY, "hosts": ["api.example.org"]}, "the host ml.example.org is removed"),
        (None, "the gateway no longer routes to the API"),
    ],
)
def test_a_change_of_the_gateway_in_the_project_file_breaks_callers(ann, gateway, expected):
    ann.configures(clusters=ROUTED)
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")
    main = {**ROUTED["main"], "gateway": gateway}
    ann.configures(clusters={"main": {k: v for k, v in main.items() if v is not None}})
    assert expected in ann.deploys("-e", "staging", "--dry-run").err
