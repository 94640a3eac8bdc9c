"""What the tests of the Python interface share."""

from tests.cli.fixtures import ann, nobodys_settings
from tests.commands.conftest import life
from tests.support.openapi_fuzz import mill

__all__ = ["ann", "life", "mill", "nobodys_settings"]
