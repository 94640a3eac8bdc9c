"""What the tests of the Python interface share."""

from tests.cli.fixtures import ann, nobodys_settings
from tests.mill import mill
from tests.verbs.conftest import life

__all__ = ["ann", "life", "mill", "nobodys_settings"]
