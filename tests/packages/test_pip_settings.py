"""What of the caller's pip configuration a build gets."""

from __future__ import annotations

from gitops_ml.packages.pip_settings import pip_settings

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
