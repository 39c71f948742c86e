"""The JSON schema of register maps, for editors: `msm.schema.json` beside this module is written by `schema_text()`."""

from __future__ import annotations

import json
from typing import Any

from msm.memory.image import MAX_CELLS, TABLE_NAMES
from msm.memory.kinds import ACCESSES
from msm.memory.mapspec import KEYS, REQUIRED, SIZES, keys_of
from msm.memory.named import LAYOUTS
from msm.memory.variable import KINDS

_ORDER = {"enum": ["little", "big"]}
_NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]}
_BIT = {"type": "integer", "minimum": 0, "maximum": 15}
_SECONDS = {"type": "number", "exclusiveMinimum": 0, "maximum": 86400}

_VALUES: dict[str, dict[str, Any]] = {
    "type": {"enum": list(KINDS), "description": "The constructor of MemoryVariable."},
    "address": {
        "description": "A number that counts from address_base, or text: holding:2, 0x1A, 40003, 4x00003, 40003.5.",
        "anyOf": [{"type": "integer", "minimum": 0, "maximum": MAX_CELLS}, {"type": "string", "minLength": 1}],
    },
    "table": {"enum": list(TABLE_NAMES), "description": "By default holding, or what the address or the type says."},
    "bit_number": {**_BIT, "description": "The bit of the word, 0 is the least significant."},
    "byte_number": {"enum": [0, 1], "description": "The byte of the word, 0 is the low one."},
    "length": {"type": "integer", "minimum": 1, "description": "Bytes of a text, or bits of a word."},
    "encoding": {"type": "string", "minLength": 1, "description": "By default ascii."},
    "layout": {"enum": list(LAYOUTS), "description": "How a point in time lies in its words."},
    "enum": {"type": "string", "minLength": 1, "description": "The name of the enum type, by default the variable's."},
    "size": {"enum": ["word", "int16", "uint32", "int32"], "description": "The number that stands for a member."},
    "count": {"type": "integer", "minimum": 1, "maximum": MAX_CELLS, "description": "Makes it an array."},
    "word_order": {**_ORDER, "description": "little: low word first. By default the store's."},
    "byte_order": {**_ORDER, "description": "big: high byte first. By default the store's."},
    "scale": {"type": "number", "not": {"const": 0}, "description": "Value = raw number times scale plus offset."},
    "offset": {"type": "number", "description": "Value = raw number times scale plus offset."},
    "min": {**_NUMBER, "description": "The lowest value that may be assigned."},
    "max": {**_NUMBER, "description": "The highest value that may be assigned."},
    "nan": {**_NUMBER, "description": "The raw number that means: no value."},
    "unit": {"type": "string", "description": "The unit of measurement."},
    "label": {"type": "string", "description": "What it is, in words for people."},
    "access": {"enum": list(ACCESSES), "description": "ro: only the device writes it. wo: it is only written."},
    "period": {**_SECONDS, "description": "Seconds between polls of this variable."},
    "command": {"type": "boolean", "description": "Every assignment is sent, in order."},
    "heartbeat": {**_SECONDS, "description": "Seconds after which the value is sent again."},
    "conflict": {"enum": ["mine", "device"], "description": "Who wins where both sides have changed it."},
    "behaviour": {
        "type": "string",
        "description": 'How it moves where `msm serve` plays the device, e.g. "sine 20 80 10"; else of no effect.',
    },
    "members": {
        "type": "object",
        "additionalProperties": {"type": "integer"},
        "description": "The members of an enum and their numbers, or the flags and their bits (1, 2, 4, ...).",
    },
}


def schema() -> dict[str, Any]:
    """The JSON schema (draft 7, which editors know) of a register map in JSON or TOML."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for kind in KINDS:
        alike.setdefault((*keys_of(kind), "needs", *REQUIRED.get(kind, ())), []).append(kind)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "MSM register map",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "$schema": {"type": "string"},
            "address_base": {"enum": [0, 1], "description": "What the first cell is called. By default 0."},
            **{key: _size(key) for key in SIZES},
            "word_order": {**_ORDER, "description": "little (default): low word first."},
            "byte_order": {**_ORDER, "description": "big (default): high byte first."},
            "variables": {
                "description": "The variables: a table by name, or an array whose items have a name.",
                "anyOf": [
                    {"type": "object", "additionalProperties": {"$ref": "#/definitions/variable"}},
                    {"type": "array", "items": {"$ref": "#/definitions/named"}},
                ],
            },
        },
        "definitions": {
            "variable": _variable(alike, named=False),
            "named": _variable(alike, named=True),
            **{key: _VALUES[key] for key in KEYS},
        },
    }


def _size(key: str) -> dict[str, Any]:
    cells = f"The number of cells of the {SIZES[key]} table; by default as many as its variables need."
    return {"type": "integer", "minimum": 0, "maximum": MAX_CELLS, "description": cells}


def _variable(alike: dict[tuple[str, ...], list[str]], *, named: bool) -> dict[str, Any]:
    name: dict[str, Any] = {"name": {"type": "string", "minLength": 1}} if named else {}
    return {
        "type": "object",
        "required": [*name, "type", "address"],
        "properties": {"type": {"$ref": "#/definitions/type"}},
        "allOf": [
            {
                "if": {"properties": {"type": {"enum": kinds}}, "required": ["type"]},
                "then": {
                    "properties": {**name, **{key: {"$ref": f"#/definitions/{key}"} for key in keys_of(kinds[0])}},
                    "additionalProperties": False,
                    # The bit may also stand in the address, as in 40003.5.
                    "required": [key for key in REQUIRED.get(kinds[0], ()) if key != "bit_number"],
                },
            }
            for kinds in alike.values()
        ],
    }


def schema_text() -> str:
    """What `msm.schema.json` holds."""
    return json.dumps(schema(), indent=2) + "\n"
