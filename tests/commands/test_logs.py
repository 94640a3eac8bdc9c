"""`gitops-ml logs`: every replica in one stream."""

from __future__ import annotations

import itertools
import json
import threading

import pytest

from gitops_ml.commands.logs import follow
from gitops_ml.errors import ServerFailed
from tests.support import controllers as k8s
from tests.support.kubernetes_server import Log


def at(second: int) -> str:
    return f"2026-11-25T12:00:{second:02}.000000000Z"


def says(
    life, number: int, *lines: tuple[int, str], previous: bool = False, is_over: bool = True
) -> Log:
    log = Log([f"{at(second)} {text}" for second, text in lines], is_over=is_over)
    life.server.logs[life.pod(number)["metadata"]["name"], "predictor", previous] = log
    return log


def lives(life, *statuses) -> None:
    life.deploys()
    life.syncs()
    life.runs(*statuses)


def test_lines_of_all_replicas_come_by_time(life):
    lives(life, k8s.ready(), k8s.ready())
    says(life, 0, (1, "loading"), (4, "ready"))
    says(life, 1, (2, "loading"), (3, "ready"))
    result = life.ann.runs("logs", "iris")
    assert result.out.splitlines() == [
        "iris-7d9f8c6b5d-p0  loading",
        "iris-7d9f8c6b5d-p1  loading",
        "iris-7d9f8c6b5d-p1  ready",
        "iris-7d9f8c6b5d-p0  ready",
    ]
    newest = life.ann.runs("logs", "iris", "--tail", "1", "-o", "json")
    assert json.loads(newest.out) == {
        "at": at(4), "pod": "iris-7d9f8c6b5d-p0", "text": "ready",
    }  # fmt: skip


def test_of_a_replica_that_crashed_the_last_attempt_is_shown(life):
    lives(life, k8s.crashes("boom", restarts=2))
    says(life, 0, (1, "KeyError: 'model'"), previous=True)
    assert life.ann.runs("logs", "iris").out == "iris-7d9f8c6b5d-p0  KeyError: 'model'\n"


def test_a_replica_that_has_said_nothing_yet_says_why(life):
    lives(life, k8s.pull_backs_off("not found"))
    result = life.ann.runs("logs", "iris")
    assert result.code == 1
    assert (
        "iris in staging has written no logs yet: the image of predictor cannot be pulled"
        in result.err
    )


def test_without_replicas_it_says_where_to_look(life):
    lives(life)
    assert "`gitops-ml describe iris` shows why" in life.ann.runs("logs", "iris").err


def test_an_unknown_container_names_those_that_there_are(life):
    lives(life, k8s.ready())
    result = life.ann.runs("logs", "iris", "-c", "proxy")
    assert (result.code, "has no container 'proxy'; it has predictor" in result.err) == (2, True)


def test_following_shows_new_lines_new_replicas_and_new_attempts(life):
    lives(life, k8s.starting())
    first = says(life, 0, (1, "loading"), is_over=False)
    workspace, clients = life.asks()
    lines = follow(workspace, "iris", clients=clients, environment="staging", look_again=0.05)
    texts = (line.text for line in lines)
    assert next(texts) == "loading"
    first.says(f"{at(2)} KeyError")
    assert next(texts) == "KeyError"

    # It crashes and is started anew; a second replica comes.
    first.ends()
    again = k8s.starting()
    again["containerStatuses"][0]["restartCount"] = 1
    life.runs(again, k8s.ready())
    says(life, 0, (5, "loading again"), is_over=False)
    says(life, 1, (6, "second"), is_over=False)
    assert set(itertools.islice(texts, 2)) == {"loading again", "second"}
    lines.close()


def test_following_goes_on_where_the_connection_was_lost(life):
    lives(life, k8s.ready())
    log = says(life, 0, (1, "one"), is_over=False)
    workspace, clients = life.asks()
    lines = follow(workspace, "iris", clients=clients, environment="staging", look_again=0.05)
    assert next(lines).text == "one"
    log.is_cut = True
    log.says(f"{at(2)} two")  # while nobody is connected
    assert next(lines).text == "two"
    lines.close()


def test_following_outlives_a_cluster_that_is_away_for_a_moment(life):
    lives(life, k8s.ready())
    log = says(life, 0, (1, "one"), is_over=False)
    workspace, clients = life.asks()
    progress: list[str] = []

    def comes_back(line: str) -> None:
        progress.append(line)
        life.server.broken = False

    clients.progress = comes_back
    lines = follow(workspace, "iris", clients=clients, environment="staging", look_again=0.05)
    assert next(lines).text == "one"
    life.server.broken = True
    log.is_cut = True
    log.says(f"{at(2)} two")
    assert next(lines).text == "two"
    assert len(progress) == 1
    assert "etcdserver: request timed out" in progress[0]
    lines.close()


def test_a_cluster_that_never_answers_is_told_at_once(life):
    lives(life, k8s.ready())
    life.server.broken = True
    workspace, clients = life.asks()
    with pytest.raises(ServerFailed, match="etcdserver"):
        next(follow(workspace, "iris", clients=clients, environment="staging"))


def test_nobody_goes_on_reading_once_the_lines_are_not_wanted(life):
    lives(life, k8s.ready())
    says(life, 0, *((1, str(number)) for number in range(10_100)))
    workspace, clients = life.asks()
    lines = follow(workspace, "iris", clients=clients, environment="staging", tail=None)
    assert next(lines).text == "0"
    (reading,) = [each for each in threading.enumerate() if each.name.startswith("log of iris-")]
    lines.close()
    reading.join(60)
    assert not reading.is_alive()


def test_a_log_that_breaks_off_is_no_whole_log(life):
    lives(life, k8s.ready())
    says(life, 0, (1, "one")).is_cut = True
    result = life.ann.runs("logs", "iris")
    assert (result.code, result.out) == (4, "iris-7d9f8c6b5d-p0  one\n")
    assert "the log of iris-7d9f8c6b5d-p0 broke off" in result.err
