"""Other people's libraries over everything but plain TCP, which the other modules have: both roles, all functions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from msm import DeviceError, MemoryStore, MemoryVariable, ModbusClient, ModbusServer
from tests.certificates import Certificates
from tests.counterparts.programs import BITS, INPUTS, LIBRARIES, WORDS, Client, Library, Server
from tests.support import free_port
from tests.transports.lines import Cable

OPTIONS = "?baudrate=115200&parity=N&stopbits=1"


@contextmanager
def ends(scheme: str, folder: Path, certificates: Certificates) -> Iterator[tuple[str, str, str]]:
    """Endpoints: of our end, of theirs, and as our end finds theirs when it is the client."""
    if scheme in ("rtu", "ascii"):
        with Cable(folder) as cable:
            ours, theirs = (str(end.path) for end in cable.ends)
            yield f"{scheme}://{ours}{OPTIONS}", theirs, ""
    elif scheme == "tls":
        server, client = folder / "server.pem", folder / "client.pem"
        authority = certificates.authority
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(server))
        authority.issue_cert("panel.example").private_key_and_cert_chain_pem.write_to_path(str(client))
        ca = f"ca={folder / 'ca.pem'}"
        yield (
            f"tls://127.0.0.1:0?{ca}&cert={server}&key={server}",
            f"?{ca}&cert={client}&key={client}",
            "",
        )
    else:
        yield f"{scheme}://127.0.0.1:0", "", f"{scheme}://127.0.0.1:{free_port()}"


def place(library: Library, scheme: str, path: str) -> str:
    """A serial port as this library is told of it."""
    return path if library.name == "libmodbus" else f"{scheme}://{path}"


def pairs(role: str) -> list[Any]:
    return [
        pytest.param(library, scheme, id=f"{library.name}-{scheme}")
        for library in LIBRARIES
        for scheme in getattr(library, f"{role}_schemes")
    ]


@pytest.mark.parametrize(("library", "scheme"), pairs("client"))
def test_their_client(
    library: Library, scheme: str, binaries: Path, tmp_path: Path, certificates: Certificates
) -> None:
    mem = MemoryStore(130, input_registers=130, coils=2000, discrete_inputs=2000)
    with ends(scheme, tmp_path, certificates) as (ours, theirs, _), ModbusServer(mem, ours) as server:
        where = place(library, scheme, theirs) if scheme in ("rtu", "ascii") else server.endpoint + theirs
        with Client(library, binaries, where) as client:
            for table in ("holding", "input"):
                values = [(at * 1009) % 65536 for at in range(130)]
                for at, value in enumerate(values):
                    mem.set_value(at, value, table=table)
                assert client.ask("read", table, 0, 125) == values[:125]
            for table in ("coil", "discrete"):
                values = [at * 7 // 3 % 2 for at in range(2000)]
                for at, value in enumerate(values):
                    mem.set_value(at, value, table=table)
                assert client.ask("read", table, 0, 1000) == values[:1000]
            assert client.ask("single", "holding", 3, 65535) == "ok"
            most = library.client_words
            assert client.ask("write", "holding", 7, *range(1000, 1000 + most)) == "ok"
            assert mem[3] == 65535
            assert mem[7 : 7 + most] == list(range(1000, 1000 + most))
            assert client.ask("single", "coil", 3, 1) == "ok"
            assert client.ask("write", "coil", 11, *[at * 5 // 2 % 2 for at in range(900)]) == "ok"
            bits = [int(mem.get_value(at, table="coil")) for at in range(11, 911)]
            assert bits == [at * 5 // 2 % 2 for at in range(900)]
            assert mem.get_value(3, table="coil")
            mem[2:6] = [0x00FF] * 4
            # Over a stream without MBAP modbus-serial does not know how long a reply to function 22 is, nor to 23.
            lacks = ("mask", "readwrite") if library.name == "modbus_serial" and scheme == "rtu+tcp" else ()
            if "mask" not in (*library.client_lacks, *lacks):
                assert client.ask("mask", 3, 0xFFF0, 5) == "ok"
                assert mem[3] == 0x00F5
            if "readwrite" not in (*library.client_lacks, *lacks):
                assert client.ask("readwrite", 2, 4, 4, 77) == [0x00FF, mem[3], 77, 0x00FF]
            assert client.ask("read", "holding", 130, 1) == "exception 2"
            assert client.ask("read", "holding", 3, 1) == [mem[3]]


@pytest.mark.parametrize(("library", "scheme"), pairs("server"))
def test_their_server(
    library: Library, scheme: str, binaries: Path, tmp_path: Path, certificates: Certificates
) -> None:
    with ends(scheme, tmp_path, certificates) as (ours, theirs, there_is):
        serial = scheme in ("rtu", "ascii")
        where = place(library, scheme, theirs) if serial else there_is
        with Server(library, binaries, where=where) as device:
            there = device.fill(3)
            mem = MemoryStore(WORDS, input_registers=INPUTS, coils=BITS, discrete_inputs=BITS)
            mem.CONTROL_WORD = MemoryVariable.word(3)
            mem.FLOW = MemoryVariable.float64(10)
            mem.ERROR_STATE = MemoryVariable.bool(4, bit_number=9)
            mem.VALVE = MemoryVariable.coil(3)
            mem.DOORS = MemoryVariable.coil(20, count=5)
            with ModbusClient(mem, ours if serial else where, period=0.05, timeout=5.0) as client:
                for table, cells in there.items():
                    assert [int(mem.get_value(at, table=table)) for at in range(len(cells))] == cells
                mem.CONTROL_WORD = 0x1234
                mem.FLOW = -12.5
                mem.ERROR_STATE = not there["holding"][4] & 0x200
                mem.VALVE = not there["coil"][3]
                mem.DOORS = [not there["coil"][at] for at in range(20, 25)]
                client.flush(20)
                there["holding"][3] = 0x1234
                there["holding"][10:14] = [0, 0, 0, 0xC029]
                there["holding"][4] ^= 0x200
                for at in (3, *range(20, 25)):
                    there["coil"][at] ^= 1
                assert device.everything() == there
                assert client.read_write(2, 3, 3, [7, 8]) == [there["holding"][2], 7, 8]
                there["holding"][3:5] = [7, 8]
                assert device.everything() == there
                with pytest.raises(DeviceError):
                    client.read_write(WORDS, 1, WORDS, [1])
                assert device.everything() == there
                assert client.ledger.acknowledged == client.ledger.total == 5
