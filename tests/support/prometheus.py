"""A real Prometheus with a history that a test writes down."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.ports import free_port
from tests.support.predictor_server import PLAIN, until

Sample = tuple[str, "Mapping[str, str]", float, float]
"""Name, labels, seconds since 1970, value."""


def openmetrics(samples: Iterable[Sample]) -> str:
    """The samples as `promtool` reads them: one name after the other."""
    by_name: dict[str, list[str]] = {}
    for name, labels, at, value in sorted(samples, key=lambda sample: sample[2]):
        words = ",".join(f'{key}="{text}"' for key, text in sorted(labels.items()))
        lines = by_name.setdefault(name, [f"# TYPE {name} gauge"])
        lines.append(f"{name}{{{words}}} {value:g} {at:.0f}")
    return "\n".join([*(line for lines in by_name.values() for line in lines), "# EOF", ""])


@contextmanager
def prometheus_with(samples: Iterable[Sample], folder: Path) -> Iterator[str]:
    """Its address, for as long as the block runs."""
    for name in ("prometheus", "promtool"):
        if shutil.which(name) is None:
            pytest.skip(f"needs {name}")
    data, history, config = folder / "data", folder / "history.txt", folder / "prometheus.yml"
    history.write_text(openmetrics(samples))
    config.write_text("global: {}\n")
    # One block for all of it: promtool reads the whole file again for each.
    command = [
        "promtool", "tsdb", "create-blocks-from", "--max-block-duration=8760h",
        "openmetrics", str(history), str(data),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    with _running(config, data) as address:
        yield address


@contextmanager
def prometheus_scraping(
    targets: Mapping[str, Mapping[str, str]], rules: Mapping[str, Any], folder: Path
) -> Iterator[str]:
    """A Prometheus that scrapes these addresses each second and evaluates the rules; its own address.

    ``targets`` has the labels that the scrape adds, by address.
    """
    if shutil.which("prometheus") is None:
        pytest.skip("needs prometheus")
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    static = [{"targets": [name], "labels": dict(labels)} for name, labels in targets.items()]
    config = folder / "prometheus.yml"
    document = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "pods", "static_configs": static}],
    }
    config.write_text(yaml.safe_dump(document))
    with _running(config, folder / "data", "--enable-feature=exemplar-storage") as address:
        yield address


@contextmanager
def _running(config: Path, data: Path, *more: str) -> Iterator[str]:
    port = free_port()
    options = (
        f"--config.file={config}", f"--storage.tsdb.path={data}", "--log.level=error",
        f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y",
        *more,
    )  # fmt: skip
    server = subprocess.Popen(["prometheus", *options], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _is_ready(address))
        yield address
    finally:
        server.terminate()
        server.wait(60)


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/-/ready", verify=PLAIN).status_code == 200
    except httpx.TransportError:
        return False
