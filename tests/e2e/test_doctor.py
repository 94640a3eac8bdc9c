"""`gitops-ml doctor` on a real cluster with Argo CD, KEDA, a forge and a registry."""

from __future__ import annotations

from tests.e2e.story import answer_api


def checks(story, *more) -> tuple[int, dict[str, tuple[str, str]]]:
    result = story.ann.runs("doctor", "-e", story.environment, "-o", "json", *more)
    found = {each["subject"]: (each["outcome"], each["text"]) for each in result.json["checks"]}
    return result.code, found


def test_doctor_finds_a_project_well_and_then_what_is_broken(story):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    code, found = checks(story, "--skip", "Argo CD: webhook")
    wrong = {name: each for name, each in found.items() if each[0] == "finding"}
    assert (code, wrong) == (0, {})
    for subject in (
        "registry", "base image", "GitOps repository", "GitOps repository: push",
        "GitOps repository: forge", f"Argo CD: environment {story.environment}",
        f"environment {story.environment}: rights",
    ):  # fmt: skip
        assert found[subject][0] == "ok", (subject, found)
    assert any(name.endswith(": Kubernetes") and "v1." in text for name, (_, text) in found.items())

    story.ann.monkeypatch.setenv("GITOPS_TOKEN", "wrong")
    code, found = checks(story)
    assert code == 7
    assert found["GitOps repository: forge"][0] == "finding", found
