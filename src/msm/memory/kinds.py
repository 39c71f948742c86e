"""The constructors of `MemoryVariable`: one callable for each type of value.

They are objects and not methods so that the overloads that a type checker needs (a plain number, a scaled one, one
that may be missing, an array) are written once for all numbers, and so that the documentation's table of
types can be made from them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Required, TypeAlias, TypedDict, TypeVar, Unpack, overload

from msm.memory.codec import (
    ArrayCodec,
    BcdCodec,
    BitsCodec,
    BoolCodec,
    Codec,
    FloatCodec,
    IntCodec,
    LimitedCodec,
    NanCodec,
    Order,
    Orders,
    PackedBitsCodec,
    ScaledCodec,
    StringCodec,
)
from msm.memory.named import LAYOUTS, DateTimeCodec, EnumCodec

if TYPE_CHECKING:
    from msm.memory.image import TableName
    from msm.memory.variable import MemoryVariable

E = TypeVar("E", bound=enum.Enum)

Access: TypeAlias = Literal["rw", "ro", "wo"]
ACCESSES: tuple[Access, ...] = ("rw", "ro", "wo")

Placed: TypeAlias = tuple[int, Codec[Any]]  # the first byte, counted from the variable's first cell; and the codec
Make: TypeAlias = Callable[[Orders], Placed]


class CommonKeywords(TypedDict, total=False):
    """The keywords of every constructor."""

    access: Access
    """"rw" (default), "ro": only the device writes it, or "wo": it is only written."""
    label: str
    """What it is, in words for people."""
    period: float
    """Seconds between polls of this variable; by default the client's."""
    command: bool
    """Every assignment is sent, in order, equal values too; late ones expire."""
    heartbeat: float
    """Seconds after which the value is sent again by itself."""
    conflict: Literal["mine", "device"]
    """Who wins when the device changes it while an assignment is on its way; by default the client's keyword."""
    behaviour: str
    """How it moves where `msm serve` plays the device, e.g. "sine 20 80 10"; nothing else heeds it."""


class WordKeywords(CommonKeywords, total=False):
    """The keywords of what lies in words."""

    table: TableName
    """"holding" (default) or "input"."""
    word_order: Order
    """"little" (low word first) or "big"; by default the store's."""
    byte_order: Order
    """"big" (high byte first) or "little"; by default the store's."""


class NumberKeywords(WordKeywords, total=False):
    """The keywords of numbers."""

    min: float
    """The lowest value that may be assigned."""
    max: float
    """The highest value that may be assigned."""
    unit: str
    """The unit of measurement, e.g. "rpm"."""


class ScaledKeywords(NumberKeywords, total=False):
    """The keywords of numbers with a scale; these are told apart so that a type checker knows their floats."""

    scale: Required[float]
    """The raw number times this, plus `offset`, is the value."""
    offset: float


class OffsetKeywords(NumberKeywords):
    """The keywords of numbers with an offset only."""

    offset: float
    """What is added to the raw number."""


class FloatKeywords(NumberKeywords, total=False):
    """The keywords of floats: scaled or not, they are floats."""

    scale: float
    offset: float


class Kind:
    """A constructor: `name`, the `words` it takes (or "bits"), its `values`, and what it `gives`."""

    def __init__(self, name: str, words: str, values: str, gives: str, doc: str) -> None:
        self.name = name
        self.words = words
        self.values = values
        self.gives = gives
        self.__doc__ = doc

    def __set_name__(self, owner: type[MemoryVariable[Any]], name: str) -> None:
        self._variable = owner

    def declare(
        self, address: int, make: Make, arguments: dict[str, Any], keywords: Any, problem: str = ""
    ) -> MemoryVariable[Any]:
        """A variable of this kind; `problem` is what is wrong with its own arguments."""
        return self._variable(self.name, address, make, arguments, dict(keywords), problem)

    def __repr__(self) -> str:
        return f"<MemoryVariable.{self.name}>"


