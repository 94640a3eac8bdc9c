"""Pull requests out of messages, as each forge writes them."""

from __future__ import annotations

import pytest

from gitops_ml.forge.pull_request import pull_request_number


@pytest.mark.parametrize(
    ("message", "number"),
    [
        ("Merge pull request #12 from acme/deploy/staging/iris\n\nDeploy iris to staging", 12),
        ("Deploy iris to staging (#12)\n\n* iris in staging: iris-0123456789ab\n", 12),
        (
            "Merge branch 'deploy/iris' into 'main'\n\nDeploy iris\n\nSee merge request ml/ops!12",
            12,
        ),
        ("Merge branch 'x' into 'main'\r\n\r\nDeploy\r\n\r\nSee merge request ml/ops!12\r\n", 12),
        ("Merged in deploy/iris (pull request #12)\n\nDeploy iris", 12),
        ("Pull request #12: Deploy iris to staging\n\nMerge in ML/ops from deploy to main", 12),
        ("Merge pull request #12 in ML/ops from deploy/iris to main", 12),
        ("Merge pull request 'Deploy iris to staging' (#12) from deploy/iris into main", 12),
        ("Merge pull request 'Fix (#3)' (!12) from deploy/iris into main", 12),
        ("Merged PR 12: Deploy iris to staging", 12),
        ("Deploy iris to staging\n\nDeployment-Id: iris-0123456789ab\n", None),
        ("Deploy iris as in #12 and more", None),
        ("Deploy iris\n\nIt follows the pull request (#12)\n", None),
        ("Merge branch 'main' of https://example.org/ops", None),
        ("", None),
    ],
)
def test_the_number_is_found_where_a_forge_writes_it(message: str, number: int | None) -> None:
    assert pull_request_number(message) == number
