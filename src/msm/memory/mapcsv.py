"""Register maps in CSV: our own columns, one for each key, or the columns that Kepware exports.

Rows before the header that begin with `#` are settings, like `#size,16`, or remarks, like `# from the manual`. An
empty cell is a key that is not given. The header tells which columns they are, and whether commas, semicolons or
tabs separate them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from msm.errors import MapError
from msm.memory import kepware
from msm.memory.mapspec import KEYS, NUMBERS, SETTINGS, SIZES, WHOLE, Document, Entry, Where, did_you_mean

COLUMNS = ("name", *KEYS)
CORE = ("name", "type", "address")  # columns that no map is without

Row = tuple[int, list[str]]  # the line where it begins, and its cells

_INT = re.compile(r"[+-]?[0-9]{1,20}|0x[0-9a-f]{1,16}", re.IGNORECASE)
_FLOAT = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|nan)", re.IGNORECASE)
_AS_THEY_ARE = ("name", "unit", "label", "enum", "members", "encoding")  # cells whose blanks are meant
_BLANK = ("name", "unit", "label", "enum")  # and may be all that there is
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read(file: str, text: str) -> Document:
    """The map that a CSV text says.

    :raises MapError: it is no table with a header that is known.
    """
    lines: dict[str, int] = {}
    document = Document(file, {}, lambda key: f"{file}:{lines.get(key, 1)}: {key}")
    rest = text.split("\n")
    skipped = 0
    while skipped < len(rest) and (not rest[skipped].strip() or rest[skipped].lstrip('"').startswith("#")):
        skipped += 1
        _setting(f"{file}:{skipped}", rest[skipped - 1].strip(), lines, skipped, document)
    rows = _rows(file, "\n".join(rest[skipped:]), skipped)
    line, cells = next(rows, (1, []))
    header = [cell.strip() for cell in cells]
    if "tag name" in (name.casefold() for name in header):
        header = [kepware.column(name) for name in header]
        _check_header(file, line, header, kepware.COLUMNS, ("Tag Name", "Address"))
        _read_rows(file, rows, header, document, from_kepware=True)
    else:
        header = [name.casefold() for name in header]
        _check_header(file, line, header, COLUMNS, CORE)
        _read_rows(file, rows, header, document, from_kepware=False)
    return document


def _rows(file: str, text: str, skipped: int) -> Iterator[Row]:
    """The rows that are not empty, each with the number of its first line."""
    header = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    line = skipped + 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = skipped + reader.line_num + 1
    except csv.Error as error:
        raise MapError(f"{file}:{skipped + reader.line_num}: not CSV: {error}") from None


_SETTING = re.compile(r"#(\w+)\s*[,;\t]\s*([^,;\t]*?)[,;\s]*")


def _setting(place: str, text: str, lines: dict[str, int], line: int, document: Document) -> None:
    if not text or re.match(r'"*#+(\s|"|$)', text):
        return  # a remark, or nothing
    found = _SETTING.fullmatch(text)
    known = ", ".join(f"#{name},..." for name in SETTINGS)
    if not found or found[1] not in SETTINGS:
        hint = did_you_mean(found[1] if found else text, SETTINGS)
        document.problems.append(f"{place}: {text!r} is no setting{hint}; allowed are {known} and remarks like '# ...'")
    elif found[1] in document.settings:
        document.problems.append(f"{place}: #{found[1]} stands here again")
    else:
        key, value = found[1], found[2]
        lines[key] = line
        whole = key in (*SIZES, "address_base") and value.isascii() and value.isdigit()
        document.settings[key] = int(value) if whole else value


def _check_header(file: str, line: int, header: list[str], known: tuple[str, ...], needed: tuple[str, ...]) -> None:
    while header and not header[-1]:
        header.pop()  # some programs end every row with a separator
    problems = [
        f"{file}:{line}: unknown column {name!r}{did_you_mean(name, known)}; allowed are {', '.join(known)}"
        for name in header
        if name not in known
    ]
    problems += [f"{file}:{line}: column {name!r} stands here twice" for name in known if header.count(name) > 1]
    missing = [f"{file}:{line}: column {name!r} is missing" for name in needed if name not in header]
    if len(missing) == len(needed):
        # Not one of them: this is another kind of file, and its columns are not worth a word each.
        ours, theirs = ",".join(CORE), ",".join(kepware.COLUMNS[:3])
        problems, missing = [], [f"{file}:{line}: no header, which is {ours},... or, as Kepware has it, {theirs},..."]
    problems += missing
    if problems:
        raise MapError(problems)


def _read_rows(file: str, rows: Iterator[Row], header: list[str], document: Document, *, from_kepware: bool) -> None:
    for line, cells in rows:
        row = f"{file}:{line}"
        if any(cell.strip() for cell in cells[len(header) :]):
            document.problems.append(f"{row}: {len(cells)} cells, the header has {len(header)} columns")
            continue
        given = {
            name: cell for name, cell in zip(header, cells, strict=False) if cell.strip() or (name in _BLANK and cell)
        }
        name = given.pop("Tag Name" if from_kepware else "name", "")
        where = _where(row, name, kepware.COLUMN_OF if from_kepware else {})
        if from_kepware:
            fields, problems = kepware.convert({column: cell.strip() for column, cell in given.items()})
            problems = [(f"{row}: {name}, column {column}", problem) for column, problem in problems]
        else:
            fields, problems = {key: _cell(key, cell) for key, cell in given.items() if key != "members"}, []
            if "members" in given:
                fields["members"] = {}
                try:
                    fields["members"] = _members(given["members"])
                except ValueError as error:
                    problems.append((where("members"), f"members {error}"))
        document.problems += [f"{place}: {problem}" for place, problem in problems]
        document.entries.append(Entry(name, fields, where))


def _where(row: str, name: str, columns: dict[str, str]) -> Where:
    def where(key: str) -> str:
        return f"{row}: {name}, column {columns.get(key, key)}" if key else f"{row}: {name}"

    return where


def _cell(key: str, cell: str) -> Any:
    """What a cell says. What cannot be read stays text, and is refused as that by what wanted a number."""
    text = cell if key in _AS_THEY_ARE else cell.strip()
    if key in (*WHOLE, *NUMBERS, "period", "heartbeat"):
        if _INT.fullmatch(text):
            return int(text, 16 if "x" in text.lower() else 10)
        return float(text) if _FLOAT.fullmatch(text) else text
    return _FLAGS.get(text.lower(), text) if key == "command" else text


_MEMBER = re.compile(r"((?:[^\\;=]|\\.)*)=([^;]*)", re.DOTALL)


def _members(text: str) -> dict[str, int]:
    """The members that `OFF=0;ON=1` says; in a name, `\\` stands before a `;`, a `=`, a `\\` or an outer blank."""
    members: dict[str, int] = {}
    for pair in re.findall(r"(?:[^\\;]|\\.)+", text, re.DOTALL):
        found = _MEMBER.fullmatch(pair.strip() if not re.search(r"\\\s$", pair) else pair)
        if not found or not _INT.fullmatch(found[2].strip()):
            raise ValueError(f"has {pair!r}, which is not a name and a whole number like OFF=0")
        name = re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)\s+$", "", found[1]), flags=re.DOTALL)
        if name in members:
            raise ValueError(f"has {name!r} twice")
        members[name] = int(found[2].strip(), 16 if "x" in found[2].lower() else 10)
    return members


def write(settings: dict[str, Any], entries: dict[str, dict[str, Any]]) -> str:
    """A map as CSV in our own columns: those that a variable of it uses."""
    used = {key for fields in entries.values() for key in fields}
    # The address names its table, so that a large one is not taken for a reference like 40003.
    columns = [key for key in COLUMNS if key in CORE or (key in used and key != "table")]
    rows: list[list[Any]] = [[f"#{key}", value] for key, value in settings.items()]
    rows.append(columns)
    for name, fields in entries.items():
        table = fields.get("table", fields["type"] if fields["type"] in ("coil", "discrete") else "holding")
        cells = {**fields, "name": name, "address": f"{table}:{fields['address']}"}
        rows.append([cells.get(key) for key in columns])
    return "".join(",".join(_quoted(_text(cell)) for cell in row) + "\n" for row in rows)


def _quoted(text: str) -> str:
    # The csv module leaves a lone carriage return as it is, which would end the row when it is read.
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",;\s]', text) else text


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ";".join(f"{_member_name(name)}={number}" for name, number in value.items()) or ";"
    return value if isinstance(value, str) else repr(value)


def _member_name(name: str) -> str:
    escaped = re.sub(r"([\\;=])", r"\\\1", name)
    return re.sub(r"^\s|\s$", r"\\\g<0>", escaped)
