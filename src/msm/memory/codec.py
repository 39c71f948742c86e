"""Words to values and back.

A codec knows how many bytes of the image a variable covers, which of their bits are its own, and how these bits
become a Python value. It knows nothing of addresses, names or locks. In the image a word is two bytes,
high byte first, as it travels (application protocol V1.1b3, section 4.2: big-endian).

Codecs are put together: an order of bytes inside a number, a number inside a scale, a scale inside an array.
"""

from __future__ import annotations

import math
import operator
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from msm.errors import ValueRangeError, ValueTypeError

T = TypeVar("T")

Order: TypeAlias = Literal["little", "big"]


class Orders(NamedTuple):
    """How the words of a value follow each other, and the bytes of a word.

    `word_order="little"` lays the low word first (the Modicon way), `byte_order="big"` the high byte of each
    word first (the Modbus way). With the letters of a 32-bit value from its highest byte, ABCD: little and big is
    CDAB, big and big is ABCD, big and little is BADC, little and little is DCBA.
    """

    word_order: Order = "little"
    byte_order: Order = "big"

    def arrange(self, raw: bytes | bytearray) -> bytes | bytearray:
        """From the image's order to big-endian, and back: it is its own inverse."""
        if self.byte_order == "little":
            raw = swap_bytes(raw)
        if self.word_order == "little" and len(raw) > 2:
            raw = reverse_words(raw)
        return raw


class Codec(ABC, Generic[T]):
    """How `size` bytes become a value of type `T`; `mask` says which of their bits are meant (None: all)."""

    __slots__ = ("kind", "mask", "size")

    def __init__(self, kind: str, size: int, mask: int | None = None) -> None:
        self.kind = kind
        self.size = size
        self.mask = mask

    @abstractmethod
    def decode(self, raw: bytes | bytearray) -> T:
        """The value of `size` bytes of the image."""

    @abstractmethod
    def encode(self, value: T, name: str) -> bytes:
        """The `size` bytes for a value; bits outside `mask` are of no meaning.

        :raises ValueTypeError: the value is not of the variable's type; the message begins with `name`.
        :raises ValueRangeError: the value does not fit.
        """


class BoolCodec(Codec[bool]):
    """One bit of one byte."""

    __slots__ = ("_on",)

    def __init__(self, kind: str, bit: int) -> None:
        super().__init__(kind, 1, 1 << bit)
        self._on = bytes([1 << bit])

    @property
    def bit(self) -> int:
        """The bit of its byte, as a mask."""
        return self._on[0]

    def decode(self, raw: bytes | bytearray) -> bool:
        return raw[0] & self._on[0] != 0

    def encode(self, value: bool, name: str) -> bytes:
        return self._on if as_bool(value, name, self.kind) else b"\x00"


class PackedBitsCodec(Codec[tuple[bool, ...]]):
    """Several coils or discrete inputs, from bit `first` of the first byte, the first one lowest."""

    __slots__ = ("_count", "_first")

    def __init__(self, kind: str, first: int, count: int) -> None:
        size = (first + count + 7) // 8
        bits = ((1 << count) - 1) << first
        super().__init__(kind, size, int.from_bytes(bits.to_bytes(size, "little"), "big"))
        self._first = first
        self._count = count

    def decode(self, raw: bytes | bytearray) -> tuple[bool, ...]:
        bits = int.from_bytes(raw, "little") >> self._first
        return tuple(bits >> at & 1 == 1 for at in range(self._count))

    def encode(self, value: Sequence[bool], name: str) -> bytes:
        items = as_items(value, name, self.kind, self._count)
        bits = 0
        for at, item in enumerate(items):
            bits |= as_bool(item, f"{name}[{at}]", self.kind) << at
        return (bits << self._first).to_bytes(self.size, "little")


