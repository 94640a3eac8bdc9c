"""What the connections of a server share."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from uvicorn.server import ServerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor_base.http.express import Express
    from predictor_base.settings import Settings

logger = logging.getLogger("predictor_base")


class Connections(ServerState):
    """The state that the connections of a server share."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    express: Express | None = None
    """None where every reply has to be ASGI messages."""
    count: Callable[[], None] = staticmethod(lambda: None)
    """Count a refused connection."""
    noted = 0.0
    unnoted = 0
    """When the last refusal was logged, and the refusals since."""

    def note(self, status: int, message: str, client: object) -> None:
        """Count a refusal, and log one each second."""
        self.count()
        self.unnoted += 1
        if (now := time.monotonic()) - self.noted >= 1:
            facts = {"status": status, "client": client, "refusals": self.unnoted}
            logger.warning("a connection was refused: %s", message, extra=facts)
            self.noted, self.unnoted = now, 0

    default_lines = b""
    """The default headers as lines."""
    last_host: bytes | None = None
    """The Host that was checked last: most requests have the same."""

    def make_room(self, newest: Any) -> None:
        """Close the connection that has been idle longest; the newest one where none is idle."""
        waiting: list[Any] = [
            each
            for each in self.connections
            if each is not newest and not each.is_busy  # type: ignore[union-attr]
        ]
        if waiting:
            min(waiting, key=lambda each: each.since).transport.close()
        else:
            newest.refuse(503, "there are too many connections")
