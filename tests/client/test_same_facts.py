"""The results of the client: the keys of `--output json` as attributes, and the same object by `to_dict()`."""

from __future__ import annotations

import json

import gitops_ml as gml
from gitops_ml.facts.shapes import KEYS
from tests.support.person import container_api

STAGING = ("-e", "staging")
MORE = {"autoscaling": {"max_replicas": 7}}

CALLS = {
    "get": (lambda client, _: client.get(), STAGING),
    "describe": (lambda client, _: client.status("iris"), ("iris", *STAGING)),
    "history": (lambda client, _: client.history("iris"), ("iris", *STAGING)),
    "trace": (lambda client, id: client.trace(id), ("ID",)),
    "check": (lambda client, _: client.check("HEAD"), ("--base", "HEAD", *STAGING)),
    "diff": (lambda client, _: client.diff(), STAGING),
    "diff --live": (lambda client, _: client.diff(live=True), STAGING),
    "promote": (
        lambda client, _: client.promote("iris", to="production", dry_run=True, pull_request=False),
        ("iris", "--from", "staging", "--to", "production", "--dry-run"),
    ),
    "patch": (
        lambda client, _: client.patch("iris", MORE, dry_run=True, pull_request=False),
        ("iris", *STAGING, "--set", "autoscaling.max_replicas=7", "--dry-run"),
    ),
    "refresh": (
        lambda client, _: client.refresh("iris", dry_run=True, pull_request=False),
        ("iris", *STAGING, "--dry-run"),
    ),
    "delete": (
        lambda client, _: client.delete("iris", dry_run=True, pull_request=False),
        ("iris", *STAGING, "--yes", "--dry-run"),
    ),
}


def same(own, other) -> bool:
    """Texts are in the terms of Python; all else is equal."""
    if isinstance(own, dict) and isinstance(other, dict):
        return own.keys() == other.keys() and all(same(own[key], other[key]) for key in own)
    if isinstance(own, list) and isinstance(other, list):
        return len(own) >= len(other) and all(map(same, own, other))
    return own == other or (
        isinstance(own, str) and isinstance(other, str) and "gitops-ml" in other
    )


def test_the_client_answers_what_the_command_line_prints(life):
    life.ann.has(container_api("iris"))
    id = life.deploys(container_api("iris"))
    life.syncs()
    life.ann.keeps_source_in_git()
    client = gml.client("staging", progress=False)
    for command, (call, arguments) in CALLS.items():
        words = (*command.split(), *(id if each == "ID" else each for each in arguments))
        printed = life.ann.runs(*words, "-o", "json")
        assert printed.code == 0, printed
        result = call(client, id)
        assert set(KEYS[command]) <= {name for name in dir(result) if not name.startswith("_")}
        found = json.loads(json.dumps(result.to_dict()))
        assert same(found, printed.json), (command, found, printed.json)
        assert repr(result)
        assert result._repr_html_()
