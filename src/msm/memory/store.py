"""`MemoryStore`: an image with names on it."""

from __future__ import annotations

import asyncio
import difflib
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypedDict, Unpack, overload

from msm.errors import (
    AccessError,
    AddressError,
    DeclarationError,
    LinkTimeoutError,
    StateError,
    UnknownVariableError,
    ValueRangeError,
)
from msm.memory.atomic import Transaction
from msm.memory.changes import QUEUE, Change, ChangeStream, Queue, Watch
from msm.memory.codec import Order, Orders, as_bool, as_int
from msm.memory.direct import Setter, assigner, getter
from msm.memory.image import Image, Place, Table
from msm.memory.journal import Done, Span
from msm.memory.variable import Bound, MemoryVariable
from msm.memory.view import Info, Snapshot

if TYPE_CHECKING:
    from msm.memory.layout import Layout

MAX_WORD = 65535


class Shape(TypedDict, total=False):
    """The keywords of a store: its tables, and how longer values lie in it."""

    input_registers: int
    coils: int
    discrete_inputs: int
    word_order: Order
    byte_order: Order


class MemoryStore:
    """A block of memory, with variables laid over it by name.

    :param size: the number of words (holding registers) of 16 bits, 0 to 65536; 8 words are 16 bytes.
    :param input_registers: the number of input registers: words that only the device writes.
    :param coils: the number of coils: single bits.
    :param discrete_inputs: the number of discrete inputs: single bits that only the device writes.
    :param word_order: "little" (default) lays the low word of a longer value first, "big" the high word.
    :param byte_order: "big" (default) lays the high byte of a word first, "little" the low byte.
    :raises DeclarationError: a size is not a number from 0 to 65536, or an order is neither.

    Variables are declared by assigning a `MemoryVariable` to a name, at any time, and from then on are read and
    assigned as plain attributes. A store may be used from any thread: a single read and a single assignment are
    whole, however many words they cover.
    """

    __slots__ = (
        "__weakref__",
        "_bound",
        "_getters",
        "_image",
        "_orders",
        "_queues",
        "_revision",
        "_setters",
        "_variables",
    )
    _bound: dict[str, Bound]
    _getters: dict[str, Callable[[Any], Any]]
    _image: Image
    _orders: Orders
    _queues: list[tuple[Queue, tuple[str, ...]]]
    _revision: int
    _setters: dict[str, Setter]
    _variables: dict[str, MemoryVariable[Any]]

    _size: ClassVar[int | None] = None
    _shape: ClassVar[Shape] = {}

    def __init_subclass__(cls, *, size: int | None = None, **shape: Unpack[Shape]) -> None:
        super().__init_subclass__()
        if size is not None:
            cls._size = size
        cls._shape = {**cls._shape, **shape}
        declared = [name for name, value in vars(cls).items() if isinstance(value, MemoryVariable)]
        for name in declared:
            _check_name(name)
        if cls._size is not None and "_private" not in vars(cls):
            # Whatever is wrong is told where the class is written, not where it is first used.
            image, orders = _make(cls.__name__, cls._size, cls._shape)
            for name in declared:
                vars(cls)[name].named(name).bind(image, orders)

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        # Each store has a class of its own, so that a variable declared on one store is a property like one
        # declared in a class body: as fast, and without a __getattribute__ that every access would pay for.
        namespace: dict[str, Any] = {"__slots__": (), "__module__": cls.__module__, "__doc__": cls.__doc__}
        setters: dict[str, Setter] = {}
        written: Any = next(base for base in cls.__mro__ if "_private" not in vars(base))
        if written.__setattr__ is MemoryStore.__setattr__:
            namespace["__setattr__"] = _assigning(setters)
        own: type[Self] = type(cls.__name__, (cls,), {**namespace, "_private": True})
        store = object.__new__(own)
        object.__setattr__(store, "_setters", setters)
        return store

    def __init__(self, size: int | None = None, **shape: Unpack[Shape]) -> None:
        image, orders = _make(type(self).__name__, self._size if size is None else size, {**self._shape, **shape})
        image.protection = self._read_only_bits
        for slot, value in (
            ("_image", image), ("_orders", orders), ("_revision", 0), ("_queues", []),
            ("_variables", {}), ("_bound", {}), ("_getters", {}),
        ):  # fmt: skip
            object.__setattr__(self, slot, value)
        for base in reversed(type(self).__mro__):
            for name, variable in list(vars(base).items()):
                if isinstance(variable, MemoryVariable):
                    self._declare(name, variable)

    # -- variables

    # No type for `value`: after `mem.X = MemoryVariable.word(0)` both type checkers then know mem.X as Any. With Any
    # pyright, and with object mypy, would take it for the MemoryVariable that was assigned.
    def __setattr__(self, name: str, value) -> None:  # type: ignore[no-untyped-def]
        setter = self._setters.get(name)
        if setter is not None and value.__class__ is not MemoryVariable:
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
        if name in MemoryStore.__slots__:
            raise StateError(f"{type(self).__name__}: call super().__init__() before anything is read or assigned")
        raise UnknownVariableError(self._unknown(name))

    def __delattr__(self, name: str) -> None:
        if name not in self._variables:
            raise UnknownVariableError(self._unknown(name))
        with self._image.lock:
            for names in (self._variables, self._bound, self._getters, self._setters):
                del names[name]
            setattr(type(self), name, _Withdrawn(name))
            object.__setattr__(self, "_revision", self._revision + 1)
        self._declarations_changed()

    def _declare(self, name: str, variable: MemoryVariable[Any]) -> None:
        _check_name(name)
        declared = variable.named(name)
        bound = declared.bind(self._image, self._orders)
        getter = _getter(self._image, bound)
        setter = _setter(self._image, bound, read_only=declared.access == "ro")
        with self._image.lock:
            self._variables[name] = declared
            self._bound[name] = bound
            self._getters[name] = getter
            self._setters[name] = setter
            setattr(type(self), name, property(getter, lambda _store, value: setter(value)))
            object.__setattr__(self, "_revision", self._revision + 1)
        self._declarations_changed()

    def _declarations_changed(self) -> None:
        self._image.declarations_changed()
        for queue, names in self._followers():
            self._aim(queue, names)

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._variables, n=1)
        hint = f"did you mean {close[0]}?" if close else f"declare it first: .{name} = MemoryVariable.word(0)"
        return f"no variable {name!r} was declared on this {type(self).__name__}; {hint}"

    def _known(self, name: str) -> Bound:
        bound = self._bound.get(name)
        if bound is None:
            raise UnknownVariableError(self._unknown(name))
        return bound

    def _read_only_bits(self) -> bytearray:
        """The bits that remote clients may not write: declared "ro", and by no variable as writable.

        The image's lock is held: no declaration comes between this answer and its use.
        """
        variables = [(variable.access, self._bound[name].region) for name, variable in self._variables.items()]
        bits = bytearray(len(self._image.buffer))
        for only_reading in (True, False):
            for access, (offset, size, mask) in variables:
                if (access == "ro") is only_reading:
                    old = int.from_bytes(bits[offset : offset + size], "big")
                    new = old | mask if only_reading else old & ~mask
                    bits[offset : offset + size] = new.to_bytes(size, "big")
        return bits

    def variables(self) -> dict[str, MemoryVariable[Any]]:
        """The declared variables by name, in the order of their declaration."""
        with self._image.lock:
            return dict(self._variables)

    def info(self, name: str) -> Info:
        """What is known of a variable: value, raw words, quality, time and error of its last read.

        :raises UnknownVariableError: it was never declared.
        """
        with self._image.lock:
            span, (offset, size, _), codec = self._known(name)
            variable = self._variables[name]
            condition = self._image.health.of(span.table, span.address, span.cells)
            seen = self._image.view().copy()  # the value and its words are of the same instant
        words = tuple(self._cells(self._image.tables[span.table], span.address, span.cells, seen))
        return Info(
            name, codec.decode(seen[offset : offset + size]), words, span.table, span.address,
            condition.quality, condition.at, condition.error, variable.unit, variable.label,
        )  # fmt: skip

    def provide(self, **values: Any) -> None:
        """Assign variables as the device that owns them does: also those that are read-only for everybody else.

        For programs that serve a memory, and for simulators. All of them become visible at once, or none.

        :raises UnknownVariableError: a name was never declared.
        :raises ValueRangeError: a value does not fit. The memory is unchanged.
        :raises ValueTypeError: a value is of the wrong type. The memory is unchanged.
        """
        with self.atomic():
            for name, value in values.items():
                _setter(self._image, self._known(name), read_only=False)(value)

    # -- one instant

    def atomic(self) -> AbstractContextManager[None]:
        """A block whose assignments become one for every reader, local or remote; or none of them where it raises.

        ::

            with mem.atomic():
                mem.SETPOINT = 40.0
                mem.ENABLE = True

        The block sees the memory of the instant when it began, and what it has assigned itself. Blocks may be
        nested, and only one thread at a time is in a block of the same store, so that counting up in a block
        loses nothing. Do not `await` in it.
        """
        return Transaction.block(self._image)

    def snapshot(self) -> Snapshot:
        """The memory of this instant, with the same attributes; nothing changes it any more."""
        with self._image.lock:
            bound = dict(self._bound)
        return Snapshot(bytes(self._image.view()), self._image.tables["holding"].size, bound)

    # -- listening

    def changes(self, *names: str, size: int = QUEUE) -> ChangeStream:
        """A stream of changes for `for` and `async for`: of these variables, or of all.

        It begins with this call. Overlapping variables are all reported.

        :param size: how many changes the consumer may be behind; then the oldest are lost, and counted in `missed`.
        :raises UnknownVariableError: a name was never declared.
        """
        for name in names:
            self._known(name)
        stream = ChangeStream(self._image, size)
        self._follow(stream.queue, names)
        return stream

    def watch(self, name: str, callback: Callable[[Change], object], size: int = QUEUE) -> Watch:
        """Call a function with each `Change` of a variable, in a thread of its own, until the `Watch` is cancelled.

        What the callback raises is logged; one that blocks holds up nobody else.

        :param size: how many changes it may be behind; then the oldest are lost, and counted in `missed`.
        :raises UnknownVariableError: the name was never declared.
        """
        self._known(name)
        watch = Watch(self._image, name, callback, size)
        self._follow(watch.queue, (name,))
        return watch

    def wait_for(self, name: str, predicate: Callable[[Any], object], timeout: float) -> Any:
        """Wait until a variable's value satisfies a predicate; returns that value.

        In a thread it blocks. Called where an event loop runs it gives an awaitable, `wait_for_async()`:
        ``await mem.wait_for("STATE", lambda state: state == 3, timeout=2.0)``.

        :param timeout: seconds.
        :raises LinkTimeoutError: (a `TimeoutError`) the value did not come in time.
        :raises UnknownVariableError: the name was never declared.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            return self.wait_for_async(name, predicate, timeout)
        deadline = time.monotonic() + timeout
        with self.changes(name) as stream:
            if predicate(value := self[name]):
                return value
            while True:
                try:
                    change = stream.get(max(0.0, deadline - time.monotonic()))
                except LinkTimeoutError:
                    raise self._waited_in_vain(name, timeout) from None
                if predicate(change.new):
                    return change.new

    def wait_for_async(self, name: str, predicate: Callable[[Any], object], timeout: float) -> Awaitable[Any]:
        """The awaitable twin of `wait_for()`."""

        async def wait() -> Any:
            with self.changes(name) as stream:
                if predicate(value := self[name]):
                    return value
                try:
                    async with asyncio.timeout(timeout):
                        async for change in stream:
                            if predicate(change.new):
                                return change.new
                except TimeoutError:
                    raise self._waited_in_vain(name, timeout) from None

        self._known(name)
        return wait()

    def _waited_in_vain(self, name: str, timeout: float) -> LinkTimeoutError:
        return LinkTimeoutError(f"{name}: not the value that was waited for within {timeout:g} s, it is {self[name]!r}")

    def _follow(self, queue: Queue, names: tuple[str, ...]) -> None:
        self._followers((queue, names))
        self._aim(queue, names)

    def _followers(self, *more: tuple[Queue, tuple[str, ...]]) -> list[tuple[Queue, tuple[str, ...]]]:
        """The queues that somebody still consumes, and these; the others are forgotten."""
        with self._image.lock:
            self._queues[:] = [*(each for each in self._queues if each[0].held), *more]
            return self._queues.copy()

    def _aim(self, queue: Queue, names: tuple[str, ...]) -> None:
        """Point a queue at the places of its variables; without names it follows all, also later ones."""
        with self._image.lock:
            bound = {name: self._bound[name] for name in names or self._bound if name in self._bound}
            queue.decoders = {**queue.decoders, **{name: each.codec.decode for name, each in bound.items()}}
            queue.places = tuple(
                Place(name, each.region.offset, each.region.offset + each.region.size, each.region.bits)
                for name, each in bound.items()
            )

    # -- maps and pictures

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """A store from a register map: `.toml`, `.json` or `.csv`.

        :raises MapError: (a `DeclarationError`) what is wrong with the file: all of it, with line, column or key.
        :raises OSError: the file cannot be read.
        """
        from msm.memory.mapfile import load_store  # noqa: PLC0415 - the file formats are loaded when they are used

        return load_store(cls, path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the declarations of this store as a register map: `.toml`, `.json` or `.csv`.

        :raises DeclarationError: the suffix is none of these.
        :raises OSError: the file cannot be written.
        """
        from msm.memory.mapfile import save_store  # noqa: PLC0415

        save_store(self, path)

    def layout(self) -> Layout:
        """The picture of what lies where: text with `str()`, an SVG with `.svg()`, and `.findings` of the linter."""
        from msm.memory.layout import Layout  # noqa: PLC0415

        return Layout.of(self)

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
            if key not in self._setters and not isinstance(value, MemoryVariable):
                raise UnknownVariableError(self._unknown(key))
            setattr(self, key, value)
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

    def _cells(self, table: Table, address: int, count: int, seen: bytearray | None = None) -> list[int]:
        raw = self._image.read(table.name, address, count, self._image.view() if seen is None else seen)
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


