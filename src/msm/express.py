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
from msm.memory.journal import Region
from msm.wire import pdu

if TYPE_CHECKING:
    from msm.wire.channel import StreamChannel

# Numbers that go together are taken as one. Protocol and length: a length, where the protocol is 0, as it has to be.
# Unit and function: the key of what answers it.
REQUEST = struct.Struct(">HIHHH")  # transaction; protocol, length; unit, function; address; a count or a value
WRITE = struct.Struct(">HIHHHB")  # the same of function 16, and the number of bytes
READ_WRITE = struct.Struct(">HIHHHHHB")  # of function 23: what to read, what to write, and the number of bytes
CELLS = struct.Struct(">HIHB")  # of a reply with cells: transaction; protocol, length; unit, function; bytes

Attend: TypeAlias = Callable[[int], bool]
# Answers requests of its own kind that come one after the other, from here to there in the buffer, and at most so many.
# Returns where it has stopped, the replies, and how many they are.
_Answer: TypeAlias = Callable[[bytearray, int, int, int], tuple[int, bytes, int]]

MOST_READ, MOST_WRITTEN, MOST_READ_WRITTEN = pdu.MAX_READ_WORDS, pdu.MAX_WRITE_WORDS, pdu.MAX_READ_WRITE_WORDS

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
        self._answers: dict[int, _Answer] = {}
        for unit, image in images.items():
            for function, name in _WORDS.items():
                table, key = image.tables[name], unit << 8 | function
                self._words[key] = (image.buffer, table.offset, table.size)
                self._answers[key] = _read_words(image, name, key)
            for function, name in _BITS.items():
                self._answers[unit << 8 | function] = _read_bits(image, name, unit << 8 | function)
            for function, make in _WRITES.items():
                self._answers[unit << 8 | function] = make(image, unit << 8 | function)

    def attend(self, channel: StreamChannel, now: Callable[[], float]) -> Attend:
        """What looks at the bytes that a channel of a `Peer` has received, see `Channel.express`.

        It stops at the first request that is not for it, at a frame that is not whole, and after `most` requests.

        :param now: the clock of the event loop.
        """
        if self._now != now:
            self._now, self._attend = now, self._attend_by(now)
        return MethodType(self._attend, channel)

    def _attend_by(self, now: Callable[[], float]) -> Callable[[StreamChannel, int], bool]:
        """One function for all channels: what each of many had of its own would have to be fetched each time."""
        words, answers, others, most = self._words, self._answers, self._others, self._most
        unpack, pack = REQUEST.unpack_from, CELLS.pack

        def attend(channel: StreamChannel, came: int) -> bool:
            framer = channel.framer
            buffer, start = framer.buffer, framer.start
            end = framer.end + came
            reply = b""
            key = 0  # nothing answers that
            if end - start == 12:  # as it mostly is: one request, to read words
                transaction, length, key, address, count = unpack(buffer, start)
                if key in words:
                    memory, offset, size = words[key]
                    if length == 6 and 0 < count <= MOST_READ and address + count <= size:
                        offset += 2 * address
                        count *= 2
                        reply = pack(transaction, 3 + count, key, count) + memory[offset : offset + count]
                        start = end
            elif end - start > 12:
                key = buffer[start + 6] << 8 | buffer[start + 7]
            if start < end and key in answers:
                try:
                    start, reply, answered = answers[key](buffer, start, end, most)
                except Exception:  # noqa: BLE001 - whatever it is: `Servant` meets it too, logs it, and answers 04
                    answered = 0
                if answered and end - start >= 12:
                    start, reply = others(buffer, start, end, reply, most - answered)
            if reply:
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

    def _others(self, buffer: bytearray, start: int, end: int, reply: bytes, most: int) -> tuple[int, bytes]:
        """What follows requests of one kind: those of other kinds. Returns where it has stopped, and all replies."""
        replies = [reply]
        while end - start >= 12 and most > 0:
            key = buffer[start + 6] << 8 | buffer[start + 7]
            if key not in self._answers:
                break
            try:
                start, reply, answered = self._answers[key](buffer, start, end, most)
            except Exception:  # noqa: BLE001 - likewise
                break
            if not answered:
                break
            replies.append(reply)
            most -= answered
        return start, b"".join(replies)


def _read_words(image: Image, name: str, key: int) -> _Answer:
    _, size, _, offset = image.tables[name]
    memory, unpack, pack = image.buffer, REQUEST.unpack_from, CELLS.pack

    def answer(buffer: bytearray, start: int, end: int, most: int) -> tuple[int, bytes, int]:
        replies: list[bytes] = []
        while True:
            transaction, length, its, address, count = unpack(buffer, start)
            if its != key or length != 6 or not 0 < count <= MOST_READ or address + count > size:
                break
            at = offset + 2 * address
            count *= 2
            replies.append(pack(transaction, 3 + count, key, count) + memory[at : at + count])
            start += 12
            if end - start < 12 or len(replies) == most:
                break
        return start, b"".join(replies), len(replies)

    return answer


