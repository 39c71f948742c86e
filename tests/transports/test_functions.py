"""What a server answers beside its memory, and how a client asks for it."""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from msm import (
    AsyncModbusClient,
    AsyncModbusServer,
    DeclarationError,
    DeviceFailureError,
    EventLog,
    Functions,
    IllegalAddressError,
    IllegalFunctionError,
    IllegalValueError,
    LinkTimeoutError,
    MemoryStore,
    ModbusClient,
    ModbusServer,
    ProtocolError,
    ServerId,
    StateError,
    ValueRangeError,
)
from tests.support import FREE, until
from tests.transports.conftest import Way
from tests.transports.lines import Cable, Pty, ascii_frame, rtu

MAKER = {0: "Maker", 1: "P-100", 2: "V1.4"}


# -- declared


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"identification": {0: "Maker", 1: "P"}}, "object 2 is missing"),
        ({"identification": {**MAKER, 256: "x"}}, "256 is not a whole number from 0 to 255"),
        ({"identification": {**MAKER, 3: "x" * 245}}, "object 3: 245 bytes are more than 244"),
        ({"identification": {**MAKER, 3: 7}}, "object 3: 7 is neither str nor bytes"),
        ({"server_id": "x" * 251}, "server_id: 251 bytes are more than 250"),
        ({"exception_status": 5}, "exception_status=5 cannot be called"),
        ({"files": {0: [1]}}, "file 0 is not a whole number from 1 to 65535"),
        ({"files": {1: [0] * 10001}}, "file 1: 10001 words are more than 10000"),
        ({"files": {1: (1, 2)}}, "file 1: tuple is no list of words"),
        ({"files": {1: deque([1, 2])}}, "file 1: deque is no list of words"),
        ({"files": {1: array("h", [1, 2])}}, "file 1: it has no room for words"),
        ({"files": {1: bytearray(8)}}, "file 1: it has no room for words"),
        ({"fifos": {-1: [1]}}, "FIFO address -1"),
        ({"diagnostics": 1}, "diagnostics=1 is not a bool"),
        ({"diagnostic_register": lambda: 0}, "needs diagnostics=True"),
    ],
)
def test_what_cannot_be_answered_is_refused_at_once(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        Functions(**given)


@pytest.mark.parametrize("given", [5, {1: "Maker"}])
def test_what_are_no_functions(given: Any) -> None:
    with pytest.raises(DeclarationError, match="functions="):
        ModbusServer(MemoryStore(1), FREE, functions=given).run()


# -- asked for by a client, over every transport


async def test_every_transport(way: Way) -> None:
    log = array("H", range(1000))
    told = Functions(
        identification={**MAKER, 4: "x" * 200, 5: "y" * 200},
        server_id="press",
        exception_status=lambda: 0x81,
        files={4: log, 7: [0] * 10},
        fifos={12: deque([1, 2, 3])},
        diagnostics=True,
    )
    serial = way.framing != "mbap"
    mem = MemoryStore(8)
    mem[0:8] = range(8)
    async with AsyncModbusServer(mem, way.listen, functions=told, **way.server) as server:
        client = AsyncModbusClient(MemoryStore(8), way.to(server.endpoint), period=60, timeout=2.0, **way.client)
        async with client:
            # Of an RTU line, what does not fit into a frame is asked for again.
            assert await client.read_device_identification() == {**MAKER, 4: "x" * 200, 5: "y" * 200}
            assert await client.read_server_id() == ServerId(b"press", True)
            assert await client.read_exception_status() == 0x81
            assert await client.read_fifo(12) == [1, 2, 3]
            assert await client.read_file(4, 100, 500) == list(range(100, 600))
            await client.write_file(4, 0, list(range(5000, 5300)))
            assert log[:302].tolist() == [*range(5000, 5300), 300, 301]
            assert await client.read_write(0, 3, 1, [77]) == [0, 77, 2]
            assert mem[0:3] == [0, 77, 2]
            counted = await client.read_event_counter()
            assert await client.read_event_counter() == counted
            logged = await client.read_event_log()
            assert isinstance(logged, EventLog)
            assert not logged.busy
            assert logged.log[:3] == b"\x80\x40\x80"
            if serial:
                assert await client.diagnostic(0, 0xA537) == 0xA537
            else:
                with pytest.raises(IllegalFunctionError, match="diagnostics 00"):
                    await client.diagnostic(0)
            with pytest.raises(IllegalAddressError):
                await client.read_fifo(13)
            with pytest.raises(IllegalAddressError):
                await client.read_file(4, 999, 2)
            assert await client.request(b"\x11") == b"\x11\x06press\xff"


async def test_what_is_not_given_is_not_answered() -> None:
    async with (
        AsyncModbusServer(MemoryStore(8), FREE) as server,
        AsyncModbusClient(MemoryStore(8), server.endpoint) as client,
    ):
        for ask in (
            client.read_device_identification,
            client.read_server_id,
            client.read_exception_status,
            client.read_event_counter,
            client.read_event_log,
        ):
            with pytest.raises(IllegalFunctionError):
                await ask()
        for request in (b"\x41\x00", b"\x08\x00\x00\xa5\x37"):
            with pytest.raises(IllegalFunctionError, match=f"function {request[0]:02X}"):
                await client.request(request)
        with pytest.raises(IllegalFunctionError):
            await client.read_fifo(0)
        with pytest.raises(IllegalFunctionError):
            await client.read_file(1, 0, 1)


async def test_each_unit_has_its_own() -> None:
    stores = {1: MemoryStore(1), 2: MemoryStore(1)}
    told = {2: Functions(server_id="second")}
    async with (
        AsyncModbusServer(stores, FREE, functions=told) as server,
        AsyncModbusClient({1: MemoryStore(1), 2: MemoryStore(1)}, server.endpoint) as client,
    ):
        assert (await client.read_server_id(unit=2)).identifier == b"second"
        with pytest.raises(IllegalFunctionError):
            await client.read_server_id()


def test_the_synchronous_door_asks_the_same() -> None:
    told = Functions(identification=MAKER, server_id=b"\x01\x02", files={1: [7, 8, 9]})
    with ModbusServer(MemoryStore(8), FREE, functions=told) as server:
        client = ModbusClient(MemoryStore(8), server.endpoint)
        with pytest.raises(StateError, match="read_fifo"):
            client.read_fifo(1)
        with client:
            assert client.read_device_identification() == MAKER
            assert client.read_server_id(timeout=2.0) == ServerId(b"\x01\x02", True)
            assert client.read_file(1, record=0, count=3) == [7, 8, 9]
            client.write_file(1, 1, [80])
            assert client.read_file(1, 0, 3, unit=1) == [7, 80, 9]
            assert client.read_write(0, 1, 0, [5]) == [5]
            assert client.request(b"\x03\x00\x00\x00\x01") == b"\x03\x02\x00\x05"
    assert "function 20" in (ModbusClient.read_file.__doc__ or "")


async def test_what_cannot_be_asked() -> None:
    async with (
        AsyncModbusServer(MemoryStore(8), FREE) as server,
        AsyncModbusClient(MemoryStore(8), server.endpoint) as client,
    ):
        requests = client.stats.requests
        for asked in (
            client.request(b""),
            client.request(bytes(254)),
            client.read_write(0, 0, 0, [1]),
            client.read_write(0, 126, 0, [1]),
            client.read_write(0, 1, 0, []),
            client.read_write(0, 1, 0, [1] * 122),
            client.read_write(0, 1, 0, [65536]),
            client.read_write(-1, 1, 0, [1]),
            client.diagnostic(0, 65536),
            client.read_file(0, 0, 1),
            client.read_file(1, 10000, 1),
            client.read_file(1, 9999, 2),
            client.write_file(1, 0, [-1]),
            client.read_fifo(65536),
        ):
            with pytest.raises(ValueRangeError):
                await asked
        assert client.stats.requests == requests


async def test_a_device_that_does_not_answer() -> None:
    async with (
        AsyncModbusServer({1: MemoryStore(1)}, FREE, unknown_unit="silent") as server,
        AsyncModbusClient(MemoryStore(1), server.endpoint, timeout=0.2) as client,
    ):
        with pytest.raises(LinkTimeoutError, match="function 11: no answer"):
            await client.read_server_id(unit=9)
        with pytest.raises(LinkTimeoutError, match=r"in 0\.01 s"):
            await client.read_server_id(timeout=0.01, unit=9)


async def test_an_application_that_fails_is_told_and_the_connection_lives() -> None:
    class Broken(list[int]):
        def __getitem__(self, key: Any) -> Any:
            if key == slice(0, 0):
                return []
            raise OSError("the disk is full")

    told = Functions(exception_status=lambda: 1 // 0, files={1: Broken([1, 2])}, fifos={1: [70000]})
    async with (
        AsyncModbusServer(MemoryStore(1), FREE, functions=told) as server,
        AsyncModbusClient(MemoryStore(1), server.endpoint) as client,
    ):
        with pytest.raises(DeviceFailureError):
            await client.read_exception_status()
        with pytest.raises(DeviceFailureError):
            await client.read_file(1, 0, 1)
        with pytest.raises(DeviceFailureError):
            await client.read_fifo(1)
        assert client.stats.reconnects == 0


# -- diagnostics, on a line


async def test_counters_and_log(tmp_path: Path) -> None:
    """AP 6.8 to 6.10: what is counted, and that clearing and starting anew does what it says."""
    with Cable(tmp_path) as cable:
        server_end, client_end = (f"rtu://{end.path}?baudrate=115200" for end in cable.ends)
        told = Functions(diagnostics=True, diagnostic_register=lambda: 0x1234)
        async with (
            AsyncModbusServer(MemoryStore(4), server_end, functions=told),
            AsyncModbusClient(MemoryStore(4), client_end, period=60, timeout=2.0) as client,
        ):
            assert await client.diagnostic(0x0A) == 0  # clear
            assert await client.diagnostic(0x0E) == 1  # to this unit: this one
            assert await client.diagnostic(0x0B) == 2  # on the line
            assert await client.diagnostic(0x02) == 0x1234
            with pytest.raises(IllegalAddressError):
                await client.request(b"\x03\x00\x04\x00\x01")
            assert await client.diagnostic(0x0D) == 1  # exceptions
            assert await client.diagnostic(0x0C) == 0  # broken messages
            assert await client.diagnostic(0x0F) == 0  # not answered
            assert await client.diagnostic(0x10) == await client.diagnostic(0x11) == 0
            for subfunction in (0x12, 0x14, 0x15, 0x03, 0xFFFF):
                with pytest.raises(IllegalFunctionError):
                    await client.diagnostic(subfunction)
            for subfunction, data in ((0x0B, 1), (0x0A, 1), (0x02, 5), (0x01, 0x00FF), (0x04, 1)):
                with pytest.raises(IllegalValueError):
                    await client.diagnostic(subfunction, data)
            before = await client.read_event_counter()
            assert await client.read_event_counter() == before  # asking for it does not change it
            log = await client.read_event_log()
            assert len(log.log) == 47
            for _ in range(10):
                await client.diagnostic(0)
            log = await client.read_event_log()
            assert len(log.log) == 64
            before += 11
            assert log.events == before
            # The last one first: received, sent, received, sent.
            assert log.log[:4] == b"\x80\x40\x80\x40"
            with pytest.raises(IllegalFunctionError):
                await client.request(b"\x41")
            assert (await client.read_event_log()).log[1:3] == b"\x41\x80"  # an exception was sent
            await client.diagnostic(0x01, 0xFF00)  # start anew, and clear the log
            log = await client.read_event_log()
            assert log.log == b"\x80\x00"
            assert (log.events, log.messages) == (0, 1)


async def test_listening_only(tmp_path: Path) -> None:
    """AP 6.8, subfunction 04: nothing is answered or done, until communication is started anew."""
    with Pty(tmp_path / "port") as port:
        store = MemoryStore(4)
        told = Functions(diagnostics=True)
        async with AsyncModbusServer(store, f"rtu://{port.path}?baudrate=115200", functions=told):
            port.send(rtu(b"\x08\x00\x04\x00\x00"))
            port.send(rtu(b"\x06\x00\x01\x00\x07"))
            port.send(rtu(b"\x08\x00\x00\xa5\x37"))
            port.send(rtu(b"\x08\x00\x01\x00\x00"))  # out of it again, not answered either
            port.send(rtu(b"\x03\x00\x01\x00\x01"))
            assert await port.hears(7) == rtu(b"\x03\x02\x00\x00")
            port.send(rtu(b"\x0c"))
            log = rtu(b"\x0c\x0d\x00\x00\x00\x01\x00\x02\x80\x40\x80\x00\xa0\xa0\xa0"[:15])
            heard = await port.hears(len(log))
            assert heard[8 + 1 :][:4] == b"\x80\x40\x80\x00"  # this one; answered, received, started anew
            assert heard[13:16] == b"\xa0\xa0\xa0"  # three that were only listened to
            assert store[1] == 0


async def test_broken_messages_and_broadcasts_are_counted(tmp_path: Path) -> None:
    with Pty(tmp_path / "port") as port:
        store = MemoryStore(4)
        async with AsyncModbusServer(
            store, f"rtu://{port.path}?baudrate=115200", functions=Functions(diagnostics=True)
        ):

            async def ask(pdu: bytes, size: int = 8) -> bytes:
                port.send(rtu(pdu))
                return (await port.hears(size))[:size]

            port.send(rtu(b"\x06\x00\x01\x00\x07", unit=0))
            assert await ask(b"\x08\x00\x0f\x00\x00") == rtu(b"\x08\x00\x0f\x00\x01")
            assert store[1] == 7
            broken = bytearray(rtu(b"\x06\x00\x01\x00\x08"))
            broken[-1] ^= 1
            port.send(bytes(broken))
            assert await ask(b"\x08\x00\x0c\x00\x00") == rtu(b"\x08\x00\x0c\x00\x01")
            port.send(rtu(b"\x03\x00\x00\x00\x01", unit=9))  # for somebody else, who answers
            port.send(rtu(b"\x03\x02\x00\x05", unit=9))
            # A broadcast, two questions, two messages of others, and this one.
            assert await ask(b"\x08\x00\x0b\x00\x00") == rtu(b"\x08\x00\x0b\x00\x06")
            assert store[1] == 7
            # Received, after sent, three times; after a message that was broken; a broadcast.
            assert (await ask(b"\x0c", 19))[9:17] == b"\x80\x40\x80\x40\x82\x40\x80\xc0"


async def test_an_echo_of_more_than_a_word(tmp_path: Path) -> None:
    """AP 6.8, subfunction 00: any number of words; over RTU silence ends what has no size of its own."""
    long = b"\x08\x00\x00" + bytes(range(100))
    for scheme, encode in (("rtu", rtu), ("ascii", ascii_frame)):
        with Pty(tmp_path / scheme) as port:
            endpoint = f"{scheme}://{port.path}?baudrate=115200"
            async with AsyncModbusServer(MemoryStore(4), endpoint, functions=Functions(diagnostics=True)):
                port.send(encode(long))
                assert await port.hears(len(encode(long))) == encode(long)
                await port.send_torn(encode(long))
                assert await port.hears(len(encode(long))) == encode(long)
                port.send(encode(b"\x08\x00\x00\x12"))
                refused = encode(b"\x88\x03")
                assert await port.hears(len(refused)) == refused


async def test_another_delimiter(tmp_path: Path) -> None:
    """AP 6.8, subfunction 03: from the next message on."""
    with Pty(tmp_path / "port") as port:
        told = Functions(diagnostics=True)
        async with AsyncModbusServer(MemoryStore(4), f"ascii://{port.path}?baudrate=115200", functions=told):
            for wrong in (b":", b"\r", b"A", b"f", b"0"):
                port.send(ascii_frame(b"\x08\x00\x03" + wrong + b"\x00"))
                refused = ascii_frame(b"\x88\x03")
                assert await port.hears(len(refused)) == refused
            change = ascii_frame(b"\x08\x00\x03!\x00")
            port.send(change)
            assert await port.hears(len(change)) == change
            ask = ascii_frame(b"\x03\x00\x00\x00\x01").replace(b"\n", b"!")
            answer = ascii_frame(b"\x03\x02\x00\x00").replace(b"\n", b"!")
            port.send(ask)
            assert await port.hears(len(answer)) == answer


async def test_counting_over_tcp() -> None:
    """There is no line there: what counts are the unit's own messages."""
    async with (
        AsyncModbusServer(MemoryStore(4), FREE, functions=Functions(diagnostics=True)) as server,
        AsyncModbusClient(MemoryStore(4), server.endpoint, period=60) as client,
    ):
        first = await client.read_event_log()
        await asyncio.gather(client.read_event_log(), client.read_event_log())
        last = await client.read_event_log()
        assert last.messages - first.messages == 3
        assert last.events - first.events == 3


# -- what a second reading found


async def test_a_refused_write_of_files_changes_none_of_them() -> None:
    class Full(list[int]):
        def __setitem__(self, key: Any, value: Any) -> None:
            if key != slice(0, 0):
                raise OSError("the disk is full")

    first, second = [0] * 10, Full([0] * 10)
    async with (
        AsyncModbusServer(MemoryStore(1), FREE, functions=Functions(files={1: first, 2: second})) as server,
        AsyncModbusClient(MemoryStore(1), server.endpoint) as client,
    ):
        with pytest.raises(DeviceFailureError):
            await client.request(bytes.fromhex("15 12 06 0001 0000 0001 0007 06 0002 0000 0001 0008"))
        assert first == [0] * 10


async def test_an_application_that_takes_its_time_holds_up_nobody() -> None:
    go_on = threading.Event()

    def status() -> int:
        assert go_on.wait(10)
        return 5

    async with (
        AsyncModbusServer(MemoryStore(1), FREE, functions=Functions(exception_status=status)) as server,
        AsyncModbusClient(MemoryStore(1), server.endpoint, timeout=5.0) as slow,
        AsyncModbusClient(MemoryStore(1), server.endpoint, timeout=5.0) as other,
    ):
        asked = asyncio.ensure_future(slow.read_exception_status())
        await asyncio.sleep(0)
        for _ in range(3):
            await other.refresh()
        assert not asked.done()
        go_on.set()
        assert await asked == 5


async def test_a_unit_that_is_none_hurts_only_who_asks(way: Way) -> None:
    async with (
        AsyncModbusServer(MemoryStore(1), way.listen, functions=Functions(server_id="x"), **way.server) as server,
        AsyncModbusClient(MemoryStore(1), way.to(server.endpoint), timeout=2.0, **way.client) as client,
    ):
        for unit in (300, -1, True):
            with pytest.raises(DeclarationError, match="unit="):
                await client.read_server_id(unit=unit)
        assert (await client.read_server_id()).identifier == b"x"
        assert client.stats.reconnects == 0


async def test_functions_that_a_maker_has_made_up(way: Way) -> None:
    """Their replies have sizes that nobody knows: on a line, silence ends them."""
    sent: list[bytes] = []

    class Maker(AsyncModbusServer):
        def answer(self, unit: int, request: bytes, peer: Any, *, busy: bool = False) -> Any:
            if request[0] != 0x41:
                return super().answer(unit, request, peer, busy=busy)
            sent.append(request)
            return b"\x41\x01\x02\x03\x04\x05"

    async with (
        Maker(MemoryStore(1), way.listen, **way.server) as server,
        AsyncModbusClient(MemoryStore(1), way.to(server.endpoint), period=60, timeout=2.0, **way.client) as client,
    ):
        assert await client.request(b"\x41\x09\x08") == b"\x41\x01\x02\x03\x04\x05"
        assert sent == [b"\x41\x09\x08"]


async def test_a_reply_to_another_function_is_none() -> None:
    class Liar(AsyncModbusServer):
        def answer(self, unit: int, request: bytes, peer: Any, *, busy: bool = False) -> Any:
            if request[0] == 0x41:
                return b"\x42\x01"
            return super().answer(unit, request, peer, busy=busy)

    async with (
        Liar(MemoryStore(1), FREE) as server,
        AsyncModbusClient(MemoryStore(1), server.endpoint) as client,
    ):
        with pytest.raises(ProtocolError, match="function 41: answered by function 42"):
            await client.request(b"\x41")


async def test_a_line_whose_application_takes_its_time(tmp_path: Path) -> None:
    """Others are not answered for, a broadcast is not answered, and an answer that comes too late is not sent."""
    go_on = asyncio.Event()

    async def wait(_write: Any) -> None:
        await go_on.wait()

    with Pty(tmp_path / "port") as port:
        endpoint = f"rtu://{port.path}?baudrate=115200"
        store = MemoryStore(4)
        async with AsyncModbusServer(store, endpoint, before_write=wait, max_in_flight=1):
            port.send(rtu(b"\x06\0\x01\0\x07"))
            for unit in (2, 3, 4, 0, 5):
                port.send(rtu(b"\x06\0\x02\0\x07", unit=unit))
                await port.hears_nothing(seconds=0.02)
            port.send(rtu(b"\x03\0\0\0\x01"))
            answer = rtu(b"\x03\x02\0\0")
            assert await port.hears(len(answer)) == answer
            go_on.set()
            await until(lambda: store[1] == 7)
            await port.hears_nothing(seconds=0.05)


async def test_an_answer_that_nobody_waits_for_does_not_disturb_others(tmp_path: Path) -> None:
    """When a client on a line asks somebody else, it has given up: nothing is said into that."""
    go_on = asyncio.Event()

    async def wait(_write: Any) -> None:
        await go_on.wait()

    with Pty(tmp_path / "port") as port:
        store = MemoryStore(4)
        endpoint = f"rtu://{port.path}?baudrate=115200"
        async with AsyncModbusServer(store, endpoint, before_write=wait) as server:
            port.send(rtu(b"\x06\0\x01\0\x07"))
            (peer,) = server._peers
            await until(lambda: peer.busy)
            port.send(rtu(b"\x03\0\0\0\x01", unit=9))
            await until(lambda: not peer.busy)
            go_on.set()
            await until(lambda: store[1] == 7)
            await port.hears_nothing(seconds=0.05)


async def test_starting_anew_counts_from_nothing(tmp_path: Path) -> None:
    """AP 6.8, subfunction 01: it is answered before, so its own answer counts for what was before."""
    with Cable(tmp_path) as cable:
        server_end, client_end = (f"rtu://{end.path}?baudrate=115200" for end in cable.ends)
        async with (
            AsyncModbusServer(MemoryStore(4), server_end, functions=Functions(diagnostics=True)),
            AsyncModbusClient(MemoryStore(4), client_end, period=60, timeout=2.0) as client,
        ):
            await client.diagnostic(0x01)
            assert await client.read_event_counter() == 0


async def test_calls_that_nobody_waits_for_are_not_kept() -> None:
    client = AsyncModbusClient(MemoryStore(1), "tcp://127.0.0.1:9")
    await client.start(wait=0)
    for _ in range(10):
        with pytest.raises(LinkTimeoutError):
            await client.read_server_id(timeout=0.001)
    assert not client._conversation.calls
    await client.stop()


async def test_broadcasts_are_counted_whatever_they_ask(tmp_path: Path) -> None:
    """SL 2.2, AP 6.8: not answered, but received; and an exception that nobody hears is one."""
    file = [0] * 4
    with Pty(tmp_path / "port") as port:
        endpoint = f"rtu://{port.path}?baudrate=115200"
        told = Functions(diagnostics=True, files={1: file})
        async with AsyncModbusServer(MemoryStore(4), endpoint, functions=told):
            for request in ("03 0000 0001", "06 0009 0001", "15 09 06 0001 0002 0001 0007"):
                port.send(rtu(bytes.fromhex(request), unit=0))
            for counter, value in ((0x0E, 4), (0x0F, 3), (0x0D, 1)):
                port.send(rtu(bytes((8, 0, counter, 0, 0))))
                assert await port.hears(8) == rtu(bytes((8, 0, counter, 0, value)))
            assert file == [0, 0, 7, 0]
