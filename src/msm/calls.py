"""What an application may ask of a device beside its memory: single questions with one answer."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from msm.errors import ProtocolError, ValueRangeError, device_error
from msm.wire import other_pdu, pdu, pymodbus_codec
from msm.wire.other_pdu import EventLog, ServerId

T = TypeVar("T")

MAX_FILE_READ = (other_pdu.MAX_FILE_READ - 2) // 2  # words in one request
MAX_FILE_WRITE = (other_pdu.MAX_FILE_WRITE - 7) // 2


class Calls(ABC):
    """The questions. Each has a time limit and a unit, by default the client's first; and each may raise

    - `DeviceError`: the device answered with an exception code. Most devices have few of these functions.
    - `ProtocolError`: the answer is none to this question.
    - `LinkTimeoutError`: the time was up first. What was to be written may have arrived.
    - `LinkError`: the connection was lost meanwhile.
    - `StateError`: the client does not run.
    """

    @abstractmethod
    async def _ask(self, request: bytes, timeout: float, unit: int | None) -> bytes:
        """Send a request in its turn; the reply, if any comes in time."""

    async def request(self, request: bytes, timeout: float = 5.0, *, unit: int | None = None) -> bytes:
        """Send any request, and return the reply: for functions that a maker has made up.

        :param request: function code and data, 1 to 253 bytes, without address and check sum.
        :param timeout: seconds.
        :param unit: which unit to ask.
        :returns: function code and data.
        :raises DeviceError: the device answered with an exception code.
        :raises ProtocolError: the reply is to another function.
        :raises LinkTimeoutError: the time was up first.
        """
        if not 1 <= len(request) <= 253:
            raise ValueRangeError(f"a request has 1 to 253 bytes, not {len(request)}")
        reply = await self._ask(bytes(request), timeout, unit)
        if reply[0] == request[0] | 0x80 and len(reply) == 2:
            raise device_error(reply[1], pdu.describe(request))
        if reply[0] != request[0]:
            raise ProtocolError(f"{pdu.describe(request)}: answered by function {reply[0]:02X}")
        return reply

    async def read_write(
        self,
        read_address: int,
        count: int,
        write_address: int,
        words: Sequence[int],
        timeout: float = 5.0,
        *,
        unit: int | None = None,
    ) -> list[int]:
        """Write holding registers, then read some, in one transaction (function 23, section 6.17).

        For devices whose handshake needs it. The memory of this client learns of both by its next poll.

        :param read_address: the first word to read, 0 to 65535.
        :param count: how many, 1 to 125.
        :param write_address: the first word to write, 0 to 65535.
        :param words: 1 to 121 values of 0 to 65535.
        :param timeout: seconds.
        :param unit: which unit to ask.
        :raises DeviceError: the device answered with an exception code.
        :raises LinkTimeoutError: the time was up first; the words may have arrived.
        """
        _within("read_address", read_address, 0, 65535)
        _within("count", count, 1, pdu.MAX_READ_WORDS)
        _within("write_address", write_address, 0, 65535)
        _within("the number of words", len(words), 1, pdu.MAX_READ_WRITE_WORDS)
        request = pdu.read_write(read_address, count, write_address, _packed(words))
        return _words(pdu.check_reply(request, await self._ask(request, timeout, unit)))

    async def read_exception_status(self, timeout: float = 5.0, *, unit: int | None = None) -> int:
        """Eight bits whose meaning is the device's own (function 07, section 6.7).

        :param timeout: seconds.
        :param unit: which unit to ask.
        """
        request = other_pdu.bare_request(other_pdu.READ_EXCEPTION_STATUS)
        return other_pdu.parse_exception_status(await self._ask(request, timeout, unit))

    async def diagnostic(
        self, subfunction: int, data: int = 0, timeout: float = 5.0, *, unit: int | None = None
    ) -> int:
        """Ask for a diagnostic counter, or for the echo of a word (function 08, section 6.8).

        :param subfunction: 0 is the echo, 0x0B to 0x12 are counters, others change the state of the device.
        :param data: one word, 0 for most subfunctions.
        :param timeout: seconds.
        :param unit: which unit to ask.
        """
        _within("subfunction", subfunction, 0, 65535)
        _within("data", data, 0, 65535)
        request = pymodbus_codec.diagnostic(subfunction, data.to_bytes(2, "big"))
        reply = other_pdu.parse_diagnostic_reply(subfunction, await self._ask(request, timeout, unit))
        return int.from_bytes(reply[:2], "big")

    async def read_event_counter(self, timeout: float = 5.0, *, unit: int | None = None) -> int:
        """How many messages the device has answered without an exception (function 11, section 6.9).

        :param timeout: seconds.
        :param unit: which unit to ask.
        """
        request = other_pdu.bare_request(other_pdu.GET_COMM_EVENT_COUNTER)
        return other_pdu.parse_event_counter(await self._ask(request, timeout, unit))[1]

    async def read_event_log(self, timeout: float = 5.0, *, unit: int | None = None) -> EventLog:
        """What the device has noted of its line (function 12, section 6.10).

        :param timeout: seconds.
        :param unit: which unit to ask.
        """
        request = other_pdu.bare_request(other_pdu.GET_COMM_EVENT_LOG)
        return other_pdu.parse_event_log(await self._ask(request, timeout, unit))

    async def read_server_id(self, timeout: float = 5.0, *, unit: int | None = None) -> ServerId:
        """What the device calls itself, and whether it runs (function 17, section 6.13).

        :param timeout: seconds.
        :param unit: which unit to ask.
        """
        request = other_pdu.bare_request(other_pdu.REPORT_SERVER_ID)
        return other_pdu.parse_server_id(await self._ask(request, timeout, unit))

    async def read_file(
        self, file: int, record: int, count: int, timeout: float = 5.0, *, unit: int | None = None
    ) -> list[int]:
        """Words of a file (function 20, section 6.14); in several requests where they do not fit into one.

        :param file: its number, 1 to 65535.
        :param record: the first word, 0 to 9999.
        :param count: how many words.
        :param timeout: seconds for each request.
        :param unit: which unit to ask.
        """
        _check_file(file, record, count)
        words: list[int] = []
        while len(words) < count:
            part = other_pdu.FileRead(file, record + len(words), min(MAX_FILE_READ, count - len(words)))
            reply = await self._ask(pymodbus_codec.file_read_request([part]), timeout, unit)
            words += _words(other_pdu.parse_file_read_reply([part], reply)[0])
        return words

    async def write_file(
        self, file: int, record: int, words: Sequence[int], timeout: float = 5.0, *, unit: int | None = None
    ) -> None:
        """Write words of a file (function 21, section 6.15); in several requests where they do not fit into one.

        :param file: its number, 1 to 65535.
        :param record: the first word, 0 to 9999.
        :param words: values of 0 to 65535.
        :param timeout: seconds for each request.
        :param unit: which unit to ask.
        """
        _check_file(file, record, len(words))
        for at in range(0, len(words), MAX_FILE_WRITE):
            part = other_pdu.FileWrite(file, record + at, _packed(words[at : at + MAX_FILE_WRITE]))
            request = pymodbus_codec.file_write_request([part])
            other_pdu.check_file_write_reply(request, await self._ask(request, timeout, unit))

    async def read_fifo(self, address: int, timeout: float = 5.0, *, unit: int | None = None) -> list[int]:
        """The words in a queue, at most 31, which stay in it (function 24, section 6.18).

        :param address: of the queue, 0 to 65535.
        :param timeout: seconds.
        :param unit: which unit to ask.
        """
        _within("address", address, 0, 65535)
        return other_pdu.parse_fifo_reply(await self._ask(pymodbus_codec.fifo_request(address), timeout, unit))

    async def read_device_identification(self, timeout: float = 5.0, *, unit: int | None = None) -> dict[int, str]:
        """What the device says it is: vendor (0), product code (1), revision (2) and more, by object id.

        Function 43/14, application protocol V1.1b3, section 6.21.

        :param timeout: seconds.
        :param unit: which unit to ask; by default the first.
        :raises DeviceError: the device does not tell; most do not have this function.
        :raises LinkTimeoutError: the time was up first.
        :raises StateError: the client does not run.
        """
        objects: dict[int, str] = {}
        first: int | None = 0
        deadline = asyncio.get_running_loop().time() + timeout
        while first is not None and first not in objects:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            request = pymodbus_codec.identification_request(other_pdu.EXTENDED, first)
            part = pymodbus_codec.parse_identification(await self._ask(request, left, unit), other_pdu.EXTENDED)
            objects |= {number: text.decode("utf-8", "replace") for number, text in part.objects.items()}
            first = part.next_object
        return objects


def _check_file(file: int, record: int, count: int) -> None:
    _within("file", file, 1, 65535)
    _within("record", record, 0, other_pdu.FILE_RECORDS - 1)
    _within("the number of words", count, 1, other_pdu.FILE_RECORDS - record)


def _within(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueRangeError(f"{name}: {value!r} is not a whole number from {low} to {high}")


def _packed(words: Sequence[int]) -> bytes:
    for word in words:
        _within("word", word, 0, 65535)
    return b"".join(word.to_bytes(2, "big") for word in words)


def _words(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