def _read_bits(image: Image, name: str, key: int) -> _Answer:
    _, size, _, offset = image.tables[name]
    memory, unpack, pack = image.buffer, REQUEST.unpack_from, CELLS.pack

    def answer(buffer: bytearray, start: int, end: int, most: int) -> tuple[int, bytes, int]:
        replies: list[bytes] = []
        while True:
            transaction, length, its, address, count = unpack(buffer, start)
            if its != key or length != 6 or not 0 < count <= pdu.MAX_READ_BITS or address + count > size:
                break
            if address % 8 or count % 8:
                cells: bytes | bytearray = image.read(name, address, count)
            else:  # whole bytes
                at = offset + address // 8
                cells = memory[at : at + count // 8]
            reply = pack(transaction, 3 + len(cells), key, len(cells)) + cells
            start += 12
            if start == end and not replies:
                return start, reply, 1
            replies.append(reply)
            if end - start < 12 or len(replies) == most:
                break
        return start, b"".join(replies), len(replies)

    return answer


def _write_word(image: Image, key: int) -> _Answer:
    _, size, _, offset = image.tables["holding"]
    lock, memory, backlog, unpack = image.lock, image.buffer, image.backlog, REQUEST.unpack_from

    def answer(buffer: bytearray, start: int, end: int, most: int) -> tuple[int, bytes, int]:
        replies: list[bytes] = []
        with lock:
            if image.heeded:
                return start, b"", 0
            kept = backlog.last is not None or backlog.spans
            while True:
                _, length, its, address, _ = unpack(buffer, start)
                if its != key or length != 6 or address >= size:
                    break
                at = offset + 2 * address
                memory[at : at + 2] = buffer[start + 10 : start + 12]
                if kept:
                    backlog.forget(Region(at, 2, 0xFFFF))
                reply = bytes(buffer[start : start + 12])
                start += 12
                if start == end and not replies:
                    return start, reply, 1
                replies.append(reply)
                if end - start < 12 or len(replies) == most:
                    break
        return start, b"".join(replies), len(replies)

    return answer


def _write_words(image: Image, key: int) -> _Answer:
    _, size, _, offset = image.tables["holding"]
    lock, memory, backlog, unpack, pack = image.lock, image.buffer, image.backlog, WRITE.unpack_from, REQUEST.pack

    def answer(buffer: bytearray, start: int, end: int, most: int) -> tuple[int, bytes, int]:
        replies: list[bytes] = []
        with lock:
            if image.heeded:
                return start, b"", 0
            kept = backlog.last is not None or backlog.spans
            while end - start >= 15:
                transaction, length, its, address, count, many = unpack(buffer, start)
                stop = start + 6 + length
                if (
                    its != key
                    or stop > end
                    or many != 2 * count
                    or length != 7 + many
                    or not 0 < count <= MOST_WRITTEN
                    or address + count > size
                ):
                    break
                at = offset + 2 * address
                memory[at : at + many] = buffer[start + 13 : stop]
                if kept:
                    backlog.forget(Region(at, many, (1 << 8 * many) - 1))
                reply = pack(transaction, 6, key, address, count)
                start = stop
                if start == end and not replies:
                    return start, reply, 1
                replies.append(reply)
                if start == end or len(replies) == most:
                    break
        return start, b"".join(replies), len(replies)

    return answer


def _read_write(image: Image, key: int) -> _Answer:
    _, size, _, offset = image.tables["holding"]
    lock, memory, backlog, unpack, pack = image.lock, image.buffer, image.backlog, READ_WRITE.unpack_from, CELLS.pack

    def answer(buffer: bytearray, start: int, end: int, most: int) -> tuple[int, bytes, int]:
        replies: list[bytes] = []
        with lock:
            if image.heeded:
                return start, b"", 0
            kept = backlog.last is not None or backlog.spans
            while end - start >= 19:
                transaction, length, its, address, count, to, written, many = unpack(buffer, start)
                stop = start + 6 + length
                if (
                    its != key
                    or stop > end
                    or many != 2 * written
                    or length != 11 + many
                    or not 0 < written <= MOST_READ_WRITTEN
                    or not 0 < count <= MOST_READ
                    or to + written > size
                    or address + count > size
                ):
                    break
                at = offset + 2 * to
                memory[at : at + many] = buffer[start + 17 : stop]
                if kept:
                    backlog.forget(Region(at, many, (1 << 8 * many) - 1))
                at = offset + 2 * address
                count *= 2
                reply = pack(transaction, 3 + count, key, count) + memory[at : at + count]
                start = stop
                if start == end and not replies:
                    return start, reply, 1
                replies.append(reply)
                if start == end or len(replies) == most:
                    break
        return start, b"".join(replies), len(replies)

    return answer


_WRITES: dict[int, Callable[[Image, int], _Answer]] = {
    pdu.WRITE_SINGLE_REGISTER: _write_word,
    pdu.WRITE_MULTIPLE_REGISTERS: _write_words,
    pdu.READ_WRITE_MULTIPLE_REGISTERS: _read_write,
}
