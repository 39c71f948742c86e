"""`MemoryStore`: an image with names on it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self, overload

from msm.errors import AddressError, DeclarationError, UnknownVariableError, ValueRangeError
from msm.memory.codec import as_bool, as_int
from msm.memory.image import Image, Table
from msm.memory.journal import Span
from msm.memory.variable import Getter, MemoryVariable, Setter

MAX_WORD = 65535


class MemoryStore:
    """A block of memory, with variables laid over it by name.

    :param size: the number of words (holding registers) of 16 bits; 8 words are 16 bytes.
    :param input_registers: the number of input registers, words that only the device writes.
    :param coils: the number of coils, single bits.
    :param discrete_inputs: the number of discrete inputs, single bits that only the device writes.
    :raises DeclarationError: a size is not a number from 0 to 65536.

    Variables are declared by assigning a `MemoryVariable` to a name, at any time, and from then on are read and
    assigned as plain attributes. A store may be used from any thread: a single read and a single assignment
    are whole, however many words they cover.
    """

    __slots__ = ("__weakref__", "_getters", "_image", "_revision", "_setters", "_variables")
    _getters: dict[str, Getter[Any]]
    _image: Image
    _revision: int
    _setters: dict[str, Setter[Any]]
    _variables: dict[str, MemoryVariable[Any]]

    _sizes: ClassVar[dict[str, int]] = {}

    def __init_subclass__(
        cls,
        *,
        size: int | None = None,
        input_registers: int | None = None,
        coils: int | None = None,
        discrete_inputs: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        given = {
            "size": size,
            "input_registers": input_registers,
            "coils": coils,
            "discrete_inputs": discrete_inputs,
        }
        cls._sizes = cls._sizes | {name: number for name, number in given.items() if number is not None}
        declared = [name for name, value in vars(cls).items() if isinstance(value, MemoryVariable)]
        for name in declared:
            _check_name(name)
        if declared and "size" in cls._sizes:
            # Whatever is wrong is told where the class is written, not where it is first used.
            image = cls._make_image()
            for name in declared:
                vars(cls)[name].named(name).span(image)

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        # Each store has a class of its own, so that a variable declared on one store is a property like one
        # declared in a class body: as fast, and without a __getattribute__ that every access would pay for.
        own: type[Self] = type(cls.__name__, (cls,), {"__slots__": (), "__module__": cls.__module__})
        return object.__new__(own)

    def __init__(
        self,
        size: int | None = None,
        *,
        input_registers: int | None = None,
        coils: int | None = None,
        discrete_inputs: int | None = None,
    ) -> None:
        image = self._make_image(
            size=size, input_registers=input_registers, coils=coils, discrete_inputs=discrete_inputs
        )
        for slot, value in (
            ("_image", image),
            ("_variables", {}),
            ("_getters", {}),
            ("_setters", {}),
            ("_revision", 0),
        ):
            object.__setattr__(self, slot, value)
        for base in reversed(type(self).__mro__):
            for name, variable in list(vars(base).items()):
                if isinstance(variable, MemoryVariable):
                    self._declare(name, variable)

    @classmethod
    def _make_image(cls, **given: int | None) -> Image:
        sizes = cls._sizes | {name: number for name, number in given.items() if number is not None}
        if "size" not in sizes:
            raise DeclarationError(f"{cls.__name__} needs a size in words, e.g. {cls.__name__}(8)")
        return Image(
            sizes["size"],
            sizes.get("input_registers", 0),
            sizes.get("coils", 0),
            sizes.get("discrete_inputs", 0),
        )

    # -- variables

    def __setattr__(self, name: str, value: Any) -> None:
        setter = self._setters.get(name)
        if setter is not None and not isinstance(value, MemoryVariable):
            setter(value)
        elif isinstance(value, MemoryVariable):
            self._declare(name, value)
        elif name in _OWN_NAMES:
            raise UnknownVariableError(f"{name}: the store uses this name itself, it cannot be assigned")
        elif hasattr(type(self), name) or name.startswith("_"):
            # A property of a subclass, or a private attribute of its own.
            object.__setattr__(self, name, value)
        else:
            raise UnknownVariableError(self._unknown(name))

    def __getattr__(self, name: str) -> Any:
        raise UnknownVariableError(self._unknown(name))

    def __delattr__(self, name: str) -> None:
        if name not in self._variables:
            raise UnknownVariableError(self._unknown(name))
        with self._image.lock:
            for names in (self._variables, self._getters, self._setters):
                del names[name]
            setattr(type(self), name, _Withdrawn(name))
            object.__setattr__(self, "_revision", self._revision + 1)

    def _declare(self, name: str, variable: MemoryVariable[Any]) -> None:
        _check_name(name)
        bound = variable.named(name)
        getter, setter = bound.accessors(self._image)
        with self._image.lock:
            self._variables[name] = bound
            self._getters[name] = getter
            self._setters[name] = setter
            setattr(type(self), name, property(getter, lambda _store, value: setter(value)))
            object.__setattr__(self, "_revision", self._revision + 1)

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._variables, n=1)
        hint = f"did you mean {close[0]}?" if close else f"declare it first: .{name} = MemoryVariable.word(0)"
        return f"no variable {name!r} was declared on this {type(self).__name__}; {hint}"

    def variables(self) -> dict[str, MemoryVariable[Any]]:
        """The declared variables by name, in the order of their declaration."""
        with self._image.lock:
            return dict(self._variables)

    # -- raw access

    def get_value(self, address: int, table: str = "holding") -> int:
        """One cell: a word from 0 to 65535, or a bit as 0 or 1.

        :param address: the cell, from 0.
        :param table: "holding", "input", "coil" or "discrete".
        :raises AddressError: outside the memory.
        """
        there = self._image.table(table)
        return self._cells(there, there.check(address), 1)[0]

    def set_value(self, address: int, value: int, table: str = "holding") -> None:
        """Assign one cell: a word from 0 to 65535, or a bit as 0 or 1.

        :param address: the cell, from 0.
        :param table: "holding", "input", "coil" or "discrete".
        :raises AddressError: outside the memory.
        :raises ValueRangeError: the value does not fit. The memory is unchanged.
        :raises ValueTypeError: the value is not an int. The memory is unchanged.
        """
        there = self._image.table(table)
        self._assign_cells(there, there.check(address), [value])

    def get_size(self, table: str = "holding") -> int:
        """The number of cells of a table: words, or bits."""
        return self._image.table(table).size

    def dump(self, cols: int = 5) -> str:
        """All holding registers as text, `cols` to a line: ``'0': 00000 | '1': 34463 | ...``."""
        if isinstance(cols, bool) or not isinstance(cols, int) or cols < 1:
            raise DeclarationError(f"cols {cols!r} is not a number of columns from 1")
        words = self[:]
        digits = len(str(len(words)))
        cells = [f"'{address:0{digits}}': {word:05} | " for address, word in enumerate(words)]
        lines = ["".join(cells[at : at + cols]) for at in range(0, len(cells), cols)]
        return "\n".join(lines) + "\n"

    def __len__(self) -> int:
        return self.get_size()

    def __bool__(self) -> bool:
        return True

    def __contains__(self, name: object) -> bool:
        return name in self._variables

    def __iter__(self) -> Iterator[int]:
        return iter(self[:])

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> list[int]: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: int | slice | str) -> Any:
        """`mem[3]` is a word, `mem[0:8]` a list of words of one instant, `mem["NAME"]` a variable's value."""
        if isinstance(key, str):
            getter = self._getters.get(key)
            if getter is None:
                raise UnknownVariableError(self._unknown(key))
            return getter(self)
        if isinstance(key, slice):
            start, count = self._range(key)
            return self._cells(self._image.tables["holding"], start, count)
        return self.get_value(key)

    def __setitem__(self, key: int | slice | str, value: Any) -> None:
        if isinstance(key, str):
            setattr(self, key, value) if key in self._setters else self._set_unknown_item(key, value)
        elif isinstance(key, slice):
            start, count = self._range(key)
            words = list(value)
            if len(words) != count:
                raise ValueRangeError(f"mem[{start}:{start + count}] takes {count} words, not {len(words)}")
            self._assign_cells(self._image.tables["holding"], start, words)
        else:
            self.set_value(key, value)

    def __delitem__(self, name: str) -> None:
        delattr(self, name)

    def _set_unknown_item(self, name: str, value: object) -> None:
        if not isinstance(value, MemoryVariable):
            raise UnknownVariableError(self._unknown(name))
        self._declare(name, value)

    def _range(self, key: slice) -> tuple[int, int]:
        if key.step not in (None, 1):
            raise AddressError(f"step {key.step!r}: raw words are read and assigned one after the other")
        there = self._image.tables["holding"]
        start = 0 if key.start is None else key.start
        stop = there.size if key.stop is None else key.stop
        for address in (start, stop):
            if isinstance(address, bool) or not isinstance(address, int):
                raise AddressError(f"address {address!r} is not an int")
        count = max(stop - start, 0)
        return there.check(start, count), count

    def _cells(self, table: Table, address: int, count: int) -> list[int]:
        raw = self._image.read(table.name, address, count)
        if table.width == 16:
            return [raw[at] << 8 | raw[at + 1] for at in range(0, 2 * count, 2)]
        return [raw[at // 8] >> at % 8 & 1 for at in range(count)]

    def _assign_cells(self, table: Table, address: int, values: Sequence[int]) -> None:
        if not values:
            return
        raw = bytearray()
        bits = 0
        for at, value in enumerate(values):
            name = f"{table.name}[{address + at}]"
            if table.width == 16:
                word = as_int(value, name, "word")
                if not 0 <= word <= MAX_WORD:
                    raise ValueRangeError(f"{name}: {word} is out of range, a word takes 0 to {MAX_WORD}")
                raw += word.to_bytes(2, "big")
            else:
                bits |= as_bool(value, name, "bit") << at
        count = len(values)
        name = f"{table.name}[{address}]" if count == 1 else f"{table.name}[{address}:{address + count}]"
        span = Span(table.name, address, count, (1 << count * table.width) - 1, name)
        region = self._image.region(span)
        if table.width == 1:
            raw += (bits << address % 8).to_bytes(region.size, "little")
        self._image.assign(span, region, bytes(raw))

    def __repr__(self) -> str:
        tables = ", ".join(
            f"{table.size} {table.name} {table.cells}" for table in self._image.tables.values() if table.size
        )
        return f"<{type(self).__name__}: {tables or 'empty'}, {len(self._variables)} variables>"


class _Withdrawn:
    """Stands where a variable was withdrawn from one store, in front of one that its class may declare."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: MemoryStore, owner: type) -> Any:
        return instance.__getattr__(self._name)

    def __set__(self, instance: MemoryStore, value: object) -> None:
        instance.__getattr__(self._name)


_OWN_NAMES = frozenset(dir(MemoryStore))


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name:
        raise DeclarationError(f"{name!r} is not a name for a variable")
    if name in _OWN_NAMES or (name.startswith("__") and name.endswith("__")):
        raise DeclarationError(f"{name}: the store uses this name itself, take another one")


def image_of(store: MemoryStore) -> Image:
    """The image under a store: for the engines."""
    return store._image


def revision_of(store: MemoryStore) -> int:
    """A number that changes with every declaration: for the engines."""
    return store._revision


def spans_of(store: MemoryStore) -> list[Span]:
    """The bits that the declared variables cover: for the engines."""
    return [variable.span(store._image) for variable in store.variables().values()]
