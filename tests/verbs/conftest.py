"""What the tests of the verbs share."""

from tests.cli.fixtures import ann, nobodys_settings

__all__ = ["ann", "nobodys_settings"]
