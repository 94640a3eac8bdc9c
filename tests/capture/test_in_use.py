"""Things in the middle of something: a package has them as the session does, or is refused by their name."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gitops_ml.capture.live_session import Session
from gitops_ml.capture.statements import read_source
from gitops_ml.errors import Unpackageable
from tests.capture.test_proof import neutral, ran
from tests.support.proof_here import ProofHere, staged

# ruff: noqa: E501 - a cell is one text

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True, scope="module")
def _collected():
    """Collect what the sessions left open here, where its warnings fail no test."""
    yield
    gc.collect()


IN = "class A:\n    def __init__(s): s.x = {}\na = A()"
"""An object of the user's own class that holds it."""

CARRIED = {
    "a count": (["import itertools\nx = itertools.count()", "next(x)"], "next(x)"),
    "a count with a step": (["import itertools\nx = itertools.count(2, 0.5)", "next(x)"], "next(x)"),
    "a count of a class": (["import itertools\nclass A: x = itertools.count()", "next(A.x)"], "next(A.x)"),
    "a generator of an object": ([IN.format("(i for i in [1, 2])")], "next(a.x)"),
    "a reader of csv of an object": (["import csv", IN.format("csv.reader(['a', 'b'])")], "next(a.x)"),
    "a file of an object": ([IN.format("open(__import__('os').devnull)")], "a.x.readline()"),
    "a standard stream": (["import sys\ndef f(out=sys.stdout): return out is sys.stdout"], "f()"),
    "a lock that is held": (["import threading\nx = threading.Lock()", "x.acquire()"], "x.locked()"),
    "a lock that is free": (["import threading\nx = threading.RLock()", "x.acquire()", "x.release()"], "repr(x).split()[0]"),
    "an event": (["import threading\nx = threading.Event()", "x.set()"], "x.is_set()"),
    "a semaphore": (["import threading\nx = threading.Semaphore(3)", "x.acquire()"], "x._value"),
    "a thread": (["import threading\nx = threading.Thread(target=threading.Event().wait, daemon=True)", "x.start()"], "x.is_alive()"),
    "a thread that ended": (["import threading\nx = threading.Thread(target=print, daemon=True)", "x.start()\nx.join()"], "x.is_alive()"),
    "a thread of one's own": (
        ["import threading\nclass R(threading.Thread):\n    def __init__(s):\n        super().__init__(daemon=True)\n        s.end = threading.Event()\n    def run(s): s.end.wait()\nx = R()", "x.start()"],
        "x.is_alive()",
    ),
    "a future that waits": (["from concurrent.futures import Future\nx = Future()"], "x.done()"),
    "a memory map": (["import mmap\nx = mmap.mmap(-1, 10)", "x[:3] = b'abc'"], "x[:3]"),
    "a digest": (["import hashlib\nx = hashlib.sha256()", "x.update(b'x')"], "x.hexdigest()"),
    "a keyed digest": (["import hmac\nx = hmac.new(b'k', digestmod='sha256')", "x.update(b'x')"], "x.hexdigest()"),
    "a database of an object": (
        ["import sqlite3", IN.format("sqlite3.connect(':memory:')"), "a.x.execute('create table t(x)')\na.x.execute('insert into t values(1)')"],
        "a.x.execute('select count(*) from t').fetchone()",
    ),
    "a TLS context": (["import ssl\nx = ssl.create_default_context()", "x.check_hostname = False"], "x.check_hostname"),
    "a queue that is empty": (["import queue\nx = queue.SimpleQueue()"], "x.qsize()"),
    "a random generator in a loop": (["import random\nx = random.Random(3)", "for _ in range(3): x.random()"], "x.random()"),
    "a value of a thread": (["import threading\nx = threading.local()", "x.y = 3"], "x.y"),
    "a polynomial": (["import numpy as np\nx = np.poly1d([1, 2, 3])", "x += 1"], "x(2).tolist()"),
    "a fitted polynomial": (["import numpy as np\nx = np.polynomial.Polynomial.fit([1, 2, 3], [1, 4, 9], 2)"], "float(x(2))"),
    "a series of Chebyshev": (["from numpy.polynomial import Chebyshev\nx = Chebyshev([1, 2, 3], domain=[0, 2])"], "float(x(2))"),
}  # fmt: skip


def session_of(cells, body):
    cells = [*cells, f"class P:\n    def predict(self, payload):\n        return {body}"]
    namespace = ran(cells)
    return namespace, Session(namespace, read_source(cells), Path())


@pytest.mark.parametrize(("cells", "body"), CARRIED.values(), ids=CARRIED)
def test_a_package_has_it_as_the_session_does(cells, body):
    namespace, session = session_of(cells, body)
    found = ProofHere().collect(namespace["P"], session, title="T.", stage=staged)
    packaged = sys.modules["packaged"] = ModuleType("packaged")
    exec(compile(found.text, "<package>", "exec", dont_inherit=True), vars(packaged))
    here, there = (each["P"]().predict(2) for each in (namespace, vars(packaged)))
    assert neutral(repr(here)) == neutral(repr(there)), found.text


OTHER = "another one in the package: create it in __init__"
USED = "def use(n=[]):\n    n.append(1)\n    return {}"
"""A function that does more than use something, so that its call is not in a package."""

