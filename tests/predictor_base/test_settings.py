"""The settings file: what is read, and how a wrong one is reported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from predictor_base.errors import InvalidSettings
from predictor_base.settings import Batching, ModelPath, Models, Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_full_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "predictor.json"
    document = {
        "path": "src/predictor.py",
        "name": "iris",
        "deploymentId": "iris-0123456789ab",
        "config": {"k": [1]},
        "className": None,
        "batching": {"maxBatchSize": 4, "batchIntervalSeconds": 1},
        "models": {"paths": [{"name": "a", "path": "s3://b/a"}], "cacheSize": 2},
    }
    file.write_text(json.dumps(document))
    settings = Settings.from_file(file)
    assert settings == Settings(
        path="src/predictor.py",
        name="iris",
        deployment_id="iris-0123456789ab",
        config={"k": [1]},
        batching=Batching(max_batch_size=4, batch_interval_seconds=1),
        models=Models(paths=(ModelPath("a", "s3://b/a"),), cache_size=2),
    )
    assert (settings.served_name, settings.served_version) == ("iris", "0123456789ab")


def test_all_problems_are_told_with_their_places() -> None:
    document = {
        "threadsPerProcess": "3",
        "pathh": "x",
        "monitoring": {"modelType": "guess"},
        "batching": {"maxBatch": 1},
        "predictionLog": {"redact": "password"},
    }
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_document(document)
    problems = "\n".join(caught.value.problems)
    assert "path: is required" in problems
    assert "threadsPerProcess: '3' is not a whole number" in problems
    assert "pathh: unknown key; the known ones are path, name" in problems
    assert "monitoring.modelType: 'guess' is not one of classification, regression" in problems
    assert "batching.maxBatch: unknown key; the known ones are maxBatchSize" in problems
    assert "predictionLog.redact: is not a list" in problems


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="processesPerReplica: 0 is not more than 0"):
        Settings.from_document({"path": "p.py", "processesPerReplica": 0})


def test_without_a_file_the_settings_are_empty(tmp_path: Path) -> None:
    assert Settings.from_environ({}) == Settings()
    with pytest.raises(InvalidSettings, match="cannot be read"):
        Settings.from_environ({"PREDICTOR_CONFIG_FILE": str(tmp_path / "none.json")})
