"""Detect secrets in text, which must not be in a manifest and thus in Git."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

_KNOWN_SHAPES = r"""(?x)
      \bgh[pousr]_[A-Za-z0-9]{30,}          # GitHub
    | \bgithub_pat_[A-Za-z0-9_]{30,}
    | \bglpat-[A-Za-z0-9_-]{15,}            # GitLab
    | \bhf_[A-Za-z0-9]{25,}                 # Hugging Face
    | \bsk-[A-Za-z0-9_-]{20,}               # OpenAI and others
    | \bxox[abposr]-[A-Za-z0-9-]{10,}       # Slack
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b         # AWS
    | \bAIza[A-Za-z0-9_-]{35}               # Google
    | \beyJ[A-Za-z0-9_-]{10,500}\.eyJ[A-Za-z0-9_-]{10,}\.  # JSON Web Token
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----
    | ://[^/\s:@"']+:(?!%s|[{<$])[^/\s:@"']+@  # a password in a URL, where no placeholder is
    """
_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:passwords?|passwd|pwd|secrets?|token|api_?keys?|access_?keys?|private_?key"
    r"|credentials?|authorization)$"
)
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|\W")
_NO_SECRET = re.compile(r"(?s)|(?:/|\$\(|https?://|file:).*|<.*>|\[.*\]")
"""Paths, addresses, placeholders, and the special tokens of language models."""
_SHORTEST = 6
_LONGEST_LINE = 10_000
SETTINGS = frozenset(
    {".env", ".ini", ".cfg", ".conf", ".toml", ".yaml", ".yml", ".json", ".properties", ".txt"}
)
"""Suffixes of files that give values to names, a line each."""
_GIVEN = re.compile(r"""[ \t{,]*(?:export[ \t]+)?["']?([\w.-]+)["']?[ \t]*[:=][ \t]*(.+)""")
_NO_TEXTS = ("{", "[", "|", ">", "&", "*", "!", "${", "$(")
"""How a mapping, a list, a longer text, or a reference begins."""
_TOKEN = re.compile(r"[A-Za-z0-9+/=_.-]{20,}")
_HARMLESS = re.compile(r"(?i)[0-9a-f-]{32,64}|https?://.*|/.*|.*\$\(.*|true|false|[0-9.]+")
_BITS_PER_CHARACTER = 3.5


def has_secret_shape(text: str) -> bool:
    """Whether ``text`` holds something of the shape of a well-known kind of token or key."""
    return _known_shapes().search(text) is not None


@functools.cache
def _known_shapes() -> re.Pattern[str]:
    """Compiled when it is first needed: it takes longer than reading a manifest."""
    return re.compile(_KNOWN_SHAPES)


def names_a_secret(variable: str) -> bool:
    """Whether a name is the name of a secret: ``DB_PASSWORD``, ``apiKey``, ``X-API-Key``."""
    return _SECRET_NAME.search(_WORD.sub("_", variable)) is not None


def could_be_secret(text: str) -> bool:
    """Whether the value of a variable with such a name may be a secret."""
    return _NO_SECRET.fullmatch(text) is None


def is_named_secret(name: str, text: str) -> bool:
    """Whether a name is that of a secret, and its text may be one."""
    return len(text) >= _SHORTEST and names_a_secret(name) and could_be_secret(text)


def holds_secret(name: str, value: Any) -> bool:
    """Whether a value is or contains a secret by its shape or by its name."""
    return any(
        has_secret_shape(text) or is_named_secret(called, text)
        for called, text in named_texts(name, value)
    )


def given_in(text: str) -> Iterator[tuple[int, str, str]]:
    """The number of each line of a file of settings that gives a value to a name, the name, and the value."""
    for number, line in enumerate(text.splitlines(), start=1):
        given = _GIVEN.fullmatch(line) if len(line) <= _LONGEST_LINE else None
        if given and not given[2].startswith(_NO_TEXTS):
            yield number, given[1], given[2].rstrip(" \t,}").strip("\"'")


def is_settings(path: str) -> bool:
    """Whether a file is one of settings, by its name: ``prod.env`` and ``.env`` both are."""
    name = path.rpartition("/")[2]
    return name.startswith(".env.") or any(map(name.endswith, SETTINGS))


def named_texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The texts in a plain value, each with the innermost name that it has: keys are names."""
    match value:
        case str():
            yield name, value
        case bytes():
            yield name, value.decode("latin-1")
        case Mapping():
            for key, inner in value.items():
                yield from named_texts("", key)
                yield from named_texts(key if isinstance(key, str) else name, inner)
        case list() | tuple() | set() | frozenset():
            for inner in value:
                yield from named_texts(name, inner)


def looks_random(text: str) -> bool:
    """Whether ``text`` is one long word with the variety of a generated key."""
    if not _TOKEN.fullmatch(text) or _HARMLESS.fullmatch(text):
        return False
    counts = Counter(text)
    entropy = -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
    has_all = (
        any(map(str.isdigit, text)) and any(map(str.isupper, text)) and any(map(str.islower, text))
    )
    return has_all and entropy > _BITS_PER_CHARACTER
