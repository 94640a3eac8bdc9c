"""`gitops-ml diff --live` on a real cluster: no false difference, and the right owner of each real one."""

from __future__ import annotations

from tests.e2e.story import answer_api


def differences(story) -> dict[tuple[str, str], tuple[object, bool]]:
    """By kind and path, the owner and whether it is expected."""
    result = story.runs("diff", "--live", "-e", story.environment, "-o", "json")
    assert result.json["warnings"] == [], "an administrator reads everything"
    return {
        (each["kind"], each["path"]): (each["owner"], each["expected"])
        for release in result.json["releases"]
        for each in release["differences"]
    }


def test_a_change_by_hand_is_named_with_its_owner(story):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    found = differences(story)
    assert [each for each, (_, expected) in found.items() if not expected] == []
    words = ("diff", "--live", "-e", story.environment, "--exit-code")
    assert story.ann.runs(*words).code == 0

    kubectl, place = story.cluster.kubectl, ("-n", story.namespace)
    kubectl("set", "env", "deployment/answer", "DEBUG=1", *place)
    kubectl("label", "service/answer", "mesh=on", *place)
    found = differences(story)
    container = "spec.template.spec.containers[predictor]"
    assert found["Deployment", f"{container}.env[DEBUG].value"] == ("kubectl set", False)
    assert found["Service", "metadata.labels.mesh"] == ("kubectl label", False)
    result = story.ann.runs(*words)
    assert result.code == 7
    assert '+ metadata.labels.mesh: "on" (kubectl label, ' in result.out

    # A field that Git states: Argo CD may heal it at any time, so that it is tried until it is seen.
    for number in range(10):
        change = f'{{"spec":{{"maxReplicaCount":{40 + number}}}}}'
        kubectl("patch", "scaledobject/answer", "--type=merge", "-p", change, *place)
        seen = differences(story).get(("ScaledObject", "spec.maxReplicaCount"))
        if seen is not None:
            break
    assert seen == ("kubectl patch", False)
