"""Quote text of others in Markdown, without any effect.

Text of manifests is part of pull requests. There it must not become a link, a picture, HTML, a
mention that notifies a person, or a command (GitLab obeys lines such as ``/merge``). Any value can be
quoted: templates pass numbers as well.
"""

from __future__ import annotations

import re

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$:=^])")
_REFERENCES = re.compile(r"(://|[@#!%&$~]|(?<![A-Za-z0-9])www\.|(?<![A-Za-z0-9])GH-)(?=\w)", re.I)
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
"""Control characters, changes of direction, and invisible characters."""
_EFFECTS = re.compile(
    r"(://|[@#!](?=\w)|(?<![A-Za-z0-9])www\.(?=\w)|(?<![A-Za-z0-9])GH-(?=\d))", re.I
)
"""What makes a mention, a reference or an address of what follows."""
_TAG = re.compile(r"<(?!/?(?:details|summary|br|sub|sup|kbd)>)", re.I)
"""The start of any HTML but the few elements without effect that reports use."""
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|nbsp);)")
_WORD_BREAK = "\u200b"
"""Invisible; a forge does not take what follows it for a name or an address."""


def escaped(text: object) -> str:
    """``text`` as plain text in one line of a paragraph."""
    line = " ".join(_shown(text).split())
    line = _REFERENCES.sub(rf"\1{_WORD_BREAK}", line)
    line = _PUNCTUATION.sub(
        r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    return _WORD_BREAK + line if line.startswith("/") else line


def disarmed(text: str) -> str:
    """Markdown of others without effects: its tables, headings and code stay.

    It mentions no account, links to nothing, shows no picture, and has no HTML and no commands of a forge.
    """
    # An entity can spell any character of a mention.
    text = _ENTITY.sub("&amp;", text)
    text = _EFFECTS.sub(rf"\1{_WORD_BREAK}", _shown(text.replace("\r\n", "\n")))
    text = (
        _TAG.sub("&lt;", text).replace("](", f"]{_WORD_BREAK}(").replace("]:", f"]{_WORD_BREAK}:")
    )
    text = text.replace("][", f"]{_WORD_BREAK}[")
    return re.sub(r"(?m)^(\s*)/", rf"\1{_WORD_BREAK}/", text)


def code(text: object) -> str:
    """``text`` as code within a line."""
    line = " ".join(_shown(text).split())
    if not line:
        return "–"
    fence = "`" * (_longest_run(line) + 1)
    gap = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{gap}{line}{gap}{fence}"


def cell(text: object) -> str:
    """``text`` as code within a table."""
    return code(text).replace("|", "\\|")


def block(text: object, language: str = "") -> str:
    """``text`` as a block of code."""
    lines = _shown(text).rstrip("\n")
    fence = "`" * max(3, _longest_run(lines) + 1)
    return f"{fence}{language}\n{lines}\n{fence}"


def unfolded(text: str) -> str:
    """Markdown of ours without its HTML: details that fold become sections."""
    text = re.sub(r"^<details><summary>(.*?)</summary>$", r"#### \1", text, flags=re.M)
    return re.sub(r"^</details>\n|</?sub>", "", text, flags=re.M)


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _shown(text: object) -> str:
    """``text`` without characters that steer its display; line breaks and tabs stay."""
    return _STEERING.sub(" ", str(text))
