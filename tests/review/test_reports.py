"""Reports for other programs: each is what the program that reads it expects, whatever a manifest says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from junitparser import JUnitXml

from gitops_ml.errors import Problem
from gitops_ml.policy.rule import RuleFinding
from gitops_ml.review.reports.formats import FORMATS
from gitops_ml.review.review import Review, State

SCHEMA = Path(__file__).parents[1] / "support" / "sarif-schema-2.1.0.json"
HOSTILE = "a\x00\x1b[31m]]>&<b>\r\n::error::x%0A \ud800 \u202e \ufffe\uffff"
FINDINGS = (
    RuleFinding(
        "production",
        "iris",
        "required-labels",
        "error",
        "a label",
        ("labels",),
        "add it",
        "a b.yaml",
        3,
    ),
    RuleFinding("staging", "iris", "single-replica", "note", HOSTILE, file="api.yaml", line=1),
    RuleFinding("staging", "", "acme", "warning", "several releases"),
)


def review(**changes):
    words = {
        "project": "shop",
        "base": State("main", "0" * 40),
        "head": State("the checkout", None),
        "releases": (),
        "findings": FINDINGS,
        "problems": (
            Problem("api.yaml", 7, 5, "iris.compute", HOSTILE, "schema"),
            Problem(HOSTILE, 1, 1, HOSTILE, "a name", "schema", "warning"),
        ),
    }
    return Review(**{**words, **changes})


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft4Validator(
        json.loads(SCHEMA.read_text()), format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER
    )


@pytest.mark.parametrize("findings", [FINDINGS, ()])
def test_sarif_is_sarif(validator, findings):
    document = json.loads(FORMATS["sarif"](review(findings=findings, problems=())))
    assert [error.message for error in validator.iter_errors(document)] == []
    assert len(document["runs"][0]["results"]) == len(findings)


def test_sarif_names_the_line_and_describes_the_rule(validator):
    document = json.loads(FORMATS["sarif"](review()))
    assert [error.message for error in validator.iter_errors(document)] == []
    (run,) = document["runs"]
    result = next(each for each in run["results"] if each["ruleId"] == "required-labels")
    place = result["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "a%20b.yaml"},
        "region": {"startLine": 3, "startColumn": 1},
    }
    assert result["level"] == "error"
    rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert rule["id"] == "required-labels"
    assert rule["defaultConfiguration"] == {"level": "error"}


def test_a_fingerprint_stays_when_lines_move():
    moved = tuple(replace(each, line=each.line + 9) for each in FINDINGS)
    before, after = (
        {each["fingerprint"] for each in json.loads(FORMATS["code-quality"](review(findings=f)))}
        for f in (FINDINGS, moved)
    )
    assert before == after
    assert len(before) == 5


def test_two_findings_that_differ_in_their_line_only_are_both_shown():
    twice = (FINDINGS[0], replace(FINDINGS[0], line=9))
    entries = json.loads(FORMATS["code-quality"](review(findings=twice, problems=())))
    assert [each["location"]["lines"]["begin"] for each in entries] == [3, 9]
    assert len({each["fingerprint"] for each in entries}) == 2


def test_junit_counts_failures(tmp_path):
    text = FORMATS["junit"](review())
    (tmp_path / "check.xml").write_text(text, "utf-8")
    suites = JUnitXml.fromfile(str(tmp_path / "check.xml"))
    assert (suites.tests, suites.failures, suites.errors) == (5, 2, 0)
    cases = [case for suite in suites for case in suite]
    assert {case.name for case in cases if case.result} == {
        "required-labels: labels",
        "schema: iris.compute",
    }


# What an element must have, what it may have, and the elements in it: what `junit-10.xsd` of Jenkins' xUnit plugin
# and `surefire-test-report.xsd` of Maven have in common. Both refuse everything else.
JUNIT = {
    "testsuites": ("", "name time tests failures errors", "testsuite"),
    "testsuite": ("name tests failures errors skipped", "time group", "properties testcase"),
    "testcase": ("name time", "classname group", "failure skipped error system-out system-err"),
    "failure": ("type", "message", ""),
    "system-out": ("", "", ""),
}
ATTACHED = "[[ATTACHMENT|/etc/passwd]]"


def assert_junit(element, *, within="testsuites"):
    needed, allowed, inside = (set(each.split()) for each in JUNIT[element.tag])
    assert element.tag in within
    assert needed <= set(element.attrib) <= needed | allowed, element.attrib
    assert re.fullmatch(r"\d{1,3}(\.\d{0,3})?", element.get("time", "0"))
    for child in element:
        assert_junit(child, within=inside)


@pytest.mark.parametrize("findings", [FINDINGS, ()])
def test_junit_keeps_to_the_schemas_of_jenkins_and_surefire(findings):
    assert_junit(ElementTree.fromstring(FORMATS["junit"](review(findings=findings))))


def test_each_case_of_junit_has_a_name_of_its_own():
    """GitLab shows one case of each name."""
    problems = [Problem(file, 1, 1, "iris", "wrong", "schema") for file in ("a.yaml", "b.yaml")]
    again = replace(FINDINGS[0], message="another label", line=9)
    root = ElementTree.fromstring(
        FORMATS["junit"](review(findings=(*FINDINGS, again), problems=tuple(problems)))
    )
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len({*names}) == len(names) == 6


def test_no_text_of_a_change_attaches_a_file_to_a_report():
    problem = Problem("api.yaml", 1, 1, "iris", ATTACHED, "schema", "warning")
    finding = replace(FINDINGS[0], message=ATTACHED)
    assert "[[" not in FORMATS["junit"](review(findings=(finding,), problems=(problem,)))


# `app/validators/json_schemas/codeclimate.json` of GitLab, and what its page adds to that.
CODE_CLIMATE = {
    "type": "object",
    "required": ["description", "fingerprint", "severity", "location", "check_name"],
    "properties": {
        **{
            name: {"type": "string", "minLength": 1}
            for name in ("description", "fingerprint", "check_name")
        },
        "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
        "location": {
            "type": "object",
            "required": ["path", "lines"],
            "properties": {
                "path": {"type": "string", "pattern": "^(?!\\./|/).+"},
                "lines": {
                    "type": "object",
                    "required": ["begin"],
                    "properties": {"begin": {"type": "integer", "minimum": 1}},
                },
            },
        },
    },
}


def test_gitlab_gets_what_it_needs():
    report = json.loads(FORMATS["code-quality"](review()))
    jsonschema.validate(report, {"type": "array", "minItems": 5, "items": CODE_CLIMATE})


def test_each_annotation_is_one_line_that_no_text_can_break():
    lines = FORMATS["annotations"](review()).splitlines()
    assert len(lines) == 5
    assert lines[0].startswith(
        "::error file=a b.yaml,line=3,col=1,title=gitops-ml required-labels::"
    )
    assert [line.split()[0] for line in lines] == [
        "::error",
        "::error",
        "::warning",
        "::warning",
        "::notice",
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_passes_on_control_characters(name):
    text = FORMATS[name](review())
    assert not {"\x00", "\x1b"} & set(text)
    if name == "junit":
        ElementTree.fromstring(text)
