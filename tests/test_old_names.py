"""Scripts of earlier MSM run once their import lines are changed."""

from __future__ import annotations

import inspect

import pytest

from msm import (
    ConnectError,
    MemoryStore,
    MemoryVariable,
    ModbusClient,
    ModbusMasterTCP,
    ModbusServer,
    ModbusSlaveTCP,
)
from tests.support import free_port, port_of


def defaults(door: type) -> dict[str, object]:
    parameters = list(inspect.signature(door.__init__).parameters.values())[2:]  # type: ignore[misc]
    return {parameter.name: parameter.default for parameter in parameters}


def test_signatures() -> None:
    assert next(iter(inspect.signature(ModbusSlaveTCP).parameters)) == "memory_store"
    assert defaults(ModbusSlaveTCP) == {
        "server_ip": "localhost",
        "slave_id": 1,
        "sync_period": 0.05,
        "server_port": 502,
    }
    assert next(iter(inspect.signature(ModbusMasterTCP).parameters)) == "memory_store"
    assert defaults(ModbusMasterTCP) == {
        "server_ip": "localhost",
        "default_slave_id": 1,
        "sync_period": 0.2,
        "server_port": 502,
    }


def test_the_default_endpoint_is_the_modbus_port() -> None:
    mem = MemoryStore(8)
    doors: list[ModbusServer | ModbusClient] = [
        ModbusSlaveTCP(mem),
        ModbusMasterTCP(mem),
        ModbusServer(mem),
        ModbusClient(mem),
    ]
    assert {door.endpoint for door in doors} == {"tcp://localhost:502"}
    assert ModbusMasterTCP(mem, "::1").endpoint == "tcp://[::1]:502"


def test_an_earlier_pair_of_scripts() -> None:
    far = MemoryStore(8)
    far.CURRENT_VALUE = MemoryVariable.uint32(address=1)
    far.CURRENT_VALUE = 99999
    slave = ModbusSlaveTCP(far, "127.0.0.1", 3, 0.05, server_port=0)
    slave.run()

    near = MemoryStore(8)
    near.CURRENT_VALUE = MemoryVariable.uint32(address=1)
    master = ModbusMasterTCP(
        near, server_ip="127.0.0.1", default_slave_id=3, sync_period=0.01, server_port=port_of(slave.endpoint)
    )
    master.run()
    assert near.get_value(address=1) == 34463
    assert near.CURRENT_VALUE == 99999
    near.set_value(address=5, value=4321)
    master.flush()
    assert far.get_value(5) == 4321
    master.kill()
    slave.kill()


def test_the_unit_is_meant() -> None:
    far = MemoryStore(8)
    with ModbusSlaveTCP(far, "127.0.0.1", slave_id=3, server_port=0) as slave:
        near = MemoryStore(8)
        master = ModbusMasterTCP(near, "127.0.0.1", default_slave_id=4, server_port=port_of(slave.endpoint))
        with pytest.raises(ConnectError, match=r"unit 4, reading holding 0-7: exception 0B: .*no such unit"):
            master.run(wait=0.5)
        assert master.stats.errors["exception 0B"] >= 1


def test_nobody_there() -> None:
    master = ModbusMasterTCP(MemoryStore(8), "127.0.0.1", server_port=free_port())
    with pytest.raises(ConnectError):
        master.run(wait=0.1)