def _assigning(setters: dict[str, Setter]) -> Callable[[MemoryStore, str, Any], None]:
    """The `__setattr__()` of one store, with what it needs at hand: to look up `self._setters` takes its time."""

    def assign(self: MemoryStore, name: str, value: Any) -> None:
        if name in setters and value.__class__ is not MemoryVariable:
            setters[name](value)
        else:
            MemoryStore.__setattr__(self, name, value)

    return assign


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


def _make(name: str, size: int | None, shape: Shape) -> tuple[Image, Orders]:
    if size is None:
        raise DeclarationError(f"{name} needs a size in words, e.g. {name}(8)")
    orders = Orders(shape.get("word_order", "little"), shape.get("byte_order", "big"))
    for what, order in zip(Orders._fields, orders, strict=True):
        if order not in ("little", "big"):
            raise DeclarationError(f"{what} {order!r} is neither 'little' nor 'big'")
    image = Image(size, shape.get("input_registers", 0), shape.get("coils", 0), shape.get("discrete_inputs", 0))
    return image, orders


def _getter(image: Image, bound: Bound) -> Callable[[Any], Any]:
    span, region, codec = bound
    start, end = region.offset, region.offset + region.size
    buffer, special, special_read, decode = image.buffer, image.special, image.special_read, codec.decode
    direct = getter(codec, buffer, start, special, lambda: decode(special_read(span, region)))
    if direct is not None:
        return direct

    def get(_store: object) -> Any:
        # One slice is one step of the interpreter: no lock, and never half of a value.
        return decode(special_read(span, region) if special else buffer[start:end])

    return get


