"""MBAP: how Modbus messages are told apart in a TCP stream (Modbus on TCP/IP V1.0b, section 3.1.3)."""

from __future__ import annotations

import struct
from typing import NamedTuple

MBAP = struct.Struct(">HHHB")  # transaction, protocol (0), length of what follows it, unit
HEADER = 7
MAX_PDU = 253  # application protocol V1.1b3, section 4.1
MAX_FRAME = HEADER + MAX_PDU
BUFFER = 8192  # holds 31 of the longest frames: what a peer may pipeline in one segment


class Frame(NamedTuple):
    """One message: the protocol data unit `pdu` for or from a `unit`."""

    transaction: int
    unit: int
    pdu: bytes


class Message(NamedTuple):
    """One message as a `trace=` is told of it."""

    at: float
    """Seconds by the clock of the event loop, which never jumps."""
    request: bool
    """Is it a request, and not a reply?"""
    transaction: int
    """The number that ties a reply to its request; 0 where the transport has none."""
    unit: int
    pdu: bytes
    """Function code and data."""
    connection: int = 0
    """Of a server: which connection it came by, counted from 1."""


class MbapFramer:
    """Puts a stream together into whole frames.

    Bytes come in by `feed()`, or without a copy: they are received into `space()` and counted by `advance()`. What is
    still to be looked at lies in `buffer` from `start` to `end`.
    A header that cannot be one sets `error`; the frames before it are still given, and nothing after it is.
    """

    __slots__ = ("buffer", "end", "error", "start", "view")

    def __init__(self) -> None:
        self.buffer = bytearray(BUFFER)
        self.view = memoryview(self.buffer)
        self.start = 0
        self.end = 0
        self.error = ""

    @property
    def partial(self) -> bool:
        """Has a frame begun that is not yet whole?"""
        return self.end > self.start

    def space(self) -> memoryview:
        """Room for what comes next; never empty."""
        if BUFFER - self.end < MAX_FRAME:
            left = self.end - self.start
            self.buffer[:left] = self.buffer[self.start : self.end]
            self.start, self.end = 0, left
        return self.view[self.end :]

    def advance(self, count: int) -> list[Frame]:
        """`count` bytes were received into `space()`: the frames that are now whole, in order."""
        self.end += count
        frames: list[Frame] = []
        buffer, start, end = self.buffer, self.start, self.end
        while end - start >= HEADER and not self.error:
            transaction, protocol, length, unit = MBAP.unpack_from(buffer, start)
            if protocol != 0:
                self.error = f"protocol id {protocol:04X} is not Modbus (0000)"
            elif not 2 <= length <= MAX_PDU + 1:
                self.error = f"length {length} is not one of 2 to {MAX_PDU + 1}"
            elif end - start < 6 + length:
                break
            else:
                stop = start + 6 + length
                frames.append(Frame(transaction, unit, bytes(buffer[start + HEADER : stop])))
                start = stop
        if start == end or self.error:
            start = end = 0
        self.start, self.end = start, end
        return frames

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order."""
        frames: list[Frame] = []
        at = 0
        while at < len(data) and not self.error:
            space = self.space()
            piece = data[at : at + len(space)]
            space[: len(piece)] = piece
            at += len(piece)
            frames += self.advance(len(piece))
        return frames


def frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    """One message as it travels."""
    return MBAP.pack(transaction, 0, len(pdu) + 1, unit) + pdu
