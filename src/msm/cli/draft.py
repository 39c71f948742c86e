"""What a scan has found: told to people, and as a draft of a register map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from msm.cli.ranges import MOST, TableScan
from msm.memory.image import TableName
from msm.memory.pieces import TITLES
from msm.memory.store import MemoryStore
from msm.memory.textwidth import printable
from msm.memory.variable import MemoryVariable

OBJECTS = {0: "vendor", 1: "product", 2: "revision", 3: "vendor URL", 4: "product name", 5: "model", 6: "application"}
"""Of the device identification (application protocol V1.1b3, section 6.21)."""
SINGLE = 256  # cells of a table up to which each is a variable of its own; in larger ones there are arrays
SIZES: dict[TableName, str] = {
    "holding": "size",
    "input": "input_registers",
    "coil": "coils",
    "discrete": "discrete_inputs",
}


@dataclass
class UnitFound:
    """What is known of a unit."""

    unit: int
    tables: dict[TableName, TableScan] = field(default_factory=dict)
    identification: dict[int, str] | str = "not asked"
    pipelining: str = "not tried"
    mask_write: str = "not tried: --write-checks"
    read_write: str = "not tried: --write-checks"

    def first(self, *tables: TableName) -> tuple[TableName, int] | None:
        """The first cell of these tables that can be read."""
        for table in tables:
            if table in self.tables and self.tables[table].runs:
                return table, self.tables[table].runs[0].first
        return None


def report(found: UnitFound) -> Iterator[str]:
    """What is known of a unit, in lines."""
    yield f"unit {found.unit}"
    identified = found.identification
    if isinstance(identified, dict):
        identified = ", ".join(
            f"{OBJECTS.get(number, f'object {number}')} {printable(text)}" for number, text in identified.items()
        )
    lines = {
        **{TITLES[scan.table].lower(): _told(scan) for scan in found.tables.values()},
        "identification": identified,
        "pipelining": found.pipelining,
        "function 22": found.mask_write,
        "function 23": found.read_write,
    }
    for name, told in lines.items():
        yield f"  {name:18}{told}"


def _told(scan: TableScan) -> str:
    if not scan.has_function:
        return "not there: exception 01"
    runs = ", ".join(f"{run.first}-{run.end - 1}" if run.cells > 1 else f"{run.first}" for run in scan.runs)
    told = runs or "nothing that can be read was found"
    if runs and (scan.limited or scan.largest == MOST[scan.table]):
        told += f"; at most {scan.largest} in a request"
    elif runs:
        told += f"; {scan.largest} in a request, perhaps more"
    if scan.gave_up:
        told += f" (not all was looked at: {scan.gave_up})"
    elif scan.done < 1:
        told += f" (the time was up when {scan.done:.0%} was looked at)"
    return told


def draft(found: UnitFound) -> MemoryStore:
    """A map with all that can be read: a variable for each cell, in long tables an array for each request."""
    runs = {table: scan.runs for table, scan in found.tables.items()}
    sizes: Any = {SIZES[table]: its[-1].end for table, its in runs.items() if its}
    store = MemoryStore(**{"size": 0, **sizes})
    for table, its in runs.items():
        # What is longer than a request could be of two moments.
        step = 1 if sum(run.cells for run in its) <= SINGLE else found.tables[table].largest
        for run in its:
            for first in range(run.first, run.end, step):
                store[f"{table}_{first}"] = _variable(table, first, min(step, run.end - first))
    return store


def _variable(table: TableName, first: int, count: int) -> MemoryVariable[Any]:
    kind: Any = getattr(MemoryVariable, table if table in ("coil", "discrete") else "word")
    keywords: dict[str, Any] = {"count": count} if count > 1 else {}
    variable: MemoryVariable[Any] = kind(first, table=table, **keywords)
    return variable


def draft_text(found: UnitFound, suffix: str, endpoint: str) -> str:
    """The draft as the text of a map in the format of this suffix; with what was found as remarks, where it has any.

    :raises DeclarationError: the suffix is none of .toml, .json and .csv.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"draft{suffix}"
        draft(found).save(file)
        text = file.read_text("utf-8")
    if suffix.lower() == ".json":
        return text
    remarks = [f"Drafted by msm scan {endpoint}", *report(found)]
    return "".join(f"# {remark}\n" for remark in remarks) + text
