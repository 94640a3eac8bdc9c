"""What the tests of the Python interface share."""

from tests.cli.fixtures import ann, nobodys_settings

__all__ = ["ann", "nobodys_settings"]
