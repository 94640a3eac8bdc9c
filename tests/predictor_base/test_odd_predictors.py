"""Whatever a predictor returns, raises or does to its process, each request has an answer and the next one as well."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.predictor_server import PLAIN, Server, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = """
    import asyncio, collections, concurrent.futures, datetime, enum, faulthandler, gc, io, json, logging, logging.config
    import multiprocessing, os, pathlib, random, signal, socket, sys, tempfile, threading, time, uvloop, warnings
    from unittest import mock
    from predictor_base import HTTPError
    from starlette.background import BackgroundTask
    from starlette.exceptions import HTTPException
    from starlette.responses import *

    fork = multiprocessing.get_context("fork")
    kept = {}

    class Base(BaseException):
        pass

    class Mute(Exception):
        def __str__(self):
            raise SystemExit(1)
        __repr__ = __str__

    class BadAttributes:
        def __getattr__(self, name):
            raise RuntimeError(name)

    class Ends:
        def tolist(self):
            sys.exit(1)

    class Endless:
        def tolist(self):
            return [Endless()]

    class Unprepared(HTTPError):
        def __init__(self, status_code=None):
            if status_code: self.status_code = status_code

    def refuse(**attributes):
        error = HTTPError(400, "no")
        vars(error).update(attributes)
        raise error

    def fail(*_):
        raise ValueError("afterwards")

    class Iterator:
        def __init__(self, error):
            self.error = error
        def __next__(self):
            raise self.error

    class PythonPredictor:
        def predict(self, payload):
            code = payload
            while isinstance(code, (dict, list)) or hasattr(code, "ravel"):
                code = list(code.values())[0] if isinstance(code, dict) else list(code)[0]
            code = code if isinstance(code, str) else code.decode()
            if "return" not in code and "raise" not in code:
                code = f"return {code}"
            exec("def call():\\n  " + code.replace("\\n", "\\n  "), globals())
            return call()
