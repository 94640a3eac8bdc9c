"""Remove credentials in URLs and control characters from text of others.

URLs come from git, servers and the environment, in every scheme; text comes from servers, pods and
commits. `without_credentials` is for one URL, `redacted_urls` for the URLs within a text, and
`printable` for the output on a terminal.
"""

from __future__ import annotations

import json
import re

from gitops_ml.system.secret_scan import has_secret_shape

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)([^\s<>]*)")
_QUERY_SECRET = re.compile(
    r"(?i)([?&;#][\w.~%$\[\]-]*(?:token|secret|passw|pwd|signature|sig|credential|api_?key|auth|jwt"
    r"|key|code|session)[\w.~%$\[\]-]*=)[^&;#\s'\"<>`]+"
)
_USER = re.compile(r"[A-Za-z0-9._-]{1,32}")
_SSH = frozenset({"ssh", "git+ssh", "ssh+git", "sftp", "scp", "rsync"})


def without_credentials(address: str) -> str:
    """The URL of a repository, an index or an image without credentials.

    User and password are removed in every scheme, and so are query and fragment, which may hold
    tokens and signatures. The user of ``git@host:path`` and ``ssh://git@host`` stays.

    >>> without_credentials("redis://:s3cret@cache.example/0?token=s3cret")
    'redis://cache.example/0'
    """
    address = _STEERING.sub("", address.replace("\n", "").replace("\t", ""))
    scheme, found, rest = address.partition("://")
    if not found:
        return _without_scp_password(address)
    name = scheme.rpartition(":")[2].lower()
    userinfo, rest = _split_userinfo(rest)
    user, colon, _ = (userinfo or "").partition(":")
    is_shown = name in _SSH and (user == "git" if colon else _is_plain_user(user))
    shown = f"{user}@" if is_shown else ""
    return f"{scheme}://{shown}{rest if name == 'file' else re.split('[?#]', rest, maxsplit=1)[0]}"


def redacted_urls(text: str) -> str:
    """``text`` with ``***`` for the credentials in URLs.

    >>> redacted_urls("cannot reach https://ann:s3cret@example.org/x?sig=s3cret")
    'cannot reach https://***@example.org/x?sig=***'
    """
    return _QUERY_SECRET.sub(r"\1***", _URL.sub(_redacted, text))


def _redacted(match: re.Match[str]) -> str:
    scheme, rest = match[1], match[2]
    userinfo, after = _split_userinfo(rest)
    if userinfo is None or (scheme[:-3].lower() in _SSH and _is_plain_user(userinfo)):
        return match[0]
    return f"{scheme}***@{after}"


def _split_userinfo(rest: str) -> tuple[str | None, str]:
    """User information and what follows it, of an address behind its ``://``.

    A password may have characters in it that do not belong there: where the part in front of the
    first slash is not a host and port, the last ``@`` ends it.
    """
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if "@" in authority:
        userinfo = authority.rpartition("@")[0]
    elif "@" in rest and not re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:[0-9]*)?", authority):
        userinfo = rest.rpartition("@")[0]
    else:
        return None, rest
    return userinfo, rest[len(userinfo) + 1 :]


def _without_scp_password(address: str) -> str:
    """``user:password@host:path`` without both; a path on this machine as it is."""
    first = address.partition("/")[0]
    is_harmless = "@" not in first or _is_plain_user(first.partition("@")[0])
    if is_harmless or first.startswith((".", "~")):
        return address
    return address[len(first.rpartition("@")[0]) + 1 :]


def _is_plain_user(text: str) -> bool:
    return bool(_USER.fullmatch(text)) and not has_secret_shape(text)


_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"  # OSC: titles, links
    r"|\x1b[ -/]*[0-~]"
)
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f\ud800-\udfff]"
)


_CI_COMMAND = re.compile(r"#(?=#(?:vso)?\[)")
"""What begins a command in any place of a line: ``##[name]`` for GitHub, ``##vso[name]`` for Azure."""


def printable(text: str) -> str:
    r"""``text`` as a terminal may show it: lines and tabs stay, sequences go, the rest is visible.

    >>> printable("\x1b[2Jgone\x1b]0;title\x07 \u202eabc\r\n")
    'gone \\u202eabc\n'
    """
    text = _SEQUENCE.sub("", text.replace("\r\n", "\n"))
    return _STEERING.sub(_visible, text)


def printable_json(text: str) -> str:
    """The text of a JSON document, of the same value, as a terminal and the log of a CI system may show it."""
    text = _CI_COMMAND.sub(r"\\u0023", text)
    return _STEERING.sub(lambda match: json.dumps(match[0])[1:-1], text)


def one_line(text: str, *, most: int = 400) -> str:
    """``text`` on one line of ``most`` characters: a line break could begin something else."""
    line = " ".join(printable(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    kind, digits = ("x", 2) if code < 0x100 else ("u", 4) if code < 0x10000 else ("U", 8)
    return f"\\{kind}{code:0{digits}x}"
