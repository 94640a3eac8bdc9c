"""A rollout behind a real load balancer loses no request."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.ports import free_port
from tests.support.predictor_server import PLAIN, Server, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
SOURCE = """
    import time
    class PythonPredictor:
        def predict(self, payload):
            time.sleep(0.03)
            return payload
"""


class Balancer:
    """nginx, which retries nothing, so that each failure of a server's is one of the client's."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._file = folder / "nginx.conf"
        self._command = [str(NGINX), "-p", str(folder), "-c", str(self._file), "-e", "stderr"]
        self._process: subprocess.Popen[bytes] | None = None

    def route_to(self, servers: Iterable[Server]) -> None:
        """Send traffic to these from now on, as a Service's endpoints change."""
        upstream = "".join(f"server 127.0.0.1:{each.port} max_fails=0;" for each in servers)
        self._file.write_text(f"""
            daemon off; master_process on; worker_processes 1; pid nginx.pid; user root;
            events {{ worker_connections 256; }}
            http {{
                access_log off; client_body_temp_path body; proxy_temp_path proxy;
                fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
                keepalive_timeout 0;  # of clients: a reload of nginx closes idle ones in their faces
                upstream predictor {{ {upstream} keepalive 16; }}
                server {{
                    listen 127.0.0.1:{self.port};
                    location / {{
                        proxy_pass http://predictor;
                        proxy_http_version 1.1; proxy_set_header Connection "";
                        proxy_next_upstream off;
                    }}
                }}
            }}""")
        if self._process is None:
            self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
            until(lambda: self._answers())
        else:
            subprocess.run([*self._command, "-s", "reload"], check=True, capture_output=True)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/livez", verify=PLAIN).status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)


class Load:
    """Clients that never pause; what they got, by status."""

    def __init__(self, port: int) -> None:
        self.seen: Counter[object] = Counter()
        self._port = port
        self._stop = threading.Event()

    @contextmanager
    def running(self, clients: int) -> Iterator[Load]:
        threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for each in threads:
            each.start()
        try:
            yield self
        finally:
            self._stop.set()
            for each in threads:
                each.join(60)

    def _run(self) -> None:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{self._port}", timeout=60, verify=PLAIN
        ) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post("/predict", json={"x": 1})
                    self.seen[answer.status_code] += 1
                except httpx.TransportError as error:
                    self.seen[repr(error)] += 1

    def until_more(self, count: int) -> None:
        """Wait until so many more requests were answered."""
        goal = self.seen.total() + count
        until(lambda: self.seen.total() >= goal)


@pytest.mark.skipif(NGINX is None, reason="needs nginx")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_rolling_restart_under_load_loses_no_request(tmp_path: Path, processes: int) -> None:
    def start(stack: ExitStack, name: str) -> Server:
        folder = tmp_path / name
        folder.mkdir()
        settings = {"drainDelaySeconds": 3, "processesPerReplica": processes}
        return stack.enter_context(serving(folder, SOURCE, threadsPerProcess=4, **settings))

    with ExitStack() as stack:
        balancer = Balancer(tmp_path)
        stack.callback(balancer.close)
        old = [start(stack, "old-1"), start(stack, "old-2")]
        balancer.route_to(old)
        with Load(balancer.port).running(clients=6) as load:
            new: list[Server] = []
            for index, leaving in enumerate(old):
                load.until_more(100)
                new.append(start(stack, f"new-{index}"))
                # As in a cluster: the pod gets SIGTERM, and its address goes a little later.
                leaving.terminate()
                load.until_more(20)
                balancer.route_to([*new, *old[index + 1 :]])
                assert leaving.ends() == 0
            load.until_more(100)
    assert set(load.seen) == {200}, load.seen
    assert load.seen[200] > 300
