"""Find the token for a forge. A token is sent to its own forge only.

The first of these that has a token wins:

1. the environment variable that the project file names (`forge.token_env`, then `token_env`), if
   its owner allows it for this host
2. the forge's usual variables: ``GH_TOKEN``, ``GITHUB_TOKEN``, ``GITLAB_TOKEN``, …; each belongs
   to one host and is sent to no other
3. the keyring, service ``gitops-ml``, user name the host (``keyring set gitops-ml github.com``)
4. ``~/.netrc``, or the file that ``NETRC`` names
5. git's credential helpers, which may not prompt
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from gitops_ml.errors import ProgramFailed, UsageError
from gitops_ml.git.environment import OUTSIDE, run_git
from gitops_ml.http.secret_destinations import USUAL
from gitops_ml.system.process import TOKEN_HOSTS
from gitops_ml.user.secret_owner import netrc_files, netrc_hosts

_SECONDS = 30
"""For a credential helper: it may open a key store, but must not wait for a person."""
_WITHOUT_PROMPTS = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS": "",
    "GCM_INTERACTIVE": "never",
}


@dataclass(frozen=True, slots=True)
class ForgeToken:
    """A token and its origin."""

    value: str = field(repr=False)
    origin: str
    """For messages: ``the environment variable GITHUB_TOKEN``."""
    username: str | None = None
    """Of the account, where it is known; ``value`` may then be a password."""
    variable: str = ""
    """The environment variable that holds it, if any."""


def find_token(
    kind: str,
    host: str,
    *,
    environ: Mapping[str, str],
    named: tuple[str, ...] = (),
    check: Callable[[str], None],
) -> ForgeToken | None:
    """The token for the forge ``host`` (``host[:port]``); ``None`` where there is none.

    ``named`` are the variables that the project file names, the most specific first. ``check``
    raises for a variable that may not be sent to the forge.
    """
    variables = (*named, *usual_variables(kind, host, environ))
    if found := next(_in_variables(variables, environ), None):
        if found.variable in named:
            check(found.variable)
        return found
    ways = (_in_keyring, _in_netrc, _in_git)
    return next((token for way in ways if (token := way(host, environ))), None)


def usual_variables(kind: str, host: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The usual variables that hold a token for ``host``."""
    return tuple(usual.variable for usual in USUAL.get(kind, ()) if host in usual.hosts_in(environ))


def token_remedy(kind: str, host: str, section: str, environ: Mapping[str, str]) -> str:
    """What to do where there is no token, or where it is not enough."""
    elsewhere = [
        usual
        for usual in USUAL.get(kind, ())
        if environ.get(usual.variable) and host not in usual.hosts_in(environ)
    ]
    if elsewhere:
        variable = elsewhere[0].variable
        return (
            f"{variable} is set, but not declared for {host}: set "
            f"{TOKEN_HOSTS}={variable}={host}, and name {variable} in {section}.forge.token_env"
        )
    usual = usual_variables(kind, host, environ)
    also = f", or set {usual[0]}" if usual else ""
    return (
        f"name the environment variable that holds a token in {section}.forge.token_env{also}, or "
        f"store one: `keyring set gitops-ml {host}`, ~/.netrc, or a git credential helper"
    )


def _in_variables(names: tuple[str, ...], environ: Mapping[str, str]) -> Iterator[ForgeToken]:
    for name in names:
        value = environ.get(name, "").strip()
        if re.search(r"[\0-\x20\x7f-\U0010ffff]", value):
            raise UsageError(f"the environment variable {name} does not hold a token")
        if value:
            yield ForgeToken(value, f"the environment variable {name}", variable=name)


def _in_keyring(host: str, environ: Mapping[str, str]) -> ForgeToken | None:
    """Only where the library `keyring` is installed; a locked or broken keyring counts as empty."""
    try:
        import keyring
        import keyring.errors
    except ImportError:
        return None
    try:
        value = keyring.get_password("gitops-ml", host)
    except (keyring.errors.KeyringError, RuntimeError, OSError):
        return None
    return ForgeToken(value, "the keyring") if value else None


def _in_netrc(host: str, environ: Mapping[str, str]) -> ForgeToken | None:
    name = host.rpartition(":")[0] or host
    for place in netrc_files(environ):
        hosts = netrc_hosts(place)
        if found := hosts.get(host) or hosts.get(name):
            return ForgeToken(found[1], str(place), found[0] or None)
    return None


def _in_git(host: str, environ: Mapping[str, str]) -> ForgeToken | None:
    request = f"protocol=https\nhost={host}\n\n"
    try:
        answer = run_git(
            "-c", "core.askPass=", "credential", "fill",
            repository={**OUTSIDE, **_WITHOUT_PROMPTS}, input=request, seconds=_SECONDS, errors="replace",
        )  # fmt: skip
    except ProgramFailed:
        return None
    fields = dict(line.partition("=")[::2] for line in answer.splitlines())
    value = fields.get("password")
    return ForgeToken(value, "git's credential helper", fields.get("username")) if value else None
