"""uvicorn, as a part of a program and not as its master: it leaves signals alone, and waits for nobody for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from msm.web.session import LONGEST_MESSAGE

REQUEST_DEADLINE = 10.0  # seconds that a connection may go without a complete request
GOODBYE = 1  # seconds that open pages have to close at the end


class Server(uvicorn.Server):
    """Signals are the program's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Http(H11Protocol):
    """A connection of which no request comes gives way; uvicorn would keep it for ever."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(REQUEST_DEADLINE, self._look, self.cycle)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look(self, before: object) -> None:
        """Give the connection up where no request has come since the last look, and none is being answered."""
        if self.transport.get_protocol() is not self:
            return  # it has become a WebSocket
        answering = self.cycle is not None and not self.cycle.response_complete
        if self.cycle is before and not answering:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(REQUEST_DEADLINE, self._look, self.cycle)


def server(app: ASGIApp, connections: int) -> Server:
    """A server for this application, with at most so many connections."""
    return Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            http=Http,
            ws="websockets-sansio",
            ws_max_size=LONGEST_MESSAGE,
            limit_concurrency=connections,
            timeout_graceful_shutdown=GOODBYE,
            server_header=False,
        )
    )
