"""One serving process: listen, load, serve, drain, exit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from uvicorn.config import Config

from predictor_base.errors import StartFailure, advice
from predictor_base.http.app import App
from predictor_base.http.connections import Connections
from predictor_base.http.example import check_example
from predictor_base.http.express import Express
from predictor_base.http.uvicorn_protocol import IDLE_SECONDS, GuardedProtocol
from predictor_base.process import forks
from predictor_base.process.child import ENDING_SECONDS, FAILED
from predictor_base.process.health import HealthWatch
from predictor_base.process.replica_state import DRAINING, READY, STALLED, UNHEALTHY, ReplicaState
from predictor_base.process.routes import all_routes
from predictor_base.serving.executor import Executor
from predictor_base.serving.service import Service
from predictor_base.serving.thread_settings import of_this_thread
from predictor_base.serving.waiting import own_task
from predictor_base.telemetry.metrics import Metrics
from predictor_base.telemetry.tracing import start_tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from predictor_base.predictor.assembly import Assembled
    from predictor_base.settings import Settings

SWITCH_SECONDS = 0.001
"""How long a predict in Python may block the event loop; Python's default is five times that."""
SHARING_SECONDS = 0.1
"""How often a worker looks for connections of workers that do not serve."""

logger = logging.getLogger("predictor_base")


