"""The least that asyncio can do: a protocol that checks nothing, keeps nothing in order and knows next to no limits.

`python bare.py server [uvloop]` prints its port and answers function 3; `python bare.py client PORT WORDS OUTSTANDING
SECONDS [uvloop]` polls and prints "cycles SECONDS CPU". What MSM takes beyond these is MSM's own; what these take
beyond C belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time
from typing import Any

REQUEST = struct.Struct(">HHHBBHH")
HEAD = struct.Struct(">HHHBBB")
BLOCK = 125
REPLY = 9 + 2 * BLOCK


class Server(asyncio.BufferedProtocol):
    """Answers reads of words, one in a segment."""

    memory = bytearray(20_000)

    def __init__(self) -> None:
        self.buffer = bytearray(8192)
        self.view = memoryview(self.buffer)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.view

    def buffer_updated(self, nbytes: int) -> None:
        transaction, _, _, unit, function, address, count = REQUEST.unpack_from(self.buffer)
        words = self.memory[2 * address : 2 * (address + count)]
        self.transport.write(HEAD.pack(transaction, 0, 3 + 2 * count, unit, function, 2 * count) + words)


class Client(asyncio.BufferedProtocol):
    """Reads blocks of 125 words."""

    def __init__(self, words: int, outstanding: int) -> None:
        self.buffer = bytearray(8192)
        self.view = memoryview(self.buffer)
        self.memory = bytearray(2 * words + 2 * BLOCK)
        self.blocks = -(-words // BLOCK)
        self.outstanding = outstanding
        self.end = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def cycle(self) -> asyncio.Future[None]:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.received = self.sent = 0
        self.ask(min(self.outstanding, self.blocks))
        return self.done

    def ask(self, count: int) -> None:
        asked = [REQUEST.pack(1, 0, 6, 1, 3, (self.sent + at) * BLOCK, BLOCK) for at in range(count)]
        self.sent += count
        self.transport.write(b"".join(asked))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.view[self.end :] if self.end else self.view

    def buffer_updated(self, nbytes: int) -> None:
        end, start, came = self.end + nbytes, 0, 0
        while end - start >= REPLY:
            at = 2 * BLOCK * (self.received + came)
            self.memory[at : at + 2 * BLOCK] = self.buffer[start + 9 : start + REPLY]
            start += REPLY
            came += 1
        if start < end:
            self.buffer[: end - start] = self.buffer[start:end]
        self.end = end - start
        self.received += came
        if self.received == self.blocks:
            self.done.set_result(None)
        elif came and (more := min(came, self.blocks - self.sent)):
            self.ask(more)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


async def poll(port: int, words: int, outstanding: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(words, outstanding), "127.0.0.1", port)
    # A client has to notice that nothing comes any more: while there is a timer, each wait of the loop has an end.
    limit = loop.call_later(seconds + 60, client.transport.abort)
    cycles, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        await client.cycle()
        cycles += 1
    print(cycles, time.perf_counter() - began, time.process_time() - cpu, flush=True)
    limit.cancel()
    client.transport.close()


def main() -> None:
    role, *numbers = [word for word in sys.argv[1:] if word != "uvloop"]
    work = serve() if role == "server" else poll(*map(int, numbers[:3]), float(numbers[3]))  # type: ignore[call-arg]
    if "uvloop" in sys.argv:
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main()
