"""The page of promises names tests that are there, and leaves out no promise and no complaint."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "explanation" / "promises.md"


def names_in(path: Path) -> set[str]:
    """The tests at the top level of a module: functions, and what is called Test..."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return {name for name in found if name.startswith(("test_", "Test"))}


def rows() -> list[list[str]]:
    """The rows of the tables, cell by cell, without what is above their rules."""
    found: list[list[str]] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if set(line) <= set("|-") and line:
            found.pop()
        elif line.startswith("|"):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 50
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or (name and name not in names_in(ROOT / path))
    ]
    assert not missing, f"named as what holds a promise, and not there: {missing}"


def test_every_row_names_a_test() -> None:
    assert len(rows()) > 40
    empty = [cells for cells in rows() if "`tests/" not in cells[-1]]
    assert not empty, f"promised, and held by nothing: {empty}"


def test_all_promises_and_all_complaints_are_there() -> None:
    numbers = [cells[0] for cells in rows() if len(cells) == 3]
    assert [number for number in numbers if number.isdigit()] == ["1", "2", "3", "4", "5", "6", "7"]
    complaints = names_in(ROOT / "tests" / "test_complaints.py")
    unnamed = complaints - set(re.findall(r"::(\w+)`", PAGE.read_text(encoding="utf-8")))
    assert not unnamed, f"a complaint that the page does not name: {unnamed}"
