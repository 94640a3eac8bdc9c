"""The keywords that several verbs of the client share."""

from __future__ import annotations

import inspect

import pytest

import gitops_ml as gml


@pytest.fixture
def client(ann):
    ann.configures()
    return gml.client("staging", offline=True)


def test_help_and_completion_see_each_keyword_with_its_default(client):
    shown = str(inspect.signature(client.rollback))
    assert "**" not in shown
    for keyword in ("message: 'str | None' = None", "dry_run: 'bool' = False", "why: 'str' = ''"):
        assert keyword in shown
    assert client.rollback.__doc__.startswith("Restore the previous state")


@pytest.mark.parametrize("keyword", ["dryrun", "prune", "frozen"])
def test_a_keyword_of_another_verb_is_refused(client, keyword):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{keyword}'"):
        client.create_api({"name": "iris"}, **{keyword: True})
