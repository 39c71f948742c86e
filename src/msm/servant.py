"""Answers requests from an image: the specification's checks, in its order."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

import anyio
import anyio.to_thread

from msm.errors import AddressError, DeviceError, ValueRangeError
from msm.keywords import BeforeWrite, RemoteWrite, Writable
from msm.memory.image import Image, TableName
from msm.wire import pdu

log = logging.getLogger("msm.server")

Reply: TypeAlias = bytes | asyncio.Future[bytes]
Answer: TypeAlias = Callable[[bytes], bytes]


async def ask(
    before_write: BeforeWrite, write: RemoteWrite, limiter: anyio.CapacityLimiter | None = None
) -> Sequence[int] | None:
    """What the application says; however long it takes, nobody else waits for it."""
    if inspect.iscoroutinefunction(before_write):
        answer: Sequence[int] | None = await before_write(write)
    else:
        answer = await anyio.to_thread.run_sync(before_write, write, abandon_on_cancel=True, limiter=limiter)
    return answer


T = TypeVar("T", bytes, Reply)


def guarded(answer: Callable[[bytes], T], request: bytes) -> T | bytes:
    """What is answered, or the exception reply that says why not."""
    try:
        return answer(request)
    except pdu.Refusal as refused:
        return pdu.refusal(request[0], refused.code)
    except AddressError:
        return pdu.refusal(request[0], pdu.ILLEGAL_DATA_ADDRESS)
    except Exception:
        # Whatever fails here is our fault, not the client's: it is told so, and its connection lives.
        log.exception("request %s failed", request.hex(" "))
        return pdu.refusal(request[0], pdu.SERVER_DEVICE_FAILURE)


MOST_ASKED = 64  # remote writes that the application is asked about at a time; beyond that exception 06


class Servant:
    """Answers the requests for one memory, with the checks of the specification in its order.

    Function (01), then quantity, byte count and size (03), then address (02); a refused request has changed
    nothing (application protocol V1.1b3, section 4.5 and the state diagrams of section 6).
    """

    def __init__(
        self,
        unit: int,
        image: Image,
        *,
        write_through: bool = False,
        before_write: BeforeWrite | None = None,
        writable: Writable | None = None,
        functions: Mapping[int, Callable[[bytes], Reply]] | None = None,
    ) -> None:
        self._unit = unit
        self._image = image
        self._write_through = write_through
        self._before_write = before_write
        self._writable = writable
        self._limiter: anyio.CapacityLimiter | None = None
        self._asked: set[asyncio.Task[bytes]] = set()
        self._functions: dict[int, Callable[[bytes], Reply]] = dict(functions or {})
        # A device without a table does not have the functions for it either.
        if image.tables["coil"].size:
            self._functions |= {
                pdu.READ_COILS: self._reader("coil", pdu.MAX_READ_BITS),
                pdu.WRITE_SINGLE_COIL: self._write_coil,
                pdu.WRITE_MULTIPLE_COILS: self._write_coils,
            }
        if image.tables["discrete"].size:
            self._functions[pdu.READ_DISCRETE_INPUTS] = self._reader("discrete", pdu.MAX_READ_BITS)
        if image.tables["input"].size:
            self._functions[pdu.READ_INPUT_REGISTERS] = self._reader("input", pdu.MAX_READ_WORDS)
        if image.tables["holding"].size:
            self._functions |= {
                pdu.READ_HOLDING_REGISTERS: self._reader("holding", pdu.MAX_READ_WORDS),
                pdu.WRITE_SINGLE_REGISTER: self._write_word,
                pdu.WRITE_MULTIPLE_REGISTERS: self._write_words,
                pdu.MASK_WRITE_REGISTER: self._mask_write,
                pdu.READ_WRITE_MULTIPLE_REGISTERS: self._read_write,
            }

    def answer(self, request: bytes) -> Reply:
        """The reply to a request; an exception reply where it is refused."""
        function = self._functions.get(request[0])
        if function is None:
            return pdu.refusal(request[0], pdu.ILLEGAL_FUNCTION)
        return guarded(function, request)

    def give_up(self) -> None:
        """The server stops: writes that the application has not said anything about are not done any more."""
        for task in self._asked:
            task.cancel()

    def _reader(self, table: TableName, most: int) -> Callable[[bytes], bytes]:
        def read(request: bytes) -> bytes:
            address, count = pdu.parse_read(request, most)
            return self._cells(request[0], table, address, count)

        return read

    def _write_coil(self, request: bytes) -> Reply:
        return self._write(request, "coil", pdu.parse_write_coil(request), lambda: request)

    def _write_coils(self, request: bytes) -> Reply:
        return self._write(request, "coil", pdu.parse_write_coils(request), lambda: request[:5])

    def _write_word(self, request: bytes) -> Reply:
        return self._write(request, "holding", pdu.parse_write_word(request), lambda: request)

    def _write_words(self, request: bytes) -> Reply:
        return self._write(request, "holding", pdu.parse_write_words(request), lambda: request[:5])

    def _mask_write(self, request: bytes) -> Reply:
        address, and_mask, or_mask = pdu.parse_mask_write(request)

        def change(old: bytes) -> bytes:
            word = int.from_bytes(old, "big")
            return (word & and_mask | or_mask & ~and_mask).to_bytes(2, "big")

        return self._accept(request, "holding", address, 1, change, lambda: request, mask=~and_mask & 0xFFFF)

    def _read_write(self, request: bytes) -> Reply:
        address, count, write = pdu.parse_read_write(request)
        self._image.tables["holding"].check(address, count)
        return self._write(request, "holding", write, lambda: self._cells(request[0], "holding", address, count))

    def _cells(self, function: int, table: TableName, address: int, count: int) -> bytes:
        self._image.tables[table].check(address, count)
        cells = self._image.read(table, address, count)
        return bytes((function, len(cells))) + cells

    def _write(self, request: bytes, table: TableName, write: pdu.CellsWrite, reply: Callable[[], bytes]) -> Reply:
        address, count, data = write
        return self._accept(request, table, address, count, lambda _old: data, reply)

    def _accept(
        self,
        request: bytes,
        table: TableName,
        address: int,
        count: int,
        change: Callable[[bytes], bytes],
        reply: Callable[[], bytes],
        mask: int | None = None,
    ) -> Reply:
        self._image.tables[table].check(address, count)
        if self._writable is not None and not _contains(self._writable.get(table, ()), address, count):
            raise pdu.Refusal(pdu.ILLEGAL_DATA_ADDRESS)
        if self._before_write is None:
            return self._perform(request, table, address, count, change, reply, mask)
        if len(self._asked) >= MOST_ASKED:
            raise pdu.Refusal(pdu.SERVER_DEVICE_BUSY)
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(MOST_ASKED)
        cells = change(self._image.read(table, address, count))
        write = RemoteWrite(self._unit, table, address, _values(table, count, cells))
        consulting = self._consult(request, write, change, reply, mask)
        # A loop holds its tasks weakly, and the client that waits for this one may be gone before it is done.
        task = asyncio.get_running_loop().create_task(consulting, name=f"msm before write {table} {address}")
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        return task

    async def _consult(
        self,
        request: bytes,
        write: RemoteWrite,
        change: Callable[[bytes], bytes],
        reply: Callable[[], bytes],
        mask: int | None,
    ) -> bytes:
        """Ask the application before anything is changed: it may refuse, or give other values."""
        assert self._before_write is not None
        table, address, count = write.table, write.address, len(write.values)
        try:
            values = await ask(self._before_write, write, self._limiter)
            if values is not None:
                cells = _cells_of(table, count, values)
                performed = self._perform(request, table, address, count, lambda _old: cells, reply, mask)
            else:
                performed = self._perform(request, table, address, count, change, reply, mask)
        except DeviceError as refused:
            return pdu.refusal(request[0], refused.code or pdu.SERVER_DEVICE_FAILURE)
        except AddressError:
            return pdu.refusal(request[0], pdu.ILLEGAL_DATA_ADDRESS)
        except BaseException as error:  # sys.exit() in a hook ends neither the server nor the connection
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # by us: the server stops
            log.exception("before_write raised for %s; the write was refused", write)
            return pdu.refusal(request[0], pdu.SERVER_DEVICE_FAILURE)
        return performed if isinstance(performed, bytes) else await performed

    def _perform(
        self,
        request: bytes,
        table: TableName,
        address: int,
        count: int,
        change: Callable[[bytes], bytes],
        reply: Callable[[], bytes],
        mask: int | None,
    ) -> Reply:
        if not self._write_through:
            self._image.accept(table, address, count, change, mask)
            return reply()
        fates = _Fates(request[0], reply)
        fates.expect(self._image.accept(table, address, count, change, mask, fates.tell))
        return fates.reply


def _contains(ranges: Sequence[tuple[int, int]], address: int, count: int) -> bool:
    """Does one of these ranges, (address, count), hold all of these cells?"""
    return any(first <= address and address + count <= first + cells for first, cells in ranges)


def _values(table: str, count: int, cells: bytes) -> tuple[int, ...]:
    if table == "coil":
        return tuple(cells[at // 8] >> at % 8 & 1 for at in range(count))
    return tuple(int.from_bytes(cells[at : at + 2], "big") for at in range(0, 2 * count, 2))


def _cells_of(table: str, count: int, values: Sequence[int]) -> bytes:
    if len(values) != count:
        raise ValueRangeError(f"before_write gave {len(values)} values in place of {count}")
    if table == "coil":
        bits = sum(bool(value) << at for at, value in enumerate(values))
        return bits.to_bytes((count + 7) // 8, "little")
    return b"".join(value.to_bytes(2, "big") for value in values)


class _Fates:
    """Collects what became of a write at the devices behind a gateway; then there is a reply."""

    def __init__(self, function: int, reply: Callable[[], bytes]) -> None:
        self._loop = asyncio.get_running_loop()
        self.reply: asyncio.Future[bytes] = self._loop.create_future()
        self._function = function
        self._make = reply
        self._missing = 0

    def expect(self, number: int) -> None:
        """So many devices will answer."""
        self._missing += number
        self._close_if_done()

    def tell(self, fate: str, _cause: str, code: int) -> None:
        """One has; called in whatever thread."""
        try:
            self._loop.call_soon_threadsafe(self._tell, fate, code)
        except RuntimeError:
            # The server's loop has ended meanwhile, and with it whoever asked. That is not the client's trouble.
            log.debug("a device answered after the server had ended")

    def _tell(self, fate: str, code: int) -> None:
        self._missing -= 1
        if fate not in ("acknowledged", "superseded") and not self.reply.done():
            refused = code if fate == "rejected" and code else pdu.GATEWAY_TARGET_FAILED
            self.reply.set_result(pdu.refusal(self._function, refused))
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._missing == 0 and not self.reply.done():
            self.reply.set_result(self._make())
