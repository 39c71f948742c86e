"""What all commands that talk to a device have in common: their arguments and options, and the client they use.

A command is given a register map, or addresses with a type, and gets a store whose variables are those::

    store = map_of(map_file) if map_file else addressed(["holding:100"], "float32", word_order="big")
    with connected(store, endpoint, unit=unit, timeout=timeout) as client:
        print(store.info("holding:100"))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Unpack

import typer

from msm import MemoryStore, ModbusClient
from msm.keywords import ClientKeywords
from msm.memory.mapfile import READERS, build
from msm.memory.mapspec import Document, Entry

Endpoint = Annotated[
    str,
    typer.Argument(metavar="ENDPOINT", help="Where the device is, e.g. tcp://192.168.0.10:502.", show_default=False),
]
MapFile = Annotated[Path, typer.Argument(metavar="MAP", help="A register map: TOML, JSON or CSV.", show_default=False)]
Unit = Annotated[int, typer.Option("--unit", "-u", min=0, max=255, help="The unit id of the device.")]
Timeout = Annotated[float, typer.Option("--timeout", "-t", min=0.01, max=600, help="Seconds to wait for an answer.")]
Period = Annotated[float, typer.Option("--period", "-p", min=0.01, max=3600, help="Seconds from one poll to the next.")]
Type = Annotated[
    str, typer.Option("--type", help="The type of addresses: word, int16, uint32, float32, string, ...", metavar="TYPE")
]
Count = Annotated[int, typer.Option("--count", min=1, max=65536, help="Values from each address; bytes of a string.")]
WordOrder = Annotated[
    Literal["little", "big"], typer.Option("--word-order", help="Of longer values: the low word first, or the high.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

ATTEMPTS = 5  # time-outs that the first exchange may take


def is_map(word: str) -> bool:
    """Does a word of the command line name a register map?"""
    return "=" not in word and Path(word).suffix.lower() in READERS


def map_of(map_file: Path, names: Sequence[str] = ()) -> MemoryStore:
    """The store of a register map, with all of its variables or only those `names`, in their order.

    :raises MapError: what is wrong with the file.
    :raises OSError: the file cannot be read.
    :raises UnknownVariableError: the map has no such variable.
    """
    store = MemoryStore.load(map_file)
    for name in names:
        store.info(name)
    for name in set(store.variables()).difference(names or store.variables()):
        del store[name]
    return store


def addressed(
    addresses: Sequence[str],
    kind: str = "word",
    *,
    count: int = 1,
    word_order: Literal["little", "big"] = "little",
) -> MemoryStore:
    """A store whose variables are addresses, named as they were written: `holding:100`, `40101`, `coil:3`.

    :param kind: the type of each, for registers; coils and discrete inputs are bits, and so is `holding:100.5`.
    :param count: above 1 makes them arrays; for a string, its length in bytes.
    :raises MapError: an address or the type is not one.
    """
    entries = [Entry(address, _fields(address, kind, count), _where(address)) for address in dict.fromkeys(addresses)]
    return build(MemoryStore, Document("", {"word_order": word_order}, str, entries))


def _fields(address: str, kind: str, count: int) -> dict[str, Any]:
    """The keys of a map that declare one address."""
    table = address.partition(":")[0].lower()
    if table in ("coil", "discrete"):
        kind = table
    elif "." in address:
        kind = "bool"
    fields: dict[str, Any] = {"type": kind, "address": address}
    if kind == "string":
        fields["length"] = max(count, 2)
    elif count > 1:
        fields["count"] = count
    return fields


def _where(address: str) -> Callable[[str], str]:
    """What of the command line is to blame for a key."""
    return lambda key: f"--{key}" if key in ("type", "count") else address


@contextmanager
def connected(store: MemoryStore, endpoint: str, **keywords: Unpack[ClientKeywords]) -> Iterator[ModbusClient]:
    """A client whose first exchange is in; it reads only what is declared, and is stopped at the end.

    :param keywords: of the client; the first exchange may take five times its `timeout`, with connecting and all.
    :raises ConnectError: nobody there, or nobody who answers.
    """
    asked: ClientKeywords = {"poll": "declared", **keywords}
    client = ModbusClient(store, endpoint, **asked)
    try:
        client.run(wait=ATTEMPTS * asked.get("timeout", 1.0))
        yield client
    finally:
        client.kill()