class IntCodec(Codec[int]):
    """A whole number of one byte, or of whole words."""

    __slots__ = ("_max", "_min", "byteorder", "rearranges", "signed")

    def __init__(self, kind: str, size: int, signed: bool, orders: Orders) -> None:
        super().__init__(kind, size)
        self.signed = signed
        self._min = -(1 << 8 * size - 1) if signed else 0
        self._max = (1 << 8 * size - signed) - 1
        little_words = orders.word_order == "little" and size > 2
        little_bytes = orders.byte_order == "little" and size > 1
        # All bytes in one direction is something int.from_bytes does by itself.
        self.rearranges = size > 2 and little_words != little_bytes
        self.byteorder: Order = "little" if little_bytes else "big"

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and the highest value."""
        return self._min, self._max

    def decode(self, raw: bytes | bytearray) -> int:
        if self.rearranges:
            raw = reverse_words(raw)
        return int.from_bytes(raw, self.byteorder, signed=self.signed)

    def encode(self, value: int, name: str) -> bytes:
        number = as_int(value, name, self.kind)
        if not self._min <= number <= self._max:
            raise out_of_range(name, number, self.kind, self._min, self._max)
        raw = number.to_bytes(self.size, self.byteorder, signed=self.signed)
        return reverse_words(raw) if self.rearranges else raw


class BitsCodec(Codec[int]):
    """A run of bits of one word, as a number from 0."""

    __slots__ = ("_max", "_orders", "_shift")

    def __init__(self, kind: str, first: int, length: int, orders: Orders) -> None:
        self._orders = Orders("big", orders.byte_order)
        self._max = (1 << length) - 1
        self._shift = first
        mask = (self._max << first).to_bytes(2, "big")
        super().__init__(kind, 2, int.from_bytes(self._orders.arrange(mask), "big"))

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and the highest value."""
        return 0, self._max

    def decode(self, raw: bytes | bytearray) -> int:
        return int.from_bytes(self._orders.arrange(raw), "big") >> self._shift & self._max

    def encode(self, value: int, name: str) -> bytes:
        number = as_int(value, name, self.kind)
        if not 0 <= number <= self._max:
            raise out_of_range(name, number, self.kind, 0, self._max)
        return bytes(self._orders.arrange((number << self._shift).to_bytes(2, "big")))


class FloatCodec(Codec[float]):
    """An IEEE 754 number of 16, 32 or 64 bits."""

    __slots__ = ("_largest", "_orders", "_struct", "byteorder", "rearranges")

    def __init__(self, kind: str, size: int, orders: Orders) -> None:
        super().__init__(kind, size)
        self._struct = struct.Struct({2: ">e", 4: ">f", 8: ">d"}[size])
        self._orders = orders
        little_words = orders.word_order == "little" and size > 2
        self.byteorder = orders.byte_order
        self.rearranges = size > 2 and little_words != (orders.byte_order == "little")
        self._largest = {2: 65504.0, 4: 3.4028234663852886e38, 8: sys.float_info.max}[size]

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest value that is not infinite."""
        return -self._largest, self._largest

    def decode(self, raw: bytes | bytearray) -> float:
        value: float = self._struct.unpack(self._orders.arrange(raw))[0]
        return value

    def encode(self, value: float, name: str) -> bytes:
        number = as_float(value, name, self.kind)
        try:
            return bytes(self._orders.arrange(self._struct.pack(number)))
        except OverflowError:
            raise out_of_range(name, value, self.kind, *self.limits) from None


class BcdCodec(Codec["int | None"]):
    """Binary coded decimal: four digits to a word. Words that are not decimal digits read as None."""

    __slots__ = ("_digits", "_orders")

    def __init__(self, kind: str, size: int, orders: Orders) -> None:
        super().__init__(kind, size)
        self._digits = 2 * size
        self._orders = orders

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and the highest value."""
        return 0, 10**self._digits - 1

    def decode(self, raw: bytes | bytearray) -> int | None:
        digits = self._orders.arrange(raw).hex()
        return int(digits) if digits.isdecimal() else None

    def encode(self, value: int | None, name: str) -> bytes:
        number = as_int(value, name, self.kind)
        low, high = self.limits
        if not low <= number <= high:
            raise out_of_range(name, number, self.kind, low, high)
        return bytes(self._orders.arrange(bytes.fromhex(f"{number:0{self._digits}}")))


