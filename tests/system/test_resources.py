"""The package's own templates."""

from __future__ import annotations

import jinja2
import pytest

from gitops_ml.system.resources import template


def test_a_variable_without_a_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'name' is undefined"):
        template("init/predictor.py.j2").render()


def test_only_html_is_escaped():
    facts = {"name": "<a>", "schema": "x", "image_repository": "x", "gitops_repository": "x"}
    assert "<a>" in template("init/api.yaml.j2", yaml=str).render(facts)
    assert "<a>" not in template("init/api.yaml.j2", is_html=True, yaml=str).render(facts)
