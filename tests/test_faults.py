"""The script that measures our column of the fault table still runs, and still finds nothing worse than promised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_every_fault_is_met_as_promised(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("it counts descriptors in /proc")
    results = tmp_path / "faults.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "faults.py"), "--quick", "--json", str(results)],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert results.exists(), done.stderr
    rows = json.loads(results.read_text(encoding="utf-8"))
    assert len(rows) == 12
    assert not [row for row in rows if not row["good"]], done.stdout
    assert done.returncode == 0, done.stderr