class BoolKind(Kind):
    """`MemoryVariable.bool`."""

    def __call__(self, address: int, bit_number: int, **keywords: Unpack[WordKeywords]) -> MemoryVariable[bool]:
        problem = number_problem("bit_number", bit_number, 15)
        bit = 0 if problem else bit_number

        def make(orders: Orders) -> Placed:
            return _byte_position(bit // 8, orders), BoolCodec("bool", bit % 8)

        return self.declare(address, make, {"bit_number": bit_number}, keywords, problem)


class ByteKind(Kind):
    """`MemoryVariable.byte` and `.int8`: part of a word."""

    @overload
    def __call__(self, address: int, byte_number: int, **keywords: Unpack[NumberKeywords]) -> MemoryVariable[int]: ...
    @overload
    def __call__(self, address: int, byte_number: int, **keywords: Unpack[ScaledKeywords]) -> MemoryVariable[float]: ...
    @overload
    def __call__(self, address: int, byte_number: int, **keywords: Unpack[OffsetKeywords]) -> MemoryVariable[float]: ...
    @overload
    def __call__(
        self, address: int, byte_number: int, *, nan: int, **keywords: Unpack[NumberKeywords]
    ) -> MemoryVariable[int | None]: ...
    @overload
    def __call__(
        self, address: int, byte_number: int, *, nan: int, **keywords: Unpack[ScaledKeywords]
    ) -> MemoryVariable[float | None]: ...
    @overload
    def __call__(
        self, address: int, byte_number: int, *, nan: int, **keywords: Unpack[OffsetKeywords]
    ) -> MemoryVariable[float | None]: ...
    def __call__(self, address: int, byte_number: int, **keywords: Any) -> MemoryVariable[Any]:
        problem = number_problem("byte_number", byte_number, 1)
        which = 0 if problem else byte_number
        problem = problem or ("count: a part of a word cannot be an array" if "count" in keywords else "")

        def make(orders: Orders) -> Placed:
            codec = IntCodec(self.name, 1, self.name == "int8", orders)
            return _byte_position(which, orders), dress(codec, keywords)

        return self.declare(address, make, {"byte_number": byte_number}, keywords, problem)


class IntKind(Kind):
    """A whole number of one to four words."""

    def __init__(self, name: str, words: int, signed: bool, doc: str) -> None:
        bits = 16 * words
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        super().__init__(name, str(words), f"{low} to {high}", "int", doc)
        self._size = 2 * words
        self._signed = signed

    @overload
    def __call__(self, address: int, **keywords: Unpack[NumberKeywords]) -> MemoryVariable[int]: ...
    @overload
    def __call__(self, address: int, **keywords: Unpack[ScaledKeywords]) -> MemoryVariable[float]: ...
    @overload
    def __call__(self, address: int, **keywords: Unpack[OffsetKeywords]) -> MemoryVariable[float]: ...
    @overload
    def __call__(self, address: int, *, nan: int, **keywords: Unpack[NumberKeywords]) -> MemoryVariable[int | None]: ...
    @overload
    def __call__(
        self, address: int, *, nan: int, **keywords: Unpack[ScaledKeywords]
    ) -> MemoryVariable[float | None]: ...
    @overload
    def __call__(
        self, address: int, *, nan: int, **keywords: Unpack[OffsetKeywords]
    ) -> MemoryVariable[float | None]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, **keywords: Unpack[NumberKeywords]
    ) -> MemoryVariable[tuple[int, ...]]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, **keywords: Unpack[ScaledKeywords]
    ) -> MemoryVariable[tuple[float, ...]]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, **keywords: Unpack[OffsetKeywords]
    ) -> MemoryVariable[tuple[float, ...]]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, nan: int, **keywords: Unpack[NumberKeywords]
    ) -> MemoryVariable[tuple[int | None, ...]]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, nan: int, **keywords: Unpack[ScaledKeywords]
    ) -> MemoryVariable[tuple[float | None, ...]]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, nan: int, **keywords: Unpack[OffsetKeywords]
    ) -> MemoryVariable[tuple[float | None, ...]]: ...
    def __call__(self, address: int, **keywords: Any) -> MemoryVariable[Any]:
        def make(orders: Orders) -> Placed:
            return 0, dress(IntCodec(self.name, self._size, self._signed, orders), keywords)

        return self.declare(address, make, {}, keywords)


