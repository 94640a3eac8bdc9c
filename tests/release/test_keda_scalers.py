from __future__ import annotations

import pytest

from gitops_ml.release.rules.triggers import scalers
from gitops_ml.system.secret_scan import has_secret_shape, looks_random, names_a_secret


def test_the_scalers_that_the_manual_shows_first_have_their_parameters():
    prometheus = scalers()["prometheus"]
    assert prometheus.required == ("serverAddress", "query", "threshold")
    assert {"ignoreNullValues", "activationThreshold", "authModes"} <= prometheus.parameters
    assert scalers()["cron"].required == ("start", "end", "timezone", "desiredReplicas")
    assert scalers()["aws-sqs-queue"].required == ("queueURL",)
    assert "queueURLFromEnv" in scalers()["aws-sqs-queue"].parameters
    assert scalers()["external-push"].is_open
    assert len(scalers()) == 76


@pytest.mark.parametrize(
    "text",
    [
        *("ghp_" + "a" * 36, "AKIAIOSFODNN7EXAMPLE", "postgres://u:secret@db/x", "hf_" + "a" * 34),
        *("glpat-" + "x" * 20, "-----BEGIN RSA PRIVATE KEY-----", "xoxb-1234567890-abc"),
    ],
)
def test_the_shapes_of_well_known_secrets_are_seen(text):
    assert has_secret_shape(f"prefix {text} suffix")


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/key",
        "https://example.org/x?y=z",
        "sha256:" + "0a" * 32,
        "user@example.org",
        "sk-learn",
    ],
)
def test_ordinary_values_do_not_look_like_secrets(text):
    assert not has_secret_shape(text)
    assert not looks_random(text)


def test_a_generated_key_looks_random_and_words_do_not():
    assert looks_random("dQw4w9WgXcQ7bZk2LmN8pR5tVy")
    assert not looks_random("distilbert-base-uncased-finetuned-sst-2-english")
    assert not looks_random("550e8400-e29b-41d4-a716-446655440000")


def test_a_variable_is_judged_by_its_last_word():
    assert [names_a_secret(n) for n in ("DB_PASSWORD", "API_KEY", "token")] == [True, True, True]
    assert [names_a_secret(n) for n in ("TOKENIZER", "MAX_TOKENS", "KEY_COLUMN")] == [False] * 3
