"""A server on pymodbus: `python -m tests.counterparts.pymodbus_server PORT`."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tests.counterparts.obey import SIZES, Answer, obey_async

FUNCTIONS = {"coil": (1, 15), "discrete": (2, 2), "holding": (3, 16), "input": (4, 4)}


async def main(port: int) -> None:
    def bits(table: str) -> list[SimData]:
        return [SimData(0, values=[False] * SIZES[table], datatype=DataType.BITS)]

    def words(table: str) -> list[SimData]:
        return [SimData(0, values=[0] * SIZES[table], datatype=DataType.REGISTERS)]

    device = SimDevice(id=1, simdata=(bits("coil"), bits("discrete"), words("holding"), words("input")))
    server = ModbusTcpServer(device, address=("127.0.0.1", port))
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
    asyncio.run(main(int(sys.argv[1])))