class FloatKind(Kind):
    """A number with a fraction, of one, two or four words."""

    def __init__(self, name: str, words: int, values: str, doc: str) -> None:
        super().__init__(name, str(words), values, "float", doc)
        self._size = 2 * words

    @overload
    def __call__(self, address: int, **keywords: Unpack[FloatKeywords]) -> MemoryVariable[float]: ...
    @overload
    def __call__(
        self, address: int, *, nan: float, **keywords: Unpack[FloatKeywords]
    ) -> MemoryVariable[float | None]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, **keywords: Unpack[FloatKeywords]
    ) -> MemoryVariable[tuple[float, ...]]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, nan: float, **keywords: Unpack[FloatKeywords]
    ) -> MemoryVariable[tuple[float | None, ...]]: ...
    def __call__(self, address: int, **keywords: Any) -> MemoryVariable[Any]:
        def make(orders: Orders) -> Placed:
            return 0, dress(FloatCodec(self.name, self._size, orders), keywords)

        return self.declare(address, make, {}, keywords)


class BcdKind(Kind):
    """Binary coded decimal, of one or two words."""

    def __init__(self, name: str, words: int, doc: str) -> None:
        super().__init__(name, str(words), f"0 to {10 ** (4 * words) - 1}", "int, or None where it is not decimal", doc)
        self._size = 2 * words

    @overload
    def __call__(self, address: int, **keywords: Unpack[NumberKeywords]) -> MemoryVariable[int | None]: ...
    @overload
    def __call__(self, address: int, **keywords: Unpack[ScaledKeywords]) -> MemoryVariable[float | None]: ...
    @overload
    def __call__(self, address: int, **keywords: Unpack[OffsetKeywords]) -> MemoryVariable[float | None]: ...
    @overload
    def __call__(self, address: int, *, nan: int, **keywords: Unpack[NumberKeywords]) -> MemoryVariable[int | None]: ...
    @overload
    def __call__(
        self, address: int, *, nan: int, **keywords: Unpack[ScaledKeywords]
    ) -> MemoryVariable[float | None]: ...
    @overload
    def __call__(
        self, address: int, *, nan: int, **keywords: Unpack[OffsetKeywords]
    ) -> MemoryVariable[float | None]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, **keywords: Unpack[NumberKeywords]
    ) -> MemoryVariable[tuple[int | None, ...]]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, **keywords: Unpack[ScaledKeywords]
    ) -> MemoryVariable[tuple[float | None, ...]]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, **keywords: Unpack[OffsetKeywords]
    ) -> MemoryVariable[tuple[float | None, ...]]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, nan: int, **keywords: Unpack[NumberKeywords]
    ) -> MemoryVariable[tuple[int | None, ...]]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, nan: int, **keywords: Unpack[ScaledKeywords]
    ) -> MemoryVariable[tuple[float | None, ...]]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, nan: int, **keywords: Unpack[OffsetKeywords]
    ) -> MemoryVariable[tuple[float | None, ...]]: ...
    def __call__(self, address: int, **keywords: Any) -> MemoryVariable[Any]:
        def make(orders: Orders) -> Placed:
            return 0, dress(BcdCodec(self.name, self._size, orders), keywords)

        return self.declare(address, make, {}, keywords)


