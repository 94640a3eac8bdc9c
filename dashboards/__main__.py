"""Write the dashboards as JSON: those of the chart, and one for `bootstrap`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dashboards.api import api_dashboard
from dashboards.fleet import fleet_dashboard

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts/predictor/dashboards"
FLEET = ROOT / "gitops_ml/templates/bootstrap/fleet.json"


def files() -> dict[Path, str]:
    """The text of each file. The chart joins texts, since parsing JSON is slow in Helm: one panel is one line."""
    found = {CHART / f"{name}.json": _text(made) for name, made in api_dashboard().items()}
    return {**found, FLEET: json.dumps(fleet_dashboard(), indent=1, sort_keys=True) + "\n"}


def _text(made: Any) -> str:
    if not isinstance(made, list):
        return json.dumps(made, sort_keys=True) + "\n"
    lines = ",\n".join(json.dumps(panel, sort_keys=True) for panel in made)
    return f"[\n{lines}\n]\n"


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
