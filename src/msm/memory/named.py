"""Codecs whose values have names: enums, flags, dates."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from msm.errors import ValueRangeError
from msm.memory.codec import Codec, Orders, wrong_type

E = TypeVar("E", bound=enum.Enum)


class UnknownEnumValue(int):
    """A raw number that the enum of a variable does not have: an int that says so.

    It equals and computes as the raw number, so a device with a newer firmware is still readable.
    """

    enum_type: type[enum.Enum]

    def __new__(cls, value: int, enum_type: type[enum.Enum]) -> UnknownEnumValue:
        self = super().__new__(cls, value)
        self.enum_type = enum_type
        return self

    def __reduce__(self) -> tuple[type[UnknownEnumValue], tuple[int, type[enum.Enum]]]:
        return type(self), (int(self), self.enum_type)  # for copy and pickle, which would forget the enum

    def __repr__(self) -> str:
        return f"<{self.enum_type.__name__}: unknown {int(self)}>"

    __str__ = __repr__


class EnumCodec(Codec[E]):
    """A whole number that stands for the member of an enum, or of a flag type."""

    __slots__ = ("_enum", "_members", "_raw")

    def __init__(self, raw: Codec[int], enum_type: type[E]) -> None:
        super().__init__(raw.kind, raw.size, raw.mask)
        self._raw = raw
        self._enum = enum_type
        self._members: dict[int, Any] = {member.value: member for member in enum_type}

    def decode(self, raw: bytes | bytearray) -> E:
        number = self._raw.decode(raw)
        member = self._members.get(number)
        if member is None:
            try:
                member = self._enum(number)
            except ValueError:
                member = UnknownEnumValue(number, self._enum)
        return member  # type: ignore[return-value]  # or an UnknownEnumValue, which says so

    def encode(self, value: E, name: str) -> bytes:
        member: Any = value
        if not isinstance(value, self._enum):
            if isinstance(value, (bool, enum.Enum)) or not isinstance(value, int):
                raise wrong_type(name, value, self._enum.__name__, f"a member of {self._enum.__name__}")
            try:
                member = self._enum(int(value))
            except ValueError:
                members = ", ".join(f"{each.name} ({each.value})" for each in self._enum)
                raise ValueRangeError(
                    f"{name}: {int(value)} is no member of {self._enum.__name__}, which has {members}"
                ) from None
        return self._raw.encode(member.value, name)


class DateLayout(NamedTuple):
    """How a point in time lies in `size` bytes of big-endian words."""

    size: int
    meaning: str
    read: Callable[[bytes], datetime]
    write: Callable[[datetime], bytes]
    swaps: bool
    """Is it one number, whose words may be swapped, or a row of fields, whose words may not?"""


class DateTimeCodec(Codec["datetime | None"]):
    """A point in time in one of `LAYOUTS`. Words that are no date (a month 13, all zeros) read as None."""

    __slots__ = ("_layout", "_name", "_orders")

    def __init__(self, layout: str, orders: Orders) -> None:
        self._layout = LAYOUTS[layout]
        super().__init__("datetime", self._layout.size)
        self._name = layout
        self._orders = orders if self._layout.swaps else Orders("big", orders.byte_order)

    def decode(self, raw: bytes | bytearray) -> datetime | None:
        try:
            return self._layout.read(bytes(self._orders.arrange(raw)))
        except (ValueError, OverflowError):
            return None

    def encode(self, value: datetime | None, name: str) -> bytes:
        if not isinstance(value, datetime):
            raise wrong_type(name, value, "datetime", "a datetime.datetime")
        if self._layout.swaps and value.tzinfo is None:
            raise ValueRangeError(f"{name}: {value} has no time zone, and {self._name} counts from an instant in UTC")
        if not self._layout.swaps and value.tzinfo is not None:
            raise ValueRangeError(f"{name}: {value} has a time zone, and {self._name} is the device's own clock")
        try:
            raw = self._layout.write(value)
            # Fields may have a year of two digits. A count is in UTC, where New Year's Eve is another one.
            if not self._layout.swaps and self._layout.read(raw).year != value.year:
                raise ValueError
        except (ValueError, OverflowError):
            raise ValueRangeError(f"{name}: {value} is outside what {self._name} can say") from None
        return bytes(self._orders.arrange(raw))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CENTURY_PIVOT = 70  # two-digit years: 70 to 99 are 1970 to 1999, as in IEC 60870-5-4 devices


def _full_year(two_digits: int) -> int:
    return two_digits + (1900 if two_digits >= _CENTURY_PIVOT else 2000)


def _from_seconds(raw: bytes) -> datetime:
    return _EPOCH + timedelta(seconds=int.from_bytes(raw, "big"))


def _from_milliseconds(raw: bytes) -> datetime:
    return _EPOCH + timedelta(milliseconds=int.from_bytes(raw, "big"))


def _to_count(size: int, unit: timedelta) -> Callable[[datetime], bytes]:
    return lambda value: ((value - _EPOCH) // unit).to_bytes(size, "big")


def _from_words(raw: bytes) -> datetime:
    fields = [int.from_bytes(raw[at : at + 2], "big") for at in range(0, 12, 2)]
    return datetime(*fields)  # type: ignore[arg-type]


def _to_words(value: datetime) -> bytes:
    fields = (value.year, value.month, value.day, value.hour, value.minute, value.second)
    return b"".join(field.to_bytes(2, "big") for field in fields)


def _bcd(byte: int) -> int:
    return int(f"{byte:02x}")


def _to_bcd(number: int) -> int:
    return int(f"{number:02}", 16)


def _from_bcd(raw: bytes) -> datetime:
    year, *rest = (_bcd(byte) for byte in raw)
    return datetime(_full_year(year), *rest)  # type: ignore[arg-type]


def _to_bcd_bytes(value: datetime) -> bytes:
    fields = (value.year % 100, value.month, value.day, value.hour, value.minute, value.second)
    return bytes(_to_bcd(field) for field in fields)


def _from_s7(raw: bytes) -> datetime:
    year, month, day, hour, minute, second, high, low = (_bcd(byte) for byte in (*raw[:7], raw[7] & 0xF0))
    return datetime(_full_year(year), month, day, hour, minute, second, 1000 * (10 * high + low // 10))


def _to_s7(value: datetime) -> bytes:
    milliseconds = value.microsecond // 1000
    weekday = value.isoweekday() % 7 + 1  # Sunday is 1
    return _to_bcd_bytes(value) + bytes((_to_bcd(milliseconds // 10), _to_bcd(milliseconds % 10) << 4 | weekday))


def _from_cp56(raw: bytes) -> datetime:
    # Seven bytes, the lowest first, in four words whose first byte of all is the year's high neighbour, 0.
    data = raw[::-1]
    if data[2] & 0x80:
        raise ValueError("the device says that its time is invalid")
    second, milliseconds = divmod(data[0] | data[1] << 8, 1000)
    fields = (_full_year(data[6] & 0x7F), data[5] & 0x0F, data[4] & 0x1F, data[3] & 0x1F, data[2] & 0x3F)
    return datetime(*fields, second, 1000 * milliseconds)


def _to_cp56(value: datetime) -> bytes:
    count = value.second * 1000 + value.microsecond // 1000
    day = value.day | value.isoweekday() << 5
    data = bytes((count & 0xFF, count >> 8, value.minute, value.hour, day, value.month, value.year % 100, 0))
    return data[::-1]


LAYOUTS: dict[str, DateLayout] = {
    "unix32": DateLayout(
        4, "seconds since 1970 UTC in two words", _from_seconds, _to_count(4, timedelta(seconds=1)), True
    ),
    "unix64": DateLayout(
        8, "seconds since 1970 UTC in four words", _from_seconds, _to_count(8, timedelta(seconds=1)), True
    ),
    "unix64ms": DateLayout(
        8, "milliseconds since 1970 UTC in four words", _from_milliseconds,
        _to_count(8, timedelta(milliseconds=1)), True,
    ),
    "words": DateLayout(
        12, "year, month, day, hour, minute, second, a word each", _from_words, _to_words, False
    ),
    "bcd": DateLayout(
        6, "year (two digits), month, day, hour, minute, second, a BCD byte each", _from_bcd, _to_bcd_bytes, False
    ),
    "s7": DateLayout(8, "Siemens S7 DATE_AND_TIME, eight BCD bytes", _from_s7, _to_s7, False),
    "cp56": DateLayout(8, "IEC 60870-5-4 CP56Time2a in four words, year first", _from_cp56, _to_cp56, False),
}  # fmt: skip
"""The layouts of `MemoryVariable.datetime`. Counts are instants in UTC; fields are the device's own clock."""
