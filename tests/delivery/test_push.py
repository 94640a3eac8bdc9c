from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gitops_ml.delivery.push import CommitPlan, Delivered, Retry, deliver, pause, propose
from gitops_ml.errors import Refused, RepositoryMoved, UsageError
from gitops_ml.git.commits import Change
from tests.support.fakes import FakeGitopsRepository

if TYPE_CHECKING:
    from gitops_ml.git.repository import GitSnapshot

AUTHOR = ("Ann", "ann@example.org")


def one_file(path: str, content: bytes):
    """Plans that ``path`` holds ``content``."""

    def make(base: GitSnapshot) -> CommitPlan:
        before = base.read([path]).get(path)
        changes = () if before == content else (Change(path, before, content),)
        return CommitPlan(changes=changes, message=f"Write {path}")

    return make


WITHOUT_PAUSES = Retry(attempts=3, sleep=lambda seconds: None)


def test_a_change_becomes_one_commit_on_what_was_there():
    repository = FakeGitopsRepository.holding({"README.md": b"hello\n"})
    base = repository.head

    delivered = deliver(repository, one_file("a.yaml", b"a"), author=AUTHOR)

    plan = CommitPlan(changes=(Change("a.yaml", None, b"a"),), message="Write a.yaml")
    assert delivered == Delivered(plan=plan, base=base, commit=repository.head)
    assert repository.files == {"README.md": b"hello\n", "a.yaml": b"a"}
    assert (repository.commits[-1].message, repository.commits[-1].author) == (
        "Write a.yaml",
        AUTHOR,
    )


def test_no_change_is_no_commit():
    repository = FakeGitopsRepository.holding({"a.yaml": b"a"})
    base = repository.head

    delivered = deliver(repository, one_file("a.yaml", b"a"), author=AUTHOR)
    assert (delivered.base, delivered.commit, delivered.plan.changes) == (base, None, ())
    assert repository.head == base
    assert not repository.pending


def test_when_the_branch_moves_the_changes_are_planned_again_on_top():
    repository = FakeGitopsRepository.holding({"README.md": b"hello\n"})
    others = iter([{"b.yaml": b"b"}, {"c.yaml": b"c"}])
    repository.before_push = lambda: (
        repository.somebody_else_commits(x) if (x := next(others, None)) else None
    )
    pauses: list[float] = []

    delivered = deliver(
        repository,
        one_file("a.yaml", b"a"),
        author=AUTHOR,
        retry=Retry(
            attempts=3,
            sleep=pauses.append,
            jitter=lambda: 0.5,
            # Of each attempt: before and after the fetch, before the commit, after the push.
            clock=iter([0.0, 0.25, 9.0, 9.5, 10.0, 10.25, 10.25, 10.5, 11.0, 11.0, 11.0]).__next__,
        ),
    )

    assert delivered.attempts == 3
    assert sorted(repository.files) == ["README.md", "a.yaml", "b.yaml", "c.yaml"]
    assert pauses == [pause(1, 0.5, took=0.75), pause(2, 0.5, took=0.5)]


def test_a_change_that_somebody_else_has_made_meanwhile_is_not_made_twice():
    repository = FakeGitopsRepository.holding({})
    repository.before_push = lambda: repository.somebody_else_commits({"a.yaml": b"a"})

    delivered = deliver(repository, one_file("a.yaml", b"a"), author=AUTHOR, retry=WITHOUT_PAUSES)

    assert (delivered.commit, delivered.attempts) == (None, 2)


def test_after_the_last_attempt_the_failure_is_raised():
    repository = FakeGitopsRepository.holding({})
    numbers = iter(range(100))
    repository.before_push = lambda: repository.somebody_else_commits({f"{next(numbers)}": b""})

    with pytest.raises(RepositoryMoved):
        deliver(repository, one_file("a", b"a"), author=AUTHOR, retry=WITHOUT_PAUSES)
    assert next(numbers) == 3


def test_a_refusal_is_not_tried_again():
    repository = FakeGitopsRepository.holding({})
    repository.refusal = Refused("protected branch")

    with pytest.raises(Refused):
        deliver(repository, one_file("a", b"a"), author=AUTHOR, retry=WITHOUT_PAUSES)
    assert len(repository.pending) == 1


def test_where_nothing_can_be_proposed_no_changes_are_made():
    asked = []
    with pytest.raises(UsageError, match="`gitops-ml bootstrap` pushes the first commit"):
        propose(FakeGitopsRepository(), None, asked.append, asked.append, head="x", author=AUTHOR)
    assert not asked


def test_what_cannot_be_described_is_not_pushed():
    repository = FakeGitopsRepository.holding({"README.md": b"hello\n"})
    plan = one_file("a.yaml", b"a")

    def fails(plan: CommitPlan):
        raise UsageError("no description")

    with pytest.raises(UsageError, match="no description"):
        propose(repository, None, plan, fails, head="deploy/a", author=AUTHOR)
    assert not repository.pending, "nothing was committed"


def test_pauses_begin_with_twice_an_attempt_and_double_up_to_five_seconds():
    assert [pause(n, 1.0, took=0.1) for n in (1, 2, 3, 7, 40)] == [0.2, 0.4, 0.8, 5.0, 5.0]
    assert pause(3, 0.25, took=0.1) == 0.2
