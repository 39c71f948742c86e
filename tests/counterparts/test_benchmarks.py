"""The benchmarks run: a look whether they work, and no more. A benchmark measures; it is not a timed test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.counterparts.programs import ROOT


@pytest.mark.timeout(170)
def test_the_benchmarks_run(binaries: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", "--quick", "--json", str(figures), "--plots", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=160,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text("utf-8"))
    assert set(found) >= {"servers", "connections: kB", "clients", "many: cpu", "attributes", "latency", "imports"}
    assert all(all(each) for row in found["servers"].values() for each in row.values()), "none answered nothing"
    assert done.stdout.startswith("Measured on ")
    assert done.stdout.count("\n| ") >= 18
    for name in ("server", "client", "devices", "variables", "connections"):
        assert (tmp_path / f"performance-{name}.svg").read_text("utf-8").startswith("<?xml")
