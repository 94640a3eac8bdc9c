from __future__ import annotations

import pytest

from gitops_ml.release.rules.cron import cron_error, timezones
from gitops_ml.release.rules.keda_scalers import scalers
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
    "line",
    ["* * * * *", "0 8 * * 1-5", "*/5 0-6/2 1,15 JAN-mar SUN", "0 0 ? * *", "59 23 31 12 6"],
)
def test_a_cron_line_has_five_fields(line):
    assert cron_error(line) is None


@pytest.mark.parametrize(
    "line",
    [
        *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *"),
        *("* * * * 7", "@daily", "5-1 * * * *", "*/0 * * * *", "a * * * *", "*-5 * * * *"),
        "٣ * * * *",
    ],
)
def test_what_is_no_cron_line_is_said(line):
    assert cron_error(line) is not None


def test_time_zones_are_known_by_name():
    assert {"UTC", "Europe/Oslo", "America/Argentina/Buenos_Aires", "Asia/Kolkata"} <= timezones()
    assert timezones().isdisjoint({"Local", "", "Europe/Olso"})


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