class BitsKind(Kind):
    """`MemoryVariable.bits`: a run of bits of one word."""

    @overload
    def __call__(
        self, address: int, bit_number: int, length: int, **keywords: Unpack[NumberKeywords]
    ) -> MemoryVariable[int]: ...
    @overload
    def __call__(
        self, address: int, bit_number: int, length: int, **keywords: Unpack[ScaledKeywords]
    ) -> MemoryVariable[float]: ...
    @overload
    def __call__(
        self, address: int, bit_number: int, length: int, **keywords: Unpack[OffsetKeywords]
    ) -> MemoryVariable[float]: ...
    @overload
    def __call__(
        self, address: int, bit_number: int, length: int, *, nan: int, **keywords: Unpack[NumberKeywords]
    ) -> MemoryVariable[int | None]: ...
    @overload
    def __call__(
        self, address: int, bit_number: int, length: int, *, nan: int, **keywords: Unpack[ScaledKeywords]
    ) -> MemoryVariable[float | None]: ...
    @overload
    def __call__(
        self, address: int, bit_number: int, length: int, *, nan: int, **keywords: Unpack[OffsetKeywords]
    ) -> MemoryVariable[float | None]: ...
    def __call__(self, address: int, bit_number: int, length: int, **keywords: Any) -> MemoryVariable[Any]:
        problem = number_problem("bit_number", bit_number, 15)
        problem = problem or number_problem("length", length, 16 - (0 if problem else bit_number), lowest=1)
        problem = problem or ("count: a part of a word cannot be an array" if "count" in keywords else "")

        def make(orders: Orders) -> Placed:
            return 0, dress(BitsCodec("bits", bit_number, length, orders), keywords)

        return self.declare(address, make, {"bit_number": bit_number, "length": length}, keywords, problem)


class StringKind(Kind):
    """`MemoryVariable.string`."""

    @overload
    def __call__(
        self, address: int, length: int, encoding: str = "ascii", **keywords: Unpack[WordKeywords]
    ) -> MemoryVariable[str]: ...
    @overload
    def __call__(
        self, address: int, length: int, encoding: str = "ascii", *, count: int, **keywords: Unpack[WordKeywords]
    ) -> MemoryVariable[tuple[str, ...]]: ...
    def __call__(self, address: int, length: int, encoding: str = "ascii", **keywords: Any) -> MemoryVariable[Any]:
        problem = number_problem("length", length, 131072, lowest=1)
        if not problem:
            problem = _encoding_problem(encoding)
        if not problem and "count" in keywords and length % 2:
            problem = f"length {length}: the texts of an array begin at a word, so they have an even length"

        def make(orders: Orders) -> Placed:
            return 0, dress(StringCodec("string", length, encoding, orders), keywords)

        return self.declare(address, make, {"length": length, "encoding": encoding}, keywords, problem)


class EnumKind(Kind):
    """`MemoryVariable.enum` and `.flags`."""

    def __call__(
        self,
        enum_type: type[E],
        address: int,
        *,
        bit_number: int | None = None,
        length: int | None = None,
        size: Literal["word", "int16", "uint32", "int32"] = "word",
        **keywords: Unpack[WordKeywords],
    ) -> MemoryVariable[E]:
        problem = _enum_problem(enum_type, self.name)
        part = bit_number is not None or length is not None
        first, many = bit_number or 0, 16 - (bit_number or 0) if length is None else length
        if part and not problem:
            problem = number_problem("bit_number", first, 15)
            problem = problem or number_problem("length", many, 16 - first, lowest=1)
        if not problem and size not in _ENUM_SIZES:
            problem = f"size {size!r} is none of {', '.join(_ENUM_SIZES)}"

        def raw(orders: Orders) -> BitsCodec | IntCodec:
            if part:
                return BitsCodec(self.name, first, many, orders)
            words, signed = _ENUM_SIZES[size]
            return IntCodec(self.name, 2 * words, signed, orders)

        if not problem:
            low, high = raw(Orders()).limits
            over = [member.value for member in enum_type if not low <= member.value <= high]
            if over:
                problem = f"{enum_type.__name__} has {over[0]}, outside {low} to {high}, which is what fits"
        arguments = {"enum_type": enum_type, "bit_number": bit_number, "length": length, "size": size}
        return self.declare(
            address, lambda orders: (0, EnumCodec(raw(orders), enum_type)), arguments, keywords, problem
        )


