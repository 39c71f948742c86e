"""Commands for register maps: no device is needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from msm.cli.app import DEVICE, app
from msm.cli.device import MapFile
from msm.errors import MapError
from msm.memory.layout import Layout
from msm.memory.store import MemoryStore

COLOURS = {"rw": "bold blue", "ro": "bold green", "wo": "bold yellow"}
"""Of the names of variables, by who writes them: the same as in the SVG."""


@app.command()
def layout(
    map_file: MapFile,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the picture to this file as SVG.")] = None,
) -> None:
    """Draw the memory of a map, with what lies where.

    Example: `msm layout sdm630.toml --svg sdm630.svg`

    On a terminal it is as wide as that, and in colour: blue is what both sides write, green what only the device
    writes, yellow what is only written.
    """
    store = MemoryStore.load(map_file)
    picture = store.layout()
    if svg is not None:
        svg.write_text(picture.svg(), "utf-8")
    else:
        _draw(picture, {name: variable.access for name, variable in store.variables().items()})


def _draw(picture: Layout, accesses: dict[str, str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - most commands draw nothing
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal:
        print(picture)
        return
    text = Text(picture.text(max(console.width, 40)), no_wrap=True)
    text.highlight_regex(r"[├─┤╎│·]+", "dim")
    text.highlight_regex(r"(?m)^(warning|info): .*$", "bold red")
    for access, colour in COLOURS.items():
        names = sorted((re.escape(name) for name, its in accesses.items() if its == access), key=len, reverse=True)
        if names:
            text.highlight_regex(rf"(?<![\w.])(?:{'|'.join(names)})(?![\w.])", colour)
    console.print(text, soft_wrap=True)


@app.command()
def lint(
    map_file: MapFile,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for warnings, too.")] = False,
) -> None:
    """Tell what is wrong with a map, and what looks wrong: a line for each.

    Example: `msm lint sdm630.csv`

    The exit code is 1 where there are errors: the map cannot be loaded. Nothing is printed of a clean map.
    """
    try:
        findings = MemoryStore.load(map_file).layout().findings
    except MapError as error:
        print("\n".join(error.problems))
        raise typer.Exit(DEVICE) from None
    for finding in findings:
        print(f"{map_file}: {finding}")
    if strict and any(finding.severity == "warning" for finding in findings):
        raise typer.Exit(DEVICE)


@app.command()
def convert(
    map_file: Annotated[Path, typer.Argument(metavar="A", help="The register map to read: TOML, JSON or CSV.")],
    to: Annotated[Path, typer.Argument(metavar="B", help="The file to write, in the format of its suffix.")],
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a map in another format: TOML, JSON or CSV, as the suffix says.

    Example: `msm convert sdm630.csv sdm630.toml`

    Remarks in the file are not carried over. The columns of Kepware are read, and never written.
    """
    store = MemoryStore.load(map_file)
    keep(to, force=force)
    store.save(to)


def keep(file: Path, *, force: bool) -> None:
    """Do not write over a file that is there.

    :raises typer.BadParameter: it is there, and nobody has said `--force`.
    """
    if file.exists() and not force:
        raise typer.BadParameter(f"{file} is there already: take another name, or --force to write over it")
