"""What a register map says, whatever its file format: settings of the store, and one entry for each variable.

The formats read their files into a `Document` and write what `describe()` gives; what the words mean is here.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from msm.errors import DeclarationError
from msm.memory.addresses import parse_address
from msm.memory.variable import KINDS, MemoryVariable, keywords_of

SIZES: dict[str, str] = {
    "size": "holding",
    "input_registers": "input",
    "coils": "coil",
    "discrete_inputs": "discrete",
}
"""The settings that are sizes of tables, and whose."""

ORDERS = ("word_order", "byte_order")
SETTINGS = ("address_base", *SIZES, *ORDERS)

REQUIRED: dict[str, dict[str, Any]] = {
    "bool": {"bit_number": 0},
    "byte": {"byte_number": 0},
    "int8": {"byte_number": 0},
    "bits": {"bit_number": 0, "length": 1},
    "string": {"length": 2},
    "enum": {"members": {}},
    "flags": {"members": {}},
    "datetime": {"layout": "unix32"},
}
"""What a type cannot do without, besides its address; and a right value, to look further where theirs is wrong."""

OPTIONAL: dict[str, tuple[str, ...]] = {
    "string": ("encoding",),
    "enum": ("enum", "bit_number", "length", "size"),
    "flags": ("enum", "bit_number", "length", "size"),
}
"""The other arguments of a type; `enum` is the name of the enum type, by default that of the variable."""

NUMBERS = ("scale", "offset", "min", "max", "nan")
WHOLE = ("bit_number", "byte_number", "length", "count")
KEYS = (
    "type", "address", "table", "bit_number", "byte_number", "length", "encoding", "layout", "enum", "size", "count",
    "word_order", "byte_order", *NUMBERS, "unit", "label", "access", "period", "command", "heartbeat", "conflict",
    "behaviour", "members",
)  # fmt: skip
"""All keys of a variable, in the order in which they are written."""

_DEFAULTS = {"table": "holding", "encoding": "ascii", "size": "word", "unit": "", "label": "", "behaviour": ""}
_SPECIAL = {"nan": "nan", "inf": "inf", "-inf": "-inf", "+inf": "inf"}  # numbers that JSON can only say as text

Where = Callable[[str], str]


@dataclass
class Entry:
    """One variable of a map; `where(key)` says where in its file that key stands, or the variable for ""."""

    name: str
    fields: dict[str, Any]
    where: Where


@dataclass
class Document:
    """A map as it was read, and what was already found wrong with it."""

    file: str
    settings: dict[str, Any]
    where: Where
    entries: list[Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Enums:
    """The enum types of a map: entries that say the same share a type, and take that of a class that has it."""

    def __init__(self, known: Iterable[MemoryVariable[Any]] = ()) -> None:
        self._types: dict[object, type[enum.Enum]] = {}
        for variable in known:
            enum_type = variable.arguments.get("enum_type")
            if isinstance(enum_type, type) and issubclass(enum_type, enum.Enum):
                key = variable.kind, enum_type.__name__, tuple(members_of(enum_type).items())
                self._types.setdefault(key, enum_type)

    def get(self, kind: str, name: str, members: Mapping[str, int]) -> type[enum.Enum]:
        """The type with that name and those members.

        :raises DeclarationError: Python does not take a name or a member.
        """
        key = kind, name, tuple(members.items())
        if key not in self._types:
            base: Any = enum.IntFlag if kind == "flags" else enum.IntEnum
            try:
                self._types[key] = base(name, dict(members), module="msm.maps")
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise DeclarationError(f"members cannot be those of an enum: {error}") from None
        return self._types[key]


def members_of(enum_type: type[enum.Enum]) -> dict[str, int]:
    """The members of an enum by name, aliases too."""
    return {name: int(member.value) for name, member in enum_type.__members__.items()}


def keys_of(kind: str) -> list[str]:
    """The keys that a variable of that type takes, in order."""
    keywords = {"type", "address", "table", *REQUIRED.get(kind, ()), *OPTIONAL.get(kind, ()), *keywords_of(kind)}
    return [key for key in KEYS if key in keywords]


def describe(variable: MemoryVariable[Any]) -> dict[str, Any]:
    """A declaration as a map says it, in order; what is as by default is left out."""
    said = {"type": variable.kind, "address": variable.address, **variable.arguments, **variable.keywords}
    if variable.table == "input":
        said["table"] = variable.table
    enum_type = said.pop("enum_type", None)
    if enum_type is not None:
        said["enum"] = enum_type.__name__
        said["members"] = members_of(enum_type)
    return {
        key: plain(said[key])
        for key in KEYS
        if said.get(key) is not None and (key not in _DEFAULTS or said[key] != _DEFAULTS[key])
    }


def plain(value: Any) -> Any:
    """The value without subclasses: a numpy number or a member of an IntEnum is written as its number."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return value


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The hint for a word that is not known: the closest one that is."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def declare(entry: Entry, base: int, enums: Enums, bind: Callable[[str, MemoryVariable[Any]], None]) -> Iterator[str]:
    """Declare a variable as its entry says; gives all that is wrong with the entry.

    :param base: the address base of the map.
    :param bind: declares it; what that raises is put down to the key that the message speaks of.
    """
    fields = dict(entry.fields)
    kind = fields.pop("type", None)
    if kind is None:
        yield f"{entry.where('')}: type is missing, it is one of {', '.join(KINDS)}"
    elif not isinstance(kind, str) or kind not in KINDS:
        yield f"{entry.where('type')}: type {kind!r} is none of {', '.join(KINDS)}{did_you_mean(kind, KINDS)}"
        kind = None
    for key, problem in _key_problems(kind, fields):
        yield f"{entry.where(key)}: {problem}"
        fields.pop(key, None)
    for key in NUMBERS:
        if fields.get(key) in _SPECIAL:
            fields[key] = float(fields[key])
    address = 0
    try:
        if "address" in fields:
            address = _place(kind, fields.pop("address"), base, fields)
        elif "address" not in entry.fields:
            yield f"{entry.where('')}: address is missing"
    except DeclarationError as error:
        yield f"{entry.where(_blame(str(error), fields))}: {error}"
    if kind is None:
        return
    for key, stand_in in REQUIRED.get(kind, {}).items():
        if key not in fields:
            if key not in entry.fields:
                yield f"{entry.where('')}: {key} is missing, a variable of type {kind} needs it"
            fields[key] = stand_in
    yield from _bind(entry, kind, address, fields, enums, bind)