class DateTimeKind(Kind):
    """`MemoryVariable.datetime`."""

    def __call__(self, address: int, layout: str, **keywords: Unpack[WordKeywords]) -> MemoryVariable[datetime | None]:
        problem = "" if layout in LAYOUTS else f"layout {layout!r} is none of {', '.join(LAYOUTS)}"

        def make(orders: Orders) -> Placed:
            return 0, DateTimeCodec(layout, orders)

        return self.declare(address, make, {"layout": layout}, keywords, problem)


class BitKind(Kind):
    """`MemoryVariable.coil` and `.discrete`: cells of the tables that hold bits."""

    @overload
    def __call__(self, address: int, **keywords: Unpack[CommonKeywords]) -> MemoryVariable[bool]: ...
    @overload
    def __call__(
        self, address: int, *, count: int, **keywords: Unpack[CommonKeywords]
    ) -> MemoryVariable[tuple[bool, ...]]: ...
    def __call__(self, address: int, **keywords: Any) -> MemoryVariable[Any]:
        count = keywords.get("count")

        def make(_orders: Orders) -> Placed:
            # The byte is the one that the address lies in: the image finds it.
            if count is None:
                return 0, BoolCodec(self.name, address % 8)
            return 0, PackedBitsCodec(self.name, address % 8, count)

        return self.declare(address, make, {}, {"table": self.name, **keywords})


_ENUM_SIZES = {"word": (1, False), "int16": (1, True), "uint32": (2, False), "int32": (2, True)}


def dress(codec: Codec[Any], keywords: dict[str, Any]) -> Codec[Any]:
    """The codec with scale, limits, a raw number for "no value", and as an array, as the keywords ask."""
    raw = codec
    scale, offset = keywords.get("scale"), keywords.get("offset")
    if (scale is not None and scale != 1) or offset:
        codec = ScaledCodec(codec, 1 if scale is None else scale, offset or 0)
    if keywords.get("min") is not None or keywords.get("max") is not None:
        codec = LimitedCodec(codec, keywords.get("min"), keywords.get("max"))
    if keywords.get("nan") is not None:
        codec = NanCodec(codec, raw, keywords["nan"])
    if keywords.get("count") is not None:
        codec = ArrayCodec(codec, keywords["count"])
    return codec


def number_problem(what: str, number: object, highest: int, lowest: int = 0) -> str:
    """What is wrong with the number of a bit, a byte or the like; nothing where it is right."""
    if isinstance(number, bool) or not isinstance(number, int) or not lowest <= number <= highest:
        return f"{what} {number!r} is not a number from {lowest} to {highest}"
    return ""


def _byte_position(byte_number: int, orders: Orders) -> int:
    """Byte 0 is the low one: the second of its word, unless the device swaps the bytes."""
    return byte_number if orders.byte_order == "little" else 1 - byte_number


def _encoding_problem(encoding: object) -> str:
    try:
        "".encode(encoding)  # type: ignore[arg-type]
    except (LookupError, TypeError):
        return f"encoding {encoding!r} is not known to Python"
    return ""


def _enum_problem(enum_type: object, kind: str) -> str:
    wanted = enum.Flag if kind == "flags" else enum.Enum
    if not isinstance(enum_type, type) or not issubclass(enum_type, wanted):
        return f"{enum_type!r} is not a class derived from enum.{wanted.__name__}"
    if not all(isinstance(member.value, int) for member in enum_type):
        return f"{enum_type.__name__} has members whose values are not whole numbers"
    return ""
