"""`MemoryVariable`: what lies where in a memory, and how it is read as a value."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from msm.errors import DeclarationError
from msm.memory.codec import BoolCodec, Codec, IntCodec
from msm.memory.journal import Region, Span

if TYPE_CHECKING:
    from msm.memory.image import Image, TableName
    from msm.memory.store import MemoryStore

T = TypeVar("T")

Getter = Callable[[Any], T]
Setter = Callable[[T], None]


class MemoryVariable(Generic[T]):
    """A named place in a memory and the type of its value.

    Made by its constructors and bound by giving it a name, on a store or in the body of a store's class::

        mem.CONTROL_WORD = MemoryVariable.word(address=3)

        class Press(MemoryStore, size=16):
            speed = MemoryVariable.uint32(2)

    Read on the class it is the declaration, on a store it is the value. Addresses count words from 0; byte 0 of
    a word is its low byte, bit 0 its least significant bit; longer values lie low word first.

    What is wrong with a declaration is told where the name is bound, so that the message can name it.
    """

    __slots__ = ("_make_codec", "_problem", "address", "kind", "name", "position", "table")

    def __init__(
        self,
        kind: str,
        address: int,
        make_codec: Callable[[], Codec[T]],
        *,
        table: TableName = "holding",
        position: int = 0,
        problem: str = "",
    ) -> None:
        self.name = ""
        self.kind = kind
        self.table: TableName = table
        self.address = address
        #: The first byte that is meant, counted from the first byte of the words as they travel.
        self.position = position
        self._make_codec = make_codec
        self._problem = problem

    # -- constructors

    @classmethod
    def bool(cls, address: int, bit_number: int) -> MemoryVariable[builtins.bool]:
        """One bit of a word: `True` or `False`.

        :param address: the word, from 0.
        :param bit_number: 0 (the least significant) to 15.
        """
        problem = _number(bit_number, "bit_number", 15)
        bit = 0 if problem else bit_number
        return MemoryVariable("bool", address, lambda: BoolCodec(bit % 8), position=1 - bit // 8, problem=problem)

    @classmethod
    def byte(cls, address: int, byte_number: int) -> MemoryVariable[int]:
        """One byte of a word: 0 to 255.

        :param address: the word, from 0.
        :param byte_number: 0 (the low byte) or 1 (the high byte).
        """
        problem = _number(byte_number, "byte_number", 1)
        high = 0 if problem else byte_number
        return MemoryVariable("byte", address, lambda: IntCodec("byte", 1), position=1 - high, problem=problem)

    @classmethod
    def word(cls, address: int) -> MemoryVariable[int]:
        """One word: 0 to 65535.

        :param address: the word, from 0.
        """
        return MemoryVariable("word", address, lambda: IntCodec("word", 2))

    @classmethod
    def uint32(cls, address: int) -> MemoryVariable[int]:
        """Two words, low word first: 0 to 4294967295.

        :param address: the first of the two words, from 0.
        """
        return MemoryVariable("uint32", address, lambda: IntCodec("uint32", 4))

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
        other: MemoryVariable[T] = MemoryVariable(
            self.kind,
            self.address,
            self._make_codec,
            table=self.table,
            position=self.position,
            problem=self._problem,
        )
        other.name = name
        return other

    def span(self, image: Image) -> Span:
        """The bits that this variable covers.

        :raises DeclarationError: it does not lie in that memory, or cannot be at all.
        """
        if self._problem:
            raise DeclarationError(f"{self.name}: {self._problem}")
        codec = self._make_codec()
        words = (self.position + codec.size + 1) // 2
        try:
            image.table(self.table).check(self.address, words)
        except DeclarationError as error:
            raise type(error)(f"{self.name}: a {self.kind} does not fit, {error}") from None
        bits = (1 << 8 * codec.size) - 1 if codec.mask is None else codec.mask
        mask = bits << 8 * (2 * words - self.position - codec.size)
        return Span(self.table, self.address, words, mask, self.name)

    def accessors(self, image: Image) -> tuple[Getter[T], Setter[T]]:
        """How this variable is read and assigned in that image.

        :raises DeclarationError: it does not lie in that memory, or cannot be at all.
        """
        span = self.span(image)
        codec = self._make_codec()
        start = image.region(span).offset + self.position
        end = start + codec.size
        bits = (1 << 8 * codec.size) - 1 if codec.mask is None else codec.mask
        region = Region(start, codec.size, bits)
        name, buffer, assign, encode, decode = self.name, image.buffer, image.assign, codec.encode, codec.decode

        def get(_store: object) -> T:
            return decode(buffer[start:end])

        def set_(value: T) -> None:
            assign(span, region, encode(value, name))

        return get, set_

    def __repr__(self) -> str:
        return f"<MemoryVariable {self.name or '(no name)'}: {self.kind} at {self.table} {self.address}>"


def _number(number: object, what: str, highest: int) -> str:
    """What is wrong with the number of a bit or byte, or nothing."""
    if isinstance(number, builtins.bool) or not isinstance(number, int) or not 0 <= number <= highest:
        return f"{what} {number!r} is not a number from 0 to {highest}"
    return ""
