"""`python -m predictor_base.predictor.check`: check whether a predictor can be served, before it serves.

It imports the module, finds the class, and checks the arguments of its methods. Without `--load` it does not call the
constructor, so no model is loaded; with it, it loads the predictor as a server does, predicts the example of the
settings, and unloads it.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from predictor_base.errors import RuntimeFailure, advice
from predictor_base.predictor.loader import check_class, load_class
from predictor_base.settings import Settings

TERMINATION_LOG = Path("/dev/termination-log")
"""The file that Kubernetes gives each container; its text is in the status of the pod."""
_MOST_LINES = 12
_MOST_BYTES = 4096
"""What Kubernetes keeps."""
_NOT_THE_USERS = re.compile(r"importlib|predictor_base|concurrent[/\\]futures")
_NEEDS_ACCELERATOR = re.compile(
    r"lib(?:cuda|nvidia-ml|nrt)\.so|Found no NVIDIA driver|No (?:CUDA|HIP) GPUs are available"
    r"|no CUDA-capable device|CUDA driver version is insufficient|CUDA_ERROR_NO_DEVICE"
    r"|NVML Shared Library Not Found|NVMLError|on a CUDA device but torch\.cuda\.is_available\(\) is False"
    r"|0 active drivers|Unknown backend: '?(?:gpu|cuda)|No visible GPU devices"
)
"""What PyTorch, JAX, Triton, NVML and Neuron say where there is no accelerator. Not that a library was built without
it ("Torch not compiled with CUDA enabled"): that is a fault of the image."""


def main(arguments: Sequence[str] = (), environ: Mapping[str, str] = os.environ) -> int:
    """Check the predictor of the settings in the current folder, and report what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.from_environ(environ)
        # on a thread, as a server does: some code works only on the main thread
        ThreadPoolExecutor(1).submit(_check, settings, has_to_load=options.load).result()
    except RuntimeFailure as failure:
        code, problem = 3, str(failure)
    except BaseException:  # noqa: BLE001 - also what a module's `sys.exit` raises
        code, problem = 1, traceback.format_exc().strip()
    else:
        return 0
    if options.without_accelerator and _NEEDS_ACCELERATOR.search(problem):
        _report(f"not decided, because it needs an accelerator: {problem.splitlines()[-1]}")
        return 0
    _report(problem if code == 3 else _users_part(problem, advice(problem)))
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="predictor_base.predictor.check")
    parser.add_argument(
        "--load",
        action="store_true",
        help="also construct it, load its models and predict its example",
    )
    parser.add_argument(
        "--without-accelerator",
        action="store_true",
        help="succeed where only the missing accelerator is the problem",
    )
    return parser


def _check(settings: Settings, *, has_to_load: bool) -> None:
    check_class(load_class(settings, folder=Path.cwd()), settings)
    if has_to_load:
        _load(settings)


def _load(settings: Settings) -> None:
    from predictor_base.predictor.assembly import assemble
    from predictor_base.predictor.example import predict_example
    from predictor_base.telemetry import log
    from predictor_base.telemetry.metrics import Metrics

    log.configure(settings)
    assembled = assemble(settings, Metrics(settings), folder=Path.cwd())
    try:
        predict_example(assembled.predictor, settings)
    finally:
        assembled.close()


def _users_part(trace: str, reason: str) -> str:
    """The end of a traceback; the user's frames are useful, those of the runtime and of its thread are not."""
    shown = [line for line in trace.splitlines() if not _NOT_THE_USERS.search(line)]
    return "\n".join(shown[-_MOST_LINES:]) + reason


def _report(text: str) -> None:
    print(text, file=sys.stderr)
    if TERMINATION_LOG.exists():
        with suppress(OSError):
            TERMINATION_LOG.write_bytes(text.encode(errors="replace")[-_MOST_BYTES:])


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads of the predictor may not end
