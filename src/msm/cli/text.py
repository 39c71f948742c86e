"""Values as text for people, as JSON for scripts, and text of the command line as values."""

from __future__ import annotations

import enum
import math
from datetime import datetime
from typing import Any

from msm.errors import ValueRangeError, ValueTypeError
from msm.memory.textwidth import printable
from msm.memory.variable import MemoryVariable
from msm.memory.view import Info

DIGITS = {"float16": 4, "float32": 7}  # that are worth showing; a float64 shows all it has
WORDS = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
NO_VALUE = "none"


def shown(value: Any, kind: str = "") -> str:
    """A value for people, in one line without control characters.

    :param kind: the type of its variable, which says how many digits are worth showing.
    """
    if value is None:
        return NO_VALUE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        return value.name or str(int(value.value))
    if isinstance(value, float):
        return f"{value:.{DIGITS[kind]}g}" if kind in DIGITS else f"{value:.12g}"
    if isinstance(value, tuple):
        return ", ".join(shown(each, kind) for each in value)
    return printable(str(value))


def with_unit(info: Info, kind: str = "") -> str:
    """The value of a variable for people, with its unit of measurement."""
    return f"{shown(info.value, kind)} {printable(info.unit)}".rstrip()


def plain(value: Any) -> Any:
    """A value as JSON has it: members of enums by name; what is no number there (nan, inf) as text."""
    if isinstance(value, enum.Enum):
        return shown(value)
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


def as_json(info: Info) -> dict[str, Any]:
    """What is known of a variable, for `json.dumps()`."""
    return {
        "value": plain(info.value),
        "unit": info.unit,
        "quality": info.quality,
        "at": info.at,
        "table": info.table,
        "address": info.address,
        "words": list(info.words),
        "error": info.error,
    }


def parsed(variable: MemoryVariable[Any], text: str) -> Any:
    """The value that a text means for a variable: `40.5`, `0x1F`, `on`, `RUN`, `HOT|OIL`, `1,2,3`, `none`.

    The store says whether it fits.

    :raises ValueTypeError: it is no such value.
    :raises ValueRangeError: an enum has no such member.
    """
    if variable.keywords.get("count"):
        return tuple(_single(variable, part.strip()) for part in text.split(","))
    return _single(variable, text)


def _single(variable: MemoryVariable[Any], text: str) -> Any:
    kind = variable.kind
    if kind == "string":
        return text
    if kind in ("bool", "coil", "discrete"):
        if text.lower() not in WORDS:
            raise ValueTypeError(f"{variable.name}: {text!r} is neither true nor false (on, off, 1, 0)")
        return WORDS[text.lower()]
    if kind == "datetime":
        return _datetime(variable.name, text)
    if kind in ("enum", "flags"):
        return _member(variable, text)
    return None if text.lower() == NO_VALUE else _number(variable.name, text)


def _number(name: str, text: str) -> int | float:
    for read in (lambda: int(text, 0), lambda: int(text), lambda: float(text)):
        try:
            return read()
        except ValueError:
            continue
    raise ValueTypeError(f"{name}: {text!r} is not a number")


def _datetime(name: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueTypeError(f"{name}: {text!r} is not a date and time like 2024-05-17T12:30:00") from None


def _member(variable: MemoryVariable[Any], text: str) -> Any:
    enum_type: type[enum.Enum] = variable.arguments["enum_type"]
    members = enum_type.__members__
    number = 0
    for part in text.split("|") if variable.kind == "flags" else [text]:
        word = part.strip()
        if word in members:
            number |= int(members[word].value)
        elif word.isdecimal():
            number |= int(word)
        else:
            raise ValueRangeError(f"{variable.name}: {text!r} is none of {', '.join(members)}")
    return number
