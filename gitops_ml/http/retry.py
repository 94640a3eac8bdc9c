"""Certificate authorities, and when a request is sent again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.errors import ServerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

_CA_BUNDLES = ("GITOPS_ML_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def ca_bundle(environ: Mapping[str, str]) -> str | None:
    """The file of CAs that the user names for everything that we ask.

    Raises:
        ServerFailed: it is not there.
    """
    name = next((name for name in _CA_BUNDLES if environ.get(name)), None)
    if name is None:
        return None
    if not Path(environ[name]).is_file():
        raise ServerFailed(f"{environ[name]}, the CA bundle of {name}, is no file")
    return environ[name]
