"""What may go wrong: single faults for a device's next replies, and how often each happens on a line."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from msm.errors import DeclarationError

Wrong = Literal["function", "unit", "transaction", "short", "long", "echo"]
Kind = Literal["fine", "ignored", "lost", "late", "refused", "wrong", "cut", "doubled"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What a device does with one request in place of a proper answer; made by the functions below."""

    kind: Kind
    seconds: float = 0.0
    code: int = 0
    wrong: Wrong = "function"
    size: int = 0

    def __str__(self) -> str:
        told = {
            "late": f"late by {self.seconds:g} s",
            "refused": f"refused with {self.code:02X}",
            "wrong": f"wrong {self.wrong}",
            "cut": f"cut after {self.size} bytes",
        }
        return told.get(self.kind, self.kind)


def fine() -> Fault:
    """Nothing goes wrong."""
    return Fault("fine")


def ignored() -> Fault:
    """The request never reaches the device: nothing is done, nothing is answered."""
    return Fault("ignored")


def lost() -> Fault:
    """The request is performed, and the reply is lost."""
    return Fault("lost")


def late(seconds: float) -> Fault:
    """The request is performed, and the reply comes late."""
    if not 0 <= seconds <= 86400:
        raise DeclarationError(f"late: {seconds!r} is not a number of seconds from 0 to 86400")
    return Fault("late", seconds=seconds)


def refused(code: int) -> Fault:
    """The request is not performed, but answered by this exception code, 1 to 255."""
    if not 1 <= code <= 255:
        raise DeclarationError(f"refused: {code!r} is not an exception code from 1 to 255")
    return Fault("refused", code=code)


def busy() -> Fault:
    """The device says that it is busy: exception 06."""
    return refused(6)


def wrong(what: Wrong = "function") -> Fault:
    """The request is performed, and answered by something that is no answer to it.

    :param what: what is not right in it: the "function", the "unit", the "transaction" (where there are transactions),
        the "echo" (of a write), or its size: a byte "short" or "long".
    """
    if what not in ("function", "unit", "transaction", "short", "long", "echo"):
        raise DeclarationError(f"wrong: {what!r} is none of function, unit, transaction, short, long, echo")
    return Fault("wrong", wrong=what)


def cut(size: int = 5) -> Fault:
    """The request is performed; of the reply only so many bytes come, and then the connection ends."""
    if size < 0:
        raise DeclarationError(f"cut: {size!r} is not a number of bytes")
    return Fault("cut", size=size)


def doubled() -> Fault:
    """The request is performed, and the reply comes twice."""
    return Fault("doubled")


@dataclass(frozen=True, slots=True)
class Faults:
    """How often each thing happens on a line, as a probability from 0 to 1; and how long delays take, in seconds.

    :raises DeclarationError: something is out of its range.
    """

    lose_request: float = 0.0
    lose_reply: float = 0.0
    double_request: float = 0.0
    double_reply: float = 0.0
    overtake: float = 0.0
    """A reply comes only behind the next one."""
    delay: float = 0.0
    delay_up_to: float = 0.0
    """Seconds; how long is drawn anew each time."""
    late: float = 0.0
    late_by: float = 0.0
    """Seconds by which a reply is late, and all that are behind it."""
    busy: float = 0.0
    """A request does not reach the server, and is answered by exception 06."""
    wrong_reply: float = 0.0
    """A reply has another function code."""
    split: float = 0.0
    """A message arrives byte by byte; not over UDP, where it is whole or nothing."""
    drop: float = 0.0
    """The connection breaks between two messages."""
    cut: float = 0.0
    """The connection ends within a message."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            most = 86400 if each.name in ("delay_up_to", "late_by") else 1
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise DeclarationError(f"{each.name}={value!r} is not a number from 0 to {most}")


QUIET = Faults()
