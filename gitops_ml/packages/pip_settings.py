"""The part of the user's pip configuration that an image build gets: package sources."""

from __future__ import annotations

import configparser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OPTIONS = (
    "index-url",
    "extra-index-url",
    "no-index",
    "trusted-host",
    "timeout",
    "retries",
    "proxy",
)
"""Options that mean the same in another file system; ``find-links`` and ``cert`` name files."""
_SECTIONS = ("global", "install")


def pip_settings(files: Iterable[str], *, environ: Mapping[str, str]) -> str:
    """A ``pip.conf`` for the build: ``files`` are texts of ``pip.conf``, the last one wins.

    ``PIP_…`` variables win over all of them, as in pip; a file that is not valid is skipped.
    """
    found: dict[str, str] = {}
    for text in files:
        found |= _options(text)
    for option in _OPTIONS:
        name = "PIP_" + option.upper().replace("-", "_")
        name = "PIP_DEFAULT_TIMEOUT" if option == "timeout" and name not in environ else name
        if value := environ.get(name, "").strip():
            found[option] = value
    # pip reads indented lines as one more value of the option above
    separator = "\n    "
    lines = (f"{option} = {separator.join(found[option].split())}\n" for option in sorted(found))
    return "[global]\n" + "".join(lines)


class _Parser(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        """As pip does: ``index_url`` is ``index-url``."""
        return optionstr.lower().replace("_", "-")


def _options(text: str) -> dict[str, str]:
    parser = _Parser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    return {
        option: parser[section][option].strip()
        for section in _SECTIONS
        if parser.has_section(section)
        for option in _OPTIONS
        if option in parser[section]
    }
