"""The command `msm`, and what all of its commands have in common: one line for an error, and the exit codes."""

from __future__ import annotations

import importlib
import io
import os
import sys

import typer

from msm.errors import AccessError, DeclarationError, MsmError, UnknownVariableError, ValueRangeError, ValueTypeError

app = typer.Typer(
    name="msm",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

COMMANDS = {
    "demo": "msm.cli.demo",
    "serve": "msm.cli.serve",
    "watch": "msm.cli.watch",
    "get": "msm.cli.values",
    "set": "msm.cli.values",
    "doctor": "msm.cli.doctor",
    "layout": "msm.cli.maps",
    "lint": "msm.cli.maps",
    "convert": "msm.cli.maps",
    "stubs": "msm.cli.stubs",
    "scan": "msm.cli.scan",
    "record": "msm.cli.record",
    "plot": "msm.cli.plot",
    "replay": "msm.cli.replay",
    "web": "msm.cli.web",
}  # fmt: skip
"""Where each command is, in the order of `msm --help`; its module adds it to `app` when it is imported."""

DEVICE, USAGE, INTERRUPTED = 1, 2, 130  # exit codes
# What typer raises for a wrong option or argument; newer ones bring a click of their own, which has no public name.
COMPLAINT: type[Exception] = typer.BadParameter.__mro__[2]
OURS = (AccessError, DeclarationError, UnknownVariableError, ValueRangeError, ValueTypeError)
"""What is wrong with what was asked, not with the device."""


@app.callback()
def _about() -> None:
    """Look at Modbus devices, and be one: no program to write."""


def run(arguments: list[str] | None = None) -> int:
    """Run one command; whatever goes wrong is told in one line.

    :returns: the exit code: 0, 1 for the device, 2 for usage.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # of what the terminal has no character for
    first = next(iter(sys.argv[1:] if arguments is None else arguments), "")
    # One command needs only its own module; whoever asks what there is needs them all.
    for module in [COMMANDS[first]] if first in COMMANDS else dict.fromkeys(COMMANDS.values()):
        importlib.import_module(module)
    try:
        code = app(arguments, prog_name="msm", standalone_mode=False)
        sys.stdout.flush()
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has gone, as `head` does; Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DEVICE  # as typer does where it sees it first
    except (MsmError, OSError, COMPLAINT) as error:
        return _tell(error)
    return code if isinstance(code, int) else 0


def _tell(error: Exception) -> int:
    """Say what is wrong, in one line; returns the exit code."""
    told = str(error)
    if isinstance(error, COMPLAINT):
        told = error.format_message()  # type: ignore[attr-defined]
    elif isinstance(error, OSError) and error.filename:
        told = f"{error.filename}: {error.strerror}"
    print(f"msm: {' '.join(told.split())}", file=sys.stderr)
    return DEVICE if isinstance(error, MsmError) and not isinstance(error, OURS) else USAGE