class StringCodec(Codec[str]):
    """Text of a fixed length in bytes, filled up with zero bytes; the first zero ends it."""

    __slots__ = ("_encoding", "_length", "_orders")

    def __init__(self, kind: str, length: int, encoding: str, orders: Orders) -> None:
        size = length + length % 2
        # Text runs from word to word; only the order of the two bytes of a word varies between devices.
        self._orders = Orders("big", orders.byte_order)
        mask = int.from_bytes(self._orders.arrange(b"\xff" * length + bytes(size - length)), "big")
        super().__init__(kind, size, mask if size > length else None)
        self._length = length
        self._encoding = encoding

    def decode(self, raw: bytes | bytearray) -> str:
        text = bytes(self._orders.arrange(raw))[: self._length]
        return text.split(b"\x00", 1)[0].decode(self._encoding, "replace")

    def encode(self, value: str, name: str) -> bytes:
        if not isinstance(value, str):
            raise wrong_type(name, value, self.kind, "a str")
        try:
            text = value.encode(self._encoding)
        except UnicodeEncodeError as error:
            bad = value[error.start]
            raise ValueRangeError(f"{name}: {bad!r} in {value!r} cannot be written in {self._encoding}") from None
        if len(text) > self._length:
            raise ValueRangeError(f"{name}: {value!r} takes {len(text)} bytes, there is room for {self._length}")
        if b"\x00" in text:
            raise ValueRangeError(f"{name}: {value!r} has a zero in it, which would end the text")
        return bytes(self._orders.arrange(text.ljust(self.size, b"\x00")))


class ScaledCodec(Codec[float]):
    """An engineering value: raw number times `scale` plus `offset`, rounded to the nearest raw number."""

    __slots__ = ("_digits", "_offset", "_raw", "_scale")

    def __init__(self, raw: Codec[Any], scale: float, offset: float) -> None:
        super().__init__(raw.kind, raw.size, raw.mask)
        self._raw = raw
        self._scale = scale
        self._offset = offset
        # A whole number times 0.1 has one decimal: 3 * 0.1 is to be read as 0.3, not as 0.30000000000000004.
        digits = max(decimals(scale), decimals(offset))
        self._digits = None if isinstance(raw, FloatCodec) or digits > 12 else digits

    def decode(self, raw: bytes | bytearray) -> float:
        number = self._raw.decode(raw)
        if number is None:
            return number  # type: ignore[return-value]  # BCD that is not decimal
        return self._scaled(number)

    def encode(self, value: float, name: str) -> bytes:
        number = as_float(value, name, self.kind)
        raw = (number - self._offset) / self._scale
        whole = not isinstance(self._raw, FloatCodec)
        if whole and not math.isfinite(number):
            raise ValueRangeError(f"{name}: {value!r} is not a number that {_a(self.kind)} can hold")
        low, high = self._raw.limits  # type: ignore[attr-defined]
        # A finite value may become an infinite one by its scale, which is then as little what was meant.
        if math.isfinite(raw):
            raw = round(raw) if whole else raw
            fits = low <= raw <= high
        else:
            fits = not math.isfinite(number)
        if not fits:
            ends = sorted((self._scaled(low), self._scaled(high)))
            kind = f"{self.kind} with scale {self._scale} and offset {self._offset}"
            raise out_of_range(name, value, kind, *ends)
        return self._raw.encode(raw, name)

    def _scaled(self, number: float) -> float:
        scaled = float(number * self._scale + self._offset)
        return scaled if self._digits is None else round(scaled, self._digits)


class LimitedCodec(Codec[T]):
    """Refuses values below `low` or above `high`; what is read is not checked."""

    __slots__ = ("_high", "_inner", "_low")

    def __init__(self, inner: Codec[T], low: float | None, high: float | None) -> None:
        super().__init__(inner.kind, inner.size, inner.mask)
        self._inner = inner
        self._low = -math.inf if low is None else low
        self._high = math.inf if high is None else high

    def decode(self, raw: bytes | bytearray) -> T:
        return self._inner.decode(raw)

    def encode(self, value: T, name: str) -> bytes:
        raw = self._inner.encode(value, name)  # its type comes first
        if value is not None and not self._low <= value <= self._high:  # type: ignore[operator]
            limits = {"min": self._low, "max": self._high}
            told = " and ".join(f"{what} {limit}" for what, limit in limits.items() if not math.isinf(limit))
            raise ValueRangeError(f"{name}: {value!r} is outside its limits, {told}")
        return raw


