"""The tags that Kepware's Modbus drivers export as CSV, as entries of a register map.

References count from 1 and may have fewer digits than usual (41 is 400001), an `H` for hexadecimal, a bit (`.5`), the
length of a text and the order of its bytes (`.20H`, `.20L`), or the size of an array (`[10]`).
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from msm.errors import DeclarationError
from msm.memory.addresses import PREFIXES, modicon
from msm.memory.mapspec import did_you_mean

COLUMNS = (
    "Tag Name", "Address", "Data Type", "Respect Data Type", "Client Access", "Scan Rate", "Scaling", "Raw Low",
    "Raw High", "Scaled Low", "Scaled High", "Scaled Data Type", "Clamp Low", "Clamp High", "Eng Units",
    "Description", "Negate Value",
)  # fmt: skip

COLUMN_OF = {
    "name": "Tag Name", "type": "Data Type", "address": "Address", "table": "Address", "bit_number": "Address",
    "byte_number": "Data Type", "length": "Address", "count": "Address", "byte_order": "Address",
    "access": "Client Access", "period": "Scan Rate", "scale": "Scaling", "offset": "Scaling", "min": "Clamp Low",
    "max": "Clamp High", "unit": "Eng Units", "label": "Description",
}  # fmt: skip
"""The column that a key of ours comes from."""

TYPES = {
    "boolean": "bool", "word": "word", "short": "int16", "dword": "uint32", "long": "int32", "qword": "uint64",
    "llong": "int64", "float": "float32", "double": "float64", "bcd": "bcd16", "lbcd": "bcd32", "string": "string",
    "byte": "byte", "char": "int8",
}  # fmt: skip
_PARTS = {
    "bool": ("bit_number", "bit, as in 400003.5", 0),
    "string": ("length", "length of the text, as in 400003.20H", 2),
}
_ACCESS = {"": None, "r/w": None, "rw": None, "ro": "ro", "r": "ro", "wo": "wo", "w": "wo"}
_ADDRESS = re.compile(
    r"(?P<hex>H?)(?P<table>[0134])(?P<number>[0-9A-F]{1,5})"
    r"(?:\.(?P<part>[0-9]{1,3})(?P<order>[HL]?))?(?P<array>(?:\[[0-9]{1,5}\]){0,2})"
)

Problems = list[tuple[str, str]]  # the column, and what is wrong there


def column(name: str) -> str:
    """The column of that name, however it is spelt: "Eng. Units" and "eng units" are the same."""
    spelt = re.sub(r"[^a-z]+", " ", name.casefold()).strip()
    return next((known for known in COLUMNS if known.casefold() == spelt), name)


def convert(cells: dict[str, str]) -> tuple[dict[str, Any], Problems]:
    """The keys that the cells of a tag stand for, and what is wrong with the cells."""
    problems: Problems = []
    fields = _place(cells, problems)
    access = cells.get("Client Access", "").lower()
    if access not in _ACCESS:
        problems.append(("Client Access", f"{cells['Client Access']!r} is none of RO, R/W, WO"))
    fields["access"] = _ACCESS.get(access)
    rate = _number(cells, "Scan Rate", problems)
    if rate:  # 0 leaves it to the client, as an empty cell does
        fields["period"] = _plain(rate / 1000)
    fields.update(_scaling(cells, problems))
    fields["unit"] = cells.get("Eng Units")
    fields["label"] = cells.get("Description")
    return {key: value for key, value in fields.items() if value is not None}, problems


def _place(cells: dict[str, str], problems: Problems) -> dict[str, Any]:
    said, type_said = cells.get("Address", ""), cells.get("Data Type", "")
    found = _ADDRESS.fullmatch(said.upper())
    if not found or not (found["hex"] or found["number"].isdigit()):
        problems.append(("Address", f"address {said!r} is not of the form 400003, 400003.5, 400003.20H or 400003[10]"))
        return {"type": "word", "address": 0}
    table = PREFIXES[found["table"]]
    fields: dict[str, Any] = {"table": table}
    try:
        fields["address"] = f"{table}:{modicon(table, int(found['number'], 16 if found['hex'] else 10), said)}"
    except DeclarationError as error:
        problems.append(("Address", str(error)))
        fields["address"] = 0
    kind = _kind(type_said, found, problems)
    part = int(found["part"]) if found["part"] else None
    if table in ("coil", "discrete"):
        if kind not in ("bool", "default"):
            problems.append(("Data Type", f"{type_said!r}: a {table} is a Boolean"))
        if part is not None:
            problems.append(("Address", f"address {said!r} names a part of a {table}, which has none"))
        kind, part = table, None
    if kind == "default":
        kind = "word" if part is None else "bool"
    if kind in _PARTS:
        key, what, stand_in = _PARTS[kind]
        if part is None:
            problems.append(("Address", f"address {said!r} has no {what}, the type is {type_said}"))
        fields[key] = stand_in if part is None else part
    elif part is not None:
        problems.append(("Address", f"address {said!r} names a bit, but the type is {type_said}"))
    if kind in ("byte", "int8"):
        fields["byte_number"] = 0
    fields["type"] = kind
    fields["byte_order"] = "little" if found["order"] == "L" else None
    for size in re.findall(r"[0-9]+", found["array"]):
        fields["count"] = fields.get("count", 1) * int(size)
    return fields


def _kind(said: str, found: re.Match[str], problems: Problems) -> str:
    name = said.casefold().removesuffix(" array")
    if name in ("", "default"):
        return "string" if found["order"] else "default"
    if name not in TYPES:
        known = [each.capitalize() for each in TYPES]
        hint = did_you_mean(said.capitalize(), known)
        problems.append(("Data Type", f"{said!r} is none of {', '.join(known)}{hint}"))
        return "bool" if found["part"] else "default"
    if name != said.casefold() and not found["array"]:
        problems.append(("Address", f"address {found[0]!r} has no size of the array, as in 400003[10]"))
    return TYPES[name]


def _scaling(cells: dict[str, str], problems: Problems) -> dict[str, Any]:
    """Linear scaling as scale and offset; what is clamped becomes a limit of what may be assigned."""
    mode = cells.get("Scaling", "").casefold()
    if mode in ("", "none"):
        return {}
    if mode != "linear":
        problems.append(("Scaling", f"{cells['Scaling']!r} is neither None nor Linear, other scalings are not known"))
        return {}
    before = len(problems)
    ends = [_number(cells, name, problems) for name in ("Raw Low", "Raw High", "Scaled Low", "Scaled High")]
    for name, end in zip(("Raw Low", "Raw High", "Scaled Low", "Scaled High"), ends, strict=True):
        if end is None and name not in cells:
            problems.append((name, "is empty, Linear scaling needs it"))
    raw_low, raw_high, low, high = (Fraction(0) if end is None else end for end in ends)
    if len(problems) == before and raw_low == raw_high:
        problems.append(("Raw High", f"{cells['Raw High']!r} is the same as Raw Low"))
    if len(problems) == before and low == high:
        problems.append(("Scaled High", f"{cells['Scaled High']!r} is the same as Scaled Low"))
    limits = [end if _flag(cells, name, problems) else None for name, end in (("Clamp Low", low), ("Clamp High", high))]
    negate = _flag(cells, "Negate Value", problems)
    if len(problems) > before:
        return {}
    sign = -1 if negate else 1
    scale = sign * (high - low) / (raw_high - raw_low)
    scaled = [None if limit is None else _plain(sign * limit) for limit in limits]
    lowest, highest = reversed(scaled) if negate else scaled
    return {"scale": _plain(scale), "offset": _plain(sign * low - scale * raw_low), "min": lowest, "max": highest}


def _number(cells: dict[str, str], name: str, problems: Problems) -> Fraction | None:
    if name not in cells:
        return None
    try:
        return Fraction(cells[name])
    except (ValueError, ZeroDivisionError):
        problems.append((name, f"{cells[name]!r} is not a number"))
        return None


def _flag(cells: dict[str, str], name: str, problems: Problems) -> bool:
    said = cells.get(name, "0").casefold()
    if said not in ("0", "1", "false", "true"):
        problems.append((name, f"{cells[name]!r} is neither 0 nor 1"))
    return said in ("1", "true")


def _plain(number: Fraction) -> int | float:
    return number.numerator if number.denominator == 1 else float(number)
