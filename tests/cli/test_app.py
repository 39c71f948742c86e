"""The command line as a shell sees it: exit codes, and one line for what is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest


def msm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "msm", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nix",), "No such command 'nix'."),
        (("layout",), "Missing argument 'MAP'."),
        (("layout", "nosuch.toml"), "nosuch.toml: No such file or directory"),
        (("layout", "nosuch"), "a register map is a .toml, .json or .csv file"),
    ],
)
def test_wrong_usage_is_told_in_one_line(arguments: tuple[str, ...], told: str) -> None:
    done = msm(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("msm: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_a_reader_that_goes_is_told_nothing() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "msm", "layout", "examples/maps/huawei_sun2000_kepware.csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    with child.stderr:
        assert child.stderr.read() == b""
    assert child.wait(30) == 1
