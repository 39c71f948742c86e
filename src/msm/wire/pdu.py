"""Requests and replies of the function codes that move memory.

The names of functions and the numbers of sections are those of the Modbus application protocol specification
V1.1b3. Cells travel as bytes: words high byte first, bits packed from the lowest bit.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from msm.errors import ProtocolError, device_error

READ_COILS = 1
READ_DISCRETE_INPUTS = 2
READ_HOLDING_REGISTERS = 3
READ_INPUT_REGISTERS = 4
WRITE_SINGLE_COIL = 5
WRITE_SINGLE_REGISTER = 6
WRITE_MULTIPLE_COILS = 15
WRITE_MULTIPLE_REGISTERS = 16
MASK_WRITE_REGISTER = 22
READ_WRITE_MULTIPLE_REGISTERS = 23

WRITES = (
    WRITE_SINGLE_COIL,
    WRITE_SINGLE_REGISTER,
    WRITE_MULTIPLE_COILS,
    WRITE_MULTIPLE_REGISTERS,
    MASK_WRITE_REGISTER,
)

ILLEGAL_FUNCTION = 1
ILLEGAL_DATA_ADDRESS = 2
ILLEGAL_DATA_VALUE = 3
SERVER_DEVICE_FAILURE = 4
SERVER_DEVICE_BUSY = 6
GATEWAY_TARGET_FAILED = 11

MAX_READ_BITS = 2000  # section 6.1
MAX_WRITE_BITS = 1968  # section 6.11
MAX_READ_WORDS = 125  # section 6.3
MAX_WRITE_WORDS = 123  # section 6.12
MAX_READ_WRITE_WORDS = 121  # section 6.17

_ON, _OFF = b"\xff\x00", b"\x00\x00"
_WORD_READS = (READ_HOLDING_REGISTERS, READ_INPUT_REGISTERS, READ_WRITE_MULTIPLE_REGISTERS)
_READS = (READ_COILS, READ_DISCRETE_INPUTS, *_WORD_READS)
_TABLES = {
    READ_COILS: "coil",
    READ_DISCRETE_INPUTS: "discrete",
    READ_HOLDING_REGISTERS: "holding",
    READ_INPUT_REGISTERS: "input",
    WRITE_SINGLE_COIL: "coil",
    WRITE_SINGLE_REGISTER: "holding",
    WRITE_MULTIPLE_COILS: "coil",
    WRITE_MULTIPLE_REGISTERS: "holding",
    MASK_WRITE_REGISTER: "holding",
    READ_WRITE_MULTIPLE_REGISTERS: "holding",
}
READS_OF = {
    "holding": READ_HOLDING_REGISTERS,
    "input": READ_INPUT_REGISTERS,
    "coil": READ_COILS,
    "discrete": READ_DISCRETE_INPUTS,
}
_TWO = struct.Struct(">BHH")
_THREE = struct.Struct(">BHHH")


class Refusal(Exception):
    """A request that is answered with this exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class CellsWrite(NamedTuple):
    """Write these cells from an address: words high byte first, or bits packed from the lowest bit."""

    address: int
    cells: int
    data: bytes


class WordMask(NamedTuple):
    """Set a word to (word AND and_mask) OR (or_mask AND NOT and_mask), section 6.16."""

    address: int
    and_mask: int
    or_mask: int


class ReadWrite(NamedTuple):
    """Write words, then read words (section 6.17)."""

    read_address: int
    read_count: int
    write: CellsWrite


# -- the server's side: what does a request ask


def parse_read(pdu: bytes, most: int) -> tuple[int, int]:
    """Functions 01 to 04 (sections 6.1 to 6.4): the address and the number of cells, 1 to `most`.

    :raises Refusal: with code 03, when the quantity or the size of the request is wrong.
    """
    if len(pdu) != 5:
        raise Refusal(ILLEGAL_DATA_VALUE)
    _, address, count = _TWO.unpack(pdu)
    if not 1 <= count <= most:
        raise Refusal(ILLEGAL_DATA_VALUE)
    return address, count


