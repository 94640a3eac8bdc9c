"""`gitops-ml check --html`: the page as a file, with the replicas that traffic would need."""

from __future__ import annotations

import re
import time

import pytest

from tests.support.git_servers import git
from tests.support.person import container_api
from tests.support.prometheus import prometheus_with

pytest.importorskip("helm_python")


def changes(ann, **cluster):
    """A change of iris' replicas and CPU, on a branch."""
    prices = {"currency": "EUR", "cpu_hour": 0.04, "memory_hour": 0.005}
    ann.configures(clusters={"main": {"prices": prices, **cluster}})
    scaled = {"min_replicas": 1, "max_replicas": 5, "target_in_flight": 4}
    gauge = {"metrics_path": "/metrics", "in_flight_metric": "http_busy"}
    api = container_api("iris", autoscaling=scaled)
    api["container"] |= gauge
    ann.has(api)
    ann.keeps_source_in_git()
    git("branch", "-M", "main", cwd=ann.project)
    git("checkout", "-q", "-b", "change", cwd=ann.project)
    ann.has({**api, "autoscaling": {**scaled, "max_replicas": 9}, "compute": {"cpu": "1"}})


def page_of(ann, *words):
    result = ann.runs("check", "--base", "main", "--html", "page.html", *words)
    assert result.code == 0, result
    return (ann.project / "page.html").read_text()


def words_of(page: str, text: str) -> list[str]:
    return re.findall(rf"{text}[^<]*", page)


def test_the_page_has_the_cost_and_the_bounds(ann):
    changes(ann)
    page = page_of(ann, "--offline")
    assert "EUR" in page
    assert (
        words_of(page, "Replicas over a week:")
        == ["Replicas over a week: at least 1, at most 9."] * 2
    )


def test_traffic_of_a_file_is_simulated(ann):
    changes(ann)
    lines = [
        f"2026-01-05T{hour:02}:00:00Z,iris,{30 if 8 <= hour < 18 else 1},0.5" for hour in range(24)
    ]
    text = "\n".join(["time,api,requests_per_second,latency_seconds", *lines])
    (ann.project / "traffic.csv").write_text(text)
    page = page_of(ann, "--offline", "--traffic", "traffic.csv")
    assert "at most 9; with the recorded traffic 1 to 4" in page


def test_every_line_of_a_file_that_cannot_be_read_is_named(ann):
    changes(ann)
    (ann.project / "traffic.csv").write_text("time,in_flight\nnoon,3\n0,many\n1,-4\n2,7\n")
    result = ann.runs("check", "--base", "main", "--html", "p.html", "--traffic", "traffic.csv")
    assert result.code == 3
    assert "traffic.csv:2:1: 'noon' is no time; write it as 2026-01-05T08:00:00Z" in result.err
    assert "traffic.csv:3:1: in_flight: 'many' is no number of 0 or more" in result.err
    assert "traffic.csv:4:1: in_flight: '-4' is no number of 0 or more" in result.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the column 'time' is missing"),
        ("time,load\n", "unknown column 'load'; the columns are time, api"),
        ("time,requests_per_second\n0,1\n", "both 'requests_per_second' and 'latency_seconds'"),
        ("time,in_flight\n", "it has no line beside that of the names"),
        ('time,in_flight\n0,"1\n', "it is no CSV"),
    ],
)
def test_a_file_that_is_no_record_is_refused(ann, text, message):
    changes(ann)
    (ann.project / "traffic.csv").write_text(text)
    result = ann.runs("check", "--base", "main", "--html", "p.html", "--traffic", "traffic.csv")
    assert result.code == 3
    assert message in result.err


def test_the_traffic_of_a_cluster_comes_from_its_prometheus(ann, tmp_path):
    now = time.time() // 300 * 300
    labels = {"namespace": "ml-staging", "app_kubernetes_io_instance": "iris", "pod": "a"}
    day = [
        ("http_busy", labels, now - 600 - 60 * n, 4.0 if n > 300 else 11.0) for n in range(24 * 60)
    ]
    with prometheus_with(day, tmp_path) as address:
        changes(ann, prometheus={"address": address})
        page = page_of(ann, "--traffic", "prometheus")
    assert words_of(page, "Replicas over a week:") == [
        "Replicas over a week: at least 1, at most 9.",
        "Replicas over a week: at least 1, at most 9; with the recorded traffic 1 to 3.",
    ]


def test_what_cannot_be_is_refused_with_a_reason(ann):
    changes(ann)
    alone = ann.runs("check", "--base", "main", "--traffic", "prometheus")
    assert "--traffic has an effect with --html only" in alone.err
    words = ("check", "--base", "main", "--html")
    offline = ann.runs(*words, "p.html", "--offline", "--traffic", "prometheus")
    assert "leave --offline out, or name a file" in offline.err
    none = ann.runs(*words, "p.html", "--traffic", "prometheus")
    assert "set clusters.main.prometheus.address" in none.err
    missing = ann.runs(*words, "p.html", "--traffic", "gone.csv")
    assert "gone.csv does not exist" in missing.err
    place = ann.runs(*words, "no/such/folder/p.html")
    assert "no/such/folder/p.html cannot be written" in place.err


def test_a_link_of_a_pull_request_shows_no_secret_and_overwrites_nothing(ann, tmp_path):
    changes(ann)
    (tmp_path / "secret").write_text("TOKEN=canary-51b2")
    for name in ("traffic.csv", "page.html", "report"):
        (ann.project / name).symlink_to(tmp_path / "secret")
    for words in (
        ("--html", "new.html", "--traffic", "traffic.csv"),
        ("--html", "page.html"),
        ("--report", "json=report"),
    ):
        result = ann.runs("check", "--base", "main", "--offline", *words)
        assert (result.code, "is a link" in result.err) == (2, True), result
        assert "canary" not in result.out + result.err
    assert (tmp_path / "secret").read_text() == "TOKEN=canary-51b2"
