"""The command line as a shell sees it: exit codes, and one line for what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from msm.cli.app import COMMANDS, run


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


@pytest.mark.parametrize("command", ["demo", "serve", "watch", "get", "set", "doctor", "layout"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = msm(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: msm {command}" in done.stdout
    assert f"Example: msm {command}" in done.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("msm wa", ["watch"]),
        ("msm get --ti", ["--timeout"]),
        ("msm get tcp://plc 0 --type float", ["float16", "float32", "float64"]),
        ("msm get tcp://plc examples/maps/sunspec_inverter.toml PhVphA", ["PhVphA"]),
        ("msm set tcp://plc examples/maps/sunspec_inverter.toml PhVphA", ["PhVphA="]),
        ("msm get tcp://plc nosuch.toml A", []),
        ("msm get tcp://plc exa", []),  # then the shell offers files
    ],
)
def test_a_shell_completes_commands_options_types_and_names(typed: str, offered: list[str]) -> None:
    asked = {"_MSM_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    done = subprocess.run(
        [sys.executable, "-m", "msm"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (offered, "")


def test_help_names_every_command_in_its_order() -> None:
    done = msm("--help")
    assert done.returncode == 0
    places = [done.stdout.index(f" {name} ") for name in COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_where_it_is_said_to_be_and_its_help_has_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "--help"]) == 0
    told = capsys.readouterr().out
    assert "Example" in told
    assert f"msm {command}" in told
