"""Calls in forked children, which are measured: ``python -m tests.hostile.zygote`` reads jobs as JSON lines.

Everything is imported before the first fork, so that a child's time and memory are those of its job.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

CPU_SECONDS = 8
"""Where the kernel ends what never would; the bound of the tests is far below."""
DISK_BYTES = 512 << 20
_SPARED = {"gitops_ml.__main__"}
_ON_DEMAND = ("kubernetes.client", "kubernetes.config", "git")
"""Libraries that gitops_ml imports where it uses them."""


def main() -> None:
    """Do one job for each line, and answer each with a line."""
    _import_everything()
    # the children share the memory of what is there already
    gc.collect()
    gc.freeze()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_done(json.loads(line))), flush=True)


def _import_everything() -> None:
    import gitops_ml

    for module in pkgutil.walk_packages(gitops_ml.__path__, "gitops_ml."):
        if module.name not in _SPARED:
            importlib.import_module(module.name)
    for name in ("tests.hostile.calls", *_ON_DEMAND):
        importlib.import_module(name)
    _warm_up()


def _warm_up() -> None:
    """Judge and render a project, so that what is imported on demand is there as well."""
    from click.testing import CliRunner

    from gitops_ml.cli.main import gitops_ml
    from tests.hostile.net import FILES

    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, content in FILES.items():
            Path(name).write_bytes(content.replace(b"{root}", folder.encode()))
        for command in (["render", "--offline"], ["validate"], ["lock", "--check"]):
            CliRunner().invoke(gitops_ml, command, obj={})
        Path("api.yaml").write_text("- name: answer\n  kind: x\n  typo: 1\n")
        CliRunner().invoke(gitops_ml, ["validate"], obj={})
        os.chdir(here)


def _done(job: dict[str, Any]) -> dict[str, Any]:
    before = _resident()
    pid = os.fork()
    if pid == 0:
        _child(job)
    code, usage = _waited(pid, job["seconds"])
    return {
        "code": code,
        "cpu": usage.ru_utime + usage.ru_stime,
        "grown_mib": (usage.ru_maxrss >> 10) - before,
        "out": _text(job["out"]),
        "err": _text(job["err"]),
    }


def _waited(pid: int, seconds: float) -> tuple[int | str, resource.struct_rusage]:
    """The exit code, or what ended the child, and what it and its own children took."""
    deadline = time.monotonic() + seconds
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            # what it started in the background does not outlive the job
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(status)
            return (code if code >= 0 else signal.Signals(-code).name), usage
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            _, _, usage = os.wait4(pid, 0)
            return "timeout", usage
        time.sleep(0.005)


def _child(job: dict[str, Any]) -> None:
    code = 70
    try:
        os.setsid()
        for name, descriptor in (("out", 1), ("err", 2)):
            os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, DISK_BYTES))
        os.environ.clear()
        os.environ.update(job["env"])
        os.chdir(job["cwd"])
        code = _called(job["call"], job["arguments"])
    except BaseException:  # noqa: BLE001 - what failed is shown, and judged by the parent
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _called(name: str, arguments: list[str]) -> int:
    """The exit code of the command, or of a function, whose deliberate failures have one as well."""
    from gitops_ml.cli import report
    from gitops_ml.cli.main import main as command
    from gitops_ml.errors import GitopsMlError

    try:
        if name == "gitops-ml":
            command(arguments)
        else:
            found = getattr(importlib.import_module("tests.hostile.calls"), name)(*arguments)
            print(repr(found))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except GitopsMlError as error:
        report.error(error)
        return error.exit_code
    return 0


def _resident() -> int:
    """MiB of this process, which a child begins with."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


def _text(path: str) -> str:
    with Path(path).open("rb") as file:
        return file.read(1 << 20).decode("utf-8", "surrogateescape")


if __name__ == "__main__":
    main()
