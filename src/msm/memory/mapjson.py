"""Register maps in JSON: the same structure as in TOML."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from msm.errors import MapError
from msm.memory.mapspec import Document
from msm.memory.maptree import Path, nearest, tree_document


def read(file: str, text: str) -> Document:
    """The map that a JSON text says.

    :raises MapError: it is not JSON.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise MapError(f"{file}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise MapError(f"{file}: not JSON that can be read: {error}") from None
    lines, twice = find_lines(text)
    document = tree_document(file, data, lambda path: nearest(lines, path))
    document.problems += [f"{file}:{line}: {'.'.join(map(str, path))} stands here again" for path, line in twice]
    return document


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def find_lines(text: str) -> tuple[dict[Path, int], list[tuple[Path, int]]]:
    """The line of every key and item of a JSON text, and the keys that stand there twice: `json` tells neither."""
    lines: dict[Path, int] = {}
    twice: list[tuple[Path, int]] = []
    path: list[str | int] = []  # where we are: a key, or the number of an item, for each bracket that is open
    opened: list[str] = []
    wants_key = False
    line, seen = 1, 0
    for token in _TOKEN.finditer(text):
        line += text.count("\n", seen, token.start())
        seen = token.start()
        what = token[0]
        if what in "{[":
            lines.setdefault(tuple(path), line)
            opened.append(what)
            path.append("" if what == "{" else 0)
            wants_key = what == "{"
        elif what in "}]":
            opened.pop()
            path.pop()
            wants_key = False
        elif what == ",":
            wants_key = opened[-1] == "{"
            if not wants_key:
                path[-1] = int(path[-1]) + 1
        elif wants_key and what != ":":
            path[-1] = json.loads(what)
            wants_key = False
            if tuple(path) in lines:
                twice.append((tuple(path), line))
                lines = {known: at for known, at in lines.items() if known[: len(path)] != tuple(path)}
            lines[tuple(path)] = line
        elif opened and opened[-1] == "[":
            lines.setdefault(tuple(path), line)
    return lines, twice


def write(settings: dict[str, Any], entries: dict[str, dict[str, Any]]) -> str:
    """A map as JSON. JSON has no word for "not a number" and infinity: they are written as text."""
    variables = {name: {key: _value(value) for key, value in fields.items()} for name, fields in entries.items()}
    text = json.dumps({**settings, "variables": variables}, indent=2, ensure_ascii=False, allow_nan=False)
    return text + "\n"


def _value(value: Any) -> Any:
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value
