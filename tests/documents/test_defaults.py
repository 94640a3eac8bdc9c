from __future__ import annotations

from gitops_ml.documents.json_schema import load_schema

API = load_schema("api")


def test_what_is_not_said_comes_from_the_schema():
    filled = API.with_defaults({"predictor": {"path": "p.py"}})
    assert filled["autoscaling"] == {
        "min_replicas": 1,
        "max_replicas": 100,
        "init_replicas": None,
        "target_in_flight": None,
        "window": "60s",
        "downscale_stabilization_period": "5m",
        "upscale_stabilization_period": "1m",
        "max_downscale_factor": 0.75,
        "max_upscale_factor": 1.5,
        "downscale_tolerance": 0.05,
        "upscale_tolerance": 0.05,
        "schedule": [],
        "triggers": [],
        "cooldown_period": "5m",
        "scale_to_zero": None,
        "fallback_replicas": None,
    }
    assert (filled["compute"]["cpu"], filled["compute"]["mem"]) == ("200m", "1Gi")
    assert filled["update_strategy"] == {
        "type": None,
        "max_surge": "25%",
        "max_unavailable": "25%",
        "preflight": "import",
    }
    assert filled["predictor"]["type"] == "python"
    assert (filled["monitoring"], "container" in filled) == (None, False)


def test_what_is_said_stays_and_null_means_not_said():
    filled = API.with_defaults({"compute": {"cpu": "2", "mem": None, "node_groups": None}})
    compute = filled["compute"]
    assert (compute["cpu"], compute["mem"], compute["node_groups"]) == ("2", "1Gi", [])


def test_items_of_lists_are_filled_too():
    given = {"autoscaling": {"schedule": [{"start": "a", "end": "b", "replicas": 1}]}}
    assert API.with_defaults(given)["autoscaling"]["schedule"][0]["timezone"] == "UTC"


def test_free_form_parts_and_overrides_stay_as_they_are():
    given = {"predictor": {"config": {"a": None}}, "environments": {"x": {"compute": {"gpu": 1}}}}
    filled = API.with_defaults(given)
    assert filled["predictor"]["config"] == {"a": None}
    assert filled["environments"] == {"x": {"compute": {"gpu": 1}}}
