"""Log in to a registry, as `docker login` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitops_ml.errors import UsageError
from gitops_ml.oci.credentials import Credentials, registry_host, store_credentials
from gitops_ml.oci.registry_session import RegistrySession


@dataclass(frozen=True, slots=True)
class LoggedIn:
    registry: str
    username: str
    stored_in: str
    """The file, or the program of the credential helper."""


def login(registry: str, *, username: str, password: str, environ: Mapping[str, str]) -> LoggedIn:
    """Check the credentials with the registry, then store them.

    Raises:
        UsageError: ``registry``, ``username`` or ``password`` cannot be one.
        Refused: the registry does not accept them, or they cannot be stored.
        ServerFailed: the registry does not answer.
    """
    host = registry_host(registry)
    if not username or any(each in username for each in ":\0\r\n"):
        raise UsageError("--username is not one: it is empty, or has a colon or a line break")
    if not password or any(each in password for each in "\0\r\n"):
        raise UsageError(
            f"the password for {host} is empty, or has more than one line: pass the secret alone"
        )
    credentials = Credentials(username, password)
    RegistrySession(environ).sign_in(host, credentials)
    return LoggedIn(host, username, store_credentials(host, credentials, environ=environ))
