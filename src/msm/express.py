"""Requests about which nobody has to be asked: answered from the bytes of their segment, without an object for each.

All else is left to `peer.py` and `servant.py`: other functions, what is refused, what a gateway forwards, and every
request where the application, a role or a trace has a say. Both ways give the same answers; a test compares them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeAlias

from msm.memory.image import Image
from msm.wire import pdu

if TYPE_CHECKING:
    from msm.wire.channel import StreamChannel

# Numbers that go together are taken as one. Protocol and length: a length, where the protocol is 0, as it has to be.
# Unit and function: the key of what answers it.
REQUEST = struct.Struct(">HIHHH")  # transaction; protocol, length; unit, function; address; a count or a value
READ_WRITE = struct.Struct(">HHB")  # of function 23, behind that: where and how many words to write, and their bytes
CELLS = struct.Struct(">HIHB")  # of a reply with cells: transaction; protocol, length; unit, function; bytes

Attend: TypeAlias = Callable[[int], bool]
# Given the buffer, from where to where; transaction, length, address, count or value. None: it is not for us.
_Answer: TypeAlias = Callable[[bytearray, int, int, int, int, int, int], bytes | None]

_WORDS = {pdu.READ_HOLDING_REGISTERS: "holding", pdu.READ_INPUT_REGISTERS: "input"}
_BITS = {pdu.READ_COILS: "coil", pdu.READ_DISCRETE_INPUTS: "discrete"}


class Express:
    """Answers what it can of the bytes of a buffer of MBAP frames.

    :param images: the memory of each unit that is answered.
    :param most: requests that may be worked on in one turn of the loop.
    """

    def __init__(self, images: Mapping[int, Image], most: int) -> None:
        self._most = most
        self._now: Callable[[], float] | None = None
        self._words: dict[int, tuple[bytearray, int, int]] = {}
        self._others: dict[int, _Answer] = {}
        for unit, image in images.items():
            for function, name in _WORDS.items():
                table = image.tables[name]
                self._words[unit << 8 | function] = (image.buffer, table.offset, table.size)
            for function, name in _BITS.items():
                self._others[unit << 8 | function] = _read_bits(image, name, unit << 8 | function)
            for function, make in _WRITES.items():
                self._others[unit << 8 | function] = make(image, unit << 8 | function)

    def attend(self, channel: StreamChannel, now: Callable[[], float]) -> Attend:
        """What looks at the bytes that a channel of a `Peer` has received, see `Channel.express`.

        It stops at the first request that is not for it, at a frame that is not whole, and after `most` requests.

        :param now: the clock of the event loop.
        """
        if self._now != now:
            self._now, self._attend = now, self._attend_by(now)
        return MethodType(self._attend, channel)

    def _attend_by(  # noqa: PLR0915 - a function for each part of it would be a good part of the cost
        self, now: Callable[[], float]
    ) -> Callable[[StreamChannel, int], bool]:
        """One function for all channels: what each of many had of its own would have to be fetched each time."""
        words, others, most = self._words, self._others, self._most
        unpack, pack = REQUEST.unpack_from, CELLS.pack

        def attend(channel: StreamChannel, came: int) -> bool:  # noqa: PLR0912 - likewise
            framer = channel.framer
            buffer, start = framer.buffer, framer.start
            end = framer.end + came
            reply: bytes | None = None
            replies: list[bytes] | None = None
            while end - start >= 12:
                transaction, length, key, address, count = unpack(buffer, start)
                if key in words:
                    memory, offset, size = words[key]
                    if length != 6 or not 0 < count <= 125 or address + count > size:
                        break
                    offset += 2 * address
                    count *= 2
                    reply = pack(transaction, 3 + count, key, count) + memory[offset : offset + count]
                    start += 12
                else:
                    if key not in others:
                        break
                    try:
                        reply = others[key](buffer, start, end, transaction, length, address, count)
                    except Exception:  # noqa: BLE001 - whatever it is: `Servant` meets it too, logs it, and answers 04
                        reply = None
                    if reply is None:
                        break
                    start += 6 + length
                if start == end and replies is None:
                    break  # as it mostly is: one request in a segment
                if replies is None:
                    replies = []
                replies.append(reply)
                reply = None
                if len(replies) == most:
                    break
            if replies is not None:
                reply = b"".join(replies)
            if reply is not None:
                peer: Any = channel.owner  # a `Peer`, who has asked for this
                peer.served = peer.attended = True
                peer.frame_began = None
                peer.heard_at = now()
                try:
                    sent = channel.send_some(reply)
                except OSError:
                    sent = 0  # it takes nothing now, or is gone: the transport finds out, and knows what to do
                if sent != len(reply):
                    channel.express = None
                    channel.send(reply[sent:])
            if start == end:
                framer.start = framer.end = 0
                return True
            framer.start = start
            return False

        return attend


def _read_bits(image: Image, name: str, key: int) -> _Answer:
    _, size, _, offset = image.tables[name]
    memory = image.buffer

    def answer(
        _buffer: bytearray, _start: int, _end: int, transaction: int, length: int, address: int, count: int
    ) -> bytes | None:
        if length != 6 or not 0 < count <= pdu.MAX_READ_BITS or address + count > size:
            return None
        if address % 8 or count % 8:
            cells: bytes | bytearray = image.read(name, address, count)
        else:  # whole bytes
            at = offset + address // 8
            cells = memory[at : at + count // 8]
        return CELLS.pack(transaction, 3 + len(cells), key, len(cells)) + cells

    return answer


def _write_word(image: Image, _key: int) -> _Answer:
    _, size, _, offset = image.tables["holding"]

    def answer(
        buffer: bytearray, start: int, _end: int, _transaction: int, length: int, address: int, _word: int
    ) -> bytes | None:
        if length != 6 or address >= size:
            return None
        if not image.accept_words(offset + 2 * address, buffer[start + 10 : start + 12]):
            return None
        return bytes(buffer[start : start + 12])

    return answer


def _write_words(image: Image, key: int) -> _Answer:
    _, size, _, offset = image.tables["holding"]
    accept, pack = image.accept_words, REQUEST.pack

    def answer(
        buffer: bytearray, start: int, end: int, transaction: int, length: int, address: int, count: int
    ) -> bytes | None:
        many = 2 * count
        if (
            length != 7 + many
            or start + 13 + many > end
            or not 0 < count <= pdu.MAX_WRITE_WORDS
            or address + count > size
            or buffer[start + 12] != many
            or not accept(offset + 2 * address, buffer[start + 13 : start + 13 + many])
        ):
            return None
        return pack(transaction, 6, key, address, count)

    return answer


def _read_write(image: Image, key: int) -> _Answer:
    _, size, _, offset = image.tables["holding"]
    accept, memory, pack, unpack = image.accept_words, image.buffer, CELLS.pack, READ_WRITE.unpack_from

    def answer(
        buffer: bytearray, start: int, end: int, transaction: int, length: int, address: int, count: int
    ) -> bytes | None:
        if length < 11 or start + 6 + length > end:
            return None
        to, written, size_of_it = unpack(buffer, start + 12)
        if (
            length != 11 + 2 * written
            or not 0 < count <= pdu.MAX_READ_WORDS
            or not 0 < written <= pdu.MAX_READ_WRITE_WORDS
            or size_of_it != 2 * written
            or address + count > size
            or to + written > size
            or not accept(offset + 2 * to, buffer[start + 17 : start + 17 + 2 * written])
        ):
            return None
        at, many = offset + 2 * address, 2 * count
        return pack(transaction, 3 + many, key, many) + memory[at : at + many]

    return answer


_WRITES: dict[int, Callable[[Image, int], _Answer]] = {
    pdu.WRITE_SINGLE_REGISTER: _write_word,
    pdu.WRITE_MULTIPLE_REGISTERS: _write_words,
    pdu.READ_WRITE_MULTIPLE_REGISTERS: _read_write,
}
