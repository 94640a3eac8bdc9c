"""A replica has the time that stopping takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.manifest_parts import container
from tests.support.pipeline import api, rendered

if TYPE_CHECKING:
    from gitops_ml.project.project import Project


@pytest.mark.parametrize(
    ("words", "sleep", "grace"),
    [
        (container(), 5, 5 + 30 + 5),
        ({**container(), "probes": {"drain_delay": "20s"}}, 20, 20 + 30 + 5),
        (container(pre_stop={"sleep": {"seconds": 90}}), 90, 90 + 30 + 5),
        ({}, 5, 5 + 5 + 30 + 5),
    ],
    ids=["container", "drain delay", "own sleep", "predictor"],
)
def test_a_replica_has_the_time_that_stopping_takes(
    words: dict[str, Any], sleep: int, grace: int, everything: Project
) -> None:
    release = rendered(api(**words), everything)
    assert release.container["lifecycle"]["preStop"] == {"sleep": {"seconds": sleep}}
    assert release.pod["terminationGracePeriodSeconds"] == grace
