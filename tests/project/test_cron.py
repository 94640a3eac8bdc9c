"""Cron lines as KEDA's library reads them: what it accepts, and whether a line ever comes."""

from __future__ import annotations

import pytest

from gitops_ml.project.cron import cron_error, cron_findings, timezones


@pytest.mark.parametrize(
    "line",
    ["* * * * *", "0 8 * * 1-5", "*/5 0-6/2 1,15 JAN-mar SUN", "0 0 ? * *", "59 23 31 12 6"],
)
def test_a_cron_line_has_five_fields(line):
    assert cron_error(line) is None


@pytest.mark.parametrize(
    "line",
    [
        *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *"),
        *("* * * * 7", "@daily", "5-1 * * * *", "*/0 * * * *", "a * * * *", "*-5 * * * *"),
        "٣ * * * *",
    ],
)
def test_what_is_no_cron_line_is_said(line):
    assert cron_error(line) is not None


def test_time_zones_are_known_by_name():
    assert {"UTC", "Europe/Oslo", "America/Argentina/Buenos_Aires", "Asia/Kolkata"} <= timezones()
    assert timezones().isdisjoint({"Local", "", "Europe/Olso"})


@pytest.mark.parametrize(
    ("line", "comes"),
    [
        ("0 0 29 2 *", True),
        ("0 0 30 2 *", False),
        ("0 0 30-31 FEB ?", False),
        ("0 0 31 2,4,6,9,11 *", False),
        ("0 0 31 4-6/2 *", False),
        ("0 0 31 1/2 *", True),
        ("0 0 28-31 2 *", True),
        ("0 0 31 2-3 *", True),
        # The library takes either of both, unless one of them is any day; */2 is not any.
        ("0 0 30 2 1", True),
        ("0 0 30 2 */2", True),
        ("0 0 30 2 */1", False),
        ("0 0 30 2 1,*", False),
    ],
)
def test_a_line_that_never_comes_is_refused(line, comes):
    wrong = cron_error(line)
    assert (wrong is None) == comes, wrong
    assert comes or "never comes" in str(wrong)


@pytest.mark.parametrize("end", ["0 8 * * 1-5", "0 8 ? * mon-fri", "00 08 * * 1,2,3,4,5"])
def test_a_window_that_ends_when_it_starts_is_refused_however_it_is_spelled(end):
    found = list(cron_findings(("schedule",), "0 8 * * 1-5", end, "UTC", rule="autoscaling"))
    assert [(each.path, "ends when it starts" in each.message) for each in found] == [
        (("schedule", "end"), True)
    ]
