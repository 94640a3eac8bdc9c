"""`gitops-ml login`."""

from __future__ import annotations

import os
import sys

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import output_option
from gitops_ml.commands.login import login
from gitops_ml.errors import UsageError
from gitops_ml.facts.shapes import shaped

_LONGEST = 65536


@click.command("login")
@click.argument("registry")
@click.option("-u", "--username", required=True, help="The name of the account at the registry.")
@click.option(
    "--password-env",
    metavar="NAME",
    help="The environment variable that holds the password or token. By default, it is read from stdin.",
)
@output_option
def command(registry: str, username: str, password_env: str | None, output: str) -> None:
    """Log in to REGISTRY (host or host:port), so that images can be pushed and pulled.

    The registry checks the password; then it is stored where `docker login` stores it: by the credential
    helper of the registry, else in the file config.json of Docker. It is never on the command line.

    \b
    Examples:
      gitops-ml login ghcr.io -u "$GITHUB_ACTOR" --password-env GITHUB_TOKEN
      gitops-ml login registry.acme.example:5000 -u ann < token.txt
    """
    password = _from_stdin(registry) if password_env is None else _from_variable(password_env)
    done = login(registry, username=username, password=password, environ=os.environ)
    if output == "json":
        report.as_json(shaped("login", done))
    else:
        report.echo(f"logged in to {done.registry} as {done.username}: stored in {done.stored_in}")


def _from_variable(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise UsageError(f"the environment variable {name} of --password-env is not set")
    return value.strip()


def _from_stdin(registry: str) -> str:
    if sys.stdin.isatty():
        value: str = click.prompt(f"Password for {registry}", hide_input=True, err=True)
        return value
    return sys.stdin.read(_LONGEST).strip()
