"""Addresses as register lists write them: `holding:2`, `40003`, `4x00003`, `0x1A`, or a plain number."""

from __future__ import annotations

import re
from typing import NamedTuple

from msm.errors import DeclarationError
from msm.memory.image import MAX_CELLS, TABLE_NAMES, TableName

PREFIXES: dict[str, TableName] = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
"""The first digit of a Modicon reference, and the table that it stands for."""

_BIT = re.compile(r"(.+)\.([0-9]{1,2})", re.DOTALL)
_NAMED = re.compile(r"([a-z]+):(0x[0-9a-f]{1,4}|[0-9]{1,9})")
_DIGITS = re.compile(r"([0134])([0-9]{4,5})")
_WITH_X = re.compile(r"([134]x|0x(?=[0-9]{5}))([0-9]{1,6})")
_PLAIN = re.compile(r"[0-9]{1,9}")
_HEX = re.compile(r"0x[0-9a-f]{1,4}")
_FORMS = "a number, holding:2, input:0x1A, 40003, 400003, 4x00003, 30001, 10001, 00001 or 40003.5 (a bit)"


class Reference(NamedTuple):
    """Where something lies: `address` counts from 0. `table` and `bit` are None where the text does not say."""

    table: TableName | None
    address: int
    bit: int | None = None


def parse_address(value: object, base: int = 0) -> Reference:
    """What an address means.

    Modicon references (`40003`, `400003`, `4x00003`, `4x3`) count from 1, always: 40001 is holding register 0. Plain
    numbers, hexadecimal numbers and `holding:2` count from `base`. As text, five or six digits that begin with 0, 1,
    3 or 4 are a reference; as a number (`address = 40003` in TOML) they are a plain address. `0x` and five digits
    is the reference of a coil, `0x` and up to four digits is hexadecimal: an address never has more.

    :param value: an int, or text.
    :param base: what the register list calls the first cell: 0 or 1.
    :raises DeclarationError: it is none of these; the message shows what is.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise DeclarationError(f"address {value!r} is none of: {_FORMS}")
    if isinstance(value, int):
        return Reference(None, _counted(value, value, base))
    text, bit = value.strip().lower(), None
    if suffix := _BIT.fullmatch(text):
        text, bit = suffix[1], int(suffix[2])
        if bit > 15:
            raise DeclarationError(f"address {value!r}: bit {bit} is not a number from 0 to 15")
    if reference := _DIGITS.fullmatch(text) or _WITH_X.fullmatch(text):
        table = PREFIXES[reference[1][0]]
        return Reference(table, modicon(table, int(reference[2]), value), bit)
    if named := _NAMED.fullmatch(text):
        if named[1] not in TABLE_NAMES:
            raise DeclarationError(f"address {value!r}: {named[1]!r} is none of {', '.join(TABLE_NAMES)}")
        return Reference(named[1], _counted(value, int(named[2], 0 if "x" in named[2] else 10), base), bit)
    if _HEX.fullmatch(text):
        return Reference(None, _counted(value, int(text, 16), base), bit)
    if _PLAIN.fullmatch(text):
        return Reference(None, _counted(value, int(text), base), bit)
    raise DeclarationError(f"address {value!r} is none of: {_FORMS}")


def modicon(table: TableName, number: int, text: object) -> int:
    """The address, from 0, of the cell that a Modicon reference calls `number`, from 1.

    :raises DeclarationError: there is no such number.
    """
    if not 1 <= number <= MAX_CELLS:
        raise DeclarationError(
            f"address {text!r}: references count from 1 to {MAX_CELLS}, the first one of the {table} table is "
            f"{next(digit for digit, name in PREFIXES.items() if name == table)}0001"
        )
    return number - 1


def _counted(text: object, number: int, base: int) -> int:
    if not base <= number < MAX_CELLS + base:
        raise DeclarationError(f"address {text!r} is not within {base} to {MAX_CELLS - 1 + base} (address_base {base})")
    return number - base
