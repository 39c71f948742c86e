"""Requests and the replies that the specifications give to them, each with its section.

The sections are those of the Modbus application protocol specification V1.1b3 ("AP"), of the messaging guide for
TCP/IP V1.0b ("TCP") and of the specification for serial lines V1.02 ("SL"). Nothing here uses the code under test:
what a table holds is written out as lists of numbers, and packed by a few lines of our own.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

OWN_UNIT = 17
HOLDING, INPUT, COILS, DISCRETE = 200, 180, 2100, 2050

Cells = dict[tuple[str, int], int]


def _memory() -> dict[str, list[int]]:
    """What the tables hold before each request; with what the examples of the specification read."""
    tables = {
        "holding": [0x1000 + address for address in range(HOLDING)],
        "input": [0x2000 + address for address in range(INPUT)],
        "coil": [address % 3 % 2 ^ address % 5 % 2 for address in range(COILS)],
        "discrete": [address % 7 % 2 for address in range(DISCRETE)],
    }
    tables["holding"][0x6B : 0x6B + 3] = [0x022B, 0x0000, 0x0064]  # AP 6.3
    tables["holding"][3:9] = [0x00FE, 0x0ACD, 0x0001, 0x0003, 0x000D, 0x00FF]  # AP 6.17
    tables["input"][8] = 0x000A  # AP 6.4
    tables["coil"][0x13 : 0x13 + 19] = _unpack("CD6B05", 19)  # AP 6.1
    tables["discrete"][0xC4 : 0xC4 + 22] = _unpack("ACDB35", 22)  # AP 6.2
    return tables


def _unpack(digits: str, count: int) -> list[int]:
    number = int.from_bytes(bytes.fromhex(digits), "little")
    return [number >> at & 1 for at in range(count)]


def pack_bits(bits: Sequence[int]) -> bytes:
    """Bits as they travel: the first in the lowest bit, padded with zeros (AP 6.1)."""
    return sum(bit << at for at, bit in enumerate(bits)).to_bytes((len(bits) + 7) // 8, "little")


def pack_words(words: Sequence[int]) -> bytes:
    """Words as they travel: high byte first (AP 4.2)."""
    return struct.pack(f">{len(words)}H", *words)


BEFORE = _memory()


@dataclass(frozen=True)
class Vector:
    """One request: what is answered, and which cells have changed after it."""

    section: str
    name: str
    request: bytes
    reply: bytes
    changes: Cells = field(default_factory=dict)
    unit: int = OWN_UNIT
    sound: bool = True
    """Does the request have the size that its function and its byte count say? Else RTU cannot frame it (SL 2.5.1)."""

    def __str__(self) -> str:
        return f"{self.section}: {self.name}"


VECTORS: list[Vector] = []


def _add(
    section: str,
    name: str,
    request: bytes,
    reply: bytes | int,
    changes: Cells | None = None,
    *,
    unit: int = OWN_UNIT,
    sound: bool = True,
) -> None:
    """One more vector; a number in place of a reply is an exception code (AP 7)."""
    if isinstance(reply, int):
        reply = bytes((request[0] | 0x80, reply))
    VECTORS.append(Vector(section, name, request, reply, changes or {}, unit, sound))


def _hex(digits: str) -> bytes:
    return bytes.fromhex(digits)


def _head(function: int, *numbers: int) -> bytes:
    return struct.pack(f">B{len(numbers)}H", function, *numbers)


def _sized(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _wrote(table: str, address: int, values: Sequence[int]) -> Cells:
    return {(table, address + at): value for at, value in enumerate(values)}


# -- the specification's own examples

_add("AP 6.1", "example: coils 20-38", _hex("01 0013 0013"), _hex("01 03 CD6B05"))
_add("AP 6.2", "example: discrete inputs 197-218", _hex("02 00C4 0016"), _hex("02 03 ACDB35"))
_add("AP 6.3", "example: registers 108-110", _hex("03 006B 0003"), _hex("03 06 022B 0000 0064"))
_add("AP 6.4", "example: input register 9", _hex("04 0008 0001"), _hex("04 02 000A"))
_add("AP 6.5", "example: coil 173 on", _hex("05 00AC FF00"), _hex("05 00AC FF00"), {("coil", 0xAC): 1})
_add("AP 6.6", "example: register 2", _hex("06 0001 0003"), _hex("06 0001 0003"), {("holding", 1): 3})
_add(
    "AP 6.11",
    "example: ten coils from 20",
    _hex("0F 0013 000A 02 CD01"),
    _hex("0F 0013 000A"),
    _wrote("coil", 0x13, _unpack("CD01", 10)),
)
_add(
    "AP 6.12",
    "example: two registers from 2",
    _hex("10 0001 0002 04 000A 0102"),
    _hex("10 0001 0002"),
    _wrote("holding", 1, [0x000A, 0x0102]),
)
_add(
    "AP 6.16",
    "example: AND F2, OR 25 on register 5",
    _hex("16 0004 00F2 0025"),
    _hex("16 0004 00F2 0025"),
    {("holding", 4): (0x0ACD & 0x00F2) | (0x0025 & ~0x00F2)},
)
_add(
    "AP 6.17",
    "example: read six from 4, write three from 15",
    _hex("17 0003 0006 000E 0003 06 00FF 00FF 00FF"),
    _hex("17 0C 00FE 0ACD 0001 0003 000D 00FF"),
    _wrote("holding", 14, [0xFF, 0xFF, 0xFF]),
)

# -- functions 01 to 04: quantity (03) before address (02), by the state diagrams of AP 6.1 to 6.4

for _function, _section, _table, _most in (
    (1, "AP 6.1", "coil", 2000),
    (2, "AP 6.2", "discrete", 2000),
    (3, "AP 6.3", "holding", 125),
    (4, "AP 6.4", "input", 125),
):
    _cells = BEFORE[_table]
    _size = len(_cells)
    _pack = pack_bits if _most == 2000 else pack_words
    for _name, _address, _count in (
        ("the first", 0, 1),
        ("the last", _size - 1, 1),
        ("two", 7, 2),
        ("eight", 1, 8),
        ("nine", 3, 9),
        ("as many as there may be", 0, _most),
        ("as many as there may be, up to the end", _size - _most, _most),
        ("one less than there may be", 5, _most - 1),
    ):
        _add(
            _section,
            f"function {_function:02}, {_name}",
            _head(_function, _address, _count),
            bytes((_function,)) + _sized(_pack(_cells[_address : _address + _count])),
        )
    for _name, _address, _count, _code in (
        ("none", 0, 0, 3),
        ("one too many", 0, _most + 1, 3),
        ("FFFF", 0, 0xFFFF, 3),
        ("8000", 0, 0x8000, 3),
        ("none where nothing is", _size, 0, 3),
        ("one too many where nothing is", 0xFFFF, _most + 1, 3),
        ("none at the last of all addresses", 0xFFFF, 0, 3),
        ("the one behind the last", _size, 1, 2),
        ("across the end", _size - 1, 2, 2),
        ("one more than there is", _size - _most + 1, _most, 2),
        ("the last of all addresses", 0xFFFF, 1, 2),
        ("around the end of all addresses", 0xFFFF, 2, 2),
    ):
        _add(_section, f"function {_function:02}, {_name}", _head(_function, _address, _count), _code)
    _add(_section, f"function {_function:02}, short", _head(_function, 0, 1)[:-1], 3, sound=False)
    _add(_section, f"function {_function:02}, long", _head(_function, 0, 1) + b"\0", 3, sound=False)
    _add(_section, f"function {_function:02}, alone", bytes((_function,)), 3, sound=False)

# -- function 05: only 0000 and FF00 (AP 6.5)

for _name, _address, _value in (
    ("on", 1, 0xFF00),
    ("off", 1, 0x0000),
    ("on, the first", 0, 0xFF00),
    ("off, the last", COILS - 1, 0x0000),
    ("on, the last", COILS - 1, 0xFF00),
):
    _add(
        "AP 6.5",
        f"function 05, {_name}",
        _head(5, _address, _value),
        _head(5, _address, _value),
        {("coil", _address): _value >> 8 & 1},
    )
for _value in (0x0001, 0x00FF, 0x0100, 0xFF01, 0xFFFF, 0x5500, 0xFE00, 0x8000):
    _add("AP 6.5", f"function 05, {_value:04X} is no value", _head(5, 1, _value), 3)
_add("AP 6.5", "function 05, no value where nothing is", _head(5, COILS, 1), 3)
_add("AP 6.5", "function 05, behind the last", _head(5, COILS, 0xFF00), 2)
_add("AP 6.5", "function 05, the last of all addresses", _head(5, 0xFFFF, 0), 2)
_add("AP 6.5", "function 05, short", _head(5, 1, 0xFF00)[:-1], 3, sound=False)
_add("AP 6.5", "function 05, long", _head(5, 1, 0xFF00) + b"\0", 3, sound=False)
_add("AP 6.5", "function 05, alone", b"\x05", 3, sound=False)

# -- function 06 (AP 6.6)

for _address, _value in ((0, 0), (0, 0xFFFF), (7, 0x8000), (HOLDING - 1, 0x00FF)):
    _add(
        "AP 6.6",
        f"function 06, {_value:04X} to {_address}",
        _head(6, _address, _value),
        _head(6, _address, _value),
        {("holding", _address): _value},
    )
_add("AP 6.6", "function 06, behind the last", _head(6, HOLDING, 1), 2)
_add("AP 6.6", "function 06, the last of all addresses", _head(6, 0xFFFF, 1), 2)
_add("AP 6.6", "function 06, short", _head(6, 0, 1)[:-1], 3, sound=False)
_add("AP 6.6", "function 06, long", _head(6, 0, 1) + b"\0", 3, sound=False)
_add("AP 6.6", "function 06, alone", b"\x06", 3, sound=False)

# -- function 15: 1 to 1968 coils, and a byte count that fits (AP 6.11)


def _write_coils(address: int, bits: Sequence[int], count: int | None = None, size: int | None = None) -> bytes:
    data = pack_bits(bits)
    head = _head(15, address, len(bits) if count is None else count)
    return head + bytes((len(data) if size is None else size,)) + data


for _name, _address, _bits in (
    ("one", 0, [1]),
    ("one off", 2, [0]),
    ("eight", 4, [0, 1] * 4),
    ("nine", 4, [1, 0, 0] * 3),
    ("the last", COILS - 1, [1]),
    ("as many as there may be", 0, [1, 1, 0, 0] * 492),
    ("as many as there may be, up to the end", COILS - 1968, [0, 1] * 984),
):
    _add(
        "AP 6.11",
        f"function 15, {_name}",
        _write_coils(_address, _bits),
        _head(15, _address, len(_bits)),
        _wrote("coil", _address, _bits),
    )
_add(
    "AP 6.11",
    "function 15, padding is not written",
    _head(15, 8, 3) + b"\x01\xff",
    _head(15, 8, 3),
    _wrote("coil", 8, [1, 1, 1]),
)
for _name, _request, _code in (
    ("none", _write_coils(0, []), 3),
    ("none, and a byte", _write_coils(0, [1], count=0), 3),
    ("one too many", _write_coils(0, [1] * 1969), 3),
    ("FFFF and one byte", _write_coils(0, [1], count=0xFFFF), 3),
    ("a byte too many for the quantity", _write_coils(0, [1] * 9, count=8), 3),
    ("a byte too few for the quantity", _write_coils(0, [1] * 8, count=9), 3),
    ("none where nothing is", _write_coils(COILS, []), 3),
    ("a wrong byte count where nothing is", _write_coils(COILS, [1] * 9, count=1), 3),
    ("the one behind the last", _write_coils(COILS, [1]), 2),
    ("across the end", _write_coils(COILS - 1, [1, 1]), 2),
    ("the last of all addresses", _write_coils(0xFFFF, [1]), 2),
    ("around the end of all addresses", _write_coils(0xFFFF, [1, 1]), 2),
):
    _add("AP 6.11", f"function 15, {_name}", _request, _code)
for _name, _request in (
    ("less than it says", _write_coils(0, [1] * 16)[:-1]),
    ("more than it says", _write_coils(0, [1] * 16) + b"\0"),
    ("a byte count of 0 and a byte", _write_coils(0, [1], size=0)),
    ("a byte count of FF and a byte", _write_coils(0, [1], size=255)),
    ("no byte count", _write_coils(0, [1])[:5]),
    ("alone", b"\x0f"),
):
    _add("AP 6.11", f"function 15, {_name}", _request, 3, sound=False)

# -- function 16: 1 to 123 words, and a byte count of twice that (AP 6.12)


def _write(address: int, words: Sequence[int], count: int | None = None, size: int | None = None) -> bytes:
    data = pack_words(words)
    head = _head(16, address, len(words) if count is None else count)
    return head + bytes((len(data) if size is None else size,)) + data


for _name, _address, _words in (
    ("one", 0, [0xBEEF]),
    ("the last", HOLDING - 1, [1]),
    ("as many as there may be", 0, list(range(123))),
    ("as many as there may be, up to the end", HOLDING - 123, list(range(0xFF00, 0xFF00 + 123))),
    ("zeros", 20, [0] * 8),
):
    _add(
        "AP 6.12",
        f"function 16, {_name}",
        _write(_address, _words),
        _head(16, _address, len(_words)),
        _wrote("holding", _address, _words),
    )
for _name, _request, _code in (
    ("none", _write(0, []), 3),
    ("none, and a word", _write(0, [1], count=0), 3),
    ("one too many, its words left out", _write(0, [1] * 123, count=124), 3),
    ("FFFF and one word", _write(0, [1], count=0xFFFF), 3),
    ("0x8001 and one word", _write(0, [1], count=0x8001), 3),
    ("a word too many for the quantity", _write(0, [1, 2], count=1), 3),
    ("a word too few for the quantity", _write(0, [1], count=2), 3),
    ("none where nothing is", _write(HOLDING, []), 3),
    ("a wrong byte count where nothing is", _write(HOLDING, [1, 2], count=1), 3),
    ("the one behind the last", _write(HOLDING, [1]), 2),
    ("across the end", _write(HOLDING - 1, [1, 2]), 2),
    ("as many as there may be, across the end", _write(HOLDING - 122, [1] * 123), 2),
    ("the last of all addresses", _write(0xFFFF, [1]), 2),
    ("around the end of all addresses", _write(0xFFFF, [1, 2]), 2),
):
    _add("AP 6.12", f"function 16, {_name}", _request, _code)
for _name, _request in (
    ("less than it says", _write(0, [1, 2])[:-1]),
    ("more than it says", _write(0, [1, 2]) + b"\0"),
    ("an odd byte count", _write(0, [1, 2], size=3)),
    ("a byte count of 0 and a word", _write(0, [1], size=0)),
    ("no byte count", _write(0, [1])[:5]),
    ("alone", b"\x10"),
):
    _add("AP 6.12", f"function 16, {_name}", _request, 3, sound=False)

# -- function 22: (word AND and_mask) OR (or_mask AND NOT and_mask) (AP 6.16)

for _address, _and, _or, _after in (
    (0, 0xFFFF, 0x0000, 0x1000),  # nothing
    (0, 0xFFFF, 0xFFFF, 0x1000),  # nothing either
    (0, 0x0000, 0x1234, 0x1234),  # all of it
    (0, 0xFFFE, 0x0001, 0x1001),  # one bit on
    (0, 0xEFFF, 0x0000, 0x0000),  # one bit off
    (1, 0x00FF, 0xAB00, 0xAB01),  # the high byte
    (HOLDING - 1, 0xFF00, 0x0055, 0x1055),  # the low byte, of the last
):
    _add(
        "AP 6.16",
        f"function 22, AND {_and:04X} OR {_or:04X} at {_address}",
        _head(22, _address, _and, _or),
        _head(22, _address, _and, _or),
        {("holding", _address): _after},
    )
_add("AP 6.16", "function 22, behind the last", _head(22, HOLDING, 0, 1), 2)
_add("AP 6.16", "function 22, the last of all addresses", _head(22, 0xFFFF, 0, 1), 2)
_add("AP 6.16", "function 22, short", _head(22, 0, 0, 1)[:-1], 3, sound=False)
_add("AP 6.16", "function 22, long", _head(22, 0, 0, 1) + b"\0", 3, sound=False)
_add("AP 6.16", "function 22, alone", b"\x16", 3, sound=False)

# -- function 23: checks both ranges, then writes, then reads (AP 6.17)


def _read_write(
    from_: int, read: int, to: int, words: Sequence[int], count: int | None = None, size: int | None = None
) -> bytes:
    data = pack_words(words)
    head = _head(23, from_, read, to, len(words) if count is None else count)
    return head + bytes((len(data) if size is None else size,)) + data


for _name, _from, _read, _to, _words in (
    ("one and one", 0, 1, 1, [0xAAAA]),
    ("what it reads is what it has just written", 2, 3, 3, [0xAAAA]),
    ("the same range", 20, 4, 20, [1, 2, 3, 4]),
    ("as many as there may be", 0, 125, 0, list(range(121))),
    ("up to the end", HOLDING - 125, 125, HOLDING - 121, list(range(121))),
):
    _after_it = list(BEFORE["holding"])
    _after_it[_to : _to + len(_words)] = _words
    _add(
        "AP 6.17",
        f"function 23, {_name}",
        _read_write(_from, _read, _to, _words),
        b"\x17" + _sized(pack_words(_after_it[_from : _from + _read])),
        _wrote("holding", _to, _words),
    )
for _name, _request, _code in (
    ("nothing to read", _read_write(0, 0, 0, [1]), 3),
    ("one too many to read", _read_write(0, 126, 0, [1]), 3),
    ("FFFF to read", _read_write(0, 0xFFFF, 0, [1]), 3),
    ("nothing to write", _read_write(0, 1, 0, []), 3),
    ("one too many to write, its word left out", _read_write(0, 1, 0, [1] * 121, count=122), 3),
    ("FFFF to write", _read_write(0, 1, 0, [1], count=0xFFFF), 3),
    ("a word too many for the quantity", _read_write(0, 1, 0, [1, 2], count=1), 3),
    ("a word too few for the quantity", _read_write(0, 1, 0, [1], count=2), 3),
    ("nothing to read, where nothing is", _read_write(HOLDING, 0, HOLDING, [1]), 3),
    ("nothing to write, where nothing is", _read_write(HOLDING, 1, HOLDING, []), 3),
    ("read behind the last", _read_write(HOLDING, 1, 0, [1]), 2),
    ("read across the end", _read_write(HOLDING - 1, 2, 0, [1]), 2),
    ("written behind the last", _read_write(0, 1, HOLDING, [1]), 2),
    ("written across the end", _read_write(0, 1, HOLDING - 1, [1, 2]), 2),
    ("both behind", _read_write(HOLDING, 1, HOLDING, [1]), 2),
    ("read around the end of all addresses", _read_write(0xFFFF, 2, 0, [1]), 2),
    ("written around the end of all addresses", _read_write(0, 1, 0xFFFF, [1, 2]), 2),
):
    _add("AP 6.17", f"function 23, {_name}", _request, _code)
for _name, _request in (
    ("less than it says", _read_write(0, 1, 0, [1])[:-1]),
    ("more than it says", _read_write(0, 1, 0, [1]) + b"\0"),
    ("an odd byte count", _read_write(0, 1, 0, [1, 2], size=3)),
    ("no byte count", _read_write(0, 1, 0, [1])[:9]),
    ("alone", b"\x17"),
):
    _add("AP 6.17", f"function 23, {_name}", _request, 3, sound=False)

# -- other functions: exception 01 under their own code (AP 7; MB indication processing of AP 5 and 4.5)

for _function in (0, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19, 20, 21, 24, 25, 43, 64, 65, 72, 90, 100, 110, 126, 127):
    # These have sizes of their own, and come below with them.
    _other_size = _function in (7, 11, 12, 17, 20, 21, 24, 43)
    _add("AP 7", f"function {_function} is not served", bytes((_function, 0, 0, 0, 1)), 1, sound=not _other_size)
for _name, _request in (
    ("7, read exception status", _hex("07")),
    ("11, get comm event counter", _hex("0B")),
    ("12, get comm event log", _hex("0C")),
    ("17, report server id", _hex("11")),
    ("20, read file record", _hex("14 07 06 0004 0001 0002")),
    ("21, write file record", _hex("15 0D 06 0004 0007 0003 06AF 04BE 100D")),
    ("24, read FIFO queue", _hex("18 04DE")),
):
    _add("AP 7", f"function {_name}, is not served", _request, 1)
for _function in (128, 129, 131, 144, 171, 254, 255):
    # On an RTU line these are the exception replies of others, and nobody answers them.
    _add("AP 5.1", f"function {_function} is no function", bytes((_function, 0, 0, 0, 1)), 1, sound=False)
_add("AP 7", "function 43, device identification, is not served", _hex("2B 0E 01 00"), 1)
_add("AP 7", "function 8, return query data, is not served", _hex("08 0000 A537"), 1)
_add("AP 7", "a function that is not served, alone", b"\x41", 1)
_add("AP 4.1", "the longest PDU, of a function that is not served", b"\x41" + bytes(252), 1)
_add("AP 4.1", "the longest PDU, of a function that is", b"\x03" + bytes(252), 3, sound=False)

# -- units: over TCP/IP a device answers 0 and 255 as itself, and a gateway says 0B where it has no path (AP 7)

_FIRST = _hex("03 02 1000")
for _unit, _section in ((OWN_UNIT, "TCP 4.4.2.1"), (255, "TCP 4.4.2.1"), (0, "TCP 4.4.2.1")):
    _add(_section, f"unit {_unit} reads", _hex("03 0000 0001"), _FIRST, unit=_unit)
    _add(_section, f"unit {_unit} writes", _hex("06 0002 0007"), _hex("06 0002 0007"), {("holding", 2): 7}, unit=_unit)
    _add(_section, f"unit {_unit}, a function that is not served", b"\x07", 1, unit=_unit)
for _unit in (1, 16, 18, 247, 248, 254):
    _add("AP 7", f"unit {_unit} is not here, to be read", _hex("03 0000 0001"), 0x0B, unit=_unit)
    _add("AP 7", f"unit {_unit} is not here, to be written", _hex("06 0002 0007"), 0x0B, unit=_unit)
_add("AP 7", "a unit that is not here comes before all other checks", _hex("03 FFFF FFFF"), 0x0B, unit=1)
