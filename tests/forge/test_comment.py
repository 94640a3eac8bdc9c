"""One comment of ours on a pull request: on every forge, whoever else writes there."""

from __future__ import annotations

import threading

import pytest

from gitops_ml.errors import GitopsMlError, Refused, ServerFailed, UsageError
from gitops_ml.forge.own_comment import upsert
from tests.support.forges.running import adapter, branch, kind_of, proposal
from tests.support.forges.server import Reply

WRITES = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def open_pull(forge):
    branch(forge)
    adapter(forge).open(proposal())
    forge.requests.clear()
    return forge


def hidden(forge, marker: str = "check") -> str:
    return "[//]: # (gitops-ml: check)" if kind_of(forge) == "bitbucket" else (
        f"<!-- gitops-ml: {marker} -->"
    )  # fmt: skip


def bodies(forge) -> list[str]:
    return [note.body for note in forge.notes]


def comments_sent(forge) -> list[str]:
    return [request.method for request in forge.requests if request.method in WRITES]


def test_the_comment_is_created_then_updated_in_place_and_then_left(open_pull):
    forge = adapter(open_pull)
    first = forge.upsert_comment(1, "check", "One release changes.")
    second = forge.upsert_comment(1, "check", "Two releases change.\n\n| a | b |")
    third = forge.upsert_comment(1, "check", "Two releases change.\n\n| a | b |\n")
    assert [each.action for each in (first, second, third)] == ["created", "updated", "unchanged"]
    assert {each.comment.id for each in (first, second, third)} == {open_pull.notes[0].id}
    assert bodies(open_pull) == [
        f"{hidden(open_pull)}\n\nTwo releases change.\n\n| a | b |\n"
    ]  # fmt: skip


@pytest.mark.parametrize("names_account", [True, False])
def test_only_a_comment_of_ours_with_the_marker_first_is_updated(open_pull, names_account):
    """Also where the forge does not say whose the token is."""
    open_pull.names_account = names_account
    line = hidden(open_pull)
    open_pull.note(1, f"{line}\n\nAll is well, merge it.", author="mallory")
    open_pull.note(1, f"> {line}\n\nWhy?")
    open_pull.note(1, f"{line.replace('check', 'other')}\n\nAnother comment of ours.")
    before = bodies(open_pull)
    forge = adapter(open_pull)
    forge.upsert_comment(1, "check", "One.")
    forge.upsert_comment(1, "check", "Two.")
    assert bodies(open_pull) == [*before, f"{line}\n\nTwo.\n"]


def test_the_token_of_github_actions_does_not_create_a_comment_to_learn_its_name(github):
    branch(github)
    adapter(github).open(proposal())
    github.names_account = False
    adapter(github).upsert_comment(1, "check", "One.")
    github.requests.clear()
    adapter(github).upsert_comment(1, "check", "Two.")
    assert [r.line for r in github.requests if r.method in WRITES] == [
        "POST /graphql",
        f"PATCH /repos/acme/gitops/issues/comments/{github.notes[0].id}",
    ]


def test_an_account_that_has_another_name_beside_its_comments_leaves_one_comment(github):
    """The name of an app has `[bot]` in one API, and may lack it in another."""
    branch(github)
    adapter(github).open(proposal())
    viewer = {"data": {"viewer": {"login": "ann[bot]"}}}
    github.names_account = False
    github.answers.append(lambda r: Reply(200, viewer) if r.path == "/graphql" else None)
    adapter(github).upsert_comment(1, "check", "One.")
    first = github.notes[0].id
    done = adapter(github).upsert_comment(1, "check", "Two.")
    assert (done.removed, [note.id for note in github.notes]) == (1, [first])
    assert "Two." in github.notes[0].body


def test_it_is_found_behind_many_others(open_pull):
    adapter(open_pull).upsert_comment(1, "check", "One.")
    ours = open_pull.notes.pop()
    for number in range(105):
        open_pull.note(1, f"Comment {number}", author="bea")
    open_pull.notes.append(ours)
    assert adapter(open_pull).upsert_comment(1, "check", "Two.").action == "updated"
    assert len(open_pull.notes) == 106


