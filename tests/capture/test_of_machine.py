"""What a text takes from the machine: the local time, and where random numbers begin."""

from __future__ import annotations

import pytest

from gitops_ml.capture.of_machine import of_each_process, reads_local_time, seeds_in


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("datetime.now()", True),
        ("date.today()", True),
        ("time.localtime()", True),
        ("datetime.fromtimestamp(x)", True),
        ("datetime.now(timezone.utc)", False),
        ("datetime.now(tz=UTC)", False),
        ("datetime.fromtimestamp(x, tz=UTC)", False),
        ("time.time()", False),
    ],
)
def test_a_time_without_a_zone_is_that_of_the_machine(text, expected):
    assert reads_local_time(text) is expected


def test_calls_whose_answers_differ_in_each_process_are_found():
    text = "H = 3\nclass P:\n    def predict(self, x): return hash(x) == H, x.id(1), id"
    assert of_each_process(text) == ["hash"]


def test_seeds_of_a_module_are_found():
    text = "import random\nrandom.seed(3)\ntorch.manual_seed(0)\ndef f(): np.random.seed(1)\n"
    assert seeds_in(text) == ["random.seed(3)", "torch.manual_seed(0)"]
