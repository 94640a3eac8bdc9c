"""Whether a text looks like a secret, which must not be in a manifest: it would be in Git."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter

_KNOWN_SHAPES = r"""(?x)
      \bgh[pousr]_[A-Za-z0-9]{30,}          # GitHub
    | \bgithub_pat_[A-Za-z0-9_]{30,}
    | \bglpat-[A-Za-z0-9_-]{15,}            # GitLab
    | \bhf_[A-Za-z0-9]{25,}                 # Hugging Face
    | \bsk-[A-Za-z0-9_-]{20,}               # OpenAI and others
    | \bxox[abposr]-[A-Za-z0-9-]{10,}       # Slack
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b         # AWS
    | \bAIza[A-Za-z0-9_-]{35}               # Google
    | \beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.  # JSON Web Token
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----
    | ://[^/\s:@]+:[^/\s:@]+@               # a password in a URL
    """
_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:password|passwd|pwd|secret|token|api_?key|access_?key|private_?key|credentials?)$"
)
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
    """Whether a variable is called like a secret: ``DB_PASSWORD``, ``API_KEY``."""
    return _SECRET_NAME.search(variable) is not None


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
