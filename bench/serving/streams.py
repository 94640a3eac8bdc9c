"""The time between the events of many streams at once: 20 events a second each, from one process.

    python bench/serving/streams.py PORT [STREAMS]

Prints how many milliseconds lie between two reads of a stream, as p50, p99 and the longest.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

REQUEST = (
    b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"accept: text/event-stream\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
)


def main(port: int, streams: int = 1000) -> None:
    selector = selectors.DefaultSelector()
    for _ in range(streams):
        client = socket.create_connection(("127.0.0.1", port), timeout=60)
        client.sendall(REQUEST)
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ, [0.0])
        time.sleep(0.001)  # their events do not all fall on one moment
    gaps: list[float] = []
    ended = events = 0
    while ended < streams:
        for key, _ in selector.select():
            data = key.fileobj.recv(65536)  # type: ignore[union-attr]
            now = time.perf_counter()
            found = data.count(b"data: ")
            if found and key.data[0]:
                gaps.append((now - key.data[0]) * 1000)
            if found:
                events += found
                key.data[0] = now
            if not data:
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
                ended += 1
    gaps.sort()
    p50, p99 = gaps[len(gaps) // 2], gaps[len(gaps) * 99 // 100]
    print(f"{events} events, gaps: p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {gaps[-1]:.0f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
