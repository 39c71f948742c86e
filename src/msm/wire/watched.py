"""Connections that are watched together: one wake-up of the event loop serves many of them.

For each socket that has something to read, an event loop makes a handle and runs it in a context. That takes longer
than the answer. Here all sockets of a server lie in an epoll of their own, and the event loop watches only that.
"""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from msm.wire.channel import Owner, StreamChannel
from msm.wire.framing import MbapFramer

READABLE = getattr(select, "EPOLLIN", 0)
AT_A_TIME = 128  # reads in one turn of the event loop; then the others have theirs

Reader = Callable[[int], object]


class Watch:
    """An epoll inside the epoll of the event loop. It is there while somebody is watched."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._readers: dict[int, Reader] = {}
        self._epoll: select.epoll | None = None

    @staticmethod
    def pays() -> bool:
        """Is it there, and faster than what the event loop does itself? uvloop makes no handles for a socket."""
        return sys.platform == "linux" and isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop)

    def join(self, descriptor: int, read: Reader) -> None:
        """Call `read`, with the event, whenever this socket has something."""
        if self._epoll is None:
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._look)
        self._epoll.register(descriptor, READABLE)
        self._readers[descriptor] = read

    def leave(self, descriptor: int, read: Reader) -> None:
        """Call it no more."""
        if self._epoll is None or self._readers.get(descriptor) != read:
            return  # it was closed before it left, and its descriptor is another's now
        del self._readers[descriptor]
        with suppress(OSError):  # it was closed before it left
            self._epoll.unregister(descriptor)
        if not self._readers:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _look(self) -> None:
        left = AT_A_TIME
        while left > 0 and self._epoll is not None and (events := self._epoll.poll(0, AT_A_TIME)):
            left -= len(events)
            for descriptor, event in events:
                if descriptor in self._readers:  # and did not leave a moment ago
                    self._readers[descriptor](event)
            if len(self._readers) == 1:
                return  # one by itself has hardly asked again meanwhile


class WatchedChannel(StreamChannel):
    """A connection that was accepted, read in its `Watch`. All but reading is done by its transport.

    Where there is more to it than bytes, an end or an error, it is given back to the transport, which finds that too.
    """

    def __init__(self, owner: Owner, framer: MbapFramer, sock: socket.socket, watch: Watch) -> None:
        super().__init__(owner, framer, sock)
        self._watch = watch
        self._descriptor = sock.fileno()
        self._receive = sock.recv_into
        self._watched = False
        self._given_back = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Not yet: an event loop begins to read only after this call, whether that was paused or not.
        asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self.transport.pause_reading()
        self._given_back = False
        self.resume()

    def _read(self, event: int) -> None:
        framer = self.framer
        if event == READABLE:
            try:
                count = self._receive(framer.space() if framer.end else framer.view)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                count = 0
            if count:
                try:
                    if self.express is None or not self.express(count):
                        self.hand_over(framer.advance(count))
                except BaseException:  # as a transport does it: this connection ends, and the event loop is told
                    self.abort()
                    raise
                return
        self._leave()
        self._given_back = True
        super().resume()

    def _leave(self) -> None:
        if self._watched:
            self._watched = False
            self._watch.leave(self._descriptor, self._read)

    def pause(self) -> None:
        if self._given_back:
            super().pause()
        else:
            self._leave()

    def resume(self) -> None:
        if self._given_back:
            super().resume()
        elif not self._watched and not self.closing:
            self._watched = True
            self._watch.join(self._descriptor, self._read)

    def close(self) -> None:
        self._leave()
        super().close()

    def abort(self) -> None:
        self._leave()
        super().abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)
