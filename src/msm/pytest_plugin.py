"""The pytest plugin: fixtures that start servers, clients and devices, and end them after the test, even when it fails.

They work in plain tests as well as in async ones, whichever plugin runs those: what they start runs in threads of its
own. Nothing of `msm.testing` is loaded before one of them is used.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from msm import MemoryStore, ModbusClient, ModbusServer
    from msm.testing.device import FakeDevice

_names = itertools.count()


class ServerFactory(Protocol):
    """Starts servers."""

    def __call__(self, memory: Any, endpoint: str = "tcp://127.0.0.1:0", **keywords: Any) -> ModbusServer:
        """A server of this memory, running, at a free port unless told otherwise."""


class ClientFactory(Protocol):
    """Starts clients."""

    def __call__(self, memory: Any, endpoint: Any, *, wait: float = 5.0, **keywords: Any) -> ModbusClient:
        """A client of this memory, running; `endpoint` may be a server or a device as well."""


class PairFactory(Protocol):
    """Joins memories."""

    def __call__(
        self, memory: type[MemoryStore] | Callable[[], MemoryStore] | str | Path, **keywords: Any
    ) -> tuple[Any, Any]:
        """Two memories of that kind: what is assigned to one is soon in the other."""


class DeviceFactory(Protocol):
    """Starts devices."""

    def __call__(self, memory: Any, endpoint: str = "tcp://127.0.0.1:0", **keywords: Any) -> FakeDevice:
        """A device, running: of a store, a class, a register map (``.toml``, ``.json``, ``.csv``), or a recording."""


@pytest.fixture
def msm_server() -> Iterator[ServerFactory]:
    """Starts servers: ``server = msm_server(mem)``; it is at ``server.endpoint``."""
    from msm import ModbusServer  # noqa: PLC0415

    with ExitStack() as stack:

        def start(memory: Any, endpoint: str = "tcp://127.0.0.1:0", **keywords: Any) -> ModbusServer:
            return stack.enter_context(ModbusServer(memory, endpoint, **keywords))

        yield start


@pytest.fixture
def msm_client() -> Iterator[ClientFactory]:
    """Starts clients: ``client = msm_client(mem, server)``; its first exchange is in."""
    from msm import ModbusClient  # noqa: PLC0415

    with ExitStack() as stack:

        def start(memory: Any, endpoint: Any, *, wait: float = 5.0, **keywords: Any) -> ModbusClient:
            client = ModbusClient(memory, getattr(endpoint, "endpoint", endpoint), **{"period": 0.05, **keywords})
            stack.callback(client.kill)
            client.run(wait)
            return client

        yield start


@pytest.fixture
def msm_pair() -> Iterator[PairFactory]:
    """Joins two memories without a socket: ``machine, panel = msm_pair(Press)``."""
    from msm import DeclarationError, ModbusClient, ModbusServer  # noqa: PLC0415
    from msm.testing.device import store_of  # noqa: PLC0415

    with ExitStack() as stack:

        def join(memory: Any, **keywords: Any) -> tuple[Any, Any]:
            machine, panel = store_of(memory), store_of(memory)
            if machine is panel:
                raise DeclarationError("msm_pair: that is one memory; give a class of stores, or a register map")
            server = stack.enter_context(ModbusServer(machine, f"memory://msm_pair {next(_names)}"))
            stack.enter_context(ModbusClient(panel, server.endpoint, **{"period": 0.02, **keywords}))
            return machine, panel

        yield join


@pytest.fixture
def msm_device() -> Iterator[DeviceFactory]:
    """Starts devices that are not there: ``device = msm_device(Press)``; it is at ``device.endpoint``."""
    from msm.testing.device import FakeDevice  # noqa: PLC0415

    with ExitStack() as stack:

        def start(memory: Any, endpoint: str = "tcp://127.0.0.1:0", **keywords: Any) -> FakeDevice:
            if isinstance(memory, str | Path) and Path(memory).suffix not in (".toml", ".json", ".csv"):
                return stack.enter_context(FakeDevice.replay(memory, endpoint, **keywords))
            return stack.enter_context(FakeDevice(memory, endpoint, **keywords))

        yield start
