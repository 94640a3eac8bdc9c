"""The rules of the project hold in Python as on the command line."""

from __future__ import annotations

import pytest

import gitops_ml as gml
from gitops_ml.errors import RulesBroken
from tests.support.person import container_api


def test_a_broken_rule_is_an_error_with_its_findings(ann):
    ann.configures(checks={"required_labels": ["cost-center"]})
    client = gml.client("staging", offline=True)
    with pytest.raises(RulesBroken, match="the label cost-center is missing") as caught:
        client.create_api(container_api("iris"), by_tag=True, pull_request=False)
    assert "required-labels" in {problem.rule for problem in caught.value.problems}
    assert ann.commits() == 0


def test_a_warning_is_one_of_the_result(ann):
    ann.configures(
        checks={"required_labels": ["tier"], "severities": {"required-labels": "warning"}}
    )
    client = gml.client("staging", offline=True)
    api = client.create_api(container_api("iris"), by_tag=True, pull_request=False)
    assert any("the label tier is missing" in text for text in api.warnings)
