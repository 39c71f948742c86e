"""Programs on other people's Modbus libraries, as the tests see them.

Each library has a server and a client: a small program of ours that is started with a port or an endpoint, says
"ready", and then obeys lines on its standard input, one line of answer for each.

- A server: ``get TABLE ADDRESS COUNT``, ``set TABLE ADDRESS VALUE...``.
- A client: ``read UNIT TABLE ADDRESS COUNT``, ``write`` and ``single UNIT TABLE ADDRESS VALUE...`` (functions 15/16
  and 05/06), ``mask UNIT ADDRESS AND OR``, ``readwrite UNIT ADDRESS COUNT TO VALUE...``; the answer is the values,
  "ok", "exception CODE", "missing" (the library has no such function) or "error ...".
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.counterparts.obey import BITS, INPUTS, SIZES, WORDS
from tests.support import free_port, port_of, wait_until

__all__ = ["BITS", "INPUTS", "LIBRARIES", "SIZES", "WORDS", "Client", "Library", "Server"]

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PATIENCE = 20.0  # seconds; an interpreter on a busy machine takes a while to start


class Library(NamedTuple):
    """What is known about one of them, and held by the tests."""

    name: str
    mask_write: bool
    """Its server has function 22."""
    silent_mask_write: bool = False
    """Its server does not even refuse function 22: it never answers on that connection again."""
    short_replies: bool = False
    """Beyond the end of its memory its server answers with fewer values than it was asked for."""
    client_lacks: tuple[str, ...] = ()
    """What its client cannot ask for."""
    read_write: bool = False
    """Its server has function 23."""
    client_schemes: tuple[str, ...] = ()
    """What else than tcp its client speaks."""
    server_schemes: tuple[str, ...] = ()
    """What else than tcp its server speaks."""
    client_words: int = 123
    """What its client can write at a time: beyond that jsmodbus cuts the request off, which is to be refused."""


LIBRARIES = (
    Library(
        "pymodbus",
        mask_write=True,
        read_write=True,
        client_schemes=("udp", "rtu", "ascii", "rtu+tcp", "ascii+tcp"),
        server_schemes=("udp", "rtu", "ascii", "rtu+tcp", "ascii+tcp"),
    ),
    Library("pymodbustcp", mask_write=False, read_write=True, client_lacks=("mask",)),
    Library("libmodbus", mask_write=True, read_write=True, client_schemes=("rtu",), server_schemes=("rtu",)),
    Library("modbus_serial", mask_write=False, client_schemes=("udp", "rtu+tcp")),
    Library(
        "jsmodbus",
        mask_write=False,
        silent_mask_write=True,
        short_replies=True,
        client_lacks=("mask", "readwrite"),
        client_schemes=("tls", "rtu+tcp"),
        client_words=120,
    ),
)


def build(target: Path) -> None:
    """Compile the programs that are written in C."""
    for source in sorted(HERE.glob("*.c")):
        compiler = os.environ.get("CC", "gcc")
        command = [compiler, "-Wall", "-Wextra", "-o", str(target / source.stem), str(source), "-lmodbus"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"


class Program:
    """One of the programs, running."""

    def __init__(self, name: str, where: str | int, binaries: Path) -> None:
        if (HERE / f"{name}.js").exists():
            command = ["node", str(HERE / f"{name}.js")]
        elif (HERE / f"{name}.c").exists():
            command = [str(binaries / name)]
        else:
            command = [sys.executable, "-m", f"tests.counterparts.{name}"]
        self.name = name
        self._unread = b""
        self._process = subprocess.Popen(
            [*command, str(where)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, bufsize=0
        )
        try:
            assert self._line() == "ready"
        except BaseException:
            self.stop()
            raise

    def _line(self) -> str:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            ready, _, _ = select.select([pipe], [], [], PATIENCE)
            assert ready, f"{self.name} says nothing"
            more = os.read(pipe, 65536)
            assert more, f"{self.name} has ended by itself: {self._process.wait(PATIENCE)}"
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode().strip()

    def tell(self, *words: object) -> str:
        """Say a line; returns the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        return self._line()

    def stop(self) -> None:
        """End it, at once."""
        self._process.kill()
        self._process.wait(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class Server(Program):
    """A server on somebody else's library, with the tables of `SIZES`."""

    def __init__(self, library: Library, binaries: Path, port: int | None = None, where: str = "") -> None:
        self.port = port or free_port()
        super().__init__(f"{library.name}_server", where or self.port, binaries)
        self.endpoint = where or f"tcp://127.0.0.1:{self.port}"

    def get(self, table: str, address: int = 0, count: int | None = None) -> list[int]:
        count = SIZES[table] - address if count is None else count
        return [int(word) for word in self.tell("get", table, address, count).split()]

    def set(self, table: str, address: int, *values: int) -> None:
        assert self.tell("set", table, address, *values) == "ok"

    def everything(self) -> dict[str, list[int]]:
        return {table: self.get(table) for table in SIZES}

    def fill(self, seed: int = 0) -> dict[str, list[int]]:
        """Put something recognisable everywhere, and return it."""
        for table, size in SIZES.items():
            if table in ("coil", "discrete"):
                values = [(at * 7 + seed) // 3 % 2 for at in range(size)]
            else:
                values = [(at * 1009 + seed * 77 + 4660) % 65536 for at in range(size)]
            self.set(table, 0, *values)
        return self.everything()

    def shows(self, table: str, address: int, values: Sequence[int]) -> None:
        wait_until(lambda: self.get(table, address, len(values)) == list(values), what=f"{values} in its {table}")


class Client(Program):
    """A client on somebody else's library."""

    def __init__(self, library: Library, binaries: Path, endpoint: str) -> None:
        where = port_of(endpoint) if endpoint.startswith("tcp:") else endpoint
        super().__init__(f"{library.name}_client", where, binaries)

    def ask(self, verb: str, *words: object, unit: int = 1) -> list[int] | str:
        answer = self.tell(verb, unit, *words)
        return [int(word) for word in answer.split()] if answer[:1].isdigit() else answer
