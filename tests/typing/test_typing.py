"""mypy and pyright agree on what a typed store gives and takes."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import msm
from tests.typing import accepted

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SOURCE = Path(msm.__file__).parent.parent
FILES = [str(HERE / "accepted.py"), str(HERE / "refused.py")]
PATIENCE = 55.0


def check(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_mypy_knows_the_types_of_a_typed_store() -> None:
    # warn_unused_ignores is part of strict: an error that is no longer found is an error.
    check(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=silent", *FILES],
        MYPYPATH=str(SOURCE),
    )


def pyright() -> list[str]:
    """How to run it: the PyPI package brings all but Node.js, npx fetches it where only Node.js is there."""
    if importlib.util.find_spec("pyright"):
        return [sys.executable, "-m", "pyright"]
    if shutil.which("npx"):
        return ["npx", "--yes", "pyright"]
    pytest.fail("pyright is not installed: pip install pyright, or Node.js with npx")


def test_pyright_knows_the_types_of_a_typed_store() -> None:
    output = check([*pyright(), "--project", str(HERE), "--pythonpath", sys.executable, "--outputjson"])
    # It is content with no files at all, too.
    assert json.loads(output)["summary"]["filesAnalyzed"] == len(FILES)


def test_what_the_type_checkers_believe_is_so() -> None:
    press = accepted.Press()
    accepted.assignments(press)
    accepted.values(press)
    accepted.declarations()
    accepted.the_rest(press)
    accepted.declared_on_an_instance(msm.MemoryStore(8))
    assert (press.speed, press.enum, press.flags) == (40.0, accepted.State.ON, accepted.Fault.HOT | accepted.Fault.COLD)
    assert press.byte_nan is None or isinstance(press.byte_nan, int)
    assert isinstance(accepted.Press.speed, msm.MemoryVariable)
