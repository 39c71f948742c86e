"""Register maps: a store's shape and declarations as a file, TOML, JSON or CSV.

`MemoryStore.load()` and `MemoryStore.save()` come here. A map is read whole before a store is made, so a broken file
never yields half of one, and all that is wrong with it is told at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from msm.errors import DeclarationError, MapError
from msm.memory import mapcsv, mapjson, maptoml
from msm.memory.image import MAX_CELLS
from msm.memory.mapspec import ORDERS, SETTINGS, SIZES, Document, Entry, Enums, declare, describe, did_you_mean
from msm.memory.store import MemoryStore, bound_of, orders_of
from msm.memory.variable import MemoryVariable

S = TypeVar("S", bound=MemoryStore)

Settings = dict[str, Any]
Entries = dict[str, dict[str, Any]]
READERS: dict[str, Callable[[str, str], Document]] = {
    ".toml": maptoml.read,
    ".json": mapjson.read,
    ".csv": mapcsv.read,
}
WRITERS: dict[str, Callable[[Settings, Entries], str]] = {
    ".toml": maptoml.write,
    ".json": mapjson.write,
    ".csv": mapcsv.write,
}


def load_store(cls: type[S], path: str | os.PathLike[str]) -> S:
    """A store of that class from a register map. What the map does not say of its shape is as the class says; a size
    that neither says is the smallest that holds all variables.

    :raises MapError: (a `DeclarationError`) what is wrong with the file: all of it, with line, column or key.
    :raises DeclarationError: the suffix is none of .toml, .json and .csv.
    :raises OSError: the file cannot be read.
    """
    file = os.fspath(path)
    read = READERS[_suffix(file)]
    raw = Path(file).read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise MapError(f"{file}:{line}: byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8") from None
    return build(cls, read(file, text))


def save_store(store: MemoryStore, path: str | os.PathLike[str]) -> None:
    """Write the shape and the declarations of a store as a register map. The file is complete, or as it was.

    :raises DeclarationError: the suffix is none of .toml, .json and .csv, or a name cannot be written as UTF-8.
    :raises OSError: the file cannot be written.
    """
    file = os.fspath(path)
    write = WRITERS[_suffix(file)]
    settings = {
        "address_base": 0,
        **{key: store.get_size(table) for key, table in SIZES.items()},
        **dict(zip(ORDERS, orders_of(store), strict=True)),
    }
    text = write(settings, {name: describe(variable) for name, variable in store.variables().items()})
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = text[max(0, error.start - 20) : error.end + 20]
        raise DeclarationError(f"{file}: {shown!r} has half of a character in it, it cannot be written") from None
    _replace(file, raw)


def build(cls: type[S], document: Document) -> S:
    """A store from a map that was read.

    :raises MapError: all that is wrong with it.
    """
    problems = list(document.problems)
    shape = dict(_shape(document, problems))
    # A probe with room for all: it finds every problem, and how large the store has to be.
    given = {**({"size": cls._size} if cls._size is not None else {}), **cls._shape, **shape}
    limits = {key: given.get(key, MAX_CELLS) for key in SIZES}
    orders = {key: given[key] for key in ORDERS if key in given}
    probe = MemoryStore(**limits, **orders)
    declared = {
        name: value
        for base in reversed(cls.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, MemoryVariable)
    }
    for name, variable in declared.items():
        try:
            probe[name] = variable
        except DeclarationError as error:
            problems.append(f"{document.file}: {cls.__name__} declares what does not fit: {error}")
    names = MemoryStore(1)
    enums = Enums(declared.values())
    base = document.settings.get("address_base", 0)

    first: dict[str, Entry] = {}
    for entry in document.entries:
        if entry.name in first:
            problems.append(f"{entry.where('name')}: declared twice, first at {first[entry.name].where('')}")
            continue
        first[entry.name] = entry
        try:
            names[entry.name] = MemoryVariable.word(0)
        except DeclarationError as error:
            problems.append(f"{entry.where('name')}: {error}")
            continue
        problems += declare(entry, base if base in (0, 1) else 0, enums, probe.__setattr__)
    if problems:
        raise MapError(sorted(problems, key=lambda problem: _line(document.file, problem)))
    ends = dict.fromkeys(SIZES.values(), 0)
    for bound in bound_of(probe).values():
        ends[bound.span.table] = max(ends[bound.span.table], bound.span.address + bound.span.cells)
    store = cls(**{key: given.get(key, ends[table]) for key, table in SIZES.items()}, **orders)
    for name, variable in probe.variables().items():
        store[name] = variable
    return store


def _shape(document: Document, problems: list[str]) -> list[tuple[str, Any]]:
    shape = []
    for key, value in document.settings.items():
        allowed = ""
        if key not in SETTINGS:
            allowed = f"unknown key {key!r}{did_you_mean(key, (*SETTINGS, 'variables'))}; "
            allowed += f"allowed are {', '.join((*SETTINGS, 'variables'))}"
        elif key == "address_base":
            if type(value) is not int or value not in (0, 1):
                allowed = f"address_base {value!r} is neither 0 nor 1"
        elif key in SIZES:
            if type(value) is not int or not 0 <= value <= MAX_CELLS:
                allowed = f"{key} {value!r} is not a number from 0 to {MAX_CELLS}"
        elif value not in ("little", "big"):
            allowed = f"{key} {value!r} is neither 'little' nor 'big'"
        if allowed:
            problems.append(f"{document.where(key)}: {allowed}")
        elif key != "address_base":
            shape.append((key, value))
    return shape


def _line(file: str, problem: str) -> int:
    line = re.match(r":(\d+)", problem.removeprefix(file))
    return int(line[1]) if line else 0


def _suffix(file: str) -> str:
    suffix = Path(file).suffix.lower()
    if suffix not in READERS:
        raise DeclarationError(f"{file}: a register map is a .toml, .json or .csv file, not {suffix or 'one without'}")
    return suffix


def _replace(file: str, raw: bytes) -> None:
    # The new file is made beside the old one, and takes its place in one step; through a symbolic link, its target's.
    target = Path(os.path.realpath(file))
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("xb") as out:
            out.write(raw)
            out.flush()
            os.fsync(out.fileno())
        if target.exists():
            shutil.copymode(target, beside)
        beside.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