REFUSED = {
    "a temporary file": (["import tempfile\nx = tempfile.NamedTemporaryFile()", "x.write(b'a')"], f"x is a tempfile TemporaryFileWrapper (in use) here, and {OTHER}"),
    "a temporary file of an object": (["import tempfile", IN.format("tempfile.NamedTemporaryFile()")], f"a.x is a tempfile TemporaryFileWrapper (in use) here, and {OTHER}"),
    "a temporary file in memory": (["import tempfile\nx = tempfile.SpooledTemporaryFile()"], "uses 'x', a tempfile SpooledTemporaryFile"),
    "a temporary folder": (["import tempfile\nx = tempfile.TemporaryDirectory()"], f"x is a tempfile TemporaryDirectory (in use) here, and {OTHER}"),
    "a socket": (["import socket\nx = socket.socket()"], "uses 'x', a socket"),
    "a generator": (["x = (i for i in [1, 2])", "next(x)"], "uses 'x', a generator"),
    "a generator of an object": ([IN.format("(i for i in [1, 2])"), "next(a.x)"], "a.x is the generator <genexpr> in use here"),
    "a generator in a default": (["def f(g=(i for i in [1, 2])): return next(g)", "f()"], "f (default 0) is the generator"),
    "an iterator of an object": ([IN.format("iter([1, 2])"), "next(a.x)"], "a.x (state) is 1 here, and 0 in the package"),
    "a map in a dict": (["x = {'m': map(str, [1, 2])}", "next(x['m'])"], "uses 'x', a dict"),
    "a count in a default": (["import itertools\ndef f(c=itertools.count()): return next(c)", "f()"], "(count(1)) here"),
    "a reader of csv of an object": (["import csv", IN.format("csv.reader(['a', 'b'])"), "next(a.x)"], "a.x is a _csv.reader at line 1 here"),
    "a reader of csv in a closure": (["import csv\ndef make():\n    r = csv.reader(['a', 'b'])\n    return lambda: next(r)\nf = make()", "f()"], "f (closure r) is a _csv.reader at line 1"),
    "a listing of a folder": (["import os", IN.format("os.scandir('/')")], "a.x is a posix ScandirIterator (in use) here"),
    "a file in a closure": (["def make():\n    f = open(__import__('sys').executable, 'rb')\n    return lambda: f.read(1)\nf = make()", "f()"], "(at 1) here, and an io BufferedReader (at 0)"),
    "a lock that a function holds": (["import threading\nx = threading.Lock()", USED.format("x.acquire()"), "use()"], "x is a thread lock (locked) here"),
    "a program": (["import subprocess\nx = subprocess.Popen(['sleep', '60'])"], f"x is a subprocess Popen (in use) here, and {OTHER}"),
    "a future with a result": (["from concurrent.futures import Future\nx = Future()", "x.set_result(3)"], "Future (in use) here"),
    "a database": (["import sqlite3\nx = sqlite3.connect(':memory:')"], "uses 'x', a sqlite3 Connection"),
    "a database of an object that a function fills": (
        ["import sqlite3", IN.format("sqlite3.connect(':memory:')"), USED.format("a.x.execute('create table t(x)').execute('insert into t values (1)')"), "use()"],
        "a.x is a sqlite3 Connection (1 changes) here",
    ),
    "a memory map that a function fills": (["import mmap\nx = mmap.mmap(-1, 4)", USED.format("x.write(b'a')"), "use()"], "x is a mmap mmap ("),
    "a digest that a function fills": (["import hashlib\nx = hashlib.md5()", USED.format("x.update(b'a')"), "use()"], "x is a _hashlib.HASH"),
    "a TLS context that a function sets": (
        ["import ssl\nx = ssl.create_default_context()", "def use(n=[]):\n    n.append(1)\n    x.check_hostname = False", "use()"],
        "x (shows check_hostname) is False here, and True in the package",
    ),
    "a compressor": (["import zlib\nx = zlib.compressobj()", "x.compress(b'a')"], "x is a zlib Compress (in use) here"),
    "a queue": (["import queue\nx = queue.SimpleQueue()", "x.put(1)"], "x is a queue SimpleQueue (in use) here"),
    "a finalizer that ran": (["import weakref\nclass A: pass\na = A()\nx = weakref.finalize(a, print)", "x()"], "x is a weakref finalize (dead) here"),
    "a random generator": (["import random\nx = random.Random(3)", USED.format("x.random()"), "use()"], f"x (state)[1] is a tuple here, and {OTHER}"),
    "a shared value": (["import multiprocessing\nx = multiprocessing.Value('i', 0)", USED.format("setattr(x, 'value', 5)"), "use()"], "x._obj"),
    "a masked array": (["import numpy as np\nx = np.ma.array([1, 2], mask=[0, 1])"], 'models={"x": x}'),
}  # fmt: skip


@pytest.mark.parametrize(("cells", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_carried_is_refused_by_its_name(cells, reason):
    names = [name for name in "xaf" if f"\n{name} = " in "\n".join(["", *cells])]
    namespace, session = session_of(cells, names[0] if names else "f()")
    try:
        with pytest.raises(Unpackageable) as refused:
            ProofHere().collect(namespace["P"], session, title="T.", stage=staged)
    finally:
        if hasattr(program := namespace.get("x"), "kill"):
            program.kill()
            program.wait()
    assert reason in str(refused.value)
