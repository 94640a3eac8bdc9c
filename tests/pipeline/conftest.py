"""Projects whose clusters have all operators, or KEDA alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.pipeline import BARE, project_of

if TYPE_CHECKING:
    from gitops_ml.project.project import Project


@pytest.fixture(scope="module")
def everything() -> Project:
    return project_of()


@pytest.fixture(scope="module")
def bare() -> Project:
    return project_of(BARE)
