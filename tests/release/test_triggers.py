"""KEDA's scalers have the parameters that its manual shows."""

from __future__ import annotations

from gitops_ml.release.rules.triggers import scalers


def test_the_scalers_that_the_manual_shows_first_have_their_parameters():
    prometheus = scalers()["prometheus"]
    assert prometheus.required == ("serverAddress", "query", "threshold")
    assert {"ignoreNullValues", "activationThreshold", "authModes"} <= prometheus.parameters
    assert scalers()["cron"].required == ("start", "end", "timezone", "desiredReplicas")
    assert scalers()["aws-sqs-queue"].required == ("queueURL",)
    assert "queueURLFromEnv" in scalers()["aws-sqs-queue"].parameters
    assert scalers()["external-push"].is_open
    assert len(scalers()) == 76
