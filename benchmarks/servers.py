"""A server of one of the Python libraries, 10,000 words and 4,000 coils: `python servers.py KIND` prints its port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

WORDS, BITS = 10_000, 4_000
LIMITS = {"max_connections": 4096, "max_connections_per_address": 4096}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def tell(port: int) -> None:
    print(port, flush=True)


def msm(*, uvloop: bool = False, writing: bool = False) -> None:
    from msm import AsyncModbusServer, MemoryStore, MemoryVariable

    async def main() -> None:
        mem = MemoryStore(WORDS, coils=BITS)
        mem.COUNT = MemoryVariable.uint32(500)
        async with AsyncModbusServer(mem, "tcp://127.0.0.1:0", **LIMITS) as server:
            tell(int(server.endpoint.rpartition(":")[2]))
            if writing:
                threading.Thread(target=write, args=(mem,), daemon=True).start()
            await asyncio.Event().wait()

    def write(mem: Any) -> None:
        """The application: a thousand assignments a second."""
        for number in range(1 << 31):
            mem.COUNT = number
            time.sleep(0.001)

    if uvloop:
        import uvloop as faster

        faster.run(main())
    else:
        asyncio.run(main())


def pymodbus() -> None:
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    async def main() -> None:
        port = free_port()
        bits = [SimData(0, values=[False] * BITS, datatype=DataType.BITS)]
        words = [SimData(0, values=[0] * WORDS, datatype=DataType.REGISTERS)]
        device = SimDevice(id=1, simdata=(bits, bits, words, words))
        server = ModbusTcpServer(device, address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        tell(port)
        await asyncio.Event().wait()

    asyncio.run(main())


def pymodbustcp() -> None:
    from pyModbusTCP.server import DataBank, ModbusServer

    port = free_port()
    bank = DataBank(coils_size=BITS, d_inputs_size=BITS, h_regs_size=WORDS, i_regs_size=WORDS)
    server = ModbusServer("127.0.0.1", port, no_block=True, data_bank=bank)
    server.start()
    tell(port)
    threading.Event().wait()


def umodbus() -> None:
    from umodbus import conf
    from umodbus.server.tcp import RequestHandler, get_server

    class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
        daemon_threads = True
        request_queue_size = 512

    conf.SIGNED_VALUES = False
    words, bits = [0] * WORDS, [0] * BITS
    server = get_server(Server, ("127.0.0.1", 0), RequestHandler)

    @server.route(slave_ids=[1], function_codes=[3, 4], addresses=range(WORDS))
    def read(slave_id: int, function_code: int, address: int) -> int:
        return words[address]

    @server.route(slave_ids=[1], function_codes=[6, 16], addresses=range(WORDS))
    def write(slave_id: int, function_code: int, address: int, value: int) -> None:
        words[address] = value

    @server.route(slave_ids=[1], function_codes=[1, 2], addresses=range(BITS))
    def read_bit(slave_id: int, function_code: int, address: int) -> int:
        return bits[address]

    tell(server.server_address[1])
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


KINDS: dict[str, Callable[[], None]] = {
    "msm": msm,
    "msm uvloop": lambda: msm(uvloop=True),
    "msm, an application writes": lambda: msm(writing=True),
    "pymodbus": pymodbus,
    "pyModbusTCP": pymodbustcp,
    "uModbus": umodbus,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]]()
