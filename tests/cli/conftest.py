"""What the tests of the command line share."""

from tests.cli.fixtures import ann, nobodys_settings

__all__ = ["ann", "nobodys_settings"]
