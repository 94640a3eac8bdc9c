"""Marks that only who has the user's key can make."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gitops_ml.system.cache import Seal


def settings(tmp_path, **more):
    return {"HOME": str(tmp_path / "home"), "GITOPS_ML_CACHE": str(tmp_path / "cache"), **more}


def key_of(tmp_path):
    return tmp_path / "home/.config/gitops-ml/cache.key"


def test_later_calls_of_the_same_user_believe_what_earlier_ones_wrote(tmp_path):
    mark = Seal.of_user(settings(tmp_path)).mark("layer", "facts")
    assert Seal.of_user(settings(tmp_path)).is_on(mark, "layer", "facts")
    assert key_of(tmp_path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "parts", [("layer", "fact"), ("layerfacts",), ("layer", "facts", ""), ("facts", "layer"), ()]
)
def test_a_mark_is_of_exactly_these_parts(tmp_path, parts):
    seal = Seal.of_user(settings(tmp_path))
    assert not seal.is_on(seal.mark("layer", "facts"), *parts)


@pytest.mark.parametrize("mark", [None, "", 1, "0" * 64, "é"])
def test_what_is_no_mark_is_no_error(tmp_path, mark):
    assert not Seal.of_user(settings(tmp_path)).is_on(mark, "layer")


def test_a_job_with_the_same_cache_and_another_home_is_not_believed(tmp_path):
    mark = Seal.of_user(settings(tmp_path)).mark("layer")
    other = settings(tmp_path, HOME=str(tmp_path / "elsewhere"))
    assert not Seal.of_user(other).is_on(mark, "layer")


def readable_by_others(file):
    file.chmod(0o644)


def a_link(file):
    file.rename(file.with_name("else"))
    file.symlink_to("else")


def cut_short(file):
    file.write_bytes(b"")


def of_another_user(file):
    os.chown(file, 12345, 12345)


@pytest.mark.parametrize("change", [readable_by_others, a_link, cut_short, of_another_user])
def test_a_key_that_others_may_know_is_replaced(tmp_path, change):
    """A checkout, for one, writes files that everybody can read."""
    if change is of_another_user and os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody")
    mark = Seal.of_user(settings(tmp_path)).mark("layer")
    change(key_of(tmp_path))
    seal = Seal.of_user(settings(tmp_path))
    assert not seal.is_on(mark, "layer")
    assert Seal.of_user(settings(tmp_path)).is_on(seal.mark("layer"), "layer")


MARK = """
import os
from gitops_ml.system.cache import Seal
print(Seal.of_user(os.environ).mark("layer"))
"""


def marks(environ, times=2):
    """What as many processes make of one and the same thing."""
    command = [sys.executable, "-c", MARK]
    return {subprocess.check_output(command, env=environ, text=True) for _ in range(times)}


def test_a_key_in_the_cache_is_none(tmp_path):
    """Whoever writes the cache could put one there, or read ours."""
    environ = settings(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "cache/config"))
    assert len(marks(environ)) == 2
    assert not (tmp_path / "cache").exists()


def test_a_home_that_nothing_can_be_written_to_does_no_harm(tmp_path):
    (tmp_path / "home").write_text("")
    assert len(marks(settings(tmp_path))) == 2
    seal = Seal.of_user(settings(tmp_path))
    again = Seal.of_user(settings(tmp_path))
    assert again.is_on(seal.mark("layer"), "layer"), "one process believes itself"


def test_processes_that_begin_at_once_have_one_key(tmp_path):
    (tmp_path / "home").mkdir()
    command = [sys.executable, "-c", MARK]
    calls = [
        subprocess.Popen(command, env=settings(tmp_path), stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({call.communicate()[0] for call in calls}) == 1
