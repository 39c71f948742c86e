"""A server on pymodbus: `python -m tests.counterparts.pymodbus_server PORT`, or an endpoint in place of the port."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusUdpServer
from pymodbus.server.base import ModbusBaseServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tests.counterparts.obey import SIZES, Answer, endpoint_of, obey_async

FUNCTIONS = {"coil": (1, 15), "discrete": (2, 2), "holding": (3, 16), "input": (4, 4)}


def server_at(where: str, device: SimDevice) -> ModbusBaseServer:
    scheme, place = endpoint_of(where)
    framer = {"rtu": FramerType.RTU, "ascii": FramerType.ASCII}.get(scheme.removesuffix("+tcp"), FramerType.SOCKET)
    if scheme in ("rtu", "ascii"):
        return ModbusSerialServer(device, framer=framer, port=place, baudrate=115200)
    kind = ModbusUdpServer if scheme == "udp" else ModbusTcpServer
    return kind(device, framer=framer, address=("127.0.0.1", int(place)))


async def main(where: str) -> None:
    def bits(table: str) -> list[SimData]:
        return [SimData(0, values=[False] * SIZES[table], datatype=DataType.BITS)]

    def words(table: str) -> list[SimData]:
        return [SimData(0, values=[0] * SIZES[table], datatype=DataType.REGISTERS)]

    device = SimDevice(id=1, simdata=(bits("coil"), bits("discrete"), words("holding"), words("input")))
    server = server_at(where, device)
    await server.serve_forever(background=True)

    async def do(line: list[str]) -> Answer:
        verb, table, at, *rest = line
        read, write = FUNCTIONS[table]
        numbers = [int(word) for word in rest]
        if verb == "get":
            values = await server.context.async_getValues(1, read, int(at), numbers[0])
            assert not isinstance(values, ExcCodes)
            return [int(value) for value in values]
        given = [bool(value) for value in numbers] if table in ("coil", "discrete") else numbers
        assert await server.context.async_setValues(1, write, int(at), cast("list[int]", given)) is None
        return "ok"

    await obey_async(do)
    await server.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
