"""The environment in which a package is imported: what its pods will have, and not what this session has."""

from __future__ import annotations

from gitops_ml.runtime.runtime_package import PodEnvironment

SESSION = {
    "PATH": "/bin",
    "HOME": "/home/ann",
    "API_KEY": "correct-horse",
    "MINE": "x",
    "PYTHONPATH": "/x",
}
POD = PodEnvironment({"STAGE": "live"}, frozenset({"API_KEY", "OTHER_KEY"}), SESSION)


def test_it_has_the_variables_and_secrets_of_the_manifest_and_nothing_else_of_the_session():
    variables = POD.variables()
    assert variables.keys() == {"PATH", "HOME", "STAGE", "API_KEY", "OTHER_KEY"}
    assert (variables["STAGE"], variables["API_KEY"]) == ("live", "correct-horse")


def test_what_a_pod_lacks_is_what_only_the_session_has():
    assert POD.lacking(["MINE", "STAGE", "API_KEY", "HOME", "NOWHERE", "MINE"]) == ["MINE"]


def test_what_is_remembered_of_it_has_no_secret():
    assert "correct-horse" not in POD.facts()
    assert POD.secret_values() == ["correct-horse"]
