"""Each row of the reliability table in its short form, and the table in the docs."""

from __future__ import annotations

import pytest

from tests.reliability import all_checks
from tests.reliability.__main__ import BEGIN, END, PAGE
from tests.reliability.rows import SHORT, Check


@pytest.mark.parametrize("check", all_checks().values(), ids=lambda check: check.name)
def test_row(check: Check) -> None:
    row = check.run(SHORT)
    if not row.good:  # other programs may have had the machine meanwhile: once more, and both are told
        row, first = check.run(SHORT), row
        print(f"at first: {first.measured}")
        assert row.good, f"{row.fault}: {row.criterion}, but {row.measured}; and before that {first.measured}"


def test_the_table_in_the_docs_has_every_row_and_each_is_met() -> None:
    text = PAGE.read_text("utf-8")
    written = text[text.index(BEGIN) : text.index(END)].splitlines()
    rows = [line for line in written if line.startswith("| ")][1:]
    assert len(rows) == len(all_checks())
    assert all(line.endswith("| met |") for line in rows)
    for check in all_checks().values():
        assert sum(f"| {check.criterion} |" in line for line in rows) >= 1, check.criterion
