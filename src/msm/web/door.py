"""The web door, async and in a thread of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
from types import TracebackType
from typing import Self, Unpack
from urllib.parse import quote

from msm import MemoryStore
from msm.errors import BindError, DeclarationError, StateError
from msm.web.app import Site
from msm.web.feed import Client, Feed
from msm.web.serving import Server, server
from msm.web.settings import WebKeywords, WebSettings, is_loopback
from msm.worker import Worker

log = logging.getLogger("msm.web")

SPARE = 64  # connections beside those of open pages: each asks for its files
KILL = 5.0  # seconds that kill() waits for the thread


class AsyncWebServer:
    """A page that shows and sets the variables of a store, in the running event loop.

    :param store: the memory that is shown.
    :param host: the name or address to listen at; beyond this computer only with `token` or `basic`.
    :param port: the port to listen at, 0 for any free one.
    :param client: the client that keeps the store and a device the same, whose state the page shows.
    :param keywords: see `WebSettings`.
    :raises DeclarationError: a keyword cannot be as it is.

    ::

        async with AsyncWebServer(mem, client=client) as hmi:
            print(hmi.url)
    """

    def __init__(
        self,
        store: MemoryStore,
        host: str = "127.0.0.1",
        port: int = 8080,
        client: Client | None = None,
        **keywords: Unpack[WebKeywords],
    ) -> None:
        if not isinstance(store, MemoryStore):
            raise DeclarationError(f"{store!r} is not a MemoryStore")
        self.settings = WebSettings(host, port, **keywords)
        self._store = store
        self._client = client
        self._port = port
        self._server: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def endpoint(self) -> str:
        """Where it listens: once it runs, with the port that was really bound."""
        host = self.settings.host.strip("[]")
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    @property
    def url(self) -> str:
        """What a browser on this computer is given; it has the token in it."""
        host = self.settings.host
        where = self.endpoint.replace(host, "127.0.0.1", 1) if host in ("0.0.0.0", "::") else self.endpoint
        return f"{where}/?token={quote(self.settings.token, safe='')}" if self.settings.token else f"{where}/"

    async def start(self) -> None:
        """Listen.

        :raises BindError: it cannot listen there.
        :raises StateError: it was started before.
        """
        if self._server is not None or self._closed:
            raise StateError(f"{self.endpoint}: a door runs once, make a new one")
        listener = await self._listen()
        self._port = listener.getsockname()[1]
        settings = dataclasses.replace(self.settings, port=self._port)
        feed = Feed(self._store, self._client, settings.period, settings.title)
        feed.look(0.0)
        self._server = server(Site(self._store, feed, settings).app, settings.max_pages + SPARE)
        self._tasks = [
            asyncio.create_task(self._server.serve([listener]), name=f"msm web {self.endpoint}"),
            asyncio.create_task(feed.run(), name=f"msm web feed {self.endpoint}"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        if not is_loopback(settings.host):
            log.warning("%s is open to the network, without encryption", self.endpoint)

    async def stop(self) -> None:
        """Close all pages and stop listening. Idempotent."""
        self._closed = True
        server, self._server = self._server, None
        if server is None:
            return
        server.should_exit = True
        serving, feeding = self._tasks
        await asyncio.wait([serving])
        feeding.cancel()
        await asyncio.wait([feeding])

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: the page failed", self.endpoint, exc_info=error)

    async def _listen(self) -> socket.socket:
        host, port = self.settings.host.strip("[]"), self.settings.port
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            family, _, _, _, address = found[0]
            return socket.create_server(address, family=family, backlog=128)
        except OSError as error:
            raise BindError(f"{self.endpoint}: cannot listen there, {error.strerror or error}") from error

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


class WebServer:
    """The same in a daemon thread of its own, with the keywords of `AsyncWebServer`.

    ::

        hmi = WebServer(mem, client=client)
        hmi.run()
        ...
        hmi.kill()
    """

    def __init__(
        self,
        store: MemoryStore,
        host: str = "127.0.0.1",
        port: int = 8080,
        client: Client | None = None,
        **keywords: Unpack[WebKeywords],
    ) -> None:
        self._engine = AsyncWebServer(store, host, port, client, **keywords)
        self._worker: Worker | None = None
        self._killed = False

    @property
    def endpoint(self) -> str:
        """Where it listens: once it runs, with the port that was really bound."""
        return self._engine.endpoint

    @property
    def url(self) -> str:
        """What a browser on this computer is given; it has the token in it."""
        return self._engine.url

    def run(self) -> None:
        """Listen; it is bound when this returns. On a door that runs it does nothing.

        :raises BindError: it cannot listen there.
        :raises StateError: it was killed before.
        """
        if self._killed:
            raise StateError(f"{self.endpoint}: a door runs once, make a new one")
        if self._worker is not None:
            return
        self._worker = Worker(f"WebServer {self.endpoint}")
        try:
            self._worker.call(self._engine.start)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Close all pages and stop, and wait until the thread has ended. Idempotent."""
        self._killed = True
        if self._worker is not None:
            self._worker.end(self._engine.stop)
            self._worker.join(KILL)

    def __enter__(self) -> Self:
        self.run()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def __repr__(self) -> str:
        return f"<WebServer {self.endpoint}>"


def serve(
    store: MemoryStore,
    host: str = "127.0.0.1",
    port: int = 8080,
    client: Client | None = None,
    **keywords: Unpack[WebKeywords],
) -> WebServer:
    """Serve a page that shows and sets the variables of a store, in a thread of its own; it runs when this returns.

    :param store: the memory that is shown.
    :param host: the name or address to listen at; beyond this computer only with `token` or `basic`.
    :param port: the port to listen at, 0 for any free one; `.url` tells where it is.
    :param client: the client that keeps the store and a device the same, whose state the page shows.
    :param keywords: see `WebSettings`.
    :returns: the running door; `kill()` ends it, and so does the end of a ``with``.
    :raises BindError: it cannot listen there.
    :raises DeclarationError: a keyword cannot be as it is.
    """
    door = WebServer(store, host, port, client, **keywords)
    door.run()
    return door
