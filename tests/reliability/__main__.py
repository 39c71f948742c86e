"""Measures the rows of the reliability table, and writes it.

python -m tests.reliability                  the long form, about ten minutes; writes the page of the docs
python -m tests.reliability --short          the form that the tests run
python -m tests.reliability --only soak --requests 50000000 --seed 7
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from tests.reliability import all_checks
from tests.reliability.rows import Row, Scale

PAGE = Path(__file__).parent.parent.parent / "docs" / "explanation" / "reliability.md"
BEGIN, END = "<!-- table: written by `nox -s soak` -->", "<!-- end of the table -->"


def table(rows: list[Row], scale: Scale) -> str:
    """The rows as they stand in the page."""
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, seed {scale.seed}"
    lines = [f"Measured in one run ({machine}).", "", "| what happens | demanded | measured | |", "|---|---|---|---|"]
    lines += [
        f"| {row.fault} | {row.criterion} | {row.measured} | {'met' if row.good else '**missed**'} |" for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="small numbers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], help="the names of rows")
    parser.add_argument("--requests", type=int, help="of the soak")
    given = parser.parse_args()
    if given.requests:
        os.environ["MSM_SOAK_REQUESTS"] = str(given.requests)
    scale = Scale(full=not given.short, seed=given.seed)
    rows = []
    for name, each in all_checks().items():
        if given.only and name not in given.only:
            continue
        row = each.run(scale)
        rows.append(row)
        print(f"{'met   ' if row.good else 'MISSED'} | {row.fault} | {row.measured} | {row.seconds:.0f} s", flush=True)
    if scale.full and not given.only:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{table(rows, scale)}\n\n{END}{after}", "utf-8")
        print(f"written to {PAGE}")
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
