from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from gitops_ml.errors import ProgramFailed
from gitops_ml.system import process


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", script, *arguments]


def test_the_output_of_a_program_comes_back():
    script = (
        "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read() + b'\\xff')\n"
        "sys.stderr.write('é')"
    )
    done = process.run(python(script), input="grüße")
    assert (done.stdout, done.text, done.stderr) == ("grüße".encode() + b"\xff", "grüße\ufffd", "é")


@pytest.mark.parametrize("before", [None, "own"])
def test_a_variable_is_set_for_a_moment(monkeypatch, before):
    monkeypatch.delenv("GOGC", raising=False)
    if before is not None:
        monkeypatch.setenv("GOGC", before)
    with pytest.raises(ImportError), process.environment_variable("GOGC", "400"):
        assert os.environ["GOGC"] == "400"
        raise ImportError
    assert os.environ.get("GOGC") == before


def test_without_input_a_program_reads_nothing():
    assert process.run(python("import sys; print(len(sys.stdin.read()))")).text == "0\n"


def test_large_input_and_output_do_not_block_each_other():
    script = "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    data = bytes(range(256)) * 20_000
    assert process.run(python(script), input=data).stdout == data


def test_a_program_that_writes_without_end_is_ended():
    done = process.run(python("print('x' * 10); import sys; sys.stderr.write('e')"), most=11)
    assert (done.text, done.stderr) == ("x" * 10 + "\n", "e")
    with pytest.raises(process.TooMuchOutput):
        process.run(python("while True: print('x' * 10)"), most=1 << 20)
    with pytest.raises(ProgramFailed, match="did not end within"):
        process.run(python("import time; time.sleep(600)"), most=11, timeout=0.5)
    with pytest.raises(ProgramFailed, match="no such thing"):
        process.run(python("import sys; sys.exit('no such thing')"), most=11)


def test_arguments_are_never_seen_by_a_shell(tmp_path):
    done = process.run(
        python("import sys; print(sys.argv[1])", "$(touch x); `touch y`"), cwd=tmp_path
    )
    assert done.text == "$(touch x); `touch y`\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "path", [".:{}", ":{}", "{}:", "bin:{}", "./bin:{}", "..:{}", ":", ".", ""]
)
def test_a_program_in_the_folder_that_we_are_in_is_not_started(tmp_path, monkeypatch, path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "chosen").write_text("#!/bin/sh\necho wrong\n")
        (place / "chosen").chmod(0o755)
    mine = tmp_path / "mine" / "chosen"
    mine.parent.mkdir()
    mine.write_text("#!/bin/sh\necho mine\n")
    mine.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path.format(mine.parent))
    if "{}" in path:
        assert process.run(["chosen"], cwd=tmp_path).text == "mine\n"
    else:
        with pytest.raises(ProgramFailed, match="cannot be started"):
            process.run(["chosen"], cwd=tmp_path)


def test_a_failure_tells_command_exit_code_and_stderr():
    with pytest.raises(ProgramFailed) as caught:
        process.run(python("import sys; sys.exit('broken: x')"))
    assert caught.value.returncode == 1
    assert caught.value.stderr == "broken: x\n"
    assert caught.value.command[0] == sys.executable


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(
        ProgramFailed, match=r"no-such-program ended with exit code 127:\ncannot be started"
    ):
        process.run(["no-such-program"])


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path):
    # A shell has started its child long before, where Python still looks for its modules.
    script = "sleep 600 & echo $! > pid; wait"
    with pytest.raises(ProgramFailed, match="did not end within 3 seconds"):
        process.run(["sh", "-c", script], cwd=tmp_path, timeout=3)
    assert ended(int((tmp_path / "pid").read_text()))


def ended(pid: int) -> bool:
    for _ in range(6000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_secrets_are_in_nothing_that_is_raised(monkeypatch):
    monkeypatch.setenv("DEPLOY_TOKEN", "t0ken-value")
    script = (
        "import os, sys\n"
        "sys.exit(os.environ['DEPLOY_TOKEN'] + os.environ['PASSWORD'] + sys.argv[1])"
    )
    with pytest.raises(ProgramFailed) as caught:
        process.run(
            python(script, "https://ann:pa55w0rd@example.org/t0ken-value"),
            env={"PASSWORD": "an0ther-one"},
        )
    failure = caught.value
    shown = f"{failure} {failure!r} {vars(failure)} {failure.__cause__} {failure.__context__}"
    assert "https://***@example.org/***" in shown
    for secret in ("t0ken-value", "an0ther-one", "pa55w0rd"):
        assert secret not in shown


def test_variables_that_point_git_elsewhere_are_scrubbed_and_those_of_the_user_kept(monkeypatch):
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_TRACE", "GIT_CONFIG_PARAMETERS"):
        monkeypatch.setenv(name, "x")
    kept = {"GIT_SSH_COMMAND": "ssh -F x", "GIT_CONFIG_COUNT": "0", "GIT_CONFIG_KEY_0": "a.b"}
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    script = "import os; print(sorted(k for k in os.environ if k.startswith('GIT_')))"
    assert process.run(python(script)).text == f"{sorted(kept)}\n"


def test_variables_that_are_passed_on_purpose_arrive():
    script = "import os; print(os.environ['GIT_DIR'], 'PATH' in os.environ)"
    assert process.run(python(script), env={"GIT_DIR": "/x"}).text == "/x True\n"


def test_a_signal_that_does_not_interrupt_the_wait_is_passed_on(tmp_path):
    """It comes to another thread here; one that comes just before the wait begins has the same effect."""
    begun = tmp_path / "begun"
    script = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"

    def send() -> None:
        while not begun.exists():
            time.sleep(0.01)
        time.sleep(0.1)  # by now, the main thread waits
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    code = process.attend(python(script, str(begun)), cwd=tmp_path, env={})
    sender.join()
    assert code == -signal.SIGTERM