class NanCodec(Codec["T | None"]):
    """A raw number that means "no value": it is read as None, and None is written as it."""

    __slots__ = ("_inner", "_nothing", "_quiet")

    def __init__(self, inner: Codec[T], raw: Codec[Any], nothing: float) -> None:
        super().__init__(inner.kind, inner.size, inner.mask)
        self._inner = inner
        self._nothing = raw.encode(nothing, "nan")
        # There are many bit patterns for "not a number", and devices use all of them.
        self._quiet = raw if math.isnan(nothing) else None

    def decode(self, raw: bytes | bytearray) -> T | None:
        if self._quiet is not None:
            return None if math.isnan(self._quiet.decode(raw)) else self._inner.decode(raw)
        mask = -1 if self.mask is None else self.mask
        differs = (int.from_bytes(raw, "big") ^ int.from_bytes(self._nothing, "big")) & mask
        return self._inner.decode(raw) if differs else None

    def encode(self, value: T | None, name: str) -> bytes:
        return self._nothing if value is None else self._inner.encode(value, name)


class ArrayCodec(Codec[tuple[T, ...]]):
    """`count` values of the same type one after the other."""

    __slots__ = ("_count", "_item")

    def __init__(self, item: Codec[T], count: int) -> None:
        super().__init__(item.kind, item.size * count)
        self._item = item
        self._count = count

    def decode(self, raw: bytes | bytearray) -> tuple[T, ...]:
        size, decode = self._item.size, self._item.decode
        return tuple(decode(raw[at : at + size]) for at in range(0, self.size, size))

    def encode(self, value: Sequence[T], name: str) -> bytes:
        items = as_items(value, name, self.kind, self._count)
        return b"".join(self._item.encode(item, f"{name}[{at}]") for at, item in enumerate(items))


def decimals(number: float) -> int:
    """How many decimals a number is written with: 1 for 0.1, 0 for 40."""
    exponent = Decimal(str(number)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 99


def reverse_words(raw: bytes | bytearray) -> bytes:
    """The same words in opposite order: low word first becomes high word first, and back."""
    words = struct.Struct(f">{len(raw) // 2}H")
    return words.pack(*words.unpack(raw)[::-1])


def swap_bytes(raw: bytes | bytearray) -> bytes:
    """The two bytes of each word change places."""
    swapped = bytearray(raw)
    swapped[0::2], swapped[1::2] = raw[1::2], raw[0::2]
    return bytes(swapped)


def as_int(value: Any, name: str, kind: str) -> int:
    """The whole number that a value is; a float is not one, not even 5.0."""
    try:
        return operator.index(value)
    except TypeError:
        raise wrong_type(name, value, kind, "an int") from None


def as_float(value: Any, name: str, kind: str) -> float:
    """The number that a value is; text is not one."""
    if isinstance(value, (str, bytes, bytearray, complex)):
        raise wrong_type(name, value, kind, "a number")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise wrong_type(name, value, kind, "a number") from None
    except OverflowError:
        raise ValueRangeError(f"{name}: {value!r} is too large for a {kind}") from None


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


def as_items(value: Any, name: str, kind: str, count: int) -> list[Any]:
    """The items of an array's value: exactly as many as it has."""
    if isinstance(value, (str, bytes)):
        raise wrong_type(name, value, kind, f"a sequence of {count}, since it is an array")
    try:
        items = list(value)
    except TypeError:
        raise wrong_type(name, value, kind, f"a sequence of {count}, since it is an array") from None
    if len(items) != count:
        raise ValueRangeError(f"{name}: {len(items)} items, the array has {count}")
    return items


def wrong_type(name: str, value: object, kind: str, wanted: str) -> ValueTypeError:
    """The error for a value of the wrong type."""
    return ValueTypeError(f"{name}: {value!r} is {_a(type(value).__name__)}, {_a(kind)} takes {wanted}")


def out_of_range(name: str, value: object, kind: str, low: float, high: float) -> ValueRangeError:
    """The error for a value that does not fit."""
    return ValueRangeError(f"{name}: {value!r} is out of range, {_a(kind)} takes {low} to {high}")


def _a(noun: str) -> str:
    return noun if noun in ("bits", "flags") else f"an {noun}" if noun[0] in "aeio" else f"a {noun}"
