"""`MemoryVariable`: what lies where in a memory, and how it is read as a value."""

from __future__ import annotations

import builtins
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar, overload

from msm.errors import DeclarationError, MsmError
from msm.memory.codec import Codec, Orders
from msm.memory.journal import Region, Span
from msm.memory.kinds import (
    ACCESSES,
    Access,
    BcdKind,
    BitKind,
    BitsKind,
    BoolKind,
    ByteKind,
    DateTimeKind,
    EnumKind,
    FloatKind,
    IntKind,
    Kind,
    Make,
    StringKind,
    number_problem,
)

if TYPE_CHECKING:
    from msm.memory.image import Image, TableName
    from msm.memory.store import MemoryStore

T = TypeVar("T")


class Bound(NamedTuple):
    """A variable in its image: its cells, its bits of the buffer, and its codec."""

    span: Span
    region: Region
    codec: Codec[Any]


class MemoryVariable(Generic[T]):
    """A named place in a memory and the type of its value.

    Made by one of the constructors below, and bound by giving it a name: on a store, or in the body of a store's
    class, where a type checker then knows the type of the attribute::

        mem.CONTROL_WORD = MemoryVariable.word(address=3)

        class Press(MemoryStore, size=16):
            speed = MemoryVariable.float32(2, unit="rpm")

    Read on the class it is the declaration, on a store it is the value. Addresses count words from 0 (coils and
    discrete inputs count bits); byte 0 of a word is its low byte, bit 0 its least significant bit; longer values
    lie low word first unless `word_order` says otherwise.

    What is wrong with a declaration is told where the name is bound, so that the message can name it.
    """

    __slots__ = (
        "_make",
        "_problem",
        "address",
        "arguments",
        "keywords",
        "kind",
        "name",
        "table",
    )

    bool: ClassVar[BoolKind] = BoolKind(
        "bool", "1 bit of 1", "True, False", "bool", "One bit of a word: `bit_number` 0 (least significant) to 15."
    )
    byte: ClassVar[ByteKind] = ByteKind(
        "byte", "half of 1", "0 to 255", "int", "One byte of a word: `byte_number` 0 (low) or 1 (high)."
    )
    int8: ClassVar[ByteKind] = ByteKind(
        "int8", "half of 1", "-128 to 127", "int", "One byte of a word with a sign: `byte_number` 0 (low) or 1 (high)."
    )
    word: ClassVar[IntKind] = IntKind("word", 1, False, "One word, without a sign.")
    uint16: ClassVar[IntKind] = IntKind("uint16", 1, False, "One word, without a sign: the same as `word`.")
    int16: ClassVar[IntKind] = IntKind("int16", 1, True, "One word with a sign (two's complement).")
    uint32: ClassVar[IntKind] = IntKind("uint32", 2, False, "Two words, without a sign.")
    int32: ClassVar[IntKind] = IntKind("int32", 2, True, "Two words with a sign.")
    uint64: ClassVar[IntKind] = IntKind("uint64", 4, False, "Four words, without a sign.")
    int64: ClassVar[IntKind] = IntKind("int64", 4, True, "Four words with a sign.")
    float16: ClassVar[FloatKind] = FloatKind("float16", 1, "IEEE 754 half, to 65504", "A half precision number.")
    float32: ClassVar[FloatKind] = FloatKind("float32", 2, "IEEE 754 single, to 3.4e38", "A single precision number.")
    float64: ClassVar[FloatKind] = FloatKind("float64", 4, "IEEE 754 double", "A double precision number.")
    bcd16: ClassVar[BcdKind] = BcdKind("bcd16", 1, "Four decimal digits in a word.")
    bcd32: ClassVar[BcdKind] = BcdKind("bcd32", 2, "Eight decimal digits in two words.")
    string: ClassVar[StringKind] = StringKind(
        "string", "length / 2", "text of at most `length` bytes", "str",
        "Text: `length` in bytes, and an `encoding`. The first byte of the text is the high byte of the first word.",
    )  # fmt: skip
    bits: ClassVar[BitsKind] = BitsKind(
        "bits", "part of 1", "0 to 2^length - 1", "int", "`length` bits of a word from `bit_number`, as a number."
    )
    enum: ClassVar[EnumKind] = EnumKind(
        "enum", "1, or part of it", "the members of an enum", "a member, or an UnknownEnumValue",
        "A whole number that stands for a member of an `enum.Enum`.",
    )  # fmt: skip
    flags: ClassVar[EnumKind] = EnumKind(
        "flags", "1, or part of it", "a set of flags", "a flag, or an UnknownEnumValue",
        "The bits of a word as an `enum.Flag`: bit 0 is the flag 1, bit 1 is the flag 2, bit 2 the flag 4.",
    )  # fmt: skip
    datetime: ClassVar[DateTimeKind] = DateTimeKind(
        "datetime", "2 to 6", "a point in time", "datetime, or None where it is no date",
        "A point in time, laid out as `layout` says.",
    )  # fmt: skip
    coil: ClassVar[BitKind] = BitKind("coil", "1 coil", "True, False", "bool", "One coil; addresses count coils.")
    discrete: ClassVar[BitKind] = BitKind(
        "discrete", "1 discrete input", "True, False", "bool", "One discrete input; addresses count inputs."
    )

    def __init__(
        self,
        kind: str,
        address: int,
        make: Make,
        arguments: Mapping[str, Any],
        keywords: Mapping[str, Any],
        problem: str,
    ) -> None:
        self.name = ""
        self.kind = kind
        self.address = address
        self.table: TableName = keywords.get("table", "holding")
        #: What its constructor was given besides the address, e.g. bit_number.
        self.arguments = dict(arguments)
        #: The keywords that it was given, e.g. scale.
        self.keywords = {name: value for name, value in keywords.items() if name != "table"}
        self._make = make
        self._problem = problem or _keyword_problem(kind, self.table, self.keywords)

    @property
    def access(self) -> Access:
        """Who writes it: "rw" both sides, "ro" only the device, "wo" only its clients."""
        access: Access = self.keywords.get("access", "rw")
        return access

    @property
    def unit(self) -> str:
        """The unit of measurement."""
        return str(self.keywords.get("unit", ""))

    @property
    def label(self) -> str:
        """What it is, in words for people."""
        return str(self.keywords.get("label", ""))

    # -- the descriptor

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    @overload
    def __get__(self, instance: None, owner: type) -> MemoryVariable[T]: ...
    @overload
    def __get__(self, instance: MemoryStore, owner: type) -> T: ...
    def __get__(self, instance: MemoryStore | None, owner: type) -> MemoryVariable[T] | T:
        # Reached on the class only: a store has accessors of its own in front, see `MemoryStore.__new__`.
        if instance is None:
            return self
        value: T = instance[self.name]
        return value

    def __set__(self, instance: MemoryStore, value: T) -> None:
        instance[self.name] = value

    # -- binding

    def named(self, name: str) -> MemoryVariable[T]:
        """This declaration under that name; the same variable may be declared under several names."""
        if self.name == name:
            return self
        keywords = {**self.keywords, "table": self.table}
        other: MemoryVariable[T] = MemoryVariable(
            self.kind, self.address, self._make, self.arguments, keywords, self._problem
        )
        other.name = name
        return other

    def orders(self, defaults: Orders) -> Orders:
        """The word and byte order that hold for it, in a store with those defaults."""
        return Orders(
            self.keywords.get("word_order", defaults.word_order), self.keywords.get("byte_order", defaults.byte_order)
        )

    def bind(self, image: Image, defaults: Orders) -> Bound:
        """Where it lies in that image.

        :raises DeclarationError: it does not lie in that memory, or cannot be at all.
        """
        problem = self._problem or number_problem("address", self.address, 65535)
        if problem:
            raise DeclarationError(f"{self.name}: {problem}")
        try:
            table = image.table(self.table)
            position, codec = self._make(self.orders(defaults))
            if table.width == 1:
                cells = self.keywords.get("count") or 1
                mask = (1 << cells) - 1
            else:
                cells = (position + codec.size + 1) // 2
                bits = (1 << 8 * codec.size) - 1 if codec.mask is None else codec.mask
                mask = bits << 8 * (2 * cells - position - codec.size)
            table.check(self.address, cells)
        except MsmError as error:
            kind = type(error) if isinstance(error, DeclarationError) else DeclarationError
            raise kind(f"{self.name}: {_a(self.kind)} does not fit, {error}") from None
        span = Span(table.name, self.address, cells, mask, self.name, self.keywords.get("command", False))
        whole = image.region(span)
        bits = (1 << 8 * codec.size) - 1 if codec.mask is None else codec.mask
        return Bound(span, Region(whole.offset + position, codec.size, bits), codec)

    def __repr__(self) -> str:
        return f"<MemoryVariable {self.name or '(no name)'}: {self.kind} at {self.table} {self.address}>"


