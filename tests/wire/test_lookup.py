"""Names are looked up, and addresses tried, without anybody having to wait for a slow name server."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from msm.wire import lookup
from msm.wire.lookup import Address, first_of, look_up


def keep(_result: object) -> None:
    raise AssertionError("nothing is to be discarded")


async def test_an_address_is_its_own_name() -> None:
    assert await look_up("127.0.0.1", 502) == [(socket.AF_INET, ("127.0.0.1", 502))]


async def test_an_unknown_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: Any, **_keywords: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror):
        await look_up("plc.invalid", 502)


async def test_giving_up_does_not_wait_for_the_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keywords: answer.wait(30) and [])
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await look_up("plc.invalid", 502)
    finally:
        answer.set()


def test_a_slow_name_server_does_not_hold_up_the_end_of_the_program() -> None:
    program = """
import socket, time
socket.getaddrinfo = lambda *args, **keywords: time.sleep(30)
from msm import MemoryStore, ModbusClient
ModbusClient(MemoryStore(8), "tcp://plc.invalid:502", timeout=20).run(wait=0)
"""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=25, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - began < 10


FIRST: Address = (socket.AF_INET, ("192.0.2.1", 1))
SECOND: Address = (socket.AF_INET, ("192.0.2.2", 1))


async def test_the_next_address_is_tried_when_one_fails() -> None:
    async def attempt(address: Address) -> Address:
        if address == FIRST:
            raise ConnectionRefusedError
        return address

    assert await first_of([FIRST, SECOND], attempt, keep) == SECOND


async def test_what_nobody_takes_is_discarded() -> None:
    discarded: list[Address] = []

    async def attempt(address: Address) -> Address:
        return address

    # It has connected, and before that is looked at nobody wants it any more.
    looking = asyncio.ensure_future(first_of([FIRST], attempt, discarded.append))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    await asyncio.sleep(0)
    assert discarded == [FIRST]


async def test_of_two_that_connect_at_once_one_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "STAGGER", 0.0)
    both = asyncio.Event()
    discarded: list[Address] = []

    async def attempt(address: Address) -> Address:
        if address == SECOND:
            both.set()
        await both.wait()
        return address

    taken = await first_of([FIRST, SECOND], attempt, discarded.append)
    await asyncio.sleep(0)
    assert {taken, *discarded} == {FIRST, SECOND}
    assert len(discarded) == 1


async def test_the_next_address_is_tried_beside_a_slow_one() -> None:
    cancelled = asyncio.Event()

    async def attempt(address: Address) -> Address:
        if address == FIRST:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
        return address

    assert await first_of([FIRST, SECOND], attempt, keep) == SECOND
    async with asyncio.timeout(5):
        await cancelled.wait()


async def test_the_error_is_that_of_the_first_address() -> None:
    async def attempt(address: Address) -> None:
        raise OSError(f"{address[1][0]} is down")

    with pytest.raises(OSError, match=r"192\.0\.2\.1 is down"):
        await first_of([FIRST, SECOND], attempt, keep)


async def test_a_name_without_addresses() -> None:
    async def attempt(_address: Address) -> None:
        raise AssertionError

    with pytest.raises(OSError, match="no address"):
        await first_of([], attempt, keep)