def _key_problems(kind: str | None, fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    allowed = KEYS if kind is None else keys_of(kind)
    for key, value in list(fields.items()):
        if key not in KEYS:
            yield key, f"unknown key {key!r}{did_you_mean(key, allowed)}; allowed are {', '.join(allowed)}"
        elif key not in allowed:
            yield key, f"{key} is not for a variable of type {kind}, which takes {', '.join(allowed)}"
        elif key == "members":
            yield from _member_problems(value)
        elif isinstance(value, (dict, list)):
            what = "a table" if isinstance(value, dict) else "an array"
            yield key, f"{key} is {what}, where a single value is wanted"
        elif key in ("enum", "encoding", "layout", "size") and not (isinstance(value, str) and value):
            yield key, f"{key} {value!r} is not a text"


def _member_problems(members: object) -> Iterator[tuple[str, str]]:
    if not isinstance(members, dict):
        yield "members", f"members {members!r} is not a table of names and whole numbers like {{ OFF = 0, ON = 1 }}"
        return
    for name, value in members.items():
        if isinstance(value, bool) or not isinstance(value, int):
            yield "members", f"member {name!r} is {value!r}, which is not a whole number"


def _place(kind: str | None, said: Any, base: int, fields: dict[str, Any]) -> int:
    """The address from 0; the table and the bit that it names go to `fields`."""
    place = parse_address(said, base)
    table = fields.get("table")
    if place.table is not None:
        if table is not None and table != place.table:
            raise DeclarationError(f"table {table!r} contradicts address {said!r}, which is of the {place.table} table")
        fields["table"] = place.table
    if place.bit is not None:
        if kind is not None and "bit_number" not in keys_of(kind):
            raise DeclarationError(f"address {said!r} names a bit, but a variable of type {kind} has none")
        if fields.setdefault("bit_number", place.bit) != place.bit:
            raise DeclarationError(f"bit_number {fields['bit_number']!r} contradicts address {said!r}")
    return place.address


def _bind(
    entry: Entry,
    kind: str,
    address: int,
    fields: dict[str, Any],
    enums: Enums,
    bind: Callable[[str, MemoryVariable[Any]], None],
) -> Iterator[str]:
    blamed: set[str] = set()
    while True:
        try:
            bind(entry.name, _construct(entry.name, kind, address, fields, enums))
            return
        except DeclarationError as error:
            message = str(error).removeprefix(f"{entry.name}: ")
            key = _blame(message, fields)
        except (ValueError, TypeError) as error:  # what Python says of the name of an encoding
            message = f"encoding {fields.get('encoding')!r}: {error}"
            key = "encoding"
        if key in blamed:
            return
        hint = _hint(entry.fields.get("address"), address) if key == "address" else ""
        # The table and the bit may have come from the address.
        yield f"{entry.where(key if key in entry.fields else 'address')}: {message}{hint}"
        # What is wrong is put right, so that the next round finds what else is.
        blamed.add(key)
        if key == "address":
            address = 0
        elif key in REQUIRED.get(kind, {}):
            fields[key] = REQUIRED[kind][key]
        else:
            fields.pop(key, None)


def _construct(name: str, kind: str, address: int, fields: Mapping[str, Any], enums: Enums) -> MemoryVariable[Any]:
    arguments = dict(fields)
    constructor: Any = KINDS[kind]
    if kind in ("coil", "discrete") and arguments.setdefault("table", kind) != kind:
        raise DeclarationError(f"table {arguments['table']!r}: a {kind} lies in the {kind} table")
    if kind in ("enum", "flags"):
        members = arguments.pop("members")
        enum_type = enums.get(kind, arguments.pop("enum", name), members)
        variable: MemoryVariable[Any] = constructor(enum_type, address, **arguments)
    else:
        variable = constructor(address, **arguments)
    return variable


def _blame(message: str, fields: Mapping[str, Any]) -> str:
    """The key that a message speaks of: its first word, if that is one."""
    found = re.match(r"(?:an? \w+ does not fit, )?(\w+)", message)
    if found and found[1] in fields:
        return found[1]
    if "members" in fields and " has " in message and "outside the memory" not in message:
        return "members"
    return "address"


def _hint(said: object, address: int) -> str:
    if isinstance(said, int) and str(said)[0] in "0134" and len(str(said)) in (5, 6):
        return f'; as a Modicon reference it is written as text, "{said}"'
    return "" if said == address else f"; {said!r} is address {address}, counted from 0"
