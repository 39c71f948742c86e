"""The shell door, `msm`: needs the extra `cli`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; returns the exit code: 0, 1 for the device, 2 for usage."""
    try:
        import typer  # noqa: F401, PLC0415 - an extra: without it there is a sentence, and no traceback
    except ImportError:
        print("msm: the command line needs an extra: pip install 'modbus-shared-memory[cli]'", file=sys.stderr)
        return 2
    from msm.cli.app import run  # noqa: PLC0415

    return run()
