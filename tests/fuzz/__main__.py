"""Fuzz one target with atheris: ``python -m tests.fuzz TARGET SECONDS``."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

TARGETS = ("yaml_text", "json_text", "tensor_text", "layer_bytes", "registry_answers")
HERE = Path(__file__).parent
FOUND = HERE.parents[1] / ".fuzz"
"""What a session learns and finds; not for the repository."""


def main() -> None:
    """Run the session; it ends with an exit code other than 0 where an input breaks a promise."""
    if len(sys.argv) != 3 or sys.argv[1] not in TARGETS or not sys.argv[2].isdecimal():
        sys.exit(f"usage: python -m tests.fuzz {'|'.join(TARGETS)} SECONDS")
    try:
        import atheris  # type: ignore[import-not-found,unused-ignore]  # an extra
    except ImportError:
        sys.exit("fuzzing needs atheris: pip install 'gitops-ml[fuzz]'")
    target, seconds = sys.argv[1:]
    with atheris.instrument_imports(include=["gitops_ml", "predictor_base", "tarfile", "yaml"]):
        module = importlib.import_module(f"tests.fuzz.{target}")
    learned = FOUND / target
    learned.mkdir(parents=True, exist_ok=True)
    limits = ["-rss_limit_mb=2048", "-timeout=60", "-max_len=4096", "-print_final_stats=1"]
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={FOUND}/{target}-", *limits]
    atheris.Setup(
        [sys.argv[0], *options, os.fspath(learned), os.fspath(HERE / "corpus" / target)],
        module.one_input,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
