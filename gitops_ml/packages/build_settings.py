"""The user's pip configuration, CA bundle and proxies, for the builder stage of an image.

The classic builder has no secrets, so they are part of the context (not of the content hash) and
are copied into the builder stage only. The pushed image holds no layer of that stage; the engine's
own build cache does. Proxies need no file: they are build arguments that Docker predefines, which
enter neither layers nor the history nor the cache key.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gitops_ml.errors import UsageError
from gitops_ml.http.connections import CA_BUNDLES
from gitops_ml.system.project_files import LARGEST_TEXT, read_file, read_text

_PLACE = "/run/gitops-ml"
_LARGEST_BUNDLE = 16 << 20
_CA_READERS = (
    "PIP_CERT",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CONDA_SSL_VERIFY",
)
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")

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


def build_settings(environ: Mapping[str, str]) -> Mapping[str, bytes]:
    """Name and content of each file for the builder stage.

    Raises:
        UsageError: the environment names a CA bundle that cannot be read.
    """
    files = {"pip.conf": pip_settings(pip_configurations(environ), environ=environ).encode()}
    script = [f"export PIP_CONFIG_FILE={_PLACE}/pip.conf"]
    if bundle := ca_bundle(environ):
        try:
            files["ca.pem"] = read_file(Path(bundle), limit=_LARGEST_BUNDLE)
        except OSError as error:
            raise UsageError(
                f"the CA bundle {bundle} cannot be read ({error.strerror}): "
                f"correct it where it is set ({', '.join(CA_BUNDLES)})"
            ) from error
        script += [f"export {name}={_PLACE}/ca.pem" for name in _CA_READERS]
    files["settings.sh"] = ("\n".join(script) + "\n").encode()
    return files


def source_date_epoch(environ: Mapping[str, str]) -> int:
    """The time of every file in an image: ``SOURCE_DATE_EPOCH``, or 0.

    Raises:
        UsageError: it is not a number of seconds.
    """
    text = environ.get("SOURCE_DATE_EPOCH", "0")
    if not text.isdecimal() or int(text) >= 1 << 33:
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {text!r}; give a number of seconds, such as 1700000000"
        )
    return int(text)


def build_proxies(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The proxy variables of the environment, as build arguments."""
    names = (n for proxy in _PROXIES for n in (proxy, proxy.upper()))
    return {name: environ[name] for name in names if environ.get(name)}


def ca_bundle(environ: Mapping[str, str]) -> str | None:
    """The CA bundle that the environment names."""
    return next((environ[name] for name in CA_BUNDLES if environ.get(name)), None)


def pip_configurations(environ: Mapping[str, str]) -> Iterator[str]:
    """The texts of the configuration files that pip reads outside a virtual environment."""
    home = Path(environ.get("HOME", "/"))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    paths = [Path("/etc/pip.conf"), home / ".pip/pip.conf", config / "pip/pip.conf"]
    if "PIP_CONFIG_FILE" in environ:
        paths.append(Path(environ["PIP_CONFIG_FILE"]))
    for path in paths:
        try:
            yield read_text(path, limit=LARGEST_TEXT)
        except OSError:
            continue


def pip_settings(files: Iterable[str], *, environ: Mapping[str, str]) -> str:
    """A ``pip.conf`` for the build, with the `pip_options`."""
    found = pip_options(files, environ=environ)
    # pip reads indented lines as one more value of the option above
    separator = "\n    "
    lines = (f"{option} = {separator.join(found[option].split())}\n" for option in sorted(found))
    return "[global]\n" + "".join(lines)


def pip_options(files: Iterable[str], *, environ: Mapping[str, str]) -> dict[str, str]:
    """The options for the build, whose values are on lines: ``files`` are texts of ``pip.conf``, the last one wins.

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
    return {option: "\n".join(value.split()) for option, value in found.items()}


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
