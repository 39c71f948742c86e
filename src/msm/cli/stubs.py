"""The command that writes a register map as a class, whose attributes a type checker and an editor know."""

from __future__ import annotations

import enum
import json
import keyword
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from msm.cli.app import app
from msm.cli.device import MapFile
from msm.cli.maps import keep
from msm.memory.mapspec import ORDERS, SIZES, describe
from msm.memory.store import MemoryStore, orders_of
from msm.memory.variable import MemoryVariable

USED = {"MemoryStore", "MemoryVariable", "enum", "vars"}  # names that the class itself needs


@app.command()
def stubs(
    map_file: MapFile,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there, not to the terminal.")
    ] = None,
    class_name: Annotated[
        str, typer.Option("--class", metavar="NAME", help="The name of the class; by default that of the map.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a map as a class of stores: your editor completes its attributes, and mypy knows their types.

    Example: `msm stubs sdm630.csv -o sdm630.py`

    In a program, `from sdm630 import Sdm630` and `mem = Sdm630()` take the place of `MemoryStore.load()`.
    """
    name = class_name or camel(map_file.stem)
    if not name.isidentifier() or keyword.iskeyword(name):
        raise typer.BadParameter(f"{name!r} is no name for a class: give one with --class")
    text = class_text(MemoryStore.load(map_file), name)
    if output is None:
        print(text, end="")
    else:
        keep(output, force=force)
        output.write_text(text, "utf-8")


def camel(name: str) -> str:
    """A name for a class: "press_line-2" is PressLine2, and "STATE" is State."""
    words = re.findall(r"[^\W_]+", name)
    joined = "".join(word.capitalize() if word.isupper() else word[:1].upper() + word[1:] for word in words)
    return joined if joined[:1].isalpha() else f"Map{joined}"


def class_text(store: MemoryStore, name: str) -> str:
    """A module with a class that declares what this store does, and the enums that it needs."""
    variables = store.variables()
    enums = _enum_names(variables, name)
    lines = [*(["import enum", ""] if enums else []), "from msm import MemoryStore, MemoryVariable", "", ""]
    for enum_type, its in enums.items():
        lines += [*_enum_lines(enum_type, its), "", ""]
    lines += [f"class {name}({', '.join(['MemoryStore', *_shape(store)])}):", '    """Written by msm stubs."""', ""]
    odd = [each for each in variables if not _is_plain(each)]
    for each, variable in variables.items():
        if each not in odd:
            lines.append(f"    {each} = {_declaration(variable, enums)}")
    if odd:
        lines += ["", "    # No names for attributes: these are read and assigned as items, mem[...]."]
        lines += [f"    vars()[{_text_of(each)}] = {_declaration(variables[each], enums)}" for each in odd]
    return "\n".join(lines) + "\n"


def _is_plain(name: str) -> bool:
    """Can it stand in the body of a class as it is? Python renames what begins with two underscores there."""
    return name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__") and name not in USED


def _shape(store: MemoryStore) -> Iterator[str]:
    for key, table in SIZES.items():
        if key == "size" or store.get_size(table):
            yield f"{key}={store.get_size(table)}"
    for key, order, default in zip(ORDERS, orders_of(store), ("little", "big"), strict=True):
        if order != default:
            yield f"{key}={_text_of(order)}"


def _enum_names(variables: dict[str, MemoryVariable[Any]], class_name: str) -> dict[type[enum.Enum], str]:
    """A name for each enum that is that of nothing else in the module or the class."""
    taken = {*variables, *USED, class_name}
    names: dict[type[enum.Enum], str] = {}
    for variable in variables.values():
        enum_type = variable.arguments.get("enum_type")
        if enum_type is not None and enum_type not in names:
            name = camel(enum_type.__name__)
            while name in taken or keyword.iskeyword(name):
                name += "Type"
            taken.add(name)
            names[enum_type] = name
    return names


def _enum_lines(enum_type: type[enum.Enum], name: str) -> Iterator[str]:
    base = "IntFlag" if issubclass(enum_type, enum.Flag) else "IntEnum"
    members = {member: int(each.value) for member, each in enum_type.__members__.items()}
    if members and all(_is_plain(each) and each[0] != "_" for each in members):
        yield f"class {name}(enum.{base}):"
        yield from (f"    {member} = {value}" for member, value in members.items())
    else:
        pairs = ", ".join(f"{_text_of(member)}: {value}" for member, value in members.items())
        yield f'{name} = enum.{base}("{name}", {{{pairs}}})'


def _declaration(variable: MemoryVariable[Any], enums: dict[type[enum.Enum], str]) -> str:
    said = describe(variable)
    given = [str(said.pop("address"))]
    if "members" in said:
        given.insert(0, enums[variable.arguments["enum_type"]])
    given += [f"{key}={_literal(value)}" for key, value in said.items() if key not in ("type", "enum", "members")]
    return f"MemoryVariable.{variable.kind}({', '.join(given)})"


def _literal(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value!r}")'
    return _text_of(value) if isinstance(value, str) else repr(value)


def _text_of(text: str) -> str:
    """A text as Python, in double quotes where JSON writes it the same."""
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else repr(text)
