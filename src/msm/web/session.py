"""One open page: what it is sent, and what it asks for. JSON both ways, over a WebSocket."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from starlette.websockets import WebSocket

from msm import MemoryStore
from msm.web.feed import Feed
from msm.web.writes import Write, WriteDesk

log = logging.getLogger("msm.web")

LONGEST_MESSAGE = 4096  # bytes that a page may send at a time
MOST_PENDING = 32  # writes of one page without a fate
SEND_DEADLINE = 20.0  # seconds that a page may take for one message
TOO_BIG, UNSUPPORTED = 1009, 1003  # codes of RFC 6455, section 7.4.1


class Session:
    """One page: sends news as fast as it takes them, and does what it asks for."""

    def __init__(self, socket: WebSocket, feed: Feed, store: MemoryStore, *, read_only: bool) -> None:
        self._socket = socket
        self._feed = feed
        self._desk = WriteDesk(store, self._settled, read_only=read_only)
        self._read_only = read_only
        self._bell = asyncio.Event()
        self._notes: dict[int, dict[str, Any]] = {}

    async def run(self) -> None:
        """Until the page is closed, or does something that no page of ours does."""
        self._feed.follow(self._bell)
        ways = [
            asyncio.create_task(self._send(), name="msm web page, out"),
            asyncio.create_task(self._receive(), name="msm web page, in"),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._feed.unfollow(self._bell)
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
        for way in ways:
            if not way.cancelled() and (error := way.exception()) is not None:
                log.debug("a page has ended: %r", error)  # it was closed while it was sent something

    async def _send(self) -> None:
        sent = 0
        news = {"read_only": self._read_only, **self._feed.news(sent)}
        while True:
            sent = self._feed.version
            notes, self._notes = self._notes, {}
            if notes:
                news["writes"] = list(notes.values())
            try:
                async with asyncio.timeout(SEND_DEADLINE):
                    await self._socket.send_text(json.dumps(news, separators=(",", ":")))
            except TimeoutError:
                log.info("a page does not take what it is sent, and is given up")
                return
            await self._bell.wait()
            self._bell.clear()
            news = self._feed.news(sent)

    async def _receive(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text") or ""
            if len(text) > LONGEST_MESSAGE:
                await self._socket.close(TOO_BIG, "a message is too long")
                return
            write = _write_of(text)
            if write is None:
                await self._socket.close(UNSUPPORTED, "not a message of this page")
                return
            if len(self._desk.pending) >= MOST_PENDING:
                self._settled(write, "invalid", f"{MOST_PENDING} writes are pending already")
                continue
            address = self._socket.client.host if self._socket.client is not None else "?"
            log.info("%s sets %r to %r", address, write.name, write.text)
            self._desk.perform(write)

    def _settled(self, write: Write, fate: str, cause: str) -> None:
        """Tell the page what became of a write; called in the loop."""
        self._notes[write.number] = {"id": write.number, "name": write.name, "fate": fate, "cause": cause}
        self._bell.set()


def _write_of(text: str) -> Write | None:
    """What a page asks for: {"id": 7, "set": "SPEED", "to": "40.5"}."""
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict):
        return None
    number, name, to = asked.get("id"), asked.get("set"), asked.get("to")
    if type(number) is not int or not isinstance(name, str) or not isinstance(to, str):
        return None
    return Write(number, name, to)
