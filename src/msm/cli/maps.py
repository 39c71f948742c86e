"""Commands for register maps: no device is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msm.cli.app import app
from msm.memory.store import MemoryStore


@app.command()
def layout(map_file: Annotated[Path, typer.Argument(metavar="MAP", help="A register map: TOML, JSON or CSV.")]) -> None:
    """Draw the memory of a map, with what lies where.

    Example: `msm layout sdm630.toml`
    """
    print(MemoryStore.load(map_file).layout())
