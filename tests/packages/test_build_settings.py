"""What reaches a build from the caller's environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import UsageError
from gitops_ml.packages.build_settings import build_proxies, build_settings, pip_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_ca_bundle_is_given_to_every_program_that_takes_one(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("certificates")
    found = build_settings({"HOME": str(tmp_path), "SSL_CERT_FILE": str(tmp_path / "ca.pem")})
    assert found["ca.pem"] == b"certificates"
    assert b"export PIP_CERT=/run/gitops-ml/ca.pem\n" in found["settings.sh"]


def test_our_own_variable_wins(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).write_text(name)
    environ = {"GITOPS_ML_CA_BUNDLE": str(tmp_path / "ours"), "PIP_CERT": str(tmp_path / "theirs")}
    assert build_settings(environ | {"HOME": str(tmp_path)})["ca.pem"] == b"ours"


def test_a_ca_bundle_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the CA bundle /no/where cannot be read"):
        build_settings({"HOME": str(tmp_path), "PIP_CERT": "/no/where"})


def test_without_a_ca_bundle_the_base_image_keeps_its_own(tmp_path: Path) -> None:
    found = build_settings({"HOME": str(tmp_path)})
    assert "ca.pem" not in found
    assert found["settings.sh"] == b"export PIP_CONFIG_FILE=/run/gitops-ml/pip.conf\n"


def test_the_users_pip_configuration_is_read_where_pip_reads_it(tmp_path: Path) -> None:
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://x.example\n")
    found = build_settings({"HOME": str(tmp_path)})
    assert b"index-url = https://x.example\n" in found["pip.conf"]


def test_proxies_are_build_arguments() -> None:
    environ = {"https_proxy": "http://p:3128", "NO_PROXY": "localhost", "no_proxy": "", "A": "1"}
    assert build_proxies(environ) == {"https_proxy": "http://p:3128", "NO_PROXY": "localhost"}


SITE = "[global]\nindex-url = https://one.example/simple\ncert = /etc/ca.pem\ntimeout = 9\n"
USER = (
    "[global]\nindex_url = https://two.example/simple\nfind-links = /opt/wheels\n"
    "[install]\nextra-index-url =\n    https://a.example\n    https://b.example\n"
)


def test_the_last_file_wins_and_names_of_local_files_stay_behind() -> None:
    assert pip_settings([SITE, USER], environ={}) == (
        "[global]\n"
        "extra-index-url = https://a.example\n    https://b.example\n"
        "index-url = https://two.example/simple\n"
        "timeout = 9\n"
    )


def test_variables_win_over_files() -> None:
    environ = {"PIP_INDEX_URL": "https://three.example", "PIP_DEFAULT_TIMEOUT": "3", "PIP_X": "1"}
    assert pip_settings([SITE], environ=environ) == (
        "[global]\nindex-url = https://three.example\ntimeout = 3\n"
    )


def test_a_file_that_is_no_configuration_is_skipped() -> None:
    assert pip_settings(["{not: ini"], environ={}) == "[global]\n"
