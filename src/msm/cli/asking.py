"""One question at a time to the units of a line, and what became of it: for commands that look at unknown devices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from msm.cli.device import ATTEMPTS
from msm.cli.ranges import MOST, Outcome
from msm.client import AsyncModbusClient
from msm.errors import (
    AcknowledgeError,
    ConnectError,
    DeviceBusyError,
    DeviceError,
    GatewayPathError,
    GatewayTargetError,
    IllegalFunctionError,
    LinkError,
    ProtocolError,
)
from msm.memory.image import TableName
from msm.memory.store import MemoryStore
from msm.sync import ModbusClient

FUNCTIONS: dict[TableName, int] = {"holding": 3, "input": 4, "coil": 1, "discrete": 2}
AT_A_TIME = 3  # requests that are sent together to see whether a device takes them
BUSY, PATIENCE = 0.2, 5  # a device that is busy is asked again after so many seconds, so often


class Asker:
    """Asks units, one request at a time.

    :param client: a client without memory of its own.
    :param timeout: seconds to wait for an answer.
    :param pause: seconds of rest before each request.
    """

    def __init__(self, client: ModbusClient, timeout: float, pause: float) -> None:
        self.client = client
        self.timeout = timeout
        self.pause = pause

    def raw(self, unit: int, request: bytes) -> bytes:
        """The reply to a request. A device that is busy is asked again.

        :raises DeviceError: it answered with an exception code.
        :raises LinkError: it did not answer, or not to this.
        """
        attempts = 0
        while True:
            time.sleep(self.pause)
            try:
                # The client's own time-out comes first: it forgets the request.
                return self.client.request(request, self.timeout + 1.0, unit=unit)
            except (AcknowledgeError, DeviceBusyError):
                attempts += 1
                if attempts == PATIENCE:
                    raise
                time.sleep(BUSY)

    def is_there(self, unit: int) -> bool:
        """Does this unit answer, in whatever way? A gateway that answers in its place does not count."""
        try:
            self.raw(unit, read(3, 0, 1))
        except (GatewayPathError, GatewayTargetError):
            return False
        except (DeviceError, ProtocolError):
            return True
        except LinkError:
            return False
        return True

    def read(self, unit: int, table: TableName, address: int, count: int) -> Outcome:
        """Read some cells of a table, and say what became of it."""
        request = read(FUNCTIONS[table], address, count)
        try:
            reply = self.raw(unit, request)
        except IllegalFunctionError:
            return "no function"
        except GatewayPathError:
            return "gone"
        except GatewayTargetError:
            return "silent" if self.is_there(unit) else "gone"
        except (DeviceError, ProtocolError):
            return "refused"
        except LinkError:
            return "silent" if self.is_there(unit) else "gone"
        size = 2 * count if table in ("holding", "input") else -(-count // 8)
        # Some give less than was asked for, in place of an exception.
        return "good" if len(reply) == 2 + size else "refused"

    def registers(self, unit: int, table: TableName, addresses: range) -> list[int]:
        """The words at these addresses; word by word where the device does not give them together.

        :raises DeviceError: it does not give one of them.
        :raises LinkError: it does not answer.
        """
        words: list[int] = []
        at, size = addresses.start, min(len(addresses), MOST[table])
        while at < addresses.stop:
            count = min(size, addresses.stop - at)
            request = read(FUNCTIONS[table], at, count)
            try:
                words += words_of(request, self.raw(unit, request))
            except DeviceError:
                if size == 1:
                    raise
                size = 1
            else:
                at += count
        return words

    def mask_write(self, unit: int, address: int) -> str:
        """Does it have function 22? It is asked to leave all bits of a word as they are."""
        return self._works(unit, bytes((22, *address.to_bytes(2, "big"), 0xFF, 0xFF, 0, 0)))

    def read_write(self, unit: int, address: int) -> str:
        """Does it have function 23? It is asked to write what was read there just before."""
        place = (*address.to_bytes(2, "big"), 0, 1)
        try:
            (word,) = self.registers(unit, "holding", range(address, address + 1))
        except (DeviceError, LinkError) as error:
            return f"not tried: holding register {address} gave {cause(error)}"
        return self._works(unit, bytes((23, *place, *place, 2, *word.to_bytes(2, "big"))))

    def _works(self, unit: int, request: bytes) -> str:
        try:
            self.raw(unit, request)
        except (DeviceError, LinkError) as error:
            return f"no: {cause(error)}"
        return "works"

    def identification(self, unit: int) -> dict[int, str] | str:
        """What the unit says it is, by object id; or why it does not, in words."""
        try:
            return self.client.read_device_identification(self.timeout * 4, unit=unit)
        except (DeviceError, LinkError) as error:
            return f"not told: {cause(error)}"


def cause(error: DeviceError | LinkError) -> str:
    """What went wrong, in few words."""
    if isinstance(error, DeviceError):
        return f"exception {error.code:02X}"
    return "another answer" if isinstance(error, ProtocolError) else "no answer"


def read(function: int, address: int, count: int) -> bytes:
    """The request to read some cells."""
    return bytes((function, *address.to_bytes(2, "big"), *count.to_bytes(2, "big")))


def words_of(request: bytes, reply: bytes) -> list[int]:
    """The words that a reply to reading registers brings.

    :raises ProtocolError: these are not as many as were asked for.
    """
    count = request[3] << 8 | request[4]
    if len(reply) != 2 + 2 * count:
        raise ProtocolError(f"{count} registers were asked for, and {(len(reply) - 2) // 2} came")
    return [reply[at] << 8 | reply[at + 1] for at in range(2, len(reply), 2)]


@contextmanager
def asking(endpoint: str, timeout: float, pause: float = 0.0) -> Iterator[Asker]:
    """A connection for questions to any unit behind an endpoint.

    :param timeout: seconds for each question.
    :param pause: seconds between two questions.
    :raises ConnectError: nobody there.
    """
    client = ModbusClient(MemoryStore(0), endpoint, timeout=timeout, linger=0.0)
    try:
        client.run(wait=max(1.0, ATTEMPTS * timeout))
        yield Asker(client, timeout, pause)
    finally:
        client.kill()


async def together(endpoint: str, timeout: float, unit: int, table: TableName, address: int) -> str:
    """Does a unit answer several requests that are sent before its first answer? In words.

    It is asked over a connection of its own: this is hard on devices that cannot do it.
    """
    request = read(FUNCTIONS[table], address, 1)
    client = AsyncModbusClient(MemoryStore(0), endpoint, timeout=timeout, max_in_flight=AT_A_TIME, linger=0.0)
    try:
        await client.start(wait=max(1.0, ATTEMPTS * timeout))
        # All of them are sent in one turn of the loop.
        await asyncio.gather(*(client.request(request, timeout + 1.0, unit=unit) for _ in range(AT_A_TIME)))
    except ConnectError:
        return "not tried: no further connection"
    except (DeviceError, LinkError) as error:
        return f"no: {cause(error)}"
    finally:
        await client.stop()
    return f"works, {AT_A_TIME} requests at a time"