class Worker:
    """One process that serves one predictor."""

    def __init__(
        self,
        settings: Settings,
        *,
        listeners: Sequence[socket.socket],
        replica: ReplicaState,
        number: int,
        grpc: str = "",
    ) -> None:
        self.settings = settings
        self.exit_code = 0
        self._replica = replica
        self._number = number
        self._listeners = listeners
        self._while_loading = replica.state(number)
        self._parent = os.getppid()
        self._loop = uvloop.new_event_loop()
        self._executor = Executor(
            self._loop, threads=_threads(settings), inline=settings.inline == "auto"
        )
        self._metrics = Metrics(settings, worker=number)
        self.service = Service(settings, self._executor, self._metrics)
        self._new_protocol: Callable[..., GuardedProtocol] = GuardedProtocol
        self._app = self._new_app()
        self._connections = Connections(settings)
        self._connections.count = lambda: self._metrics.rejected.update(connection=1)
        if settings.cors is None and settings.upstream_port is None:
            self._connections.express = Express(self._app, self._loop)
        self._stopping = asyncio.Event()
        self._forced = asyncio.Event()
        self._is_asked_to_end = False
        self._loading: asyncio.Task[None] | None = None
        self._assembled: Assembled | None = None
        self._of_load: Mapping[str, Any] = {}
        """What libraries have for the thread of the load."""
        self._prediction_log: Any = None
        self._grpc_address = grpc
        self._grpc: Any = None
        self._servers: dict[int, asyncio.AbstractServer] = {}
        """By the number of the worker whose socket it is."""
        self._health: HealthWatch | None = None

    def _new_app(self) -> App:
        if self.settings.upstream_port is not None:
            from predictor_base.proxy.client_side import ForwardingProtocol
            from predictor_base.proxy.forwarding import ProxyApp

            proxy = ProxyApp(self.settings, self.service, self._metrics)
            self._new_protocol = partial(ForwardingProtocol, proxy)
            return proxy
        app = App(self.settings, self.service, self._metrics)
        app.add_routes(all_routes(app, self._replica))
        return app

    def run(self) -> int:
        """Serve until a signal; returns the process's exit code."""
        signal.signal(signal.SIGTERM, lambda *_: self._loop.call_soon_threadsafe(self.terminate))
        # A terminal sends it to all processes, and the supervisor forwards it. A program that the predictor
        # starts would inherit that it is ignored, but not a handler.
        signal.signal(signal.SIGINT, lambda *_: None)
        forks.keep_apart(self._sockets)
        sys.setswitchinterval(SWITCH_SECONDS)
        main = own_task(self._live(), self._loop)
        main.add_done_callback(lambda _: self._executor.finish())
        while not main.done():
            self._run_loop()
        main.result()
        return self.exit_code

    def _run_loop(self) -> None:
        """Run the loop until it is stopped; a task of an async predictor may stop it, or raise SystemExit."""
        try:
            self._loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            logger.error("a task of the predictor raised %s", type(error).__name__, exc_info=error)

    def _sockets(self) -> list[int]:
        """The descriptors of the connections."""
        transports = [each.transport for each in list(self._connections.connections)]
        found = [each.get_extra_info("socket") for each in transports if not each.is_closing()]
        return [each.fileno() for each in found]

    def terminate(self) -> None:
        """Begin to drain; a second call exits at once."""
        if self._is_asked_to_end:
            self._forced.set()
        self._is_asked_to_end = True
        self._stopping.set()

    async def _live(self) -> None:
        self._configure()
        self._beat()
        if not any(map(self._replica.serves, self._replica.numbers)):
            await self._accept(self._number)  # until it is ready, it answers probes
        ticking = [own_task(each) for each in (self._tick(), self._share())]
        try:
            self._start_recording()
        except StartFailure as error:
            logger.error("%s", error)
            self._fail()
        else:
            self._loading = own_task(self._load())
        await self._stopping.wait()
        if self.service.state == "ready":
            await self._drain()
        self._close_servers()
        for each in ticking:
            each.cancel()
        await self._close()

    # Listening

    def _configure(self) -> None:
        self._config = config = Config(
            self._asgi(),  # type: ignore[arg-type]  # an ASGI application
            loop="none",
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
        )
        config.load()

    def _protocol(self) -> GuardedProtocol:
        return self._new_protocol(self._config, self._connections, {}, self._loop)

    async def _accept(self, number: int) -> None:
        """Accept connections of this worker's socket."""
        listener = self._listeners[number]
        self._servers[number] = await self._loop.create_server(
            self._protocol, sock=listener.dup(), backlog=2048
        )
        if number == self._number:
            logger.info("listening on %s:%s", *listener.getsockname()[:2])

    async def _share(self) -> None:
        """Accept connections of the workers that do not serve at the moment."""
        while self.service.state in ("loading", "ready"):
            for number in self._replica.numbers:
                wanted = self.service.is_ready and self._replica.is_away(number)
                if number == self._number:
                    continue
                if wanted and number not in self._servers:
                    await self._accept(number)
                elif not wanted and number in self._servers:
                    self._servers.pop(number).close()
            await asyncio.sleep(SHARING_SECONDS)

    def _close_servers(self) -> None:
        """Stop listening, also for the processes that have copies of the sockets."""
        for number, server in self._servers.items():
            server.close()
            with contextlib.suppress(OSError):
                self._listeners[number].shutdown(socket.SHUT_RDWR)
        self._servers.clear()

    def _asgi(self) -> object:
        cors = self.settings.cors
        if cors is None:
            return self._app
        from starlette.middleware.cors import CORSMiddleware

        return CORSMiddleware(
            self._app,
            allow_origins=cors.allow_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "x-deployment-id", "server-timing", "traceresponse"],
        )

    async def _tick(self) -> None:
        while True:
            if self._health is not None:
                self.service.is_healthy = self._health.is_healthy()
            self._beat()
            try:
                self._look_after_connections()
                self._metrics.flush()
            except Exception:  # without its beat, the worker would be replaced
                logger.exception("the metrics cannot be written")
            if self._replica.is_ending:
                self._stopping.set()  # the signal may come later, or to a handler of the predictor
            if os.getppid() != self._parent:
                self.terminate()  # the supervisor is gone
            await asyncio.sleep(1)

    def _look_after_connections(self) -> None:
        now = self._loop.time()
        for connection in list(self._connections.connections):
            connection.close_if_late(now)  # type: ignore[union-attr]  # all are GuardedProtocol

    def _beat(self) -> None:
        date = formatdate(time.time(), usegmt=True).encode()
        self._connections.default_headers = [(b"date", date)]
        self._connections.default_lines = b"date: %b\r\n" % date
        self._replica.write(self._number, self._state())

    def _state(self) -> int:
        if self.service.is_stalled():
            return STALLED
        if self.service.is_ready:
            return READY
        by_state = {"loading": self._while_loading, "ready": UNHEALTHY}
        return by_state.get(self.service.state, DRAINING)

    # Loading

    async def _load(self) -> None:
        if self.settings.upstream_port is not None:
            self._metrics.describe(self.settings, self._app.schema_hash)
            self._app.service.serve()
            logger.info("forwarding to port %d", self.settings.upstream_port)
            self._beat()
            return
        job = self._executor.submit(lambda _: self._assemble(), None)
        try:
            self._assembled = await job.future
            self._executor.inherit(job)
            self._executor.settle(self._of_load)
            await self._begin(self._assembled)
        except StartFailure as error:
            logger.error("%s", error)
            self._fail()
        except Exception:
            reason = advice(traceback.format_exc())  # the text of an error may fail itself
            logger.exception("the predictor failed to load%s", reason)
            self._fail()

    async def _begin(self, assembled: Assembled) -> None:
        """Take requests; listen where this worker replaces another one and has not listened before."""
        self.service.prepare(assembled.predictor)
        if self.settings.example is not None:
            await check_example(self._app, self.settings.example)
        self._ready(assembled)
        if self._number not in self._servers:
            await self._accept(self._number)
            if self._grpc is not None:
                self._grpc.start(self._grpc_address)

    def _assemble(self) -> Assembled:
        # Late imports, so that the server answers its first probe before these modules are loaded.
        from predictor_base.predictor.assembly import assemble
        from predictor_base.predictor.schema import describe, openapi, schema_hash
        from predictor_base.process.memory import keep_freed_memory

        settings = self.settings
        keep_freed_memory(settings.max_request_bytes, os.environ)
        description = describe(Path(settings.path), settings.class_name)
        if settings.example is not None:
            description = description.with_example(settings.example)
        document = openapi(description, name=settings.served_name, version=settings.served_version)
        self._app.document, self._app.signature = document, description.tensors()
        self._app.schema_hash = schema_hash(document)
        self._metrics.describe(settings, self._app.schema_hash)
        assembled = assemble(settings, self._metrics, folder=Path.cwd())
        self._of_load = of_this_thread()
        return assembled

    def _fail(self) -> None:
        self.exit_code = FAILED
        self._stopping.set()

    def _ready(self, assembled: Assembled) -> None:
        self._metrics.gauges["load_seconds"] = lambda: assembled.load_seconds
        if assembled.client is not None:
            self._app.describe_models = assembled.client.describe
        if health := assembled.predictor.hook("health"):
            self.service.is_healthy = False
            self._health = HealthWatch(health, seconds=self.settings.health_timeout_seconds)
            self._health.start(lambda: self._loop.call_soon_threadsafe(self._health_changed))
        self.service.serve()
        logger.info("ready after %.2f s", assembled.load_seconds)
        self._beat()

    def _health_changed(self) -> None:
        assert self._health is not None
        self.service.is_healthy = self._health.is_healthy()
        self._beat()

    def _start_recording(self) -> None:
        settings = self.settings
        if settings.monitoring is not None:
            from predictor_base.telemetry.tracking import Tracker

            tracker = Tracker(
                settings.monitoring, self._metrics.registry, deployment_id=settings.deployment_id
            )
            self._app.record_response = tracker.record
        if settings.prediction_log is not None:
            from predictor_base.telemetry.prediction_log import PredictionLog

            self._prediction_log = log = PredictionLog(settings, registry=self._metrics.registry)
            log.start()
            self._app.record_exchange = log.record_exchange
            self._app.log_feedback = log.record_feedback
        self._app.tracing = start_tracing(settings, os.environ)
        if self._grpc_address:
            from predictor_base.protocols.grpc_server import GrpcServer

            self._grpc = GrpcServer(self._app, self._loop)
            if self._number in self._servers:
                self._grpc.start(self._grpc_address)

    # Exit

    async def _drain(self) -> None:
        """Not ready, still serve, stop listening, finish: the order that loses no request."""
        logger.info("draining")
        self.service.state = "draining"
        self._beat()
        await self._unless_forced(asyncio.sleep(self.settings.drain_delay_seconds))
        self._close_servers()
        if self._grpc is not None:
            self._grpc.stop(self.settings.grace_seconds)
        for connection in list(self._connections.connections):
            connection.shutdown()
        await self._unless_forced(self._finished(), timeout=self.settings.grace_seconds)
        self.service.state = "stopped"
        self._app.stop()
        if left := list(self._connections.tasks):
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1)

    async def _finished(self) -> None:
        while self._connections.tasks or self.service.inside or self.service.afterwards:
            now = self._loop.time()
            for connection in list(self._connections.connections):
                connection.close_if_paused(now)  # type: ignore[union-attr]  # all are GuardedProtocol
            await asyncio.sleep(0.02)

    async def _unless_forced(
        self, waiting: Coroutine[Any, Any, None], *, timeout: float | None = None
    ) -> None:
        tasks = {own_task(waiting), own_task(self._forced.wait())}
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def _close(self) -> None:
        """Flush the prediction log and traces, shut the predictor down and unload its models, in the time there is."""
        if self._forced.is_set():
            os._exit(FAILED)
        seconds = max(self.settings.close_seconds - ENDING_SECONDS, 0.1)
        closing = [
            self._on_own_thread(partial(recorder.close, seconds=seconds))
            for recorder in (self._prediction_log, self._app.tracing)
            if recorder is not None
        ]
        if self._assembled is not None:
            closing.append(self._shut_down(self._assembled))
        if closing:
            _, late = await asyncio.wait(closing, timeout=seconds)
            if late:
                logger.error("closing took longer than %g s and was given up", seconds)
        logger.info("stopped")

    def _shut_down(self, assembled: Assembled) -> asyncio.Future[Any]:
        """Call shutdown() on the thread of predict; beside it where a predict does not end."""
        if self._executor.is_free():
            return self._executor.submit(lambda _: assembled.close(), None).future
        return self._on_own_thread(assembled.close)

    def _on_own_thread(self, function: Callable[[], None]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()

        def work() -> None:
            try:
                function()
            except Exception:
                logger.exception("closing failed")
            with contextlib.suppress(RuntimeError):  # the loop may be closed already
                self._loop.call_soon_threadsafe(future.set_result, None)

        threading.Thread(target=work, name="close", daemon=True).start()
        return future


def _threads(settings: Settings) -> int:
    """Threads of a process; `max_concurrency` bounds them."""
    share = (
        settings.max_concurrency or settings.threads_per_process * settings.processes_per_replica
    )
    return max(1, min(settings.threads_per_process, -(-share // settings.processes_per_replica)))
