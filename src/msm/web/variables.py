"""What a page has to know of the variables of a store: their names, their places, and how each one is set."""

from __future__ import annotations

import enum
import math
from typing import Any

from msm import Info, MemoryStore, MemoryVariable
from msm.cli.text import shown
from msm.memory.variable import KINDS

SWITCHES = ("bool", "coil", "discrete")


def described(store: MemoryStore) -> list[dict[str, Any]]:
    """All variables of a store, in the order of their declaration."""
    return [_described(variable, store.info(name)) for name, variable in store.variables().items()]


def _described(variable: MemoryVariable[Any], info: Info) -> dict[str, Any]:
    return {
        "name": info.name,
        "label": info.label,
        "unit": info.unit,
        "type": variable.kind + (f"[{count}]" if (count := variable.keywords.get("count")) else ""),
        "table": info.table,
        "address": info.address,
        "cells": len(info.words),
        "access": variable.access,
        "editor": editor(variable),
        "choices": choices(variable),
        "hint": hint(variable),
        "plots": number(info.value) is not None or is_number(variable),
    }


def is_settable(variable: MemoryVariable[Any]) -> bool:
    """May a page set it? What lies in a table that only the device writes it may not."""
    return variable.access != "ro" and variable.table in ("holding", "coil")


def editor(variable: MemoryVariable[Any]) -> str:
    """What it is set with: "switch", "menu", "flags" or "field"; "" where it cannot be set."""
    if not is_settable(variable):
        return ""
    if variable.keywords.get("count"):
        return "field"
    if variable.kind in SWITCHES:
        return "switch"
    return {"enum": "menu", "flags": "flags"}.get(variable.kind, "field")


def choices(variable: MemoryVariable[Any]) -> list[str]:
    """The names that its value may have."""
    if variable.kind not in ("enum", "flags"):
        return []
    members: type[enum.Enum] = variable.arguments["enum_type"]
    return [str(member.name) for member in members]


def hint(variable: MemoryVariable[Any]) -> str:
    """What may be typed into its field."""
    if editor(variable) != "field":
        return ""
    low, high = variable.keywords.get("min"), variable.keywords.get("max")
    if low is not None and high is not None:
        text = f"{low:g} to {high:g}"
    elif low is not None or high is not None:
        text = f"from {low:g}" if low is not None else f"to {high:g}"
    elif variable.kind == "string":
        text = f"at most {variable.arguments['length']} bytes"
    elif variable.kind == "datetime":
        text = "2024-05-17T12:30:00"
    elif "scale" in variable.keywords or "offset" in variable.keywords:
        text = "a number"
    else:
        text = KINDS[variable.kind].values
    count = variable.keywords.get("count")
    return f"{count} values with commas between them; each {text}" if count else text


def is_number(variable: MemoryVariable[Any]) -> bool:
    """Is it one number, or one bit, that a trend can show?"""
    return not variable.keywords.get("count") and variable.kind not in ("string", "datetime", "flags")


def number(value: Any) -> float | None:
    """What a trend shows of a value; nothing where that is no number."""
    if isinstance(value, enum.Flag):
        return None
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return None


def text(info: Info, variable: MemoryVariable[Any]) -> str:
    """A value as a page shows it."""
    return shown(info.value, variable.kind)
