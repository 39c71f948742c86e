"""Words to values and back.

A codec knows which bytes of the image a variable covers, which of their bits are its own, and how
these bits become a Python value. It knows nothing of addresses, names or locks. In the image a word is two
bytes, high byte first, as it travels (application protocol V1.1b3, section 4.2: big-endian).
"""

from __future__ import annotations

import operator
from typing import Any, Generic, TypeVar

from msm.errors import ValueRangeError, ValueTypeError

T = TypeVar("T")


class Codec(Generic[T]):
    """How `size` bytes become a value of type `T`; `mask` says which of their bits are meant (None: all)."""

    __slots__ = ("kind", "mask", "size")

    def __init__(self, kind: str, size: int, mask: int | None = None) -> None:
        self.kind = kind
        self.size = size
        self.mask = mask

    def decode(self, raw: bytes | bytearray) -> T:
        """The value of `size` bytes of the image."""
        raise NotImplementedError

    def encode(self, value: T, name: str) -> bytes:
        """The `size` bytes for a value; bits outside `mask` are 0.

        :raises ValueTypeError: the value is not of the variable's type; the message begins with `name`.
        :raises ValueRangeError: the value does not fit.
        """
        raise NotImplementedError


class BoolCodec(Codec[bool]):
    """One bit of one byte."""

    __slots__ = ("_on",)

    def __init__(self, bit: int) -> None:
        super().__init__("bool", 1, 1 << bit)
        self._on = bytes([1 << bit])

    def decode(self, raw: bytes | bytearray) -> bool:
        return raw[0] & self._on[0] != 0

    def encode(self, value: bool, name: str) -> bytes:
        return self._on if as_bool(value, name, self.kind) else b"\x00"


class IntCodec(Codec[int]):
    """An unsigned integer of one byte, or of whole words laid low word first."""

    __slots__ = ("_max", "_swapped")

    def __init__(self, kind: str, size: int) -> None:
        super().__init__(kind, size)
        self._max = (1 << 8 * size) - 1
        self._swapped = size > 2

    def decode(self, raw: bytes | bytearray) -> int:
        return int.from_bytes(reverse_words(raw) if self._swapped else raw, "big")

    def encode(self, value: int, name: str) -> bytes:
        number = as_int(value, name, self.kind)
        if not 0 <= number <= self._max:
            raise ValueRangeError(f"{name}: {number} is out of range, a {self.kind} takes 0 to {self._max}")
        raw = number.to_bytes(self.size, "big")
        return reverse_words(raw) if self._swapped else raw


def reverse_words(raw: bytes | bytearray) -> bytes:
    """The same words in opposite order: low word first becomes high word first, and back."""
    return b"".join(bytes(raw[at : at + 2]) for at in range(len(raw) - 2, -1, -2))


def as_int(value: Any, name: str, kind: str) -> int:
    """The integer that a value is; a float is not one, not even 5.0."""
    try:
        return operator.index(value)
    except TypeError:
        raise ValueTypeError(f"{name}: {value!r} is a {type(value).__name__}, a {kind} takes an int") from None


def as_bool(value: Any, name: str, kind: str) -> bool:
    """True, False, 0 and 1 are booleans; anything else is refused, since it is more likely a mistake."""
    if value is True or value is False:
        return bool(value)
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number not in (0, 1):
        raise ValueTypeError(f"{name}: {value!r} is not a bool, a {kind} takes True, False, 0 or 1")
    return number == 1
