"""Requests about which nobody has to be asked: answered from the bytes of their segment, without an object for each.

All else is left to `peer.py` and `servant.py`: other functions, what is refused, what a gateway forwards, and every
request where the application, a role or a trace has a say. Both ways give the same answers; a test compares them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from msm.memory.image import Image
from msm.wire import pdu

if TYPE_CHECKING:
    from msm.peer import Peer
    from msm.wire.channel import StreamChannel

# Transaction, protocol, length, unit; function, address, and a count or a value.
REQUEST = struct.Struct(">HHHBBHH")
READ_WRITE = struct.Struct(">HHB")  # of function 23, behind that: where and how many words to write, and their bytes
CELLS = struct.Struct(">HHHBBB")  # the header of a reply with cells

Attend: TypeAlias = Callable[[int], int]
_Answer: TypeAlias = Callable[[bytearray, int, int], bytes | None]
_Place: TypeAlias = tuple[Image, int, int]  # a table: where it begins in the buffer of the image, and its size

_WORDS = {pdu.READ_HOLDING_REGISTERS: "holding", pdu.READ_INPUT_REGISTERS: "input"}
_BITS = {pdu.READ_COILS: "coil", pdu.READ_DISCRETE_INPUTS: "discrete"}


class Express:
    """Answers what it can of the bytes of a buffer of MBAP frames.

    :param images: the memory of each unit that is answered.
    :param most: requests that may be worked on in one turn of the loop.
    """

    def __init__(self, images: Mapping[int, Image], most: int) -> None:
        self._most = most
        self._words: dict[int, tuple[bytearray, int, int]] = {}
        self._others: dict[int, _Answer] = {}
        for unit, image in images.items():
            for function, name in _WORDS.items():
                table = image.tables[name]
                self._words[unit << 8 | function] = (image.buffer, table.offset, table.size)
            for function, name in _BITS.items():
                self._others[unit << 8 | function] = partial(_read_bits, image, name)
            table = image.tables["holding"]
            place = (image, table.offset, table.size)
            self._others |= {
                unit << 8 | pdu.WRITE_SINGLE_REGISTER: partial(_write_word, place),
                unit << 8 | pdu.WRITE_MULTIPLE_REGISTERS: partial(_write_words, place),
                unit << 8 | pdu.READ_WRITE_MULTIPLE_REGISTERS: partial(_read_write, place),
            }

    def attend(self, peer: Peer, channel: StreamChannel, now: Callable[[], float]) -> Attend:
        """What looks at the bytes from one peer: it gives where it has stopped.

        It stops at the first request that is not for it, at a frame that is not whole, and after `most` requests.
        """
        send_some = channel.send_some
        framer, buffer = channel.framer, channel.framer.buffer
        words, others, most = self._words, self._others, self._most
        unpack, pack = REQUEST.unpack_from, CELLS.pack

        def attend(end: int) -> int:
            start = framer.start
            reply: bytes | None = None
            replies: list[bytes] | None = None
            while end - start >= 12:
                transaction, protocol, length, unit, function, address, count = unpack(buffer, start)
                key = unit << 8 | function
                if key in words:
                    memory, offset, size = words[key]
                    if length != 6 or protocol or not 0 < count <= 125 or address + count > size:
                        break
                    offset += 2 * address
                    count *= 2
                    reply = pack(transaction, 0, 3 + count, unit, function, count) + memory[offset : offset + count]
                    start += 12
                else:
                    reply = _try(others[key], buffer, start, end) if key in others and not protocol else None
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
                peer.served = peer.attended = True
                peer.frame_began = None
                peer.heard_at = now()
                try:
                    sent = send_some(reply)
                except OSError:
                    sent = 0  # it takes nothing now, or is gone: the transport finds out, and knows what to do
                if sent != len(reply):
                    channel.express = None
                    channel.send(reply[sent:])
            return start

        return attend


def _try(answer: _Answer, buffer: bytearray, start: int, end: int) -> bytes | None:
    try:
        return answer(buffer, start, end)
    except Exception:  # noqa: BLE001 - whatever it is: `Servant` meets it again, logs it, and answers 04
        return None


def _read_bits(image: Image, name: str, buffer: bytearray, start: int, _end: int) -> bytes | None:
    transaction, _, length, unit, function, address, count = REQUEST.unpack_from(buffer, start)
    if length != 6 or not 0 < count <= pdu.MAX_READ_BITS or address + count > image.tables[name].size:
        return None
    cells = image.read(name, address, count)
    return CELLS.pack(transaction, 0, 3 + len(cells), unit, function, len(cells)) + cells


def _write_word(place: _Place, buffer: bytearray, start: int, _end: int) -> bytes | None:
    image, offset, size = place
    _, _, length, _, _, address, _ = REQUEST.unpack_from(buffer, start)
    if length != 6 or address >= size or not image.accept_words(offset + 2 * address, buffer[start + 10 : start + 12]):
        return None
    return bytes(buffer[start : start + 12])


def _write_words(place: _Place, buffer: bytearray, start: int, end: int) -> bytes | None:
    image, offset, size = place
    transaction, _, length, unit, function, address, count = REQUEST.unpack_from(buffer, start)
    if (
        length == 7 + 2 * count
        and start + 13 + 2 * count <= end
        and 0 < count <= pdu.MAX_WRITE_WORDS
        and address + count <= size
        and buffer[start + 12] == 2 * count
        and image.accept_words(offset + 2 * address, buffer[start + 13 : start + 13 + 2 * count])
    ):
        return REQUEST.pack(transaction, 0, 6, unit, function, address, count)
    return None


def _read_write(place: _Place, buffer: bytearray, start: int, end: int) -> bytes | None:
    image, offset, size = place
    transaction, _, length, unit, function, address, count = REQUEST.unpack_from(buffer, start)
    if start + 6 + length > end or length < 11:
        return None
    to, written, its_size = READ_WRITE.unpack_from(buffer, start + 12)
    if (
        length == 11 + 2 * written
        and 0 < count <= pdu.MAX_READ_WORDS
        and 0 < written <= pdu.MAX_READ_WRITE_WORDS
        and its_size == 2 * written
        and address + count <= size
        and to + written <= size
        and image.accept_words(offset + 2 * to, buffer[start + 17 : start + 17 + 2 * written])
    ):
        at = offset + 2 * address
        head = CELLS.pack(transaction, 0, 3 + 2 * count, unit, function, 2 * count)
        return head + image.buffer[at : at + 2 * count]
    return None
