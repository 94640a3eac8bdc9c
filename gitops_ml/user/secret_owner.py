"""The secrets of the user: the servers that each may go to, and the logins of netrc.

Both are outside the project, so that no document of a pull request decides. The decision is in
`http/secret_destinations.py`.
"""

from __future__ import annotations

import netrc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitops_ml.errors import InvalidDocument, Problem, UsageError
from gitops_ml.http.secret_destinations import TokenHosts, refusal
from gitops_ml.system.cache import home_folder, user_folder
from gitops_ml.system.process import TOKEN_HOSTS
from gitops_ml.system.project_files import CannotRead, is_file, read_file

_FILE = Path("gitops-ml") / "config.yaml"


@dataclass(frozen=True, slots=True)
class SecretOwner:
    """The user, with a project in ``folder`` that others may have written."""

    environ: Mapping[str, str] = field(repr=False)
    folder: Path

    def check(self, variables: Iterable[str], url: str, *, place: str) -> None:
        """Pass if the values of ``variables`` may go to the server of ``url``.

        ``place`` names what asks for that: ``gitops.token_env``.

        Raises:
            UsageError: they may not; the message has the line that allows it.
            InvalidDocument: the owner's configuration file cannot be read.
        """
        try:
            found = refusal(variables, url, hosts=TokenHosts(), environ=self.environ)
            if found is None:
                return
            if found.destination.is_protected:
                hosts = token_hosts(self.environ, folder=self.folder)
                found = refusal(variables, url, hosts=hosts, environ=self.environ)
        except ValueError as error:
            raise UsageError(f"{place}: {error}") from error
        if found is None:
            return
        if not found.destination.is_protected:
            raise UsageError(f"{place}: {found}")
        raise UsageError(
            f"{place}: {found}. If it may, run\n"
            f"  export {TOKEN_HOSTS}={_line(found.setting, self.environ)}\n"
            f"or list the server under token_hosts in {_shown(self.environ)}"
        )


def token_hosts(environ: Mapping[str, str], *, folder: Path) -> TokenHosts:
    """The servers that the owner lists for each variable.

    Raises:
        UsageError: the variable cannot be read, or the configuration is part of the project.
        InvalidDocument: the configuration file cannot be read.
    """
    try:
        hosts = TokenHosts.parse(environ.get(TOKEN_HOSTS, ""))
    except ValueError as error:
        raise UsageError(
            f"{TOKEN_HOSTS}: {error}. It is written as VARIABLE=host,host;VARIABLE=host"
        ) from error
    return hosts | _configured(environ, folder)


def configuration_file(environ: Mapping[str, str]) -> Path:
    """The path of the owner's configuration, which may not exist."""
    return user_folder(environ, "XDG_CONFIG_HOME", ".config") / _FILE


def _configured(environ: Mapping[str, str], folder: Path) -> TokenHosts:
    file = configuration_file(environ)
    # a broken link is not a missing file: reading it reports the error
    if not (file.exists() or file.is_symlink()):
        return TokenHosts()
    top = _checkout(folder)
    if any(place.is_relative_to(top) for place in (file.absolute(), file.resolve())):
        raise UsageError(
            f"{file} is part of the project that it would trust: set HOME and XDG_CONFIG_HOME to "
            f"folders outside of it, or set {TOKEN_HOSTS}"
        )
    data = _read(file)
    try:
        return TokenHosts.of((data.get("token_hosts") or {}).items())
    except ValueError as error:
        raise UsageError(f"{file}: token_hosts: {error}") from error


def _read(file: Path) -> Mapping[str, Any]:
    from gitops_ml.documents.json_schema import load_schema
    from gitops_ml.documents.yaml_reader import LARGEST_FILE, read_yaml

    try:
        document = read_yaml(read_file(file, limit=LARGEST_FILE), file=str(file))
    except CannotRead as failure:
        problem = Problem(str(file), 0, 0, "", f"cannot be read: {failure.reason}", rule="file")
        raise InvalidDocument([problem]) from failure
    if document.problems:
        raise InvalidDocument(document.problems)
    if document.data is None:
        return {}
    problems = [
        Problem(str(file), *document.place(each.path), ".".join(map(str, each.path)), each.message,
                rule=each.rule)
        for each in load_schema("user").findings(document.data, written=document.written)
    ]  # fmt: skip
    if problems:
        raise InvalidDocument(problems)
    data: Mapping[str, Any] = document.data
    return data


def _checkout(folder: Path) -> Path:
    """The work tree that ``folder`` is in, or ``folder`` itself."""
    real = folder.resolve()
    tops = (place for place in (real, *real.parents) if (place / ".git").exists())
    return next(tops, real)


def _line(setting: str, environ: Mapping[str, str]) -> str:
    """The new value of the variable, quoted for a shell, with its current entries."""
    import shlex

    before = environ.get(TOKEN_HOSTS, "").strip().rstrip(";")
    value = f"{before};{setting}" if before else setting
    return value if value == setting and ";" not in value else shlex.quote(value)


def _shown(environ: Mapping[str, str]) -> str:
    file = configuration_file(environ)
    home = home_folder(environ)
    return f"~/{file.relative_to(home)}" if file.is_relative_to(home) else str(file)


def netrc_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The file that ``NETRC`` names, or the usual ones."""
    home = Path(environ.get("HOME") or Path.home())
    named = environ.get("NETRC")
    return (Path(named),) if named else (home / ".netrc", home / "_netrc")


def netrc_hosts(place: Path) -> Mapping[str, tuple[str, str]]:
    """User and password of each host; none if the file is missing or cannot be read."""
    if not is_file(place):
        return {}
    try:
        hosts = netrc.netrc(str(place)).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return {}
    return {
        host: (login or "", password)
        for host, (login, _, password) in hosts.items()
        if host != "default" and password
    }


def netrc_logins(environ: Mapping[str, str]) -> Mapping[str, tuple[str, str]]:
    """User and password of each host in all files; the first file has precedence."""
    found: dict[str, tuple[str, str]] = {}
    for place in reversed(netrc_files(environ)):
        found |= netrc_hosts(place)
    return found