KINDS: dict[str, Kind] = {name: kind for name, kind in vars(MemoryVariable).items() if isinstance(kind, Kind)}
"""The constructors by their name, in the order of the documentation."""

_TEXTS = ("unit", "label", "behaviour")
_SECONDS = ("period", "heartbeat")
_NUMBERS = ("scale", "offset", "min", "max", "nan")
_ALLOWED = {"access", "label", "period", "command", "heartbeat", "conflict", "behaviour"}
_FOR_WORDS = {"word_order", "byte_order"}
_FOR_NUMBERS = {*_FOR_WORDS, *_NUMBERS, "unit"}
_NOT_NUMBERS = {"bool", "string", "enum", "flags", "datetime"}
_ARRAYS = {
    "word", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
    "bcd16", "bcd32", "string", "coil", "discrete",
}  # fmt: skip


def keywords_of(kind: str) -> set[str]:
    """The keywords that a constructor takes, besides its own arguments and `table`."""
    allowed = set(_ALLOWED)
    if kind not in ("coil", "discrete"):
        allowed |= _FOR_WORDS if kind in _NOT_NUMBERS else _FOR_NUMBERS
    if kind in _ARRAYS:
        allowed |= {"count"}
    return allowed


def _keyword_problem(kind: str, table: object, keywords: Mapping[str, Any]) -> str:
    """What is wrong with the keywords of a declaration; nothing where they are right."""
    tables = (kind,) if kind in ("coil", "discrete") else ("holding", "input")
    if table not in tables:
        return f"table {table!r}: {_a(kind)} lies in {' or '.join(tables)}"
    allowed = keywords_of(kind)
    for name, value in keywords.items():
        if name not in allowed:
            return f"{name}: {_a(kind)} has no such keyword; it has {', '.join(sorted(allowed))}"
        if value is not None and (problem := _value_problem(name, value)):
            return problem
    low, high = keywords.get("min"), keywords.get("max")
    if low is not None and high is not None and low > high:
        return f"min {low} is above max {high}"
    return ""


