"""What the tests of the Python interface share."""

from tests.cli.fixtures import ann, nobodys_settings
from tests.commands.conftest import life
from tests.support.images_without_docker import mill

__all__ = ["ann", "life", "mill", "nobodys_settings"]