def parse_write_coil(pdu: bytes) -> CellsWrite:
    """Function 05 (section 6.5): FF00 is on, 0000 is off, and there is nothing else.

    :raises Refusal: with code 03, when the value or the size of the request is wrong.
    """
    if len(pdu) != 5 or pdu[3:5] not in (_ON, _OFF):
        raise Refusal(ILLEGAL_DATA_VALUE)
    return CellsWrite(pdu[1] << 8 | pdu[2], 1, b"\x01" if pdu[3] else b"\x00")


def parse_write_word(pdu: bytes) -> CellsWrite:
    """Function 06 (section 6.6).

    :raises Refusal: with code 03, when the size of the request is wrong.
    """
    if len(pdu) != 5:
        raise Refusal(ILLEGAL_DATA_VALUE)
    return CellsWrite(pdu[1] << 8 | pdu[2], 1, pdu[3:5])


def parse_write_coils(pdu: bytes) -> CellsWrite:
    """Function 15 (section 6.11).

    :raises Refusal: with code 03, when quantity, byte count or the size of the request is wrong.
    """
    if len(pdu) < 6:
        raise Refusal(ILLEGAL_DATA_VALUE)
    _, address, count = _TWO.unpack_from(pdu)
    size = (count + 7) // 8
    if not 1 <= count <= MAX_WRITE_BITS or pdu[5] != size or len(pdu) != 6 + size:
        raise Refusal(ILLEGAL_DATA_VALUE)
    return CellsWrite(address, count, pdu[6:])


def parse_write_words(pdu: bytes) -> CellsWrite:
    """Function 16 (section 6.12).

    :raises Refusal: with code 03, when quantity, byte count or the size of the request is wrong.
    """
    if len(pdu) < 6:
        raise Refusal(ILLEGAL_DATA_VALUE)
    _, address, count = _TWO.unpack_from(pdu)
    if not 1 <= count <= MAX_WRITE_WORDS or pdu[5] != 2 * count or len(pdu) != 6 + 2 * count:
        raise Refusal(ILLEGAL_DATA_VALUE)
    return CellsWrite(address, count, pdu[6:])


def parse_mask_write(pdu: bytes) -> WordMask:
    """Function 22 (section 6.16).

    :raises Refusal: with code 03, when the size of the request is wrong.
    """
    if len(pdu) != 7:
        raise Refusal(ILLEGAL_DATA_VALUE)
    _, address, and_mask, or_mask = _THREE.unpack(pdu)
    return WordMask(address, and_mask, or_mask)


def parse_read_write(pdu: bytes) -> ReadWrite:
    """Function 23 (section 6.17).

    :raises Refusal: with code 03, when a quantity, the byte count or the size of the request is wrong.
    """
    if len(pdu) < 10:
        raise Refusal(ILLEGAL_DATA_VALUE)
    _, read_address, read_count = _TWO.unpack_from(pdu)
    _, write_address, write_count = _TWO.unpack_from(pdu, 4)
    if not 1 <= read_count <= MAX_READ_WORDS or not 1 <= write_count <= MAX_READ_WRITE_WORDS:
        raise Refusal(ILLEGAL_DATA_VALUE)
    if pdu[9] != 2 * write_count or len(pdu) != 10 + 2 * write_count:
        raise Refusal(ILLEGAL_DATA_VALUE)
    return ReadWrite(read_address, read_count, CellsWrite(write_address, write_count, pdu[10:]))


def spans(request: bytes) -> list[tuple[str, int, int]]:
    """What a request reads and writes: (table, address, count); nothing where it moves no memory, or is too short."""
    function = request[0]
    table = _TABLES.get(function)
    if table is None or len(request) < (9 if function == READ_WRITE_MULTIPLE_REGISTERS else 5):
        return []
    _, address, count = _TWO.unpack_from(request)
    if function in (WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER, MASK_WRITE_REGISTER):
        return [(table, address, 1)]
    found = [(table, address, count)]
    if function == READ_WRITE_MULTIPLE_REGISTERS:
        _, to, written = _TWO.unpack_from(request, 4)
        found.append((table, to, written))
    return found


def refusal(function: int, code: int) -> bytes:
    """The exception reply to a request of that function (section 7)."""
    return bytes((function | 0x80, code))


