"""What the tests of the verbs share."""

import pytest

from tests.cli.fixtures import ann, nobodys_settings
from tests.support.kubernetes_server import api_server
from tests.support.life_of_a_release import Life

__all__ = ["ann", "life", "nobodys_settings"]


@pytest.fixture
def life(ann):
    """Ann has a release in a cluster that her kubeconfig names."""
    with api_server() as server:
        lives = Life(ann, server)
        lives.has_kubeconfig()
        yield lives