"""
FAILS: dict[str, str] = {
    "a task": "asyncio.new_event_loop().create_future()",
    "a future of a pool": "concurrent.futures.Future()",
    "something to await that fails": "async def f(): sys.exit(1)\nreturn f()",
    "a dict in itself": "d = {}\nd['a'] = d\nreturn d",
    "a list in itself": "d = []\nd.append(d)\nreturn d",
    "lists in lists": "d = []\nfor _ in range(10_000): d = [d]\nreturn d",
    "a large number in lists": "d = [2**70]\nfor _ in range(10_000): d = [d]\nreturn d",
    "a number of 5000 digits": "10**5000",
    "keys that are no texts": "[{(1, 2): 3}, {b'a': 4}]",
    "an object whose attributes fail": "BadAttributes()",
    "a class": "int",
    "a function": "len",
    "a lock": "threading.Lock()",
    "an exception": "ValueError('x')",
    "a complex number": "1j",
    "a generator in a dict": "{'a': (x for x in [1])}",
    "a value whose conversion ends the program": "Ends()",
    "a value whose conversion never ends": "Endless()",
    "StopIteration": "raise StopIteration(1)",
    "StopAsyncIteration": "raise StopAsyncIteration(1)",
    "GeneratorExit": "raise GeneratorExit",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "CancelledError": "raise asyncio.CancelledError",
    "SystemExit": "raise SystemExit('gone')",
    "another BaseException": "raise Base('x')",
    "an exception without a text": "raise Mute()",
    "a group": "raise BaseExceptionGroup('g', [SystemExit(1)])",
    "endless recursion": "def f(): return f()\nreturn f()",
    "no memory": "raise MemoryError",
    "a text that is not UTF-8 in an exception": "raise ValueError('\\ud800')",
    "an exception of 10 MB": "raise ValueError('x' * 10_000_000)",
    "an HTTPError that is none": "raise HTTPError(200)",
    "an HTTPError without attributes": "raise Unprepared()",
    "an HTTPError with the status 200": "refuse(status_code=200)",
    "an HTTPError with a status that is none": "refuse(status_code='none')",
    "an HTTPError whose headers are a number": "refuse(headers=5)",
    "an HTTPException with the status 101": "raise HTTPException(101)",
    "a syntax error whose place is none": "raise SyntaxError('x', ('f', 'a', None, 5))",
    "a Response with status 101": "Response('', status_code=101)",
    "a Response with a status that is a list": "Response('a', status_code=[200])",
    "a file that does not exist": "FileResponse('/no-such')",
}
"Answered with 500 in JSON by every protocol."
STREAMS = {
    "a generator that fails at once": "def f():\n  raise ValueError(1)\n  yield\nreturn f()",
    "a generator that exits at once": "def f():\n  sys.exit(1)\n  yield\nreturn f()",
    "an async generator that exits at once": "async def f():\n  sys.exit(1)\n  yield\nreturn f()",
    "an iterator that fails": "return Iterator(Base('x'))",
    "an iterator that is cancelled": "return Iterator(asyncio.CancelledError())",
    "a first value that cannot be written": "return iter([Endless()])",
    "a generator of itself": "def f(): yield kept['f']\nkept['f'] = f()\nreturn kept['f']",
}
"Answered with 500 by /predict, and with 406 where a whole value is needed."
SUCCEEDS: dict[str, tuple[str, int, bytes]] = {
    "something to await": ("asyncio.sleep(0.01, {'a': 1})", 200, b'{"a":1}'),
    "something to await that fails on purpose": (
        "async def f(): raise HTTPError(409, 'no')\nreturn f()",
        409,
        b'{"error":"no"}',
    ),
    "every second byte": ("memoryview(b'abcdef')[::2]", 200, b"ace"),
    "a temporary file": (
        "f = tempfile.NamedTemporaryFile()\nf.write(b'a'), f.seek(0)\nreturn f",
        200,
        b"a",
    ),
    "a text of a class of its own": ("[collections.UserString('a')]", 200, b'["a"]'),
    "a path": ("pathlib.Path('/tmp')", 200, b'"/tmp"'),
    "a detail without a text": ("raise HTTPError(400, Mute())", 400, b'{"error":"Mute"}'),
    "a detail in itself": ("d = {}\nd['a'] = d\nraise HTTPError(400, d)", 400, b""),
    "a wrong length of an HTTPError": (
        "raise HTTPError(400, 'no', headers={'Content-Length': '5'})",
        400,
        b'{"error":"no"}',
    ),
    "chunks of an HTTPError": (
        "raise HTTPError(400, 'no', headers={'Transfer-Encoding': 'chunked', 'Upgrade': 'x'})",
        400,
        b'{"error":"no"}',
    ),
    "an HTTPError with a status alone": ("raise Unprepared(404)", 404, b'{"error":null}'),
    "a status that is a text": ("refuse(status_code='404')", 404, b'{"error":"no"}'),
    "a status that is a float": ("raise HTTPError(404.0, 'no')", 404, b'{"error":"no"}'),
    "no headers": ("refuse(headers=None)", 400, b'{"error":"no"}'),
    "a list of headers": ("refuse(headers=[('a', 'b'), ('a', 'c')])", 400, b'{"error":"no"}'),
    "an exception of Starlette's": ("raise HTTPException(404, 'no')", 404, b'{"error":"no"}'),
    "a problem document": (
        "raise HTTPError(400, 'no', headers={'content-type': 'application/problem+json'})",
        400,
        b'{"error":"no"}',
    ),
    "a Response that is too short": (
        "Response('abc', headers={'content-length': '20'})",
        200,
        b"abc",
    ),
    "a Response that is too long": (
        "Response('abc', headers={'content-length': '2'})",
        200,
        b"abc",
    ),
    "a Response with ids of its own": (
        "Response('abc', headers={'X-Request-Id': 'mine', 'Date': 'now', 'Server-Timing': 'x'})",
        200,
        b"abc",
    ),
    "no content": ("Response(status_code=204)", 204, b""),
    "no content with a body": ("Response('abc', status_code=204)", 204, b""),
    "not modified": ("Response('abc', status_code=304)", 304, b""),
    "a Response of before": ("kept.setdefault('r', JSONResponse({'a': 1}))", 200, b'{"a":1}'),
    "a redirection": ("RedirectResponse('/a')", 307, b""),
    "a stream of Starlette's": ("StreamingResponse(iter(['a', 'b']))", 200, b"ab"),
}
"Answered with this status and body by /predict; a Response by other protocols as well."
BREAKS = {
    "a stream of Starlette's that exits": "def f():\n  yield 'a'\n  sys.exit(1)\nreturn StreamingResponse(f())",
    "an async one": "async def f():\n  yield 'a'\n  sys.exit(1)\nreturn StreamingResponse(f())",
    "one that fails at once": "async def f():\n  raise Base\n  yield\nreturn StreamingResponse(f())",
    "bytes and a text": "iter([b'a', 'b'])",
}
"Replies that are seen to be not whole."
FURTHER: dict[str, str] = {
    "a generator that exits": "def f():\n  yield 1\n  sys.exit(1)\nreturn f()",
    "StopIteration in a generator": "def f():\n  yield 1\n  raise StopIteration\nreturn f()",
    "an async generator that exits": "async def f():\n  yield 1\n  sys.exit(1)\nreturn f()",
    "one that is cancelled": "async def f():\n  yield 1\n  raise asyncio.CancelledError\nreturn f()",
    "one that cancels its task": (
        "async def f():\n  yield 1\n  asyncio.current_task().cancel()\n  await asyncio.sleep(1)\nreturn f()"
    ),
}
"Streams of events that end with an error event."
EXPRESS, USUAL = "application/json", "application/json; way=usual"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("odd"), SOURCE) as found:
        yield found
        assert found.metric("predictor_worker_restarts_total") == 0
        assert found.metric("predictor_requests_in_progress") == 0
        assert found.metric("predictor_body_bytes_in_flight") == 0
        assert "Logging error" not in found.log()


def ask(server: Server, code: str, way: str) -> httpx.Response:
    if way == "V1":
        return server.predict({"instances": [code]}, "/v1/models/iris:predict")
    if way == "V2":
        tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": [code]}
        return server.predict({"inputs": [tensor]}, "/v2/models/iris/infer")
    headers = {"content-type": way}
    return server.client.post("/predict", content=json.dumps(code), headers=headers)


@pytest.mark.parametrize("name", FAILS)
def test_what_cannot_be_answered_is_an_honest_failure(server: Server, name: str) -> None:
    for way in (EXPRESS, USUAL, "V1", "V2"):
        answer = ask(server, FAILS[name], way)
        assert answer.status_code == 500, way
        assert answer.json()["error"] == "internal server error"
        assert server.status("/livez") == 200


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_fails_at_once_has_a_status(server: Server, name: str) -> None:
    for way, status in ((EXPRESS, 500), (USUAL, 500), ("V1", 406), ("V2", 406)):
        answer = ask(server, STREAMS[name], way)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")


@pytest.mark.parametrize("name", SUCCEEDS)
def test_what_can_be_sent_is_sent_with_one_header_of_a_name(server: Server, name: str) -> None:
    code, status, body = SUCCEEDS[name]
    for way in (EXPRESS, USUAL, *(("V1", "V2") if "Response" in code else ())):
        answer = ask(server, code, way)
        assert answer.status_code == status
        assert answer.content == body or not body
        names = [name.lower() for name, _ in answer.headers.raw]
        assert sorted(names) == sorted(set(names))
        assert status in (204, 304) or not {b"content-length", b"transfer-encoding"}.isdisjoint(
            names
        )
        assert answer.headers["x-request-id"] != "mine"
        assert ask(server, "{'next': 1}", way).status_code == 200  # on the same connection


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_not_whole_is_seen_to_be_so(server: Server, name: str) -> None:
    for way in (EXPRESS, USUAL):
        with pytest.raises(httpx.TransportError):
            ask(server, BREAKS[name], way)
        assert ask(server, "{'next': 1}", way).status_code == 200


@pytest.mark.parametrize("name", FURTHER)
def test_events_end_with_the_error_and_not_with_the_servers_end(server: Server, name: str) -> None:
    answer = ask(server, FURTHER[name], EXPRESS)
    error = 'event: error\ndata: {"error":"internal server error"}\n\n'
    assert answer.text == f"data: 1\n\n{error}"


@pytest.mark.parametrize(
    "source", ["mock.MagicMock()", "async def f():\n  while 1: yield 1\nreturn f()"]
)
def test_a_stream_that_never_waits_holds_up_nobody(server: Server, source: str) -> None:
    with server.client.stream("POST", "/predict", json=source) as answer:
        assert answer.status_code == 200
        for path in ("/livez", "/info"):
            assert server.status(path) == 200
    until(lambda: server.metric("predictor_requests_in_progress") == 0)


def test_what_fails_after_a_whole_reply_costs_no_further_one(server: Server) -> None:
    codes = ("Response('a', background=BackgroundTask(fail))", "{'next': 1}")
    bodies = [json.dumps(code).encode() for code in codes]
    heads = [
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n%b\r\n" % (len(body), more)
        for body, more in zip(bodies, (b"", b"connection: close\r\n"), strict=True)
    ]
    with server.connects() as connection:
        connection.sendall(b"".join(heads[n] + bodies[n] for n in range(2)))
        received = b"".join(iter(lambda: connection.recv(1000), b""))
    assert received.endswith(b'{"next":1}')
    until(lambda: server.logged("what runs after a reply failed"))


def test_names_and_values_of_headers_may_be_bytes(server: Server) -> None:
    code = "raise HTTPError(400, 'no', headers={b'x-a': b'caf\\xe9'})"
    assert ask(server, code, USUAL).headers["x-a"] == "caf\xe9"


def test_ids_differ_whatever_predict_seeds(server: Server) -> None:
    headers = {ask(server, "random.seed(1)", EXPRESS).headers["x-request-id"] for _ in range(50)}
    assert len({each[14:] for each in headers}) == 50


def test_a_forked_process_keeps_no_connection_open(server: Server) -> None:
    child = "fork.Process(target=time.sleep, args=(60,), daemon=True).start()"
    with server.connects() as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(1000)
        assert ask(server, child, EXPRESS).status_code == 200
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        while connection.recv(1000):
            pass


DEEDS = [
    "socket.setdefaulttimeout(0.001)",
    "os.chdir('/')",
    "os.umask(0o777)",
    "logging.disable(logging.CRITICAL)",
    "logging.basicConfig(force=True, format='%(nothing)s')",
    "logging.config.dictConfig({'version': 1})",
    "logging.getLogger().addHandler(mock.Mock(level=0, handle=mock.Mock(side_effect=OSError)))",
    "os.environ.clear()",
    "warnings.simplefilter('error')",
    "gc.disable(); gc.freeze()",
    "faulthandler.disable()",
    "sys.setrecursionlimit(200)",
    "sys.set_int_max_str_digits(640)",
    "sys.setswitchinterval(1)",
    "asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())",
    "asyncio.set_event_loop(None)",
    "signal.siginterrupt(signal.SIGTERM, True)",
    "sys.path.clear()",
    "threading.Thread.start = None",
    "sys.stdout.close()",
    "sys.stdout = None",
    "os.close(1)",
    "sys.stderr.close()",
    "sys.excepthook = threading.excepthook = lambda *_: os._exit(3)",
    "json.dumps = json.loads = None",
]
"What a predictor or one of its libraries does to its whole process, one after the other."


def test_no_deed_costs_a_line_of_the_log_or_the_exit_code(tmp_path: Path) -> None:
    with serving(tmp_path, SOURCE) as server:
        for count, deed in enumerate(DEEDS, 1):
            assert ask(server, f"{deed}\nreturn {{}}", EXPRESS).status_code == 200, deed
            for way in (EXPRESS, USUAL):
                assert ask(server, "1 / 0", way).status_code == 500, deed
                assert ask(server, "{'a': 1}", way).json() == {"a": 1}
            until(
                lambda n=count: len(server.logged("ZeroDivisionError")) == 2 * n,
                what=lambda d=deed: d,
            )
            if "json" not in deed:  # prometheus_client needs it
                assert server.metric("predictor_requests_total", code="500") == 2 * count, deed
        server.terminate()
        assert server.ends() == 0
    assert server.logged("stopped")


ASYNC = """
    import asyncio, signal, sys

    def interrupt():
        raise KeyboardInterrupt

    async def leave():
        sys.exit(3)

    class PythonPredictor:
        async def predict(self, payload):
            if isinstance(payload, str):
                exec(payload)
            await asyncio.sleep(0.02)
            return "done"