# -- the client's side: requests


def read(function: int, address: int, count: int) -> bytes:
    """Function 01 to 04: ask for cells."""
    return _TWO.pack(function, address, count)


def write_coil(address: int, bits: bytes) -> bytes:
    """Function 05: write one coil."""
    return struct.pack(">BH", WRITE_SINGLE_COIL, address) + (_ON if bits[0] & 1 else _OFF)


def write_coils(address: int, count: int, bits: bytes) -> bytes:
    """Function 15: write 1 to 1968 coils."""
    return struct.pack(">BHHB", WRITE_MULTIPLE_COILS, address, count, len(bits)) + bits


def write_word(address: int, word: bytes) -> bytes:
    """Function 06: write one word."""
    return struct.pack(">BH", WRITE_SINGLE_REGISTER, address) + word


def write_words(address: int, words: bytes) -> bytes:
    """Function 16: write 1 to 123 words."""
    header = struct.pack(">BHHB", WRITE_MULTIPLE_REGISTERS, address, len(words) // 2, len(words))
    return header + words


def mask_write(address: int, mask: int, word: int) -> bytes:
    """Function 22: write the bits `mask` of one word, and leave the others as they are."""
    return _THREE.pack(MASK_WRITE_REGISTER, address, ~mask & 0xFFFF, word & mask)


def read_write(read_address: int, count: int, write_address: int, words: bytes) -> bytes:
    """Function 23: write 1 to 121 words, then read 1 to 125."""
    head = struct.pack(">BHHHH", READ_WRITE_MULTIPLE_REGISTERS, read_address, count, write_address, len(words) // 2)
    return head + bytes((len(words),)) + words


# -- the client's side: does a reply answer the request


def check_reply(request: bytes, reply: bytes) -> bytes:
    """The cells that a reply brings; nothing for the reply to a write.

    :raises DeviceError: the device answered with an exception code.
    :raises ProtocolError: function, size or echo is not that of an answer to this request.
    """
    function = request[0]
    if reply[0] == function | 0x80 and len(reply) == 2:
        raise device_error(reply[1], describe(request))
    if reply[0] != function:
        raise ProtocolError(f"{describe(request)}: answered by function {reply[0]:02X}")
    if function in _READS:
        count = request[3] << 8 | request[4]
        size = 2 * count if function in _WORD_READS else (count + 7) // 8
        if len(reply) != 2 + size or reply[1] != size:
            raise ProtocolError(f"{describe(request)}: answered with {len(reply) - 2} bytes, not {size}")
        cells = reply[2:]
        if function not in _WORD_READS and count % 8:
            # The bits behind the last one are padding (section 6.1), whatever a device puts there.
            cells = cells[:-1] + bytes((cells[-1] & (1 << count % 8) - 1,))
        return cells
    echo = request[:5] if function in (WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS) else request
    if reply != echo:
        raise ProtocolError(f"{describe(request)}: answered with another echo, {reply.hex(' ')}")
    return b""


_VERBS = {
    READ_COILS: "reading coil",
    READ_DISCRETE_INPUTS: "reading discrete",
    READ_HOLDING_REGISTERS: "reading holding",
    READ_INPUT_REGISTERS: "reading input",
    WRITE_SINGLE_COIL: "writing coil",
    WRITE_SINGLE_REGISTER: "writing holding",
    WRITE_MULTIPLE_COILS: "writing coil",
    WRITE_MULTIPLE_REGISTERS: "writing holding",
    MASK_WRITE_REGISTER: "writing bits of holding",
    READ_WRITE_MULTIPLE_REGISTERS: "writing, then reading holding",
}


def describe(request: bytes) -> str:
    """A request in words, for messages: "reading holding 40-47"."""
    verb = _VERBS.get(request[0])
    if verb is None or len(request) < 5:
        return f"function {request[0]:02X}"
    address = request[1] << 8 | request[2]
    if request[0] in (WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER, MASK_WRITE_REGISTER):
        return f"{verb} {address}"
    count = request[3] << 8 | request[4]
    return f"{verb} {address}" if count == 1 else f"{verb} {address}-{address + count - 1}"