def _value_problem(name: str, value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, builtins.bool)
    problem = ""
    if name == "access" and value not in ACCESSES:
        problem = f"is none of {', '.join(ACCESSES)}"
    elif name == "conflict" and value not in ("mine", "device"):
        problem = "is neither 'mine' nor 'device'"
    elif name in ("word_order", "byte_order") and value not in ("little", "big"):
        problem = "is neither 'little' nor 'big'"
    elif name in _TEXTS and not isinstance(value, str):
        problem = "is not a str"
    elif name in _NUMBERS and (not number or (name != "nan" and math.isnan(value))):
        problem = "is not a number"
    elif name in ("scale", "offset") and not math.isfinite(value):
        problem = "is not a finite number"
    elif name == "scale" and value == 0:
        problem = "makes every value the same"
    elif name in _SECONDS and not (number and 0 < value <= 86400):
        problem = "is not a number of seconds, above 0 and up to 86400"
    elif name == "command" and not isinstance(value, builtins.bool):
        problem = "is not a bool"
    elif name == "count":
        return number_problem("count", value, 65536, lowest=1)
    return f"{name} {value!r} {problem}" if problem else ""


def _a(noun: str) -> str:
    return noun if noun in ("bits", "flags") else f"an {noun}" if noun[0] in "aeio" else f"a {noun}"