"""
LOOP_DEEDS = (
    "[each.cancel() for each in asyncio.all_tasks() - {asyncio.current_task()}]",
    "asyncio.get_running_loop().set_exception_handler(lambda *_: sys.exit(1))",
    "asyncio.ensure_future(asyncio.get_running_loop().shutdown_default_executor())",
    "asyncio.get_running_loop().set_task_factory(lambda loop, each, **_: asyncio.Task(each, loop=loop))",
    "asyncio.get_running_loop().stop()",
    "asyncio.get_running_loop().call_soon(interrupt)",
    "asyncio.ensure_future(leave())",
    "signal.set_wakeup_fd(-1)",
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
)


def test_an_async_predictor_ends_neither_the_loop_nor_the_drain(tmp_path: Path) -> None:
    with serving(tmp_path, ASYNC) as server:
        for deed in LOOP_DEEDS:
            assert server.predict(deed).text == "done", deed
            assert server.predict(["a" * 100_000]).text == "done", deed  # read on a thread
        server.terminate()
        assert server.ends() == 0
    assert server.logged("stopped")
    assert not server.logged("ended with")


ENDS: dict[str, tuple[str, str]] = {
    "an exception": ("raise OSError('the weights are gone')", "OSError: the weights are gone"),
    "sys.exit": ("sys.exit('no weights')", "SystemExit: no weights"),
    "os._exit": ("os._exit(0)", "ended with 0 before it was ready"),
    "a crash": ("__import__('ctypes').string_at(0)", "ended with -11 before it was ready"),
    "a signal handler": ("__import__('signal').signal(15, print)", "set no signal handler"),
    "a file beside the code": (
        "raise OSError(30, 'Read-only file system', 'x')",
        "predictor.writable: true",
    ),
    "an exception without a text": ("raise Mute()", "predictor.py"),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_last_error_says_why_the_load_ended_the_process(tmp_path: Path, name: str) -> None:
    deed, said = ENDS[name]
    source = SOURCE.replace("def predict(", f"def __init__(self): {deed}\n        def predict(")
    with serving(tmp_path, source, ready=False) as server:
        assert server.ends() == 1
    # `describe` shows the last error of the log.
    errors = [line for line in server.log().splitlines() if '"level":"error"' in line]
    assert said in errors[-1]


def test_the_log_says_what_to_do_about_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    source = """
        class PythonPredictor:
            def predict(self, payload):
                raise OSError(30, "Read-only file system", "cache.json")
    """
    with serving(tmp_path, source) as server:
        assert server.predict(1).status_code == 500
        until(lambda: server.logged("predictor.writable: true"))


def test_a_limit_of_threads_costs_no_request(tmp_path: Path) -> None:
    source = """
        import threading
        class PythonPredictor:
            def __init__(self):
                self.calls = 0
                threading.Thread.start = self.refuse
            def refuse(self):
                raise RuntimeError("can't start new thread")
            def predict(self, payload):
                self.calls += 1
                return self.calls
    """
    answers: list[Any] = []
    with serving(tmp_path, source, threadsPerProcess=4) as server:
        clients = [
            threading.Thread(
                target=lambda: answers.append(
                    httpx.post(f"{server.url}/predict", json=1, verify=PLAIN).json()
                )
            )
            for _ in range(8)
        ]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
    assert sorted(answers) == list(range(1, 9))
