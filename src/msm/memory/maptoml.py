"""Register maps in TOML."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from typing import Any

from msm.errors import MapError
from msm.memory.mapspec import Document
from msm.memory.maptree import Path, nearest, tree_document

WIDTH = 110  # a longer table of members is written as a table of its own


def read(file: str, text: str) -> Document:
    """The map that a TOML text says.

    :raises MapError: it is not TOML.
    """
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        line = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        place = f"{file}:{line[1]}:{line[2]}" if line else file
        what = re.sub(r" \(at [^)]*\)$", "", str(error))
        raise MapError(f"{place}: not TOML: {what}") from None

    @cache
    def lines() -> dict[Path, int]:
        return find_lines(text)

    return tree_document(file, data, lambda path: nearest(lines(), path))


_PART = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]")
_STRINGS = re.compile(r""""(?:[^"\\]|\\.)*"|'[^']*'|#.*""")


def find_lines(text: str) -> dict[Path, int]:
    """The line of every table and key of a TOML text. `tomllib` does not tell, so the text is looked through."""
    lines: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    closing = ""  # the quotes that end a text of several lines
    depth = 0  # of brackets that are still open
    for number, line in enumerate(text.split("\n"), 1):
        rest = line
        if closing:
            if closing not in line:
                continue
            rest, closing = line.split(closing, 1)[1], ""
        elif depth == 0:
            if header := _HEADER.match(line):
                table = _parts(header[2])
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, counts[table])
                lines.setdefault(table, number)
                continue
            if key := _KEY.match(line):
                path = (*table, *_parts(key[1]))
                for length in range(len(table) + 1, len(path) + 1):
                    lines.setdefault(path[:length], number)
                rest = line[key.end() :]
        for quotes in ('"""', "'''"):
            if rest.count(quotes) % 2:
                closing = quotes
        bare = _STRINGS.sub("", rest)
        depth = max(0, depth + sum(bare.count(each) for each in "[{") - sum(bare.count(each) for each in "]}"))
    return lines


def _parts(key: str) -> Path:
    data: Any = tomllib.loads(f"{key} = 0")
    parts = []
    while isinstance(data, dict):
        (part,) = data
        parts.append(part)
        data = data[part]
    return tuple(parts)


def write(settings: dict[str, Any], entries: dict[str, dict[str, Any]]) -> str:
    """A map as TOML."""
    lines = [f"{key} = {_value(value)}" for key, value in settings.items()]
    for name, fields in entries.items():
        table = f"variables.{_quoted_key(name)}"
        lines += ["", f"[{table}]"]
        members = fields.get("members")
        lines += [f"{key} = {_value(value)}" for key, value in fields.items() if key != "members"]
        if members is not None:
            pairs = [f"{_quoted_key(member)} = {value}" for member, value in members.items()]
            inline = f"members = {{ {', '.join(pairs)} }}" if pairs else "members = {}"
            lines += [inline] if len(inline) <= WIDTH else ["", f"[{table}.members]", *pairs]
    return "\n".join(lines) + "\n"


def _quoted_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else repr(value)


_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def _text(text: str) -> str:
    # Whatever a terminal or an editor takes for the end of a line is escaped as well.
    escaped = (
        _ESCAPES.get(each) or (f"\\u{ord(each):04X}" if re.match(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", each) else each)
        for each in text
    )
    return f'"{"".join(escaped)}"'
