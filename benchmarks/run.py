"""Measures how fast MSM is, beside its peers.

python -m benchmarks.run                 everything, about 35 minutes
python -m benchmarks.run --quick         a look whether it works: small numbers
python -m benchmarks.run --only servers  one part: servers, connections, clients, many, attributes, latency, imports
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import attributes, measure, report

OPERATIONS = ["fc03-10", "fc03-125", "fc16-123", "fc01-2000", "fc23-10"]
LOADS = [(1, 1), (8, 1), (64, 1), (1, 16), (8, 16), (64, 16)]
PARTS = ("servers", "connections", "clients", "many", "attributes", "latency", "imports")


def run(plan: measure.Plan, parts: list[str], save: Callable[[dict[str, Any]], object], *, quick: bool) -> None:
    """All parts, as JSON can hold them, saved after each: one that fails late does not take the others with it."""

    def plain(results: measure.Results) -> dict[str, Any]:
        return {
            scenario: {name: asdict(each)["figures"] for name, each in row.items()} for scenario, row in results.items()
        }

    found: dict[str, Any] = {"machine": report.machine()}

    def keep(more: dict[str, Any]) -> None:
        found.update(more)
        save(found)

    if "servers" in parts:
        contenders = ("C, epoll", "libmodbus", "msm", "pymodbus") if quick else measure.SERVERS
        operations = ["fc03-125", "fc23-10"] if quick else OPERATIONS
        rates, costs, kernel = measure.servers(plan, operations, [(8, 1), (8, 16)] if quick else LOADS, contenders)
        keep({"servers": plain(rates), "servers: cpu us": plain(costs), "servers: kernel us": plain(kernel)})
    if "connections" in parts:
        keep({"connections: kB": plain(measure.connections(plan, [8] if quick else [64, 250]))})
    if "clients" in parts:
        rates, costs = measure.clients(plan, [125, 1000] if quick else [10, 125, 1000, 10_000], [1, 16])
        keep({"clients": plain(rates), "clients: cpu us": plain(costs)})
    if "many" in parts:
        shares, errors, memory = measure.many(plan, [20] if quick else [1, 100, 500, 1000], 1.0 if quick else 5.0)
        keep({"many: cpu": plain(shares), "many: p99 ms": plain(errors), "many: kB": plain(memory)})
    if "attributes" in parts:
        keep({"attributes": attributes.measure(500) if quick else attributes.measure()})
    if "latency" in parts:
        keep({"latency": latency(plan, 50 if quick else 400)})
    if "imports" in parts:
        keep({"imports": plain(measure.imports(plan))})


def latency(plan: measure.Plan, times: int) -> dict[str, list[float]]:
    """Microseconds, one figure for each round; over both event loops in turn."""
    found: dict[str, list[float]] = {}
    loops = measure.available(("latency", "latency uvloop"))
    with measure.server([plan.programs["floor_server"]]) as child:
        for _ in range(plan.rounds):
            for loop in loops:
                command = plan.python("latency.py", child.port, times, *loop.split()[1:])
                told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
                for name, figure in told.items():
                    found.setdefault(name + loop.removeprefix("latency"), []).append(figure)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each measurement")
    parser.add_argument("--json", type=Path, help="a file for all figures, written after each part")
    parser.add_argument("--plots", type=Path, help="a folder for plots; needs all parts")
    parser.add_argument("--page", action="store_true", help="write table, plots and figures into the documentation")
    given = parser.parse_args()
    found: dict[str, Any] = {}

    def save(so_far: dict[str, Any]) -> None:
        found.update(so_far)
        if given.json:
            given.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")

    with tempfile.TemporaryDirectory() as folder:
        programs = measure.build(Path(folder))
        rounds, seconds = (1, 0.1) if given.quick else (given.rounds, given.seconds)
        plan = measure.Plan(rounds, seconds, programs, lambda text: print(text, file=sys.stderr, flush=True))
        run(plan, given.only, save, quick=given.quick)
    print(report.table(found))
    if given.plots:
        report.plot(found, given.plots)
    if given.page:
        report.write_page(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
