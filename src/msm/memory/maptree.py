"""What TOML and JSON maps have in common: settings, and a table or an array of `variables`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msm.memory.mapspec import Document, Entry, Where

Path = tuple[str | int, ...]
LineOf = Callable[[Path], int]


def tree_document(file: str, data: Any, line_of: LineOf) -> Document:
    """The map that a parsed file says; `line_of(path)` is where something stands, or what holds it."""

    def at(path: Path, shown: Path = ()) -> str:
        key = ".".join(str(part) for part in shown or path)
        return f"{file}:{line_of(path)}: {key}" if key else f"{file}:{line_of(path)}"

    if not isinstance(data, dict):
        return Document(file, {}, lambda key: file, problems=[f"{at(())}: a map is a table of settings and variables"])
    settings = {key: value for key, value in data.items() if key not in ("variables", "$schema")}
    document = Document(file, settings, lambda key: at((key,)))
    variables = data.get("variables", {})

    def add(name: object, fields: Any, path: Path) -> None:
        if not isinstance(name, str):
            document.problems.append(f"{at((*path, 'name'))}: name {name!r} is not a text")
        elif not isinstance(fields, dict):
            document.problems.append(f"{at(path)}: {fields!r} is not a table like {{ type = ..., address = ... }}")
        else:
            document.entries.append(Entry(name, fields, _where(at, path, name)))

    if isinstance(variables, dict):
        for name, fields in variables.items():
            add(name, fields, ("variables", name))
    elif isinstance(variables, list):
        for number, fields in enumerate(variables):
            path = ("variables", number)
            if isinstance(fields, dict) and "name" in fields:
                rest = {key: value for key, value in fields.items() if key != "name"}
                add(fields["name"], rest, path)
            else:
                document.problems.append(f"{at(path)}: each of an array of variables is a table with a name")
    else:
        document.problems.append(f"{at(('variables',))}: {variables!r} is neither a table nor an array of variables")
    return document


def _where(at: Callable[[Path, Path], str], path: Path, name: str) -> Where:
    def where(key: str) -> str:
        rest = (key,) if key else ()
        # An array's variables are known by their names, not by their numbers.
        return at((*path, *rest), ("variables", name, *rest))

    return where


def nearest(lines: dict[Path, int], path: Path) -> int:
    """The line of that path, or of the closest thing around it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)
