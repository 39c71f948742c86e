"""A client on pymodbus: `python -m tests.counterparts.pymodbus_client PORT`, or an endpoint in place of the port."""

from __future__ import annotations

import asyncio
import sys

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient, AsyncModbusUdpClient
from pymodbus.client.base import ModbusBaseClient
from pymodbus.pdu import ModbusPDU

from tests.counterparts.obey import Answer, endpoint_of, obey_async


def client_to(where: str) -> ModbusBaseClient:
    scheme, place = endpoint_of(where)
    framer = {"rtu": FramerType.RTU, "ascii": FramerType.ASCII}.get(scheme.removesuffix("+tcp"), FramerType.SOCKET)
    if scheme in ("rtu", "ascii"):
        return AsyncModbusSerialClient(place, framer=framer, baudrate=115200, retries=0, timeout=5)
    kind = AsyncModbusUdpClient if scheme == "udp" else AsyncModbusTcpClient
    return kind("127.0.0.1", port=int(place), framer=framer, retries=0, timeout=5)


async def main(where: str) -> None:
    client = client_to(where)
    assert await client.connect()
    read = {
        "holding": client.read_holding_registers,
        "input": client.read_input_registers,
        "coil": client.read_coils,
        "discrete": client.read_discrete_inputs,
    }

    async def ask(verb: str, unit: int, words: list[str]) -> ModbusPDU:
        if verb == "mask":
            at, keep, put = map(int, words)
            return await client.mask_write_register(address=at, and_mask=keep, or_mask=put, device_id=unit)
        if verb == "readwrite":
            start, count, to, *values = map(int, words)
            return await client.readwrite_registers(
                read_address=start, read_count=count, write_address=to, values=values, device_id=unit
            )
        table, at, *values = words[0], *map(int, words[1:])
        if verb == "read":
            return await read[table](at, count=values[0], device_id=unit)
        return await (write if verb == "write" else write_one)(table, at, values, unit)

    async def write_one(table: str, at: int, values: list[int], unit: int) -> ModbusPDU:
        if table == "coil":
            return await client.write_coil(at, bool(values[0]), device_id=unit)
        return await client.write_register(at, values[0], device_id=unit)

    async def write(table: str, at: int, values: list[int], unit: int) -> ModbusPDU:
        if table == "coil":
            return await client.write_coils(at, [bool(value) for value in values], device_id=unit)
        return await client.write_registers(at, values, device_id=unit)

    async def do(line: list[str]) -> Answer:
        verb, unit, *words = line
        try:
            reply = await ask(verb, int(unit), words)
        except ModbusException as error:
            return f"error {error}"
        if reply.isError():
            return f"exception {reply.exception_code}"
        if verb == "readwrite" or (verb == "read" and words[0] in ("holding", "input")):
            return list(reply.registers)
        return [int(bit) for bit in reply.bits[: int(words[2])]] if verb == "read" else "ok"

    await obey_async(do)
    client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