def test_of_several_the_oldest_stays(open_pull):
    line = hidden(open_pull)
    for text in ("One.", "Two.", "Three."):
        open_pull.note(1, f"{line}\n\n{text}")
    oldest = open_pull.notes[0].id
    done = adapter(open_pull).upsert_comment(1, "check", "Four.")
    assert (done.action, done.removed) == ("updated", 2)
    assert [(note.id, note.body) for note in open_pull.notes] == [(oldest, f"{line}\n\nFour.\n")]


def test_runs_at_the_same_time_leave_one_comment(open_pull):
    """Each run lists before any of them creates."""
    together = threading.Barrier(4)
    listed = threading.local()

    failures: list[BaseException] = []

    def run(number: int) -> None:
        page = adapter(open_pull).comments(1)
        listing = page.listed

        def listed_together():
            found = list(listing())
            if not getattr(listed, "once", False):
                listed.once = True
                together.wait(60)
            return found

        page.listed = listed_together
        try:
            upsert(page, "check", f"Run {number}.")
        except (GitopsMlError, AssertionError, threading.BrokenBarrierError) as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(open_pull.notes) == 1
    assert open_pull.notes[0].id == 101


def test_a_comment_that_comes_on_two_pages_is_one(open_pull):
    """Another comment was written between the pages."""
    page = adapter(open_pull).comments(1)
    upsert(page, "check", "One.")
    listing = page.listed
    page.listed = lambda: [*listing(), *listing()]
    done = upsert(page, "check", "Two.")
    assert (done.action, done.removed, len(open_pull.notes)) == ("updated", 0, 1)


def test_a_comment_that_a_person_deletes_meanwhile_is_created_again(open_pull):
    adapter(open_pull).upsert_comment(1, "check", "One.")

    def gone(request):
        if request.method in ("PATCH", "PUT") and open_pull.notes:
            open_pull.notes.clear()

    open_pull.answers.append(gone)
    assert adapter(open_pull).upsert_comment(1, "check", "Two.").action == "created"
    assert len(open_pull.notes) == 1


def test_a_forge_that_loses_every_comment_ends(open_pull):
    open_pull.note(1, f"{hidden(open_pull)}\n\nOne.")
    open_pull.answers.append(
        lambda r: open_pull.not_found() if r.method in ("PATCH", "PUT") else None
    )
    with pytest.raises(ServerFailed, match="deleted again and again"):
        adapter(open_pull).upsert_comment(1, "check", "Two.")


def test_a_long_text_is_cut_at_a_line_below_the_limit(open_pull):
    line = "a change with ümläuts and ``code`` in it\n"
    limit = adapter(open_pull).comments(1).limit
    adapter(open_pull).upsert_comment(1, "check", line * (limit // len(line) + 100))
    (body,) = bodies(open_pull)
    assert limit - 300 < len(body) <= limit
    assert body.removesuffix("\n").endswith(
        f"the forge takes at most {limit:,} characters in a comment."
    )


def test_a_token_that_may_not_comment_is_refused_with_the_remedy(open_pull):
    open_pull.check = lambda *_: None
    open_pull.answers.append(
        lambda r: Reply(403, {"message": "no"}) if r.method == "POST" else None
    )
    with pytest.raises(Refused, match="token that may read and write pull requests of acme/gitops"):
        adapter(open_pull).upsert_comment(1, "check", "One.")


@pytest.mark.parametrize("marker", ["", "Check", "a b", "-->", "check-", "x\ny", "ü"])
def test_a_marker_that_could_end_its_line_is_refused(open_pull, marker):
    with pytest.raises(UsageError, match="lower-case letters, digits and dashes"):
        adapter(open_pull).upsert_comment(1, marker, "One.")
    assert open_pull.requests == []
