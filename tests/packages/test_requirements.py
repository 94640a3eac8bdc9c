"""The requirements of a packaged class."""

from __future__ import annotations

from gitops_ml.packages.installed import requirements_for

INSTALLED = {"numpy": "2.4.6", "torch": "2.5.1+cpu"}


def made(asked=(), needed=None, elsewhere=()):
    return requirements_for(
        asked, needed=needed or {}, installed=INSTALLED.get, elsewhere=elsewhere
    )


def test_a_name_gets_the_version_that_is_installed_and_a_version_stays():
    lines = ("numpy", "torch", "pandas<3", "scipy", "--extra-index-url https://x", "./wheels/a.whl")
    assert made(lines).lines == (
        "numpy==2.4.6",
        "torch==2.5.1",
        "pandas<3",
        "scipy",
        "--extra-index-url https://x",
        "./wheels/a.whl",
    )


def test_what_is_imported_and_not_asked_for_is_added():
    found = made(
        ["Numpy>=2"], {"numpy": [("numpy", "numpy==2.4.6")], "yaml": [("pyyaml", "pyyaml==6.0")]}
    )
    assert found.lines == ("Numpy>=2", "pyyaml==6.0")
    assert found.added == ("pyyaml==6.0",)
    assert found.text() == "Numpy>=2\npyyaml==6.0\n"


def test_what_conda_brings_is_not_added():
    assert made(needed={"numpy": [("numpy", "numpy==2.4.6")]}, elsewhere=["numpy"]).lines == ()


def test_a_module_that_nothing_brings_is_named_unless_it_was_asked_for():
    assert made(needed={"nothing": []}).unknown == ("nothing",)
    assert made(["nothing"], {"nothing": []}).unknown == ()
