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

from msm.wire.endpoint import Endpoint
from msm.wire.link import reason

log = logging.getLogger("msm.wire")

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
        channel: Callable[[], asyncio.BaseProtocol],
        context: ssl.SSLContext | None,
    ) -> None:
        self._endpoint = endpoint
        self._socket = sock
        self._channel = channel
        self._secure: dict[str, Any] = {"ssl": context, "ssl_handshake_timeout": HANDSHAKE} if context else {}
        self._loop = asyncio.get_running_loop()
        self._opening: dict[asyncio.Task[None], None] = {}
        self._task = self._loop.create_task(self._accept(), name=f"msm accept {endpoint}")

    async def _accept(self) -> None:
        exhausted = False
        while True:
            try:
                sock, _address = await self._loop.sock_accept(self._socket)
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
            task = self._loop.create_task(self._open(sock))
            self._opening[task] = None
            task.add_done_callback(lambda done: self._opening.pop(done, None))
            await asyncio.sleep(0)

    async def _open(self, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._channel, sock, **self._secure)
        except OSError as error:  # also of TLS
            sock.close()
            log.info("%s: a client could not be connected, %s", self._endpoint, reason(error))
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        self._task.cancel()
        for task in self._opening:
            task.cancel()
        # Closed at once, not when the task notices: and nobody may watch its descriptor then, which will be another's.
        with suppress(NotImplementedError):  # Windows watches no descriptors
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
