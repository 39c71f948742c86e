"""Requests of the functions that do not move memory, with the replies that the specification gives to them.

As in `vectors`: AP is the Modbus application protocol specification V1.1b3, and nothing here uses the code under test.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from msm import Functions

IDENTIFICATION: dict[int, str | bytes] = {
    0: "Company identification",
    1: "Product code XX",
    2: "V2.11",
    4: "Press",
    0x80: "of our own",
    0x81: b"\xff\x00",
}
SERVER_ID = b"MSM press 7"
FIFO = (0x01B8, 0x1284)


def functions() -> Functions:
    """What the vectors talk to: the examples of the specification, and their neighbours."""
    third, fourth = [0] * 100, [0] * 40
    third[9:11] = [0x33CD, 0x0040]
    fourth[1:3] = [0x0DFE, 0x0020]
    return Functions(
        identification=IDENTIFICATION,
        server_id=SERVER_ID,
        exception_status=lambda: 0x6D,
        files={3: third, 4: fourth, 9: list(range(10000))},
        fifos={0x04DE: deque(FIFO), 0: [], 7: list(range(31)), 8: list(range(32))},
    )


@dataclass(frozen=True)
class OtherVector:
    """One request, what is answered, and what the files hold after it."""

    section: str
    name: str
    request: bytes
    reply: bytes
    file: tuple[int, int, tuple[int, ...]] | None = None
    """(number, record, words) of a file after it."""

    @property
    def sized(self) -> bool:
        """Does the request have the size that its function and its byte count say? Else RTU cannot frame it."""
        function = self.request[0]
        if function in (20, 21):
            return len(self.request) > 1 and len(self.request) == 2 + self.request[1]
        if function == 43 and self.request[1:2] not in (b"", b"\x0e"):
            return True  # of no known size: silence ends it
        return len(self.request) == {7: 1, 17: 1, 24: 3, 43: 4}[function]

    def __str__(self) -> str:
        return f"{self.section}: {self.name}"


OTHER_VECTORS: list[OtherVector] = []


def _add(
    section: str,
    name: str,
    request: bytes | str,
    reply: bytes | str | int,
    file: tuple[int, int, tuple[int, ...]] | None = None,
) -> None:
    request = bytes.fromhex(request) if isinstance(request, str) else request
    if isinstance(reply, int):
        reply = bytes((request[0] | 0x80, reply))
    elif isinstance(reply, str):
        reply = bytes.fromhex(reply)
    OTHER_VECTORS.append(OtherVector(section, name, request, reply, file))


_add("AP 6.7", "example: exception status 6D", "07", "07 6D")
_add("AP 6.7", "exception status, more than the function", "07 00", 3)
_add("AP 6.13", "server id", "11", bytes((0x11, len(SERVER_ID) + 1)) + SERVER_ID + b"\xff")
_add("AP 6.13", "server id, more than the function", "11 00", 3)

# -- files

_add(
    "AP 6.14",
    "example: two groups of two words",
    "14 0E 06 0004 0001 0002 06 0003 0009 0002",
    "14 0C 05 06 0DFE 0020 05 06 33CD 0040",
)
_add("AP 6.14", "the last record of all", "14 07 06 0009 270F 0001", "14 04 03 06 270F")
_add(
    "AP 6.14",
    "as many words as fit into one reply",
    "14 07 06 0009 0000 0079",
    b"\x14\xf4\xf3\x06" + b"".join(at.to_bytes(2, "big") for at in range(121)),
)
_add("AP 6.14", "35 groups of a word", b"\x14\xf5" + 35 * bytes.fromhex("06 0009 0000 0001"),
     b"\x14\x8c" + 35 * bytes.fromhex("03 06 0000"))  # fmt: skip
_add("AP 6.14", "35 groups of two words", b"\x14\xf5" + 35 * bytes.fromhex("06 0009 0000 0002"),
     b"\x14\xd2" + 35 * bytes.fromhex("05 06 0000 0001"))  # fmt: skip
_add("AP 6.14", "35 groups of three words are too much", b"\x14\xf5" + 35 * bytes.fromhex("06 0009 0000 0003"), 3)
_add("AP 6.14", "more words than fit into one reply", "14 07 06 0009 0000 007A", 3)
_add("AP 6.14", "no group", "14 00", 3)
_add("AP 6.14", "less than a group", "14 06 06 0004 0001 00", 3)
_add("AP 6.14", "a group and a half", "14 0A 06 0004 0001 0002 06 0003", 3)
_add("AP 6.14", "less than it says", "14 0E 06 0004 0001 0002", 3)
_add("AP 6.14", "more than it says", "14 07 06 0004 0001 0002 06 0003 0009 0002", 3)
_add("AP 6.14", "nothing to read", "14 07 06 0004 0001 0000", 3)
_add("AP 6.14", "another reference type", "14 07 05 0004 0001 0002", 2)
_add("AP 6.14", "file 0", "14 07 06 0000 0001 0002", 2)
_add("AP 6.14", "a file that is not there", "14 07 06 0005 0001 0002", 2)
_add("AP 6.14", "behind the end of a file", "14 07 06 0004 0028 0001", 2)
_add("AP 6.14", "across the end of a file", "14 07 06 0004 0027 0002", 2)
_add("AP 6.14", "behind the last record that there can be", "14 07 06 0009 2710 0001", 2)
_add("AP 6.14", "one group right, one wrong", "14 0E 06 0004 0001 0002 06 0005 0009 0002", 2)
_add("AP 6.14", "sizes come before addresses", "14 0E 06 0000 0001 0002 06 0003 0009 0000", 3)
_add("AP 6.14", "alone", "14", 3)

_add("AP 6.15", "example: three words of file 4", _example := "15 0D 06 0004 0007 0003 06AF 04BE 100D", _example,
     (4, 7, (0x06AF, 0x04BE, 0x100D)))  # fmt: skip
_add("AP 6.15", "two groups", _two := "15 12 06 0004 0007 0001 0001 06 0003 0005 0001 0002", _two, (3, 5, (2,)))
_add("AP 6.15", "a right group before a wrong one is not written",
     "15 12 06 0004 0014 0001 FFFF 06 0005 0005 0001 0002", 2, (4, 20, (0,)))  # fmt: skip
_add("AP 6.15", "the last word of a file", _last := "15 09 06 0004 0027 0001 BEEF", _last, (4, 39, (0xBEEF,)))
_add("AP 6.15", "across the end of a file", "15 0B 06 0004 0027 0002 0001 0002", 2, (4, 39, (0xBEEF,)))
_add("AP 6.15", "another reference type", "15 09 07 0004 0001 0001 0001", 2)
_add("AP 6.15", "file 0", "15 09 06 0000 0001 0001 0001", 2)
_add("AP 6.15", "a file that is not there", "15 09 06 0008 0001 0001 0001", 2)
_add("AP 6.15", "no word", "15 07 06 0004 0001 0000", 3)
_add("AP 6.15", "fewer words than it says", "15 09 06 0004 0001 0002 0001", 3)
_add("AP 6.15", "more words than it says", "15 0B 06 0004 0001 0001 0001 0002", 3)
_add("AP 6.15", "less than its byte count", "15 0D 06 0004 0007 0003 06AF", 3)
_add("AP 6.15", "sizes come before addresses", "15 12 06 0000 0001 0001 0001 06 0003 0005 0005 0002", 3)
_add("AP 6.15", "alone", "15", 3)

# -- queues

_add("AP 6.18", "example: a queue of two words", "18 04DE", "18 0006 0002 01B8 1284")
_add("AP 6.18", "reading does not empty it", "18 04DE", "18 0006 0002 01B8 1284")
_add("AP 6.18", "an empty queue", "18 0000", "18 0002 0000")
_add("AP 6.18", "a full queue", "18 0007", b"\x18\x00\x40\x00\x1f" + b"".join(bytes((0, at)) for at in range(31)))
_add("AP 6.18", "a queue of more than 31 words", "18 0008", 3)
_add("AP 6.18", "a queue that is not there", "18 04DF", 2)
_add("AP 6.18", "short", "18 04", 3)
_add("AP 6.18", "long", "18 04DE 00", 3)
_add("AP 6.18", "alone", "18", 3)


# -- identification


def _objects(*numbers: int) -> bytes:
    found = b""
    for number in numbers:
        text = IDENTIFICATION[number]
        data = text if isinstance(text, bytes) else text.encode()
        found += bytes((number, len(data))) + data
    return bytes((len(numbers),)) + found


def _stream(code: int, *numbers: int) -> bytes:
    return bytes((0x2B, 0x0E, code, 0x83, 0, 0)) + _objects(*numbers)


_add("AP 6.21", "example: the basic stream", "2B 0E 01 00", _stream(1, 0, 1, 2))
_add("AP 6.21", "the basic stream, from object 2", "2B 0E 01 02", _stream(1, 2))
_add("AP 6.21", "the basic stream, from an object that it does not have", "2B 0E 01 04", _stream(1, 0, 1, 2))
_add("AP 6.21", "the regular stream", "2B 0E 02 00", _stream(2, 0, 1, 2, 4))
_add("AP 6.21", "the regular stream, from an object that nobody has", "2B 0E 02 05", _stream(2, 0, 1, 2, 4))
_add("AP 6.21", "the extended stream", "2B 0E 03 00", _stream(3, 0, 1, 2, 4, 0x80, 0x81))
_add("AP 6.21", "the extended stream, from an object of its own", "2B 0E 03 81", _stream(3, 0x81))
for _number in IDENTIFICATION:
    _add("AP 6.21", f"object {_number:02X} alone", bytes((0x2B, 0x0E, 4, _number)), _stream(4, _number))
_add("AP 6.21", "an object alone that nobody has", "2B 0E 04 03", 2)
_add("AP 6.21", "stream 0", "2B 0E 00 00", 3)
_add("AP 6.21", "stream 5", "2B 0E 05 00", 3)
_add("AP 6.21", "short", "2B 0E 01", 3)
_add("AP 6.21", "long", "2B 0E 01 00 00", 3)
_add("AP 6.20", "CANopen is not served", "2B 0D 00 00", 1)
_add("AP 6.19", "another MEI type", "2B 0F", 1)
_add("AP 6.19", "no MEI type", "2B", 3)