def _setter(image: Image, bound: Bound, *, read_only: bool) -> Setter:
    span, region, codec = bound
    name = span.name

    def refuse(value: Any) -> None:
        raise AccessError(
            f"{name}: cannot be assigned {value!r}, it is read-only (access='ro'): only the device writes it; "
            f"a program that is the device uses provide({name}=...)"
        )

    return refuse if read_only else assigner(codec, image, span, region)


def image_of(store: MemoryStore) -> Image:
    """The image under a store: for the engines."""
    return store._image


def assign_and_tell(store: MemoryStore, name: str, value: Any, done: Done) -> int:
    """Assign a variable, and hear what becomes of just this assignment: for the doors.

    :param done: called by each client of the store, in whatever thread, with the fate, its cause, and the exception
        code of the device or 0. Where the assignment cannot be sent within half of the client's `timeout`, it expires.
    :returns: how many clients will call it: 0 where the store has none.
    :raises AccessError: only the device writes it.
    :raises UnknownVariableError: it was never declared.
    :raises ValueRangeError: the value does not fit. The memory is unchanged.
    :raises ValueTypeError: the value is of the wrong type. The memory is unchanged.
    """
    bound = store._known(name)
    if store._variables[name].access == "ro":
        store[name] = value  # which says why not
    return store._image.assign(bound.span, bound.region, bound.codec.encode(value, name), done)


def revision_of(store: MemoryStore) -> int:
    """A number that changes with every declaration: for the engines."""
    return store._revision


def spans_of(store: MemoryStore) -> list[Span]:
    """The bits that the declared variables cover: for the engines."""
    with store._image.lock:
        return [bound.span for bound in store._bound.values()]


def bound_of(store: MemoryStore) -> dict[str, Bound]:
    """The declared variables by name, with their place in the image and their codec."""
    with store._image.lock:
        return dict(store._bound)


def orders_of(store: MemoryStore) -> Orders:
    """The word and byte order that the store's variables have by default."""
    return store._orders
