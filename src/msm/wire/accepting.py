"""Connections that are accepted, whoever floods us with them, and whatever has run out."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from msm.wire.channel import LineChannel, StreamChannel
from msm.wire.endpoint import Endpoint
from msm.wire.link import reason

log = logging.getLogger("msm.wire")

LOOK_AGAIN = 0.02  # seconds, where a listening socket cannot be watched
PAUSE = 0.5  # seconds without new connections, when there is no descriptor or no memory for them
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
HANDSHAKE = 10.0  # seconds that a TLS client has for it
HANDSHAKES = 64  # at a time; beyond that the one that began first gives way


class Acceptor:
    """Accepts connections at a listening socket, one for each turn of the loop: a flood leaves time for the others.

    asyncio's own server accepts a hundred in a turn, complains as often when the descriptors have run out, and gives a
    TLS handshake a minute, with no limit to how many of them there are.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        sock: socket.socket,
        channel: Callable[[socket.socket], StreamChannel | LineChannel],
        context: ssl.SSLContext | None,
    ) -> None:
        self._endpoint = endpoint
        self._socket = sock
        self._channel = channel
        self._secure: dict[str, Any] = {"ssl": context, "ssl_handshake_timeout": HANDSHAKE} if context else {}
        self._loop = asyncio.get_running_loop()
        self._opening: dict[asyncio.Task[None], socket.socket] = {}
        self._closed = False
        self._task = self._loop.create_task(self._accept(), name=f"msm accept {endpoint}")

    async def _accept(self) -> None:
        exhausted = False
        while True:
            try:
                sock, address = await self._next()
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    await asyncio.sleep(0)
                    continue  # it has hung up already
                if not exhausted:
                    log.error("%s: no new connections for now, %s", self._endpoint, reason(error))
                exhausted = True
                await asyncio.sleep(PAUSE)
                continue
            exhausted = False
            if len(self._opening) >= HANDSHAKES:
                next(iter(self._opening)).cancel()
            task = self._loop.create_task(self._open(sock, address))
            self._opening[task] = sock
            task.add_done_callback(self._opened)
            await asyncio.sleep(0)

    async def _next(self) -> tuple[socket.socket, str]:
        """The next connection, and whose it is.

        Accepted in one step: a call that is cancelled in between would leave it open.
        """
        while True:
            with suppress(BlockingIOError, InterruptedError):
                sock, address = self._socket.accept()
                sock.setblocking(False)
                return sock, str(address[0])
            await self._readable()

    async def _readable(self) -> None:
        ready = self._loop.create_future()
        descriptor = self._socket.fileno()
        try:
            self._loop.add_reader(descriptor, lambda: None if ready.done() else ready.set_result(None))
        except NotImplementedError:
            await asyncio.sleep(LOOK_AGAIN)  # Windows watches no descriptors
            return
        try:
            await ready
        finally:
            if not self._closed:
                self._loop.remove_reader(descriptor)

    def _opened(self, task: asyncio.Task[None]) -> None:
        sock = self._opening.pop(task)
        if task.cancelled():  # perhaps before it began, and then nobody else closes it
            sock.close()

    async def _open(self, sock: socket.socket, address: str) -> None:
        def channel() -> asyncio.BaseProtocol:
            made = self._channel(sock)
            # Once it has reset the connection, the socket does not know any more; but what it has sent is still read.
            made.accepted_from = address
            return made

        try:
            await self._loop.connect_accepted_socket(channel, sock, **self._secure)
        except OSError as error:  # also of TLS
            sock.close()
            log.info("%s: a client could not be connected, %s", self._endpoint, reason(error))
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        self._closed = True
        self._task.cancel()
        for task in self._opening:
            task.cancel()
        # Closed at once, not when the task notices: and nobody may watch its descriptor then, which will be another's.
        with suppress(NotImplementedError):  # Windows watches no descriptors
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
